//! The bytes that a node sends and receives by what `docs/cluster.md` says, for Services that all
//! nodes use.

use std::time::Duration;

use balancer_agent::peers::{
    pace,
    seal::OVERHEAD,
    wire::{Hello, Report, Section, Totals, pack},
};

/// Headers of IPv4 and UDP.
const HEADERS: usize = 20 + 8;

/// Which nodes and Services.
#[derive(Clone, Copy, Debug)]
pub(super) struct Formula {
    pub(super) nodes: usize,
    pub(super) services: usize,
    /// Backends of each Service.
    pub(super) backends: usize,
    /// Connections that each node opens to each Service in a second; as many are closed.
    pub(super) opens: f64,
}

impl Formula {
    /// Bytes a second of one node, on average, at most: sent and received.
    pub(super) fn bytes(self) -> f64 {
        let Self { nodes, services, backends, opens } = self;
        let (peers, services) = ((nodes - 1) as f64, services as f64);
        let (report, totals) = (size(&report()), size(&totals()));
        let datagram = (HEADERS + OVERHEAD) as f64;
        let changed =
            |nodes: f64| (2.0 * opens * nodes * pace::GAP.as_secs_f64()).min(backends as f64);
        // Each node is the steward of its part of the Services, and speaks to all others as such.
        let beats = peers * (datagram + size(&Section::Hello(Hello::default())))
            + services * (report + totals + 2.0 * 10.0 * backends as f64) * peers / nodes as f64;
        let beats = beats / pace::beat(nodes - 1).as_secs_f64();
        // Most words: one each time that there may be one, and one for each change.
        let words = |nodes: f64| (2.0 * opens * nodes).min(1.0 / Duration::as_secs_f64(&pace::GAP));
        let said = words(1.0) * (datagram + report + 10.0 * changed(1.0))
            + words(nodes as f64) * (datagram + totals + 10.0 * changed(nodes as f64));
        2.0 * (beats + services * said * peers / nodes as f64)
    }
}

fn size(section: &Section) -> f64 {
    pack(std::slice::from_ref(section)).iter().map(Vec::len).sum::<usize>() as f64
}

fn report() -> Section {
    let service = balancer_agent::peers::name::ServiceId(0);
    let counts = Vec::new();
    Section::Report(Report { service, round: 0, opened: 0, all: None, done: None, counts })
}

fn totals() -> Section {
    let service = balancer_agent::peers::name::ServiceId(0);
    Section::Totals(Totals { service, round: 0, nodes: 0, rate: 0, all: None, counts: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_nodes_send_heartbeats_alone() {
        let of = |nodes, services| Formula { nodes, services, backends: 5, opens: 0.0 }.bytes();
        // 28 of headers, 45 around the sections, 21 of the greeting, each way.
        assert_eq!(of(50, 0), 2.0 * 49.0 * 94.0);
        // A report and totals of 5 backends, in heartbeats that are there anyway.
        assert_eq!((of(50, 1) - of(50, 0)).round(), (2.0 * 146.0 * 49.0 / 50.0_f64).round());
    }

    #[test]
    fn what_is_said_of_changes_does_not_grow_for_ever() {
        let of = |opens| Formula { nodes: 50, services: 1, backends: 5, opens }.bytes();
        assert!(of(1.0) > of(0.1) && of(0.1) > of(0.0));
        assert_eq!(of(1e3), of(1e4));
    }
}
