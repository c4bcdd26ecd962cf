//! What is desired, and what stands in empty maps after it was written to them, as text.

use std::{collections::BTreeSet, fmt::Write as _};

use balancer_agent::{
    apply::apply,
    desired::{Desired, DesiredPort, Options, PortId, backends::Backends},
    maps::{FrontendKey, Limits, ReadMaps as _, Settings, convert, in_memory::InMemoryMaps},
    model::State,
    plan::{Extent, book::Book, entries, plan, rows::rows},
};
use balancer_common::{
    layout::{RESTRICTED, Row, Slot},
    policy::{DEFAULT_WEIGHT, Policy},
};

const LIMITS: Limits = Limits { services: 64, frontends: 256, backends: 256, slots: 1024 };

/// Everything that a case gives.
pub fn all(state: &State, desired: &Desired) -> String {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut book = Book::read(&maps).unwrap();
    let plan = plan(&mut book, &rows(&desired.ports), Extent::All(&BTreeSet::new()), &maps);
    let applied = apply(&mut maps, &plan);
    let problems = [&state.problems, &desired.problems, &plan.problems, &applied.problems];
    let problems = problems.map(Vec::as_slice);
    let mut text = String::from("desired\n");
    for (id, port) in &desired.ports {
        text += &self::port(id, port);
    }
    text += &pods(desired);
    text += "maps\n";
    text += &entries(&maps);
    text += "problems\n";
    for problem in problems.concat() {
        writeln!(text, "  {problem}").unwrap();
    }
    text
}

fn port(id: &PortId, port: &DesiredPort) -> String {
    let mut text = format!("  {id} {}", port.number);
    let Options { policy, affinity, slow_start, keeps_suspects, stays } = port.options;
    write!(text, " policy={}", policy.name()).unwrap();
    for (name, seconds) in [("affinity", affinity), ("slow-start", slow_start)] {
        if seconds > 0 {
            write!(text, " {name}={seconds}s").unwrap();
        }
    }
    if keeps_suspects {
        text.push_str(" suspect=off");
    }
    if stays {
        text.push_str(" external=local");
    }
    for range in &port.source_ranges {
        write!(text, " from={range}").unwrap();
    }
    text.push('\n');
    for frontend in &port.frontends {
        let kind = format!("{:?}", frontend.kind);
        writeln!(text, "    {kind:12} {}", frontend.addr).unwrap();
    }
    let title = if port.local { "local" } else { "endpoints" };
    text += &backends(title, &port.backends);
    if let Some(external) = &port.external {
        text += &backends("external", external);
    }
    text
}

fn backends(title: &str, backends: &Backends) -> String {
    let mut text = format!("    {title}:");
    for (backend, details) in backends.iter() {
        write!(text, " {backend}").unwrap();
        if details.weight != DEFAULT_WEIGHT {
            write!(text, "*{}", details.weight).unwrap();
        }
        if !details.usable {
            text.push_str("(unused)");
        }
    }
    text.push('\n');
    text
}

fn pods(desired: &Desired) -> String {
    let mut text = String::new();
    for (uid, pod) in &desired.pods {
        write!(text, "  pod {} {uid} {:?}", pod.id, pod.addresses).unwrap();
        for (word, set) in [("opted-out", pod.opted_out), ("host-network", pod.host_network)] {
            if set {
                write!(text, " {word}").unwrap();
            }
        }
        if let Some(class) = &pod.sandboxed {
            write!(text, " sandboxed={class}").unwrap();
        }
        text.push('\n');
    }
    text
}

/// The entries of the maps: frontends, rows and backends.
fn entries(maps: &InMemoryMaps) -> String {
    let mut text = String::new();
    let mut frontends = maps.frontends().unwrap();
    frontends.sort_by_key(|(key, value)| {
        convert::frontend_addr(*key, *value).map(|found| (found.addr, found.protocol))
    });
    for (key, value) in frontends {
        let map = match key {
            FrontendKey::V4(_) => "frontends4",
            FrontendKey::V6(_) => "frontends6",
        };
        let found = convert::frontend_addr(key, value).unwrap();
        write!(text, "  {map} {}/{} -> service {}", found.addr, found.protocol, value.service)
            .unwrap();
        text.push_str(if value.kind & RESTRICTED != 0 { " restricted\n" } else { "\n" });
    }
    for (id, name) in maps.names().unwrap() {
        let row = maps.row(id);
        let slots: Vec<_> =
            (row.base..row.base + row.len).map(|index| slot(maps.slot(index))).collect();
        let shown = match row {
            Row::EMPTY => "none".to_owned(),
            Row::NOT_LOCAL => "none-local".to_owned(),
            _ => format!("[{}]", slots.join(" ")),
        };
        let found = convert::row_id(&name).unwrap();
        writeln!(text, "  service {id} {found}{} row={shown}", settings(maps.settings(id)))
            .unwrap();
    }
    let ranges = maps.ranges().unwrap().into_iter().filter_map(convert::range_of);
    for (service, range) in ranges.collect::<BTreeSet<_>>() {
        writeln!(text, "  range service {service} from {range}").unwrap();
    }
    for (id, entry) in entries::backends(maps) {
        let found = convert::backend_addr(&entry).unwrap();
        writeln!(text, "  backend {id} {found}/{}", found.protocol).unwrap();
    }
    text
}

fn slot(slot: Slot) -> String {
    match slot.weight {
        DEFAULT_WEIGHT => slot.backend.to_string(),
        weight => format!("{}*{weight}", slot.backend),
    }
}

/// What differs from the default.
fn settings(settings: Settings) -> String {
    let mut text = String::new();
    let Settings { policy, affinity, slow_start, group, keeps_suspects, stays, outside } = settings;
    if policy != Policy::default() {
        write!(text, " policy={}", policy.name()).unwrap();
    }
    if affinity > 0 {
        write!(text, " affinity={affinity}s memory={group}").unwrap();
    }
    if slow_start > 0 {
        write!(text, " slow-start={slow_start}s").unwrap();
    }
    if keeps_suspects {
        text.push_str(" suspect=off");
    }
    if let Some(outside) = outside {
        write!(text, " outside={outside}").unwrap();
    }
    if stays {
        text.push_str(" external=local");
    }
    text
}
