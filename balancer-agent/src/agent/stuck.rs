//! What is told of a socket that held up who touched it.

use std::{collections::BTreeMap, path::Path};

use balancer_common::layout::ServiceName;

use crate::{
    desired::pods::DesiredPod,
    maps::{Recorded, convert},
    model::Problem,
    moves::helper::{protocol::Subject, watch::Stuck},
    node::{holders, netns, networks, processes::Thread},
};

/// Names what is held, and whose it is. `names` are those of Service ports by their identifiers,
/// `pods` those of this node by their uid, `cgroup` is whose processes are looked at.
pub fn problem(
    stuck: &Stuck,
    names: &BTreeMap<u32, ServiceName>,
    pods: &BTreeMap<String, DesiredPod>,
    cgroup: &Path,
) -> Problem {
    let (object, whose) = match &stuck.subject {
        Subject::Connection(connection, backend) => {
            let object = match backend {
                Some(backend) => format!("connection {} to {backend}", connection.local),
                None => format!("connection {}", connection.local),
            };
            (object, of_connection(connection, names, pods))
        }
        Subject::Listing(netns) => {
            let process = process_in(*netns, cgroup).map_or_else(
                || "a network namespace whose processes have ended".to_owned(),
                |process| format!("the network namespace of process {}", named(process)),
            );
            (format!("UDP sockets of {process}"), "one of them".to_owned())
        }
    };
    let seconds = stuck.since.elapsed().as_secs();
    let state = if stuck.holds {
        format!("has been held for {seconds} s")
    } else {
        format!("was held {seconds} s ago")
    };
    let message = format!(
        "{whose} {state} by who opened it, so that it can be neither looked at nor ended; \
         connections of the same pod are left alone meanwhile; end the pod if that lasts"
    );
    Problem { object, field: String::new(), message }
}

fn of_connection(
    connection: &Recorded,
    names: &BTreeMap<u32, ServiceName>,
    pods: &BTreeMap<String, DesiredPod>,
) -> String {
    let row = names.get(&connection.service).and_then(convert::row_id);
    let service = row.map_or_else(|| "no Service".to_owned(), |row| row.port.service.to_string());
    let mut pods = pods.values().filter(|pod| !pod.host_network);
    let pod = pods.find(|pod| pod.addresses.contains(&connection.local.ip()));
    let pod = pod.map(|pod| format!("pod {}, ", pod.id)).unwrap_or_default();
    // The record of a UDP socket has no process.
    let process = match connection.tgid {
        0 => "a UDP socket: it".to_owned(),
        process => format!("process {}: its socket", named(process)),
    };
    format!("of Service {service}, {pod}{process}")
}

/// A process with its command.
fn named(process: u32) -> String {
    let command = holders::name(process).unwrap_or_else(|| "ended".to_owned());
    format!("{process} ({command})")
}

/// A process in a network namespace, given as its cookie.
fn process_in(netns: u64, cgroup: &Path) -> Option<u32> {
    let open = |process: u32| Some((process, Thread::of(process)?.open_network().ok()?));
    let all = networks::processes(cgroup).into_values().filter_map(open);
    let (processes, files): (Vec<u32>, Vec<_>) = all.unzip();
    let cookies = netns::cookies(files).ok()?;
    let mut all = processes.into_iter().zip(cookies);
    all.find(|(_, cookie)| cookie.as_ref().is_ok_and(|cookie| *cookie == netns)).map(|(pid, _)| pid)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::node::cgroup;

    /// Needs root.
    #[test]
    fn udp_sockets_that_can_not_be_listed_are_named_by_a_process() {
        let now = Instant::now();
        let subject = Subject::Listing(netns::own().unwrap());
        let stuck = Stuck { subject, since: now, until: now, holds: true };
        let root = cgroup::root().unwrap();
        let told = problem(&stuck, &BTreeMap::new(), &BTreeMap::new(), &root);
        let rest = told.object.strip_prefix("UDP sockets of the network namespace of process ");
        let process = rest.and_then(|rest| rest.split_once(' ')).unwrap().0;
        assert_eq!(
            Thread::of(process.parse().unwrap()).unwrap().network,
            Thread::of(std::process::id()).unwrap().network,
        );
        assert!(told.message.starts_with("one of them has been held for 0 s"), "{told:?}");
    }
}
