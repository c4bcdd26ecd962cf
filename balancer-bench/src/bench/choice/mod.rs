//! `choice`: nanoseconds that each eBPF program takes, by the number of backends, by policy and by
//! protocol.

mod addresses;
mod by_way;
mod cluster;
mod outcome;
mod scene;
mod ways;

use balancer_lab::error::Result;
use indicatif::ProgressBar;
use rand::seq::SliceRandom;

use super::{Effort, report::Report};
use cluster::Others;
use outcome::{Case, Subject};
use scene::Scene;
use ways::WAYS;

/// Numbers of backends; 0 is an address that is no Service. Rows of more than 1,024 are sampled.
const BACKENDS: [u32; 8] = [0, 1, 3, 16, 64, 256, 1024, 4096];
/// Those that are measured with the connections of other nodes.
const OTHERS: [(u32, Others); 7] = [
    (3, Others::Busy),
    (16, Others::Busy),
    (16, Others::Quiet),
    (64, Others::Busy),
    (256, Others::Busy),
    (1024, Others::Busy),
    (1024, Others::Quiet),
];

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    progress.set_message("build");
    let mut scene = Scene::build()?;
    let mut cases: Vec<Case> = BACKENDS
        .map(Subject::Backends)
        .into_iter()
        .chain(OTHERS.map(|(backends, others)| Subject::Cluster(backends, others)))
        .chain(WAYS.iter().map(Subject::Way))
        .map(Case::of)
        .collect();
    progress.set_length(u64::from(effort.rounds) * cases.len() as u64);
    let mut order: Vec<usize> = (0..cases.len()).collect();
    for round in 0..=effort.rounds {
        order.shuffle(&mut rand::rng());
        for &index in &order {
            let case = &mut cases[index];
            progress.set_message(case.subject.name());
            let sample = scene.measure(case.subject, effort.connects)?;
            // Round 0 warms up.
            if round > 0 {
                case.samples.push(sample);
                progress.inc(1);
            }
        }
    }
    Ok(Report {
        name: "choice",
        what: format!(
            "What the kernel's own statistics say one run of each program takes, on fresh sockets \
             pinned to one processor; {} rounds of {} connections, shuffled; medians of the \
             rounds. The kernel's clock is in every figure: an empty program, attached beside each and \
             measured in the same connections, is the floor. `tcp` runs at several milestones of a \
             connection, for both of its ends.",
            effort.rounds, effort.connects
        ),
        tables: vec![outcome::table(&cases), by_way::table(&cases)],
        notes: outcome::notes(&cases),
        raw: outcome::raw(&cases),
    })
}
