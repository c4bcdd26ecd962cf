//! Calls that take time, over HTTP/2, while their connections are ended again and again: each at its
//! first quiet moment once it is a second old.

use std::time::Duration;

use balancer_lab::{error::Result, http::Pools};
use indicatif::ProgressBar;
use serde::Serialize;

use super::{
    super::report::{Cell, Column, Table},
    stage::{Stage, endpoint, service},
};

const PODS: usize = 3;
/// Clients of each kind, each with one connection and one call at a time.
const CHANNELS: usize = 20;
/// How long a call takes, in milliseconds.
const CALLS_MS: [u64; 3] = [20, 200, 2_000];
/// How long a client waits before its next call, in milliseconds. The first are awaited.
const PAUSES_MS: [u64; 2] = [100, 0];
const CLIENTS: [(&str, Pools); 2] =
    [("tonic, channels", Pools::Channel), ("hyper, HTTP/2", Pools::Http2)];
/// Clients of each length of calls are looked at for so long at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// What calls of one length and pause came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    clients: &'static str,
    call_ms: u64,
    pause_ms: u64,
    ended: u64,
    requests: u64,
    failed: u64,
    first_error: Option<String>,
}

/// With each kind of client and length of calls, until so many connections of those that rest were
/// ended, or for as long as is waited for that.
pub(super) fn run(ends: u64, progress: &ProgressBar) -> Result<Vec<Outcome>> {
    progress.set_position(0);
    progress.set_length((CLIENTS.len() * CALLS_MS.len()) as u64 * ends);
    let mut outcomes = Vec::new();
    for (clients, pools) in CLIENTS {
        for call_ms in CALLS_MS {
            progress.set_message(format!("ends: {clients}, calls of {call_ms} ms"));
            let before = progress.position();
            let seen = |ended: u64| progress.set_position(before + ended.min(ends));
            outcomes.extend(with(clients, pools, call_ms, ends, seen)?);
            seen(ends);
        }
    }
    Ok(outcomes)
}

/// `seen` takes how many were ended so far.
fn with(
    clients: &'static str,
    pools: Pools,
    call_ms: u64,
    ends: u64,
    seen: impl Fn(u64),
) -> Result<Vec<Outcome>> {
    let services: [_; PAUSES_MS.len()] = std::array::from_fn(|number| {
        let mut service =
            service(number, PODS).annotated("balancer-agent/max-connection-age", "1s");
        service.endpoints = (0..PODS).map(|pod| endpoint(pod, true)).collect();
        service
    });
    let stage = Stage::build(PODS, pools, Duration::from_millis(call_ms), &services)?;
    let start = |(service, pause)| stage.client(service, CHANNELS, Duration::from_millis(pause));
    let mut running = services.iter().zip(PAUSES_MS).map(start).collect::<Result<Vec<_>>>()?;
    stage.wait(&services[0], PATIENCE, |look| {
        seen(look.old);
        look.old >= ends
    })?;
    running.iter_mut().try_for_each(balancer_lab::http::Client::stop)?;
    let mut outcomes = Vec::new();
    for ((mut client, service), pause_ms) in running.into_iter().zip(&services).zip(PAUSES_MS) {
        let report = client.report()?;
        client.release()?;
        outcomes.push(Outcome {
            clients,
            call_ms,
            pause_ms,
            ended: stage.look(service)?.old,
            requests: report.requests(),
            failed: report.errors,
            first_error: report.first_error,
        });
    }
    Ok(outcomes)
}

/// The outcomes as a table.
pub(super) fn table(outcomes: &[Outcome]) -> Table {
    let column = |key, head| Column { key, head };
    let row = |outcome: &Outcome| {
        vec![
            outcome.clients.into(),
            Cell::Count(outcome.call_ms),
            Cell::Count(outcome.pause_ms),
            Cell::Count(outcome.ended),
            Cell::Count(outcome.requests),
            Cell::Count(outcome.failed),
        ]
    };
    Table {
        caption: format!(
            "Calls that take time: {CHANNELS} connections to {PODS} pods, ended at their first quiet \
             moment after a second"
        ),
        columns: vec![
            column("clients", "clients"),
            column("call_ms", "a call, ms"),
            column("pause_ms", "then a pause, ms"),
            column("ended", "ended"),
            column("requests", "calls"),
            column("failed", "failed"),
        ],
        rows: outcomes.iter().map(row).collect(),
    }
}

/// What the target says.
pub(super) fn note(outcomes: &[Outcome], wanted: u64) -> String {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (ended, failed) = (sum(|outcome| outcome.ended), sum(|outcome| outcome.failed));
    let mut rested = outcomes.iter().filter(|outcome| outcome.pause_ms > 0);
    let reached = match (failed, rested.all(|outcome| outcome.ended >= wanted)) {
        (0, true) => "reached".to_owned(),
        (0, false) => format!("reached with fewer than the {wanted} ends of each kind to be tried"),
        _ => "missed".to_owned(),
    };
    let first = outcomes.iter().find_map(|outcome| outcome.first_error.as_ref());
    let first = first.map_or(String::new(), |error| format!("; the first failure: {error}"));
    format!(
        "Target: no call under way fails because its connection is ended: {failed} failed with {ended} \
         ended, {reached}{first}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_failed_misses_the_target() {
        let outcome = |failed| Outcome {
            clients: "tonic, channels",
            call_ms: 200,
            pause_ms: 100,
            ended: 170,
            requests: 5_000,
            failed,
            first_error: (failed > 0).then(|| "gone".to_owned()),
        };
        let reached = note(&[outcome(0), outcome(0)], 170);
        assert!(reached.ends_with("0 failed with 340 ended, reached."), "{reached}");
        // What others were ended more often does not make up for it.
        let more = Outcome { ended: 1_000, pause_ms: 0, ..outcome(0) };
        let fewer = note(&[outcome(0), more], 500);
        assert!(
            fewer.ends_with("with fewer than the 500 ends of each kind to be tried."),
            "{fewer}"
        );
        let missed = note(&[outcome(0), outcome(2)], 170);
        assert!(missed.ends_with("missed; the first failure: gone."), "{missed}");
        assert_eq!(table(&[outcome(0)]).rows[0].len(), table(&[]).columns.len());
    }
}
