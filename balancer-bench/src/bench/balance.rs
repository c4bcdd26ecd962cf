//! `balance`: how evenly connections that are opened together come to the backends.

use balancer_common::policy::Policy;
use balancer_lab::error::Result;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    Effort,
    report::{Cell, Column, Report, Table},
    stage::{Plan, Stage},
    variant::Variant,
};

const BACKENDS: u8 = 5;
/// Connections of a trial.
const CASES: [u32; 5] = [2, 5, 10, 20, 21];
/// The dice of both of kube-proxy's modes, beside balancer with each policy.
const DICE: [Variant; 2] = [Variant::IptablesNft, Variant::Nftables];
/// Trials between two steps of the progress bar.
const BATCH: u32 = 20;

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    let (mut stages, mut missing) = (Vec::new(), Vec::new());
    let policies = Policy::ALL.map(|policy| (Variant::Balancer, policy));
    let dice = DICE.map(|variant| (variant, Policy::LeastConnections));
    for (variant, policy) in policies.into_iter().chain(dice) {
        progress.set_message(format!("build: {}", variant.name()));
        let plan = Plan { pinned: false, policy, ..Plan::new(variant, 1, BACKENDS) };
        match Stage::build(plan)? {
            Some(stage) => stages.push(stage),
            None => missing.push(super::cannot(variant)),
        }
    }
    progress.set_length(u64::from(effort.trials) * (CASES.len() * stages.len()) as u64);
    let (mut rows, mut raw) = (Vec::new(), Vec::new());
    for connections in CASES {
        for stage in &mut stages {
            progress.set_message(format!("{connections} connections, {}", stage.variant.name()));
            let outcome = Outcome::measure(stage, connections, effort.trials, progress)?;
            rows.push(outcome.row(stage, connections));
            raw.push(outcome.raw(stage, connections));
        }
    }
    Ok(Report {
        name: "balance",
        what: format!(
            "Threads open one connection each to a Service with {BACKENDS} backends, all at the \
             same moment and from all processors; {} trials each. Counted while all are open.",
            effort.trials
        ),
        tables: vec![Table { caption: "Spread".into(), columns: columns(), rows }],
        notes: missing,
        raw: raw.into(),
    })
}

fn columns() -> Vec<Column> {
    let column = |key, head| Column { key, head };
    vec![
        column("connections", "connections"),
        column("variant", "variant"),
        column("policy", "policy"),
        column("even_percent", "as even as can be (%)"),
        column("gap_mean", "max-min, mean"),
        column("gap_worst", "worst"),
        column("idle_mean", "idle backends, mean"),
        column("idle_worst", "worst"),
        column("share_least_percent", "share of all, least (%)"),
        column("share_most_percent", "most (%)"),
    ]
}

/// For each trial the number of connections on each backend.
struct Outcome(Vec<Vec<u32>>);

impl Outcome {
    fn measure(
        stage: &mut Stage,
        connections: u32,
        trials: u32,
        progress: &ProgressBar,
    ) -> Result<Self> {
        let mut all = Vec::new();
        while all.len() < trials as usize {
            let batch = BATCH.min(trials - all.len() as u32);
            all.extend(stage.worker.spread(stage.targets[0], connections, batch)?);
            progress.inc(batch.into());
        }
        Ok(Self(all))
    }

    /// Most minus least, of each trial.
    fn gaps(&self) -> impl Iterator<Item = u32> {
        let most = |counts: &[u32]| counts.iter().copied().max().unwrap_or(0);
        let least = |counts: &[u32]| counts.iter().copied().min().unwrap_or(0);
        self.0.iter().map(move |counts| most(counts) - least(counts))
    }

    /// Backends without a connection, of each trial.
    fn idle(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|counts| counts.iter().filter(|&&count| count == 0).count() as u32)
    }

    /// Connections of each backend over all trials, the fewest first.
    fn totals(&self) -> Vec<u32> {
        let backends = self.0.first().map_or(0, Vec::len);
        let mut totals: Vec<u32> = (0..backends)
            .map(|backend| self.0.iter().map(|counts| counts[backend]).sum())
            .collect();
        totals.sort_unstable();
        totals
    }

    fn row(&self, stage: &Stage, connections: u32) -> Vec<Cell> {
        self.cells(stage.variant.name(), policy(stage), connections)
    }

    fn cells(&self, variant: &str, policy: Option<Policy>, connections: u32) -> Vec<Cell> {
        let trials = self.0.len() as f64;
        let possible = u32::from(!connections.is_multiple_of(BACKENDS.into()));
        let even = self.gaps().filter(|&gap| gap == possible).count() as f64;
        let mean = |values: u32| Cell::Number(f64::from(values) / trials, 2);
        let totals = self.totals();
        let share = |total: Option<&u32>| {
            let all = f64::from(connections) * trials;
            total.map_or(Cell::Absent, |&total| Cell::Number(f64::from(total) / all * 100.0, 1))
        };
        vec![
            Cell::Count(connections.into()),
            variant.into(),
            policy.map_or(Cell::Absent, |policy| policy.name().into()),
            Cell::Number(even / trials * 100.0, 1),
            mean(self.gaps().sum()),
            Cell::Count(self.gaps().max().unwrap_or(0).into()),
            mean(self.idle().sum()),
            Cell::Count(self.idle().max().unwrap_or(0).into()),
            share(totals.first()),
            share(totals.last()),
        ]
    }

    fn raw(&self, stage: &Stage, connections: u32) -> Value {
        json!({
            "variant": stage.variant,
            "policy": policy(stage).map(Policy::name),
            "connections": connections,
            "trials": self.0,
        })
    }
}

/// How a stage chooses, where that is balancer's.
fn policy(stage: &Stage) -> Option<Policy> {
    (stage.variant == Variant::Balancer).then_some(stage.policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_even_trials_from_others() {
        let outcome = Outcome(vec![vec![1, 1, 1, 1, 1], vec![0, 2, 1, 0, 2]]);
        let row = outcome.cells("balancer", Some(Policy::LeastConnections), 5);
        let expected = vec![
            Cell::Count(5),
            "balancer".into(),
            "least-connections".into(),
            Cell::Number(50.0, 1),
            Cell::Number(1.0, 2),
            Cell::Count(2),
            Cell::Number(1.0, 2),
            Cell::Count(2),
            Cell::Number(10.0, 1),
            Cell::Number(30.0, 1),
        ];
        assert_eq!(row, expected);
        assert_eq!(row.len(), columns().len());
    }

    #[test]
    fn a_remainder_is_as_even_as_can_be() {
        let outcome = Outcome(vec![vec![1, 0, 0, 1, 0]]);
        assert_eq!(outcome.cells("balancer", None, 2)[3], Cell::Number(100.0, 1));
    }
}
