//! The table of `events`.

use comfy_table::Color;

use super::{
    human::age,
    listed::{Column, Key, Listed},
    table::{Sheet, cell},
};
use crate::view::{EventKind, EventView};

impl Listed for EventView {
    const COLUMNS: &'static [Column<Self>] = &[
        ("age", |view| view.age_ms.into()),
        ("time", |view| (&view.time).into()),
        ("kind", |view| Key::Text(view.kind.name().to_owned())),
        ("object", |view| (&view.object).into()),
        ("message", |view| (&view.message).into()),
    ];

    fn namespace(&self) -> &str {
        self.service.as_ref().map_or("", |service| &service.namespace)
    }

    fn sheet(rows: &[Self], wide: bool) -> Sheet {
        let mut header = vec!["AGE", "KIND", "OBJECT", "MESSAGE"];
        if wide {
            header.insert(1, "TIME");
        }
        let row = |view: &Self| {
            let mut cells = vec![
                cell(age(view.age_ms / 1_000)),
                kind(view.kind),
                cell(&view.object),
                cell(&view.message),
            ];
            if wide {
                cells.insert(1, cell(&view.time));
            }
            cells
        };
        Sheet::new(header, rows.iter().map(row).collect())
    }

    fn id(&self) -> String {
        format!("{} {} {} {}", self.time, self.kind.name(), self.object, self.message)
    }

    /// What has happened stays as it was.
    fn differs(&self, _: &Self) -> bool {
        false
    }
}

fn kind(kind: EventKind) -> comfy_table::Cell {
    let cell = cell(kind.name());
    match kind {
        EventKind::Problem | EventKind::Suspect => cell.fg(Color::Red),
        EventKind::Drain | EventKind::Moves => cell.fg(Color::Yellow),
        EventKind::Agent | EventKind::Service | EventKind::Endpoints => cell,
    }
}
