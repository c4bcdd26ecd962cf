//! The reason for an answer, in a sentence.

use std::net::SocketAddr;

use crate::view::{ExplainView, FrontendView, ServiceView};

/// Why an address is not balanced, with what is near it.
pub(super) fn not_service(services: &[ServiceView], view: &ExplainView) -> String {
    let same_address = services.iter().find_map(|service| {
        let at = |frontend: &&FrontendView| frontend.address == view.address;
        let frontend = service.frontends.iter().find(at)?;
        Some((frontend.r#type.clone(), &service.namespace, &service.name))
    });
    if let Some((kind, namespace, name)) = same_address {
        let ports = services.iter().flat_map(|service| &service.frontends);
        let ports = ports.filter(|frontend| frontend.address == view.address);
        let mut ports: Vec<_> =
            ports.map(|frontend| (frontend.port, frontend.protocol.to_string())).collect();
        ports.sort();
        ports.dedup();
        let ports: Vec<_> =
            ports.iter().take(10).map(|(port, protocol)| format!("{port}/{protocol}")).collect();
        return format!(
            "{} is an address ({kind}) of Service {namespace}/{name}, where {} can be dialled",
            view.address,
            ports.join(", ")
        );
    }
    let backend = services
        .iter()
        .find(|service| service.backends.iter().any(|backend| backend.address == view.address));
    backend.map_or_else(
        || format!("no Service that is balanced here has {}:{}", view.address, view.port),
        |service| {
            format!(
                "{} is a backend of Service {}/{}, dialled directly",
                view.address, service.namespace, service.name
            )
        },
    )
}

/// A backend that the next connection gets for certain, whatever the policy is.
#[derive(Clone, Copy)]
pub(super) enum Certain {
    /// A place is kept there.
    Seat(SocketAddr),
    /// It has failed, and is tried.
    Trial(SocketAddr),
}

/// Why the candidates have the odds that they have.
pub(super) fn why(view: &ExplainView, certain: Option<Certain>, candidates: usize) -> String {
    if let Some(pinned) = view.pinned {
        let pinned = SocketAddr::new(pinned.address, pinned.port);
        return format!("session affinity: the client had {pinned} before and stays with it");
    }
    match certain {
        Some(Certain::Seat(seat)) => {
            return format!(
                "a connection was moved, and the next one of this node takes its seat at {seat}"
            );
        }
        Some(Certain::Trial(tried)) => {
            return format!(
                "{tried} has just failed and its pause is over: the next connection tries whether \
                 it answers again"
            );
        }
        None => {}
    }
    let possible = view.candidates.iter().filter(|c| c.odds.is_some_and(|odds| odds > 0.0)).count();
    let counted = if view.counts_cluster { "all nodes" } else { "this node" };
    let rule = match view.policy.as_deref() {
        Some("round-robin") => "each in turn".to_owned(),
        Some("random") => "a random one".to_owned(),
        Some("power-of-two") => {
            format!("of two random ones that with fewer connections from {counted}")
        }
        Some("weighted-least-connections") => {
            format!("the fewest connections from {counted} for its weight")
        }
        _ => format!("the fewest connections from {counted}"),
    };
    format!("{rule}; {possible} of {candidates} candidates can be chosen")
}
