//! What has changed of Service ports, in words. Pure.

use std::collections::BTreeMap;

use super::Event;
use crate::{
    desired::{BackendAddr, Desired, DesiredPort, PortId, backends::Details},
    model::{ObjectRef, Problem},
    view::EventKind,
};

/// Endpoints that are named in one event; of more their number is told.
const NAMED: usize = 4;

/// Service ports as they were, to be compared with what comes.
pub type Before = BTreeMap<PortId, DesiredPort>;

/// The ports of some Services, as they are before a change.
pub fn before<'a>(desired: &Desired, services: impl IntoIterator<Item = &'a ObjectRef>) -> Before {
    let mut before = Before::new();
    for service in services {
        before.extend(of(desired, service).map(|(id, port)| (id.clone(), port.clone())));
    }
    before
}

/// What differs now of some Services.
pub fn after<'a>(
    before: &Before,
    desired: &Desired,
    services: impl IntoIterator<Item = &'a ObjectRef>,
) -> Vec<Event> {
    let now = services.into_iter().flat_map(|service| of(desired, service));
    between(before, desired, now)
}

/// What differs between all that was and is desired.
pub fn all(before: &Before, after: &Desired) -> Vec<Event> {
    between(before, after, &after.ports)
}

/// What differs of the ports that were and of `now`, which are some of what is desired.
fn between<'a>(
    before: &Before,
    desired: &Desired,
    now: impl IntoIterator<Item = (&'a PortId, &'a DesiredPort)>,
) -> Vec<Event> {
    let now = now.into_iter().flat_map(|(id, port)| differs(id, before.get(id), Some(port)));
    let gone = before.iter().filter(|(id, _)| !desired.ports.contains_key(id));
    now.chain(gone.flat_map(|(id, port)| differs(id, Some(port), None))).collect()
}

/// A problem that has come, or is gone.
pub fn problem(problem: &Problem, came: bool) -> Event {
    let Problem { object, .. } = problem;
    let message = if came {
        match problem.field.as_str() {
            "" => problem.message.clone(),
            field => format!("{field}: {}", problem.message),
        }
    } else {
        let field = if problem.field.is_empty() { "" } else { ": " };
        format!("mended{field}{}", problem.field)
    };
    let service = object.strip_prefix("Service ").and_then(|name| {
        let (namespace, name) = name.split_once('/')?;
        Some(ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() })
    });
    Event { kind: EventKind::Problem, object: object.clone(), service, message }
}

/// The ports of a Service.
fn of<'a>(
    desired: &'a Desired,
    service: &'a ObjectRef,
) -> impl Iterator<Item = (&'a PortId, &'a DesiredPort)> {
    let first = PortId {
        service: service.clone(),
        port: String::new(),
        protocol: crate::model::Protocol::Tcp,
    };
    desired.ports.range(first..).take_while(move |(id, _)| id.service == *service)
}

fn differs(id: &PortId, before: Option<&DesiredPort>, after: Option<&DesiredPort>) -> Vec<Event> {
    let event = |kind, message| Event::of(kind, id.service.clone(), message);
    match (before, after) {
        (None, None) => Vec::new(),
        // Most of what is looked at.
        (Some(before), Some(after)) if before == after => Vec::new(),
        (None, Some(port)) => {
            let ready = port.backends.values().filter(|details| details.usable).count();
            let text = format!("{}: balanced, {}", name(id, port), endpoints(ready));
            vec![event(EventKind::Service, text)]
        }
        (Some(port), None) => {
            let text = format!("{}: no longer balanced", name(id, port));
            vec![event(EventKind::Service, text)]
        }
        (Some(before), Some(after)) => {
            let mut events = Vec::new();
            if let Some(text) = settings(before, after) {
                events.push(event(EventKind::Service, format!("{}: {text}", name(id, after))));
            }
            if let Some(text) = moved(before, after) {
                events.push(event(EventKind::Endpoints, format!("{}: {text}", name(id, after))));
            }
            events
        }
    }
}

/// What is said of a Service beyond its endpoints.
fn settings(before: &DesiredPort, after: &DesiredPort) -> Option<String> {
    let mut parts = Vec::new();
    if before.number != after.number {
        parts.push(format!("port {} became {}", before.number, after.number));
    }
    if before.frontends != after.frontends {
        let new = after.frontends.iter().filter(|one| !before.frontends.contains(one)).count();
        let gone = before.frontends.iter().filter(|one| !after.frontends.contains(one)).count();
        parts.push(format!("addresses changed ({new} new, {gone} gone)"));
    }
    let (old, new) = (before.options.policy, after.options.policy);
    if old != new {
        parts.push(format!("policy {} became {}", old.name(), new.name()));
    } else if before.options != after.options {
        parts.push("how a backend is chosen changed".to_owned());
    }
    if before.moving != after.moving {
        parts.push("when connections are moved changed".to_owned());
    }
    if before.source_ranges != after.source_ranges {
        parts.push("who may use its load balancer changed".to_owned());
    }
    if before.local != after.local {
        parts.push("its traffic policy changed".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Which endpoints came, went, or are ready or not.
fn moved(before: &DesiredPort, after: &DesiredPort) -> Option<String> {
    let mut named: BTreeMap<&str, Vec<&BackendAddr>> = BTreeMap::new();
    let mut name = |what, backend| named.entry(what).or_default().push(backend);
    for (backend, details) in after.backends.iter() {
        match (before.backends.get(backend).map(state), state(details)) {
            (Some(old), new) if old == new => {}
            (_, new) => name(new, backend),
        }
    }
    for (backend, _) in before.backends.iter() {
        if after.backends.get(backend).is_none() {
            name("gone", backend);
        }
    }
    if named.is_empty() {
        return None;
    }
    let say = |(what, backends): (&str, Vec<&BackendAddr>)| {
        let first: Vec<_> = backends.iter().take(NAMED).map(ToString::to_string).collect();
        let more = match backends.len().checked_sub(NAMED) {
            None | Some(0) => String::new(),
            Some(more) => format!(" and {more} more"),
        };
        format!("{what} {}{more}", first.join(", "))
    };
    let ready = after.backends.values().filter(|details| details.usable).count();
    let parts: Vec<_> = named.into_iter().map(say).collect();
    Some(format!("{}; now {}", parts.join("; "), endpoints(ready)))
}

const fn state(details: &Details) -> &'static str {
    match (details.usable, details.terminating) {
        (true, false) => "ready",
        (true, true) => "terminating and in use",
        (false, true) => "terminating",
        (false, false) if details.serving => "not used",
        (false, false) => "not ready",
    }
}

fn endpoints(ready: usize) -> String {
    match ready {
        0 => "no endpoint: clients are refused".to_owned(),
        1 => "1 endpoint".to_owned(),
        more => format!("{more} endpoints"),
    }
}

fn name(id: &PortId, port: &DesiredPort) -> String {
    format!("port {}/{}", port.number, id.protocol)
}

#[cfg(test)]
mod tests;
