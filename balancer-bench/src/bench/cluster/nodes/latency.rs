//! How soon a change of a counter on one node stands in the kernels of all others.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use balancer_lab::error::{Error, Result};
use indicatif::ProgressBar;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{lane::Lane, maps::Row, stage::Stage};
use crate::bench::{
    report::{Cell, Table},
    stats::quantile,
};

/// Backends of the Service.
const BACKENDS: usize = 5;
/// How often the other nodes are looked at.
const LOOK: Duration = Duration::from_micros(500);
/// Between two changes, at most: agents may have something to say at any time.
const PAUSE: Duration = Duration::from_millis(800);
/// How long a change may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is demanded, in milliseconds.
const TARGETS: [(f64, &str, &str); 2] = [(0.5, "median", "60"), (0.99, "99%", "300")];

/// Milliseconds of each change and each other node, sorted.
pub(super) struct Latencies(Vec<f64>);

/// Every node opens and closes connections by turns, so many changes in all, which is whose at
/// random.
pub(super) fn run(
    stage: &Stage,
    lane: &mut Lane,
    changes: u64,
    progress: &ProgressBar,
) -> Result<Latencies> {
    stage.publish(lane, &(0..BACKENDS).collect::<Vec<_>>())?;
    stage.await_none(lane)?;
    let rows = stage.maps.iter().map(|maps| maps.row(&lane.name())).collect::<Result<Vec<_>>>()?;
    let mut rng = StdRng::seed_from_u64(changes);
    let mut open = Vec::new();
    for (node, dialer) in stage.dialers.iter().enumerate() {
        // Users of the Service from now on.
        open.push((node, lane.connect(dialer)?));
    }
    let mut millis = Vec::new();
    for change in 0..changes {
        thread::sleep(PAUSE.mul_f64(rng.random()));
        let before = Instant::now();
        let (node, pod) = if change % 2 == 0 {
            let node = rng.random_range(0..stage.dialers.len());
            let (local, pod) = lane.connect(&stage.dialers[node])?;
            open.push((node, (local, pod)));
            (node, pod)
        } else {
            let (node, (local, pod)) = open.swap_remove(rng.random_range(0..open.len()));
            lane.close(&stage.dialers[node], local)?;
            (node, pod)
        };
        let backend = stage.backend(lane, pod);
        let on = |node: usize| open.iter().filter(|(n, (_, p))| (*n, *p) == (node, pod)).count();
        let counts: Vec<u32> = (0..rows.len()).map(|node| on(node) as u32).collect();
        let passed = until_told(stage, &rows, node, backend, &counts, before)?;
        millis.extend(passed.into_iter().map(|passed| passed.as_secs_f64() * 1e3));
        progress.inc(1);
    }
    for (node, (local, _)) in open {
        lane.close(&stage.dialers[node], local)?;
    }
    millis.sort_unstable_by(f64::total_cmp);
    Ok(Latencies(millis))
}

/// When each node but the one that has changed knew what the others have.
fn until_told(
    stage: &Stage,
    rows: &[Row],
    changed: usize,
    backend: SocketAddr,
    counts: &[u32],
    before: Instant,
) -> Result<Vec<Duration>> {
    let total: u32 = counts.iter().sum();
    let mut waiting: Vec<usize> = (0..rows.len()).filter(|node| *node != changed).collect();
    let mut passed = Vec::new();
    while !waiting.is_empty() {
        if before.elapsed() > PATIENCE {
            return Err(Error::Unmet(format!(
                "nodes {waiting:?} do not know of the change of {backend} on node {changed} after \
                 {PATIENCE:?}"
            )));
        }
        thread::sleep(LOOK);
        waiting.retain(|node| {
            let id = rows[*node].get(&backend).copied().unwrap_or(0);
            let knows = stage.maps[*node].others(id) == total - counts[*node];
            if knows {
                passed.push(before.elapsed());
            }
            !knows
        });
    }
    Ok(passed)
}

impl Latencies {
    /// As a table.
    pub(super) fn table(&self, nodes: usize) -> Table {
        let row = |(part, name, target): (f64, &str, &str)| {
            let measured = quantile(&self.0, part);
            vec![name.into(), Cell::Number(measured, 1), "ms".into(), target.into()]
        };
        let longest = self.0.last().copied().unwrap_or(f64::NAN);
        let longest = vec!["longest".into(), Cell::Number(longest, 1), "ms".into(), Cell::Absent];
        Table::of_targets(
            format!(
                "From connect() and close() on one node to the kernels of {} others",
                nodes - 1
            ),
            TARGETS.into_iter().map(row).chain([longest]).collect(),
        )
    }
}
