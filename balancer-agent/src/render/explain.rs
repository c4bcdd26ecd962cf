//! The page of `explain`.

use std::{fmt::Write as _, net::SocketAddr};

use balancer_common::policy::DEFAULT_WEIGHT;
use comfy_table::Color;
use nix::errno::Errno;

use super::table::{cell, optional, state, table};
use crate::view::{CandidateView, ExplainView};

/// Draws what a connection would get, and why.
pub fn explain(view: &ExplainView, _wide: bool) -> String {
    let dialled = SocketAddr::new(view.address, view.port);
    let client = view
        .pod
        .as_ref()
        .map_or_else(|| "any that is not opted out".to_owned(), |pod| format!("pod {pod}"));
    let verdict = match (view.errno, &view.error) {
        (Some(errno), Some(name)) => {
            let said = Errno::from_raw(errno).desc();
            format!("{}: connect() fails with {name} ({said})", view.verdict)
        }
        _ if view.otherwise.is_some() => format!("{}: left untouched", view.verdict),
        _ => view.verdict.clone(),
    };
    let service = view.service.as_ref().zip(view.service_port.as_ref()).map(|(service, port)| {
        let name = if port.name.is_empty() { String::new() } else { format!(" ({})", port.name) };
        format!("{service}, port {}/{}{name}", port.number, port.protocol)
    });
    let rows = [
        ("Dialled", Some(format!("{dialled}/{}", view.protocol))),
        ("Client", Some(client)),
        ("Verdict", Some(verdict)),
        ("Service", service),
        ("Address", view.frontend.clone()),
        ("Policy", view.policy.clone()),
        ("Why", Some(view.why.clone())),
        ("Otherwise", view.otherwise.clone()),
    ];
    let notes = view.notes.iter().map(|note| ("Note", Some(note.clone())));
    let mut text = String::new();
    for (name, value) in rows.into_iter().chain(notes) {
        if let Some(value) = value {
            let _infallible = writeln!(text, "{:11}{value}", format!("{name}:"));
        }
    }
    if !view.candidates.is_empty() {
        let _infallible = write!(text, "\n{}", candidates(&view.candidates));
    }
    text
}

fn candidates(candidates: &[CandidateView]) -> String {
    let weighted = candidates.iter().any(|candidate| candidate.weight != DEFAULT_WEIGHT);
    let is_known = candidates.iter().any(|candidate| candidate.cluster.is_some());
    let mut header = vec!["BACKEND", "NODE", "STATE", "CONNECTIONS"];
    if is_known {
        header.push("CLUSTER");
    }
    if weighted {
        header.push("WEIGHT");
    }
    header.push("ODDS");
    let row = |candidate: &CandidateView| {
        let mut cells = vec![
            cell(SocketAddr::new(candidate.address, candidate.port)),
            optional(candidate.node.as_ref()),
            state(candidate.state),
            cell(candidate.own),
        ];
        if is_known {
            cells.push(optional(candidate.cluster));
        }
        if weighted {
            cells.push(cell(candidate.weight));
        }
        cells.push(match candidate.odds {
            Some(odds) if odds > 0.0 => cell(percent(odds)).fg(Color::Green),
            odds => optional(odds.map(percent)),
        });
        cells
    };
    table(&header, candidates.iter().map(row))
}

/// A chance in per cent; little is not nothing, and much not all.
fn percent(odds: f64) -> String {
    match odds * 100.0 {
        percent if percent > 0.0 && percent < 1.0 => "<1%".to_owned(),
        percent if percent > 99.0 && percent < 100.0 => ">99%".to_owned(),
        percent => format!("{percent:.0}%"),
    }
}
