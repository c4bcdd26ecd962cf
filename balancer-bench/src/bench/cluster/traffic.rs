//! What agents send each other for one Service.

use std::time::Duration;

use rand::{SeedableRng as _, rngs::StdRng};

use super::{
    super::report::{Cell, Column, Table},
    agents::{Agents, Sent},
    engine::Engine,
    workload::{Rows, Steady},
};

/// Nodes, backends, connections of a backend.
const CLUSTERS: [(usize, usize, f64); 4] =
    [(7, 5, 20.0), (50, 20, 20.0), (100, 20, 20.0), (500, 100, 20.0)];
/// Life of a connection, in seconds.
const LIFE: f64 = 100.0;
/// From when until when what is sent is counted.
const FROM: Duration = Duration::from_secs(10);
const UNTIL: Duration = Duration::from_secs(20);

/// Of the clusters of at most so many nodes.
pub(super) fn table(most_nodes: usize) -> Table {
    let column = |key, head| Column { key, head };
    let clusters = CLUSTERS.into_iter().filter(|(nodes, ..)| *nodes <= most_nodes);
    Table {
        caption: format!("What a node sends for one Service that all dial, life {LIFE} s"),
        columns: vec![
            column("cluster", "cluster"),
            column("client_datagrams_per_second", "datagrams/s"),
            column("client_bytes_per_second", "bytes/s"),
            column("steward_datagrams_per_second", "steward, datagrams/s"),
            column("steward_bytes_per_second", "bytes/s"),
        ],
        rows: clusters.map(|(nodes, backends, mean)| row(nodes, backends, mean)).collect(),
    }
}

fn row(nodes: usize, backends: usize, mean: f64) -> Vec<Cell> {
    let steady = Steady { nodes, backends, mean, life: LIFE, rows: Rows::All, agents_end: false };
    let mut agents = Agents::new(&steady.world(), StdRng::seed_from_u64(1));
    agents.count_sent(FROM..UNTIL);
    let mut engine = Engine::new(steady.world(), &mut agents);
    steady.last(&mut engine, UNTIL, &mut StdRng::seed_from_u64(2));
    let sent = agents.sent();
    // The steward says most.
    let steward = sent.iter().max_by_key(|sent| sent.bytes).copied().unwrap_or_default();
    let seconds = (UNTIL - FROM).as_secs_f64();
    let of_steward = |count: fn(&Sent) -> u64| Cell::Number(count(&steward) as f64 / seconds, 0);
    let of_others = |count: fn(&Sent) -> u64| {
        let sum = sent.iter().map(count).sum::<u64>() - count(&steward);
        Cell::Number(sum as f64 / (nodes - 1) as f64 / seconds, 0)
    };
    vec![
        Cell::Text(format!("{nodes}n {backends}b m{mean}")),
        of_others(|sent| sent.datagrams),
        of_others(|sent| sent.bytes),
        of_steward(|sent| sent.datagrams),
        of_steward(|sent| sent.bytes),
    ]
}
