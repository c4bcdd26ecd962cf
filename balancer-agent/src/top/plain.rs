//! Lines for pipes, files and those who have no terminal.

use std::fmt::Write as _;

use super::{
    columns::{Column, SERVICES},
    order::Order,
};
use crate::{
    render::Sheet,
    view::{TopServiceView, TopView},
};

/// Form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Columns for people.
    Table,
    /// An object a line.
    Json,
    /// Values with tabs in between, the names of the columns in the first line.
    Tsv,
}

/// The text of one view. `headers`: whether the columns are named; `timed`: whether each row has its
/// time, as where rows are appended.
pub fn text(
    form: Form,
    mut view: TopView,
    order: Order,
    headers: bool,
    timed: bool,
) -> serde_json::Result<String> {
    order.sort(SERVICES, &mut view.services);
    Ok(match form {
        Form::Json => serde_json::to_string(&view)? + "\n",
        Form::Table => {
            let time = timed.then_some(view.time.as_str());
            let rows = view.services.iter().map(|row| cells(row, time)).collect();
            Sheet::plain(names(timed).collect(), rows).draw(headers)
        }
        Form::Tsv => {
            let mut text = String::new();
            let mut line = |cells: &[String]| {
                // Writing to a string can't fail.
                let _ = writeln!(text, "{}", cells.join("\t"));
            };
            if headers {
                line(&names(true).map(str::to_lowercase).collect::<Vec<_>>());
            }
            for row in &view.services {
                line(&values(row, &view.time));
            }
            text
        }
    })
}

fn names(timed: bool) -> impl Iterator<Item = &'static str> {
    let columns = SERVICES.iter().map(|column: &Column<TopServiceView>| column.name);
    timed.then_some("TIME").into_iter().chain(columns)
}

fn cells(row: &TopServiceView, time: Option<&str>) -> Vec<String> {
    let cells = SERVICES.iter().map(|column| (column.text)(row));
    time.map(str::to_owned).into_iter().chain(cells).collect()
}

/// Values as programs read them: numbers without units, nothing where nothing is known.
fn values(row: &TopServiceView, time: &str) -> Vec<String> {
    fn some<T: ToString>(value: Option<T>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    vec![
        time.to_owned(),
        format!("{}/{}", row.namespace, row.service),
        format!("{}/{}", row.service_port.number, row.service_port.protocol),
        row.connections.to_string(),
        some(row.cluster_active),
        some(row.opened_per_s),
        some(row.closed_per_s),
        some(row.failed_per_s),
        format!("{}/{}", row.usable, row.backends.len()),
        some(row.least),
        some(row.most),
        some(row.skew),
        some(row.rate),
        some(row.rate_skew),
        some(row.moved),
        row.policy.clone(),
    ]
}

#[cfg(test)]
mod tests;
