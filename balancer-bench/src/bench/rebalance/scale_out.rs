//! Four pods become eight, with pools that are open already.

use std::{
    thread,
    time::{Duration, Instant},
};

use balancer_lab::{
    error::{Error, Result},
    http::{Client, Pools, Report},
};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    super::report::{Cell, Column, Table},
    stage::{PACE, Stage, endpoint, service},
};

const BEFORE: usize = 4;
const AFTER: usize = 8;
/// Processes of clients, and connections of each.
const CLIENTS: usize = 4;
const EACH: usize = 100;
const CONNECTIONS: u64 = (CLIENTS * EACH) as u64;
/// Each of four pods has 100, and should have 50.
const FEWEST: u64 = CONNECTIONS / 2;
/// What the agent waits for when pods have come.
const SETTLE: Duration = Duration::from_secs(2);
/// How long clients may take to connect.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one budget came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    /// Connections a minute.
    budget: u64,
    /// From the change to an even spread; none if it did not come.
    seconds: Option<f64>,
    ended: u64,
    reopened: u64,
    requests: u64,
    failed: u64,
    first_error: Option<String>,
}

/// With each of these budgets.
pub(super) fn run(budgets: &[u64], progress: &ProgressBar) -> Result<Vec<Outcome>> {
    progress.set_position(0);
    progress.set_length(budgets.len() as u64);
    let one = |budget: &u64| {
        progress.set_message(format!("scale-out: budget {budget} a minute"));
        let outcome = with(*budget);
        progress.inc(1);
        outcome
    };
    budgets.iter().map(one).collect()
}

fn with(budget: u64) -> Result<Outcome> {
    let mut service =
        service(0, AFTER).annotated("balancer-agent/rebalance-budget", &budget.to_string());
    service.endpoints = (0..AFTER).map(|pod| endpoint(pod, pod < BEFORE)).collect();
    let services = std::slice::from_ref(&service);
    let stage = Stage::build(AFTER, Pools::PerThread, Duration::ZERO, services)?;
    let clients = (0..CLIENTS).map(|_| stage.client(&service, EACH, PACE));
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    let open = stage.wait(&service, PATIENCE, |look| look.is_even(BEFORE, CONNECTIONS))?;
    open.ok_or_else(|| Error::Unmet("the clients did not connect evenly".into()))?;
    thread::sleep(PACE);

    service.endpoints.iter_mut().for_each(|endpoint| endpoint.ready = Some(true));
    stage.manifests.write(&service)?;
    let started = Instant::now();
    let patience = least(budget) * 2 + PATIENCE;
    let even = stage.wait(&service, patience, |look| look.is_even(AFTER, CONNECTIONS))?;
    let seconds = even.map(|_| started.elapsed().as_secs_f64());
    // Requests over each new connection, and another pass.
    thread::sleep(SETTLE);
    let ended = stage.look(&service)?.ended;
    clients.iter_mut().try_for_each(Client::stop)?;
    let mut report = Report::default();
    for client in &mut clients {
        report.merge(client.report()?);
    }
    clients.into_iter().try_for_each(Client::release)?;
    Ok(Outcome {
        budget,
        seconds,
        ended,
        reopened: report.connections() - CONNECTIONS,
        requests: report.requests(),
        failed: report.errors,
        first_error: report.first_error,
    })
}

/// The time that the budget leaves for it: as many as it allows at once, and as many again each minute.
fn least(budget: u64) -> Duration {
    let minutes = FEWEST.div_ceil(budget) - 1;
    SETTLE + Duration::from_secs(minutes * 60)
}

/// The outcomes as a table.
pub(super) fn table(outcomes: &[Outcome]) -> Table {
    let column = |key, head| Column { key, head };
    let row = |outcome: &Outcome| {
        let seconds = outcome.seconds.map_or(Cell::Absent, |seconds| Cell::Number(seconds, 1));
        vec![
            Cell::Count(outcome.budget),
            Cell::Count(outcome.ended),
            Cell::Count(FEWEST),
            seconds,
            Cell::Number(least(outcome.budget).as_secs_f64(), 1),
            Cell::Count(outcome.ended.saturating_sub(outcome.reopened)),
            Cell::Count(outcome.requests),
            Cell::Count(outcome.failed),
        ]
    };
    Table {
        caption: format!("Scale-out: {BEFORE} to {AFTER} pods, {CONNECTIONS} connections of hyper"),
        columns: vec![
            column("budget_per_minute", "budget a minute"),
            column("ended", "ended"),
            column("ended_target", "target"),
            column("seconds", "seconds to even"),
            column("seconds_of_budget", "of which budget and settling"),
            column("ended_twice", "ended twice"),
            column("requests", "requests"),
            column("failed", "failed"),
        ],
        rows: outcomes.iter().map(row).collect(),
    }
}

/// What the targets say.
pub(super) fn notes(outcomes: &[Outcome]) -> Vec<String> {
    let one = |outcome: &Outcome| {
        let right = outcome.ended.abs_diff(FEWEST) * 20 <= FEWEST;
        let clean = outcome.failed == 0 && outcome.ended <= outcome.reopened;
        let reached = if right && clean { "reached" } else { "missed" };
        let first = outcome.first_error.as_ref();
        let first = first.map_or(String::new(), |error| format!("; the first failure: {error}"));
        format!(
            "Target: scale-out with a budget of {} ends {FEWEST} connections, 5% more or less, none \
             twice, and no request fails: {reached}{first}.",
            outcome.budget
        )
    };
    outcomes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_at_once_and_then_by_the_minute() {
        assert_eq!(least(600), SETTLE);
        assert_eq!(least(60), SETTLE + Duration::from_secs(180));
        assert_eq!(least(100), SETTLE + Duration::from_secs(60));
    }
}
