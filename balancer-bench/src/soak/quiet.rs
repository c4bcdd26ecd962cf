//! Quiet points: everybody holds still, and what is counted is compared with what is open.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use balancer_lab::{error::Result, sockets};

use super::{
    maps::BackendId,
    model::{Claim, Doubt},
    neighbours::is_theirs,
    oracle::{Differences, Sight},
    stage::Stage,
    wire::Claims,
};

/// How long a difference may last: a killed process's children end after it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks that differ; the kernel tells nobody when a connection has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until nothing differs, and no longer than a moment; what differs then.
pub(super) fn compare(stage: &Stage, claims: &Claims, settled: bool) -> Result<Differences> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut sight = look(stage, claims, settled)?;
        if sight.differences().is_empty() {
            return Ok(Differences::default());
        }
        let after = connected(stage)?;
        let stays = |(cookie, peer): &(&u64, &BackendId)| after.get(cookie) == Some(peer);
        let moving = sight.connected.iter().filter(|found| !stays(found));
        sight.moving = moving.map(|(cookie, _)| *cookie).collect();
        let differences = sight.differences();
        if differences.is_empty() || Instant::now() > deadline {
            return Ok(differences);
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until no doubt is left that the agent settles: sockets that are charged though nothing
/// connects them.
pub(super) fn settle(stage: &Stage, claims: &Claims, patience: Duration) -> Result<Differences> {
    let deadline = Instant::now() + patience;
    loop {
        let sight = look(stage, claims, false)?;
        let doubtful = |cookie: &u64| {
            let claim = claims.get(cookie).map(|told| told.claim);
            matches!(claim, Some(Claim::Doubtful(Doubt::Failed | Doubt::Dissolved)))
        };
        let left = sight.charges.iter().filter(|(cookie, _)| doubtful(cookie));
        let say = |(cookie, backend): &(u64, BackendId)| {
            format!("socket {cookie:x} is connected to nothing and still charged to {backend:?}")
        };
        let said: Vec<_> = left.map(say).collect();
        if said.is_empty() || Instant::now() > deadline {
            return Ok(Differences { largest: said.len() as u64, said, ..Differences::default() });
        }
        thread::sleep(PAUSE * 10);
    }
}

/// What the kernel says is connected now.
fn connected(stage: &Stage) -> Result<BTreeMap<u64, BackendId>> {
    thread::scope(|scope| {
        let read = |pod: &balancer_lab::Pod| sockets::connected(pod.place());
        let threads: Vec<_> =
            stage.clients.iter().map(|pod| scope.spawn(move || read(pod))).collect();
        let mut all = BTreeMap::new();
        for thread in threads {
            match thread.join() {
                Ok(connected) => all.extend(connected?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

/// Everything that is known now. The claims are those of a moment at which all workers held still.
fn look(stage: &Stage, claims: &Claims, settled: bool) -> Result<Sight> {
    let connected = connected(stage)?;
    let mut numbers = BTreeMap::new();
    let mut active = BTreeMap::new();
    for (number, backend, count) in stage.maps.backends() {
        numbers.insert(number, backend);
        active.insert(backend, count);
    }
    let unknown = (0, ([0, 0, 0, 0], 0).into());
    let charges = stage.maps.charges();
    let charges =
        charges.map(|(cookie, number)| (cookie, numbers.get(&number).copied().unwrap_or(unknown)));
    let charges = charges.filter(|(_, backend)| !is_theirs(backend));
    active.retain(|backend, _| !is_theirs(backend));
    Ok(Sight {
        charges: charges.collect(),
        claims: claims.clone(),
        connected,
        active,
        settled,
        ..Sight::default()
    })
}
