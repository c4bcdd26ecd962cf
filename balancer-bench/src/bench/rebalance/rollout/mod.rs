//! 20 connections on one of three pods, as a rolling restart leaves them; then the others are ready
//! again.

mod sum;

use std::{thread, time::Duration};

use balancer_lab::{
    error::{Error, Result},
    http::Pools,
    manifests::Service,
};
use indicatif::ProgressBar;
use serde::Serialize;

pub(super) use self::sum::{notes, table};
use super::stage::{PACE, Stage, endpoint, service};

const PODS: usize = 3;
const CONNECTIONS: u64 = 20;
/// When a trial is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long is looked on afterwards: another pass, and requests over every new connection.
const AFTER: Duration = Duration::from_millis(1200);
/// Trials take turns with so many Services, so that each has its budget back when its turn comes.
const SERVICES: usize = 10;
/// Labs of each kind of client, at the same time.
const LANES: u32 = 2;

/// Who keeps the connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Clients {
    Hyper,
    Tonic,
}

impl Clients {
    const ALL: [Self; 2] = [Self::Hyper, Self::Tonic];

    const fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Tonic => "tonic",
        }
    }

    const fn pools(self) -> Pools {
        match self {
            Self::Hyper => Pools::PerThread,
            Self::Tonic => Pools::Channel,
        }
    }
}

/// What one trial came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Trial {
    clients: Clients,
    /// From the change to an even spread; none if it did not come.
    seconds: Option<f64>,
    /// Connections that the agent says it ended.
    ended: u64,
    /// Connections that were opened again.
    reopened: u64,
    requests: u64,
    failed: u64,
    first_error: Option<String>,
}

/// Trials with each kind of client.
pub(super) fn run(trials: u32, progress: &ProgressBar) -> Result<Vec<Trial>> {
    progress.set_length(u64::from(trials) * 2);
    progress.set_message("rollout: 20 connections, 3 pods");
    let lanes = LANES.min(trials);
    thread::scope(|scope| {
        let mut running = Vec::new();
        for clients in Clients::ALL {
            for lane in 0..lanes {
                let share = trials / lanes + u32::from(lane < trials % lanes);
                running.push(scope.spawn(move || run_lane(clients, share, progress)));
            }
        }
        let mut all = Vec::new();
        for lane in running {
            let panicked = |_| Err(Error::Unmet("a lane of trials panicked".into()));
            all.extend(lane.join().unwrap_or_else(panicked)?);
        }
        Ok(all)
    })
}

fn run_lane(clients: Clients, trials: u32, progress: &ProgressBar) -> Result<Vec<Trial>> {
    let mut services: Vec<_> = (0..SERVICES).map(|number| service(number, PODS)).collect();
    for service in &mut services {
        pile_up(service);
    }
    let stage = Stage::build(PODS, clients.pools(), Duration::ZERO, &services)?;
    let trial = |number: u32| {
        let trial = one(&stage, clients, &mut services[number as usize % SERVICES]);
        progress.inc(1);
        trial
    };
    (0..trials).map(trial).collect()
}

/// One pod is ready, and the others are not.
fn pile_up(service: &mut Service) {
    service.endpoints = (0..PODS).map(|pod| endpoint(pod, pod == 0)).collect();
}

fn one(stage: &Stage, clients: Clients, service: &mut Service) -> Result<Trial> {
    let unmet = |what: &str| Error::Unmet(format!("{}: {what}", service.name));
    let piled = stage.wait(service, PATIENCE, |look| look.is_even(1, 0))?;
    piled.ok_or_else(|| unmet("the connections of the trial before were not closed"))?;
    let mut client = stage.client(service, CONNECTIONS as usize, PACE)?;
    let opened = stage.wait(service, PATIENCE, |look| look.is_even(1, CONNECTIONS))?;
    opened.ok_or_else(|| unmet("the clients did not connect"))?;
    // Each has had an answer: none is in its first request.
    thread::sleep(PACE);
    let before = stage.look(service)?;

    service.endpoints.iter_mut().for_each(|endpoint| endpoint.ready = Some(true));
    stage.manifests.write(service)?;
    let even = stage.wait(service, PATIENCE, |look| look.is_even(PODS, CONNECTIONS))?;
    thread::sleep(AFTER);
    let after = stage.look(service)?;
    client.stop()?;
    let report = client.report()?;
    client.release()?;
    pile_up(service);
    stage.manifests.write(service)?;
    Ok(Trial {
        clients,
        seconds: even.map(|time| time.as_secs_f64()),
        ended: after.ended - before.ended,
        reopened: report.connections() - CONNECTIONS,
        requests: report.requests(),
        failed: report.errors,
        first_error: report.first_error,
    })
}
