//! A pod joins or leaves every ten seconds, while clients send.

mod pods;

use std::{
    thread,
    time::{Duration, Instant},
};

use balancer_lab::{
    error::{Error, Result},
    http,
};
use indicatif::ProgressBar;
use serde::Serialize;

use self::pods::{AT_FIRST, FEWEST, PODS, Pods};
use super::{
    super::report::{Cell, Table},
    stage::{PACE, Stage, gap, service},
};

const CONNECTIONS: u64 = 60;
/// Between two changes.
const STEP: Duration = Duration::from_secs(10);
/// How long before a change is looked.
const SHORTLY: Duration = Duration::from_millis(500);
/// Between two looks at what was ended.
const TICK: Duration = Duration::from_millis(500);
const MINUTE: Duration = Duration::from_secs(60);
/// The agent's own.
const BUDGET: u64 = 60;
/// Over which time a pod that leaves loses its connections.
const DRAIN: &str = "4s";
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    changes: u64,
    /// Most minus least of the pods that are ready, shortly before each change.
    gaps: Vec<u64>,
    /// Connections to the pod that leaves, at the same time.
    stayed: u64,
    /// Connections ended for the sake of balance, by the time after the start.
    ended: Vec<(f64, u64)>,
    requests: u64,
    failed: u64,
    first_error: Option<String>,
}

/// So many changes.
pub(super) fn run(changes: u32, progress: &ProgressBar) -> Result<Outcome> {
    progress.set_length(changes.into());
    progress.set_position(0);
    progress.set_message("churn: a pod joins or leaves every 10 s");
    let mut service = service(0, PODS).annotated("balancer-agent/drain-timeout", DRAIN);
    let mut pods = Pods::new();
    pods.tell(&mut service);
    let services = std::slice::from_ref(&service);
    let mut stage = Stage::build(PODS, http::Pools::PerThread, Duration::ZERO, services)?;
    let mut client = stage.client(&service, CONNECTIONS as usize, PACE)?;
    let open = stage.wait(&service, PATIENCE, |look| look.is_even(AT_FIRST, CONNECTIONS))?;
    open.ok_or_else(|| Error::Unmet("the clients did not connect evenly".into()))?;

    let mut outcome = Outcome {
        changes: changes.into(),
        gaps: Vec::new(),
        stayed: 0,
        ended: Vec::new(),
        requests: 0,
        failed: 0,
        first_error: None,
    };
    let started = Instant::now();
    for change in 1..=changes {
        pods.change();
        if let Some(gone) = pods.gone.take() {
            stage.servers[gone] = None;
        }
        if let Some(new) = pods.new.take() {
            stage.serve(new)?;
        }
        pods.tell(&mut service);
        stage.manifests.write(&service)?;
        let next = started + STEP * change;
        while Instant::now() < next - SHORTLY {
            thread::sleep(TICK.min((next - SHORTLY).saturating_duration_since(Instant::now())));
            let look = stage.look(&service)?;
            outcome.ended.push((started.elapsed().as_secs_f64(), look.ended));
        }
        let look = stage.look(&service)?;
        // A pod that leaves has no part in the spread.
        let ready = look.of((0..PODS).filter(|pod| pods.ready[*pod]));
        outcome.gaps.push(gap(&ready));
        outcome.stayed += look.total() - ready.iter().sum::<u64>();
        thread::sleep(next.saturating_duration_since(Instant::now()));
        progress.inc(1);
    }
    client.stop()?;
    let report = client.report()?;
    client.release()?;
    (outcome.requests, outcome.failed) = (report.requests(), report.errors);
    outcome.first_error = report.first_error;
    Ok(outcome)
}

impl Outcome {
    /// The most that were ended in any minute: between the first and the last look within it.
    fn most_in_a_minute(&self) -> u64 {
        let within = |end: &(f64, u64)| {
            let begin = end.0 - MINUTE.as_secs_f64();
            let before = self.ended.iter().find(|(at, _)| *at >= begin);
            end.1 - before.map_or(0, |(_, ended)| *ended)
        };
        self.ended.iter().map(within).max().unwrap_or(0)
    }

    /// How many changes found the spread of the one before within what is tolerated.
    fn within(&self) -> u64 {
        self.gaps.iter().filter(|gap| **gap <= 1).count() as u64
    }

    /// As a table.
    pub(super) fn table(&self) -> Table {
        let row = |what: &str, measured: u64, unit: &str, target: Cell| {
            vec![what.into(), Cell::Count(measured), unit.into(), target]
        };
        let ended = self.ended.last().map_or(0, |(_, ended)| *ended);
        let caption = format!(
            "Churn: {CONNECTIONS} connections of hyper, {FEWEST} to {PODS} pods, a change every {} s",
            STEP.as_secs()
        );
        Table::of_targets(
            caption,
            vec![
                row("changes", self.changes, "", Cell::Absent),
                row("even shortly before the next", self.within(), "changes", "all".into()),
                row(
                    "largest max-min then",
                    self.gaps.iter().copied().max().unwrap_or(0),
                    "connections",
                    "1".into(),
                ),
                row("left to a pod that leaves then", self.stayed, "connections", "0".into()),
                row("ended for balance", ended, "connections", Cell::Absent),
                row(
                    "most in any minute",
                    self.most_in_a_minute(),
                    "connections",
                    BUDGET.to_string().as_str().into(),
                ),
                row("answered", self.requests, "requests", Cell::Absent),
                row("failed", self.failed, "requests", "0".into()),
            ],
        )
    }

    /// What the targets say.
    pub(super) fn note(&self) -> String {
        let right = self.within() == self.changes
            && self.stayed == 0
            && self.most_in_a_minute() <= BUDGET
            && self.failed == 0;
        let reached = if right { "reached" } else { "missed" };
        let first = self.first_error.as_ref();
        let first = first.map_or(String::new(), |error| format!("; the first failure: {error}"));
        format!(
            "Target: churn ends no more than the budget of {BUDGET} in any minute, is even before \
             each next change, and no request fails: {reached}{first}."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_may_begin_anywhere() {
        let outcome = Outcome {
            changes: 2,
            gaps: vec![1, 2],
            stayed: 0,
            ended: vec![(9.5, 0), (10.0, 5), (50.0, 30), (69.0, 60), (71.0, 65)],
            requests: 9,
            failed: 0,
            first_error: None,
        };
        // From 9.5 to 69; from 11 on 5 of them may have been before.
        assert_eq!((outcome.most_in_a_minute(), outcome.within()), (60, 1));
    }
}
