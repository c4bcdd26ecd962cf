//! Connections, those of sockets of this node with what these do.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use balancer_common::charge;

use super::outside::outside;
use crate::{
    desired::{PortId, pods::DesiredPod},
    maps::{MapsError, ReadMaps as _, Recorded, convert, identity::RowId, pinned::PinnedMaps},
    model::ObjectRef,
    moves::{
        ask::{Answer, address},
        helper::Helper,
    },
    node::{clock::now, holders, sockets::tcp::Found, tcp_info::Turn},
    view::{ActivityView, ConnectionView, PortView, Wanted},
};

/// Nothing that moves for less than this is told from what is under way.
const MOMENT: Duration = Duration::from_millis(1);

/// The connections that are wanted. `helper` asks about them, `pods` are those of this node by their
/// uid, `ended` says when which were ended, by the words of their charges.
pub fn connections(
    maps: &PinnedMaps,
    helper: &Helper,
    pods: &BTreeMap<String, DesiredPod>,
    ended: &HashMap<u64, Duration>,
    wanted: &Wanted,
) -> Result<Vec<ConnectionView>, MapsError> {
    let ports = ports(maps, wanted)?;
    let pods = by_address(pods);
    let mut backends: BTreeMap<u32, Option<SocketAddr>> = BTreeMap::new();
    let mut commands: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let now = now();
    let mut found = Vec::new();
    for connection in maps.connections(|service, _| ports.contains_key(&service)) {
        let backend = charge::backend_of(connection.word);
        let address = || address(maps, backend);
        let Some(backend) = *backends.entry(backend).or_insert_with(address) else { continue };
        let pod = pods.get(&connection.local.ip()).copied();
        if !wanted.takes_backend(backend) || !takes_pod(wanted, pod) {
            continue;
        }
        found.push((connection, backend));
    }
    if let Some(limit) = wanted.limit {
        some(&mut found, limit);
    }
    let (answers, _) = helper.ask(found.clone());
    let mut views = Vec::new();
    for ((connection, backend), answer) in found.into_iter().zip(answers) {
        let pod = pods.get(&connection.local.ip()).copied();
        let activity = match answer {
            Answer::Gone => continue,
            Answer::Found(found) => Some(activity(&found)),
            Answer::Unreachable | Answer::Stuck | Answer::LeftAlone | Answer::Later => None,
            Answer::Failed(error) => {
                tracing::debug!("{} to {backend}: {error}", connection.local);
                None
            }
        };
        let (port, number) = &ports[&connection.service];
        let command = commands
            .entry(connection.tgid)
            .or_insert_with(|| holders::name(connection.tgid))
            .clone();
        let ended = ended.get(&connection.word).map(|at| now.saturating_sub(*at));
        views.push(ConnectionView {
            ended_ms: ended.map(|ended| ended.as_millis() as u64),
            ..view(&connection, backend, port, *number, pod, command, activity, now)
        });
    }
    let limit = wanted.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let room = limit.saturating_sub(views.len());
    // Where there is no room they are not even read.
    if room > 0 {
        views.extend(outside(maps, &ports, wanted, room, now)?);
    }
    let key = |view: &ConnectionView| {
        let service = (view.namespace.clone(), view.service.clone(), view.service_port.number);
        (service, view.backend, u64::MAX - view.age_ms, view.client)
    };
    views.sort_by_cached_key(key);
    Ok(views)
}

/// The Service ports that are wanted, and their numbers, by their identifiers.
pub(super) fn ports(
    maps: &PinnedMaps,
    wanted: &Wanted,
) -> Result<BTreeMap<u32, (PortId, u16)>, MapsError> {
    let port = |(id, name)| {
        let RowId { port, .. } = convert::row_id(&name)?;
        takes_service(wanted, &port).then_some((id, (port, name.port)))
    };
    Ok(maps.names()?.into_iter().filter_map(port).collect())
}

/// Leaves so many at most: those whose charges have the smallest hashes, which are spread over all
/// backends, and are the same ones at the next look.
fn some(found: &mut Vec<(Recorded, SocketAddr)>, limit: u64) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit < found.len() {
        found.select_nth_unstable_by_key(limit, |(connection, _)| spread(connection.word));
        found.truncate(limit);
    }
}

/// A hash of a word without a key: who is looked at is no secret.
fn spread(word: u64) -> u64 {
    let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[expect(clippy::too_many_arguments, reason = "each is a column")]
fn view(
    connection: &Recorded,
    backend: SocketAddr,
    port: &PortId,
    number: u16,
    pod: Option<&ObjectRef>,
    command: Option<String>,
    activity: Option<ActivityView>,
    now: Duration,
) -> ConnectionView {
    ConnectionView {
        namespace: port.service.namespace.clone(),
        service: port.service.name.clone(),
        service_port: PortView { name: port.port.clone(), number, protocol: port.protocol },
        backend: backend.into(),
        client: connection.local.into(),
        pod: pod.cloned(),
        outside: None,
        pid: Some(connection.tgid),
        command,
        age_ms: now.saturating_sub(Duration::from_nanos(connection.since_ns)).as_millis() as u64,
        ended_ms: None,
        activity,
    }
}

fn activity(found: &Found) -> ActivityView {
    let activity = &found.activity;
    ActivityView {
        state: activity.state_name().to_owned(),
        idle_ms: activity.idle().as_millis() as u64,
        busy: !activity.is_empty() || activity.turn() == Turn::Server || activity.idle() < MOMENT,
        bytes_sent: activity.bytes_sent,
        bytes_received: activity.bytes_received,
    }
}

/// Pods by their addresses; not those that have the addresses of the node.
pub(super) fn by_address(pods: &BTreeMap<String, DesiredPod>) -> BTreeMap<IpAddr, &ObjectRef> {
    pods.values()
        .filter(|pod| !pod.host_network)
        .flat_map(|pod| pod.addresses.iter().map(|address| (*address, &pod.id)))
        .collect()
}

fn takes_service(wanted: &Wanted, port: &PortId) -> bool {
    is_or_any(wanted.namespace.as_ref(), &port.service.namespace)
        && is_or_any(wanted.service.as_ref(), &port.service.name)
}

fn takes_pod(wanted: &Wanted, pod: Option<&ObjectRef>) -> bool {
    match (&wanted.pod, pod) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(name), Some(pod)) => {
            *name == pod.name && is_or_any(wanted.pod_namespace.as_ref(), &pod.namespace)
        }
    }
}

fn is_or_any<T: PartialEq>(wanted: Option<&T>, found: &T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_same_ones_are_left_whatever_their_order() {
        let recorded = |word: u64| Recorded {
            index: word as u32,
            word: (word << 20) | (word % 4),
            service: 1,
            tgid: 1,
            netns: 1,
            local: SocketAddr::from(([10, 0, 0, 9], word as u16)),
            since_ns: 1,
        };
        let backend = SocketAddr::from(([10, 0, 0, 1], 80));
        let of = |words: Vec<u64>| {
            let mut found: Vec<_> = words.into_iter().map(|w| (recorded(w), backend)).collect();
            some(&mut found, 100);
            let mut left: Vec<_> = found.iter().map(|(connection, _)| connection.word).collect();
            left.sort_unstable();
            left
        };
        let left = of((0..1_000).collect());
        assert_eq!(left, of((0..1_000).rev().collect()));
        for backend in 0..4 {
            let share = left.iter().filter(|word| *word % 4 == backend).count();
            assert!((10..=40).contains(&share), "{share} of 100 are of backend {backend}");
        }
        assert_eq!(of((0..100).collect()).len(), 100, "no more than that are all of them");
    }
}
