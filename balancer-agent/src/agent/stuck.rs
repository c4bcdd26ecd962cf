//! What is told of a socket that held up who touched it.

use std::collections::BTreeMap;

use balancer_common::layout::ServiceName;

use crate::{
    desired::pods::DesiredPod, maps::convert, model::Problem, moves::helper::watch::Stuck,
    node::holders,
};

/// Names the connection, its Service, its pod and its process. `names` are those of Service ports by
/// their identifiers, `pods` those of this node by their uid.
pub fn problem(
    stuck: &Stuck,
    names: &BTreeMap<u32, ServiceName>,
    pods: &BTreeMap<String, DesiredPod>,
) -> Problem {
    let Stuck { connection, backend, since, holds, .. } = stuck;
    let local = connection.local;
    let object = match backend {
        Some(backend) => format!("connection {local} to {backend}"),
        None => format!("connection {local}"),
    };
    let row = names.get(&connection.service).and_then(convert::row_id);
    let service = row.map_or_else(|| "no Service".to_owned(), |row| row.port.service.to_string());
    let mut pods = pods.values().filter(|pod| !pod.host_network);
    let pod = pods.find(|pod| pod.addresses.contains(&local.ip()));
    let pod = pod.map(|pod| format!("pod {}, ", pod.id)).unwrap_or_default();
    // The record of a UDP socket has no process.
    let process = match connection.tgid {
        0 => "a UDP socket: it".to_owned(),
        tgid => {
            let command = holders::name(tgid).unwrap_or_else(|| "ended".to_owned());
            format!("process {tgid} ({command}): its socket")
        }
    };
    let seconds = since.elapsed().as_secs();
    let state = if *holds {
        format!("has been held for {seconds} s")
    } else {
        format!("was held {seconds} s ago")
    };
    let message = format!(
        "of Service {service}, {pod}{process} {state} by who opened it, so \
         that it can be neither looked at nor ended; connections of the same pod are left alone \
         meanwhile; end the pod if that lasts"
    );
    Problem { object, field: String::new(), message }
}
