//! The table of `clients`.

use comfy_table::Color;

use super::{
    human::{age, bar},
    listed::{Column, Listed},
    table::{Sheet, cell, optional},
};
use crate::view::ClientView;

/// Columns of the bar of connections.
const BAR: u64 = 10;

impl Listed for ClientView {
    const COLUMNS: &'static [Column<Self>] = &[
        ("namespace", |view| view.pod.as_ref().map(|pod| &pod.namespace).into()),
        ("pod", |view| view.pod.as_ref().map(|pod| &pod.name).into()),
        ("address", |view| std::net::SocketAddr::from((view.address, 0)).into()),
        ("connections", |view| view.connections.into()),
        ("backends", |view| view.backends.into()),
        ("services", |view| (view.services.len() as u64).into()),
        ("oldest", |view| view.oldest_ms.into()),
        ("dialled", |view| dialled(view).into()),
    ];

    fn namespace(&self) -> &str {
        self.pod.as_ref().map_or("", |pod| &pod.namespace)
    }

    fn sheet(rows: &[Self], wide: bool) -> Sheet {
        let mut header = vec![
            "NAMESPACE",
            "POD",
            "ADDRESS",
            "CONNECTIONS",
            "",
            "BACKENDS",
            "SERVICES",
            "OLDEST",
        ];
        if wide {
            header.push("DIALLED");
        }
        let most = rows.iter().map(|view| view.connections).max().unwrap_or_default();
        let row = |view: &Self| {
            let mut cells = vec![
                optional(view.pod.as_ref().map(|pod| &pod.namespace)),
                optional(view.pod.as_ref().map(|pod| &pod.name)),
                cell(view.address),
                cell(view.connections),
                cell(bar(view.connections, most, BAR)).fg(Color::Cyan),
                cell(view.backends),
                cell(view.services.len()),
                cell(age(view.oldest_ms / 1_000)),
            ];
            if wide {
                cells.push(cell(dialled(view)));
            }
            cells
        };
        Sheet::new(header, rows.iter().map(row).collect())
    }

    fn id(&self) -> String {
        let pod = self.pod.as_ref().map(ToString::to_string);
        pod.unwrap_or_else(|| self.address.to_string())
    }

    fn differs(&self, before: &Self) -> bool {
        (&self.services, self.backends) != (&before.services, before.backends)
    }
}

/// Each Service with the number of connections.
fn dialled(view: &ClientView) -> String {
    let each = view.services.iter();
    let each = each.map(|s| format!("{}/{}={}", s.namespace, s.service, s.connections));
    each.collect::<Vec<_>>().join(",")
}
