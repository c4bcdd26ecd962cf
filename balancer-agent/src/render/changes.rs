//! What became of rows from one look to the next, for those who append lines.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Output, RenderError, listed::Listed, table::Sheet, text};

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// It is there, and was not before.
    Added,
    /// It is otherwise than before, beyond what changes by itself, such as ages.
    Changed,
    /// It was there, and is no more.
    Gone,
}

impl Event {
    const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Gone => "gone",
        }
    }
}

/// One change: a line of `--watch -o json`.
#[derive(Debug, Serialize)]
struct Change<'a, T> {
    time: &'a str,
    event: Event,
    object: &'a T,
}

/// What is otherwise than before: what is gone first, then the others in the order of `now`.
pub fn changes<'a, T: Listed>(before: &'a [T], now: &'a [T]) -> Vec<(Event, &'a T)> {
    let known: BTreeMap<_, _> = before.iter().map(|row| (row.id(), row)).collect();
    let left: BTreeMap<_, _> = now.iter().map(|row| (row.id(), row)).collect();
    let gone = before.iter().filter(|row| !left.contains_key(&row.id()));
    let here = now.iter().filter_map(|row| match known.get(&row.id()) {
        None => Some((Event::Added, row)),
        Some(then) => row.differs(then).then_some((Event::Changed, row)),
    });
    gone.map(|row| (Event::Gone, row)).chain(here).collect()
}

/// Changes as lines, or as documents of YAML, each with its time; a table has its header where
/// `headers` is true.
pub fn appended<T: Listed + Clone>(
    output: Output,
    time: &str,
    changes: &[(Event, &T)],
    headers: bool,
) -> Result<String, RenderError> {
    match output {
        Output::Table | Output::Wide => {
            let rows: Vec<T> = changes.iter().map(|(_, row)| (*row).clone()).collect();
            let led = changes.iter().map(|(event, _)| [time, event.name()]).collect();
            let sheet = T::sheet(&rows, output == Output::Wide);
            Ok(led_by(sheet, led).draw(headers))
        }
        Output::Json => {
            let mut lines = String::new();
            for (event, object) in changes.iter().copied() {
                lines += &serde_json::to_string(&Change { time, event, object })?;
                lines.push('\n');
            }
            Ok(lines)
        }
        Output::Yaml => {
            let mut documents = String::new();
            for (event, object) in changes.iter().copied() {
                documents += "---\n";
                documents += &text(output, &Change { time, event, object }, |_, _| String::new())?;
            }
            Ok(documents)
        }
    }
}

fn led_by(sheet: Sheet, cells: Vec<[&str; 2]>) -> Sheet {
    sheet.led_by(&["TIME", "EVENT"], cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing, view::ConnectionView};

    #[test]
    fn rows_come_change_and_go() {
        let services = testing::services();
        let mut now = services[1..].to_vec();
        now[0].backends[0].active += 1;
        now.push(crate::view::ServiceView { name: "new".into(), ..services[0].clone() });
        let told: Vec<_> = changes(&services, &now)
            .into_iter()
            .map(|(event, row)| format!("{} {}:{}", event.name(), row.name, row.port.number))
            .collect();
        assert_eq!(told, ["gone cart:80", "changed cart:9000", "added new:80"]);
        assert!(changes(&now, &now).is_empty());
    }

    #[test]
    fn time_alone_changes_no_connection() {
        let before = testing::connections()[..1].to_vec();
        let mut now = before.clone();
        now[0].age_ms += 1_000;
        let activity = now[0].activity.as_mut().expect("a socket");
        (activity.idle_ms, activity.busy) = (0, true);
        activity.bytes_sent += 500;
        assert!(changes(&before, &now).is_empty());
        now[0].ended_ms = Some(3);
        assert_eq!(changes(&before, &now).len(), 1);
    }

    #[test]
    fn each_form_has_time_and_event() {
        let rows = testing::connections();
        let changes: Vec<(Event, &ConnectionView)> = vec![(Event::Gone, &rows[0])];
        let of = |output, headers| {
            let text = appended(output, "12:00", &changes, headers).expect("text");
            anstream::adapter::strip_str(&text).to_string()
        };
        let table = of(Output::Table, true);
        assert!(table.contains("TIME    EVENT   NAMESPACE"), "{table}");
        assert!(of(Output::Table, false).starts_with("12:00   gone   shop"));
        let json = of(Output::Json, true);
        assert!(json.starts_with(r#"{"time":"12:00","event":"gone","object":{"namespace":"shop""#));
        assert_eq!(json.lines().count(), 1);
        assert!(of(Output::Yaml, true).starts_with("---\ntime: \"12:00\"\nevent: gone\nobject:\n"));
    }
}
