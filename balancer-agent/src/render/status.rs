//! The page of `status`.

use std::{cmp::Ordering, fmt::Write};

use comfy_table::Color;

use super::{
    human::{age, percent, tenths},
    table::{cell, optional, table},
};
use crate::view::{AgentView, BalancingView, CountsView, EventView, RecentView, StatusView};

/// Draws the state of the agent and of what it left in the kernel.
pub fn status(status: &StatusView, wide: bool) -> String {
    let mut text = summary(status);
    text.push_str(&programs(status, wide));
    if !status.capacity.is_empty() {
        let _infallible = write!(text, "\n{}", capacity(status));
    }
    if !status.verdicts.is_empty() {
        let rows = status.verdicts.iter().map(|v| vec![cell(&v.name), cell(v.total)]);
        let _infallible = write!(text, "\n{}", table(&["VERDICT", "TOTAL"], rows));
    }
    if !status.pods.is_empty() {
        let rows = status.pods.iter().map(|pod| {
            let name = format!("{}/{}", pod.namespace, pod.name);
            vec![cell(name), cell(pod.state), optional(pod.runtime_class.as_ref())]
        });
        let _infallible = write!(text, "\n{}", table(&["POD", "STATE", "RUNTIME-CLASS"], rows));
    }
    if !status.refused.is_empty() {
        let rows = status.refused.iter().map(|refused| {
            let port = &refused.service_port;
            vec![
                cell(format!("{}/{}", refused.namespace, refused.service)).fg(Color::Red),
                cell(format!("{}/{}", port.number, port.protocol)),
                cell(&refused.error),
                cell(refused.not_ready),
            ]
        });
        let header = ["WITHOUT ENDPOINT", "PORT", "CLIENTS GET", "NOT READY"];
        let _infallible = write!(text, "\n{}", table(&header, rows));
    }
    if !status.problems.is_empty() {
        let rows = status.problems.iter().map(|problem| {
            let field = (!problem.field.is_empty()).then_some(&problem.field);
            vec![cell(&problem.object).fg(Color::Red), optional(field), cell(&problem.message)]
        });
        let _infallible = write!(text, "\n{}", table(&["PROBLEM", "FIELD", "MESSAGE"], rows));
    }
    text
}

/// How much has changed, and the last change.
fn events(recent: &RecentView) -> String {
    let EventView { age_ms, object, message, .. } = &recent.last;
    let ago = age(age_ms / 1_000);
    // What could move the cursor is shown as a blank.
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text = format!("{} in 5 minutes; {ago} ago: {object}: {message}", recent.count);
    text.chars().map(clean).collect()
}

fn summary(status: &StatusView) -> String {
    let agent = match &status.agent {
        None => "not reachable".to_owned(),
        Some(agent) => format!(
            "{}, version {}, pid {}, up {}",
            state(agent),
            agent.version,
            agent.pid,
            age(agent.uptime_s)
        ),
    };
    let unknown = || "unknown".to_owned();
    let agent_says = |what: fn(&AgentView) -> &String| {
        status.agent.as_ref().map_or_else(unknown, |agent| what(agent).clone())
    };
    let rows = [
        ("Agent", agent),
        ("Node", agent_says(|agent| &agent.node)),
        ("Source", agent_says(|agent| &agent.source)),
        ("Cgroup", status.cgroup.clone().unwrap_or_else(|| unattached(status))),
        ("Pins", status.bpffs.clone()),
        ("Balancing", status.balancing.as_ref().map_or_else(unknown, balancing)),
        ("Connections", status.connections.map_or_else(unknown, |open| open.to_string())),
        ("Counts", status.counts.as_ref().map_or_else(unknown, counts)),
        ("Outside", outside(status)),
        ("Refused", refused(status)),
        ("Problems", status.problems.len().to_string()),
        ("Events", status.events.as_ref().map_or_else(|| "none".to_owned(), events)),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let _infallible = writeln!(text, "{:13}{value}", format!("{name}:"));
    }
    text
}

fn outside(status: &StatusView) -> String {
    if status.outside.is_empty() {
        return "not balanced".to_owned();
    }
    format!("balanced over {}", status.outside.join(", "))
}

fn refused(status: &StatusView) -> String {
    match (&status.agent, status.refused.len()) {
        (None, _) => "unknown".to_owned(),
        (Some(_), 0) => "none".to_owned(),
        (Some(_), 1) => "the clients of 1 Service port".to_owned(),
        (Some(_), ports) => format!("the clients of {ports} Service ports"),
    }
}

fn unattached(status: &StatusView) -> String {
    let is_known = status.programs.iter().all(|program| program.unreadable.is_none());
    if is_known { "nothing is attached" } else { "unknown" }.to_owned()
}

fn state(agent: &AgentView) -> String {
    match agent.waiting_for.as_slice() {
        _ if agent.ready => "ready".to_owned(),
        [] => "starting".to_owned(),
        kinds => format!("starting, waits for the list of {}", kinds.join(", ")),
    }
}

fn balancing(balancing: &BalancingView) -> String {
    let BalancingView { state, detail, mended_total, .. } = balancing;
    let mended = match mended_total {
        0 => String::new(),
        times => format!("; put back {times} times"),
    };
    format!("{state}: {detail}{mended}")
}

fn counts(counts: &CountsView) -> String {
    let CountsView { nodes, members, age_ms, alone, .. } = counts;
    if let Some(why) = alone {
        return format!("of this node alone: {why}");
    }
    let of = match nodes.cmp(members) {
        Ordering::Less => format!("of {nodes} of {members} nodes"),
        _ => format!("of {nodes} nodes"),
    };
    match age_ms {
        Some(ms) => format!("{of}, {} old", tenths(*ms)),
        None => of,
    }
}

fn programs(status: &StatusView, wide: bool) -> String {
    if status.programs.is_empty() {
        return String::new();
    }
    let mut header = vec!["PROGRAM", "ATTACHED"];
    if wide {
        header.extend(["ID", "TAG"]);
    }
    let rows = status.programs.iter().map(|program| {
        let attached = match program.id {
            Some(_) => cell("yes").fg(Color::Green),
            None if program.unreadable.is_some() => cell("unknown").fg(Color::Yellow),
            None => cell("no").fg(Color::Red),
        };
        let mut row = vec![cell(&program.name), attached];
        if wide {
            row.extend([optional(program.id), optional(program.tag.as_ref())]);
        }
        row
    });
    format!("\n{}", table(&header, rows))
}

fn capacity(status: &StatusView) -> String {
    let rows = status.capacity.iter().map(|map| {
        let percent = percent(map.used, map.max);
        let nearly_full = map.used.saturating_mul(10) >= map.max.saturating_mul(9);
        let part = if nearly_full { cell(percent).fg(Color::Yellow) } else { cell(percent) };
        vec![cell(&map.name), cell(map.used), cell(map.max), part]
    });
    table(&["MAP", "USED", "MAX", "USE"], rows)
}
