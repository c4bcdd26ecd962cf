//! What is told of a socket that held up who touched it.

use std::{collections::BTreeMap, net::IpAddr, path::Path};

use balancer_common::layout::ServiceName;

use crate::{
    desired::pods::DesiredPod,
    maps::{Recorded, convert},
    model::Problem,
    moves::helper::{protocol::Subject, watch::Stuck},
    node::{holders, netns, networks, processes::Thread},
};

/// What is known of those who may hold something.
pub struct Holders<'a> {
    /// Names of Service ports by their identifiers.
    pub names: &'a BTreeMap<u32, ServiceName>,
    /// Pods of this node by their uid.
    pub pods: &'a BTreeMap<String, DesiredPod>,
    /// Addresses of pods by the cookies of their network namespaces.
    pub clients: &'a BTreeMap<u64, Vec<IpAddr>>,
    /// Whose processes are looked at where these do not tell.
    pub cgroup: &'a Path,
}

/// Names what is held, and whose it is.
pub fn problem(stuck: &Stuck, holders: &Holders<'_>) -> Problem {
    let (object, whose) = match &stuck.subject {
        Subject::Connection(connection, backend) => {
            let object = match backend {
                Some(backend) => format!("connection {} to {backend}", connection.local),
                None => format!("connection {}", connection.local),
            };
            (object, of_connection(connection, holders))
        }
        Subject::Listing(netns) => {
            (format!("UDP sockets of {}", owner(*netns, holders)), "one of them".to_owned())
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

/// Whose a network namespace is, given as its cookie: the pod whose addresses it has. What the
/// programs know of pods tells it; processes are looked for where that does not.
fn owner(netns: u64, holders: &Holders<'_>) -> String {
    let addresses = holders.clients.get(&netns).map_or(&[][..], Vec::as_slice);
    if let Some(pod) = addresses.iter().find_map(|address| pod_at(*address, holders)) {
        return format!("pod {}", pod.id);
    }
    process_in(netns, holders.cgroup).map_or_else(
        || "a network namespace whose processes have ended".to_owned(),
        |process| format!("the network namespace of process {}", named(process)),
    )
}

fn pod_at<'a>(address: IpAddr, holders: &Holders<'a>) -> Option<&'a DesiredPod> {
    let mut pods = holders.pods.values().filter(|pod| !pod.host_network);
    pods.find(|pod| pod.addresses.contains(&address))
}

fn of_connection(connection: &Recorded, holders: &Holders<'_>) -> String {
    let row = holders.names.get(&connection.service).and_then(convert::row_id);
    let service = row.map_or_else(|| "no Service".to_owned(), |row| row.port.service.to_string());
    let pod = pod_at(connection.local.ip(), holders);
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
    use crate::{model::ObjectRef, node::cgroup};

    fn listing(netns: u64) -> Stuck {
        let now = Instant::now();
        Stuck { subject: Subject::Listing(netns), since: now, until: now, holds: true }
    }

    #[test]
    fn udp_sockets_of_a_pod_are_named_by_it() {
        let addresses = vec![[10, 0, 0, 9].into()];
        let id = ObjectRef { namespace: "shop".into(), name: "web-1".into() };
        let pod = DesiredPod {
            id,
            opted_out: false,
            addresses: addresses.clone(),
            sandboxed: None,
            host_network: false,
        };
        let holders = Holders {
            names: &BTreeMap::new(),
            pods: &[("uid".to_owned(), pod)].into(),
            clients: &[(7, addresses)].into(),
            cgroup: Path::new("/no/such/cgroup"),
        };
        assert_eq!(problem(&listing(7), &holders).object, "UDP sockets of pod shop/web-1");
        let ended = "UDP sockets of a network namespace whose processes have ended";
        assert_eq!(problem(&listing(8), &holders).object, ended);
    }

    /// Needs root.
    #[test]
    fn udp_sockets_that_can_not_be_listed_are_named_by_a_process() {
        let holders = Holders {
            names: &BTreeMap::new(),
            pods: &BTreeMap::new(),
            clients: &BTreeMap::new(),
            cgroup: &cgroup::root().unwrap(),
        };
        let told = problem(&listing(netns::own().unwrap()), &holders);
        let rest = told.object.strip_prefix("UDP sockets of the network namespace of process ");
        let process = rest.and_then(|rest| rest.split_once(' ')).unwrap().0;
        assert_eq!(
            Thread::of(process.parse().unwrap()).unwrap().network,
            Thread::of(std::process::id()).unwrap().network,
        );
        assert!(told.message.starts_with("one of them has been held for 0 s"), "{told:?}");
    }
}
