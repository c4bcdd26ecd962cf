//! Turns views into text. Nothing here asks or prints anything.

mod backends;
mod changes;
mod clients;
mod connections;
mod doctor;
mod events;
mod explain;
pub mod human;
mod listed;
mod moves;
mod peers;
mod services;
mod status;
mod table;
mod trace;

use clap::ValueEnum;
use serde::Serialize;
use thiserror::Error;

pub use self::{
    changes::{Event, appended, changes},
    doctor::doctor,
    explain::explain,
    listed::{Column, Key, Listed, list, sort},
    moves::{drains, rebalance},
    status::status,
    table::Sheet,
    trace::trace,
};

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns for people.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

/// A view that cannot be written down; none of ours has such a value.
#[derive(Debug, Error)]
pub enum RenderError {
    /// As JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error("cannot write YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// The text of `view`; `table` draws it for people, with more columns where it is given true.
pub fn text<T: Serialize + ?Sized>(
    output: Output,
    view: &T,
    table: impl FnOnce(&T, bool) -> String,
) -> Result<String, RenderError> {
    Ok(match output {
        Output::Table => table(view, false),
        Output::Wide => table(view, true),
        Output::Json => serde_json::to_string_pretty(view)? + "\n",
        Output::Yaml => {
            // A text is on one line, as in a table: `grep` finds it.
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            serde_saphyr::to_string_with_options(&view, options)?
        }
    })
}

#[cfg(test)]
mod tests;
