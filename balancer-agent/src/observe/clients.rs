//! Who has connections open, from the records of them alone: no socket is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use balancer_common::charge;

use super::connections::{by_address, ports};
use crate::{
    desired::pods::DesiredPod,
    maps::{MapsError, pinned::PinnedMaps},
    model::ObjectRef,
    node::clock::now,
    view::{ClientServiceView, ClientView, ClientsQuestion, Wanted},
};

/// A connection, as far as it matters here.
struct Open {
    client: IpAddr,
    service: ObjectRef,
    backend: u32,
    age: Duration,
}

/// The clients of a Service or of all, those with the most connections first. `pods` are those of this
/// node by their uid.
pub fn clients(
    maps: &PinnedMaps,
    pods: &BTreeMap<String, DesiredPod>,
    question: &ClientsQuestion,
) -> Result<Vec<ClientView>, MapsError> {
    let ClientsQuestion { namespace, service } = question.clone();
    let ports = ports(maps, &Wanted { namespace, service, ..Wanted::default() })?;
    let now = now();
    let open = maps.connections(|service, _| ports.contains_key(&service)).into_iter();
    let open = open.map(|found| Open {
        client: found.local.ip(),
        service: ports[&found.service].0.service.clone(),
        backend: charge::backend_of(found.word),
        age: now.saturating_sub(Duration::from_nanos(found.since_ns)),
    });
    Ok(sums(open, &by_address(pods)))
}

#[derive(Default)]
struct Sum {
    addresses: BTreeSet<IpAddr>,
    backends: BTreeSet<u32>,
    services: BTreeMap<ObjectRef, u64>,
    oldest: Duration,
}

fn sums(open: impl Iterator<Item = Open>, pods: &BTreeMap<IpAddr, &ObjectRef>) -> Vec<ClientView> {
    // Of what is no pod, each address is a client.
    let mut sums: BTreeMap<Result<&ObjectRef, IpAddr>, Sum> = BTreeMap::new();
    for Open { client, service, backend, age } in open {
        let sum = sums.entry(pods.get(&client).copied().ok_or(client)).or_default();
        sum.addresses.insert(client);
        sum.backends.insert(backend);
        *sum.services.entry(service).or_default() += 1;
        sum.oldest = sum.oldest.max(age);
    }
    let view = |(client, sum): (Result<&ObjectRef, IpAddr>, Sum)| {
        let service = |(service, connections): (ObjectRef, u64)| ClientServiceView {
            namespace: service.namespace,
            service: service.name,
            connections,
        };
        Some(ClientView {
            pod: client.ok().cloned(),
            address: *sum.addresses.first()?,
            connections: sum.services.values().sum(),
            backends: sum.backends.len() as u64,
            services: sum.services.into_iter().map(service).collect(),
            oldest_ms: sum.oldest.as_millis() as u64,
        })
    };
    let mut views: Vec<_> = sums.into_iter().filter_map(view).collect();
    views.sort_by_key(|view| u64::MAX - view.connections);
    views
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_summed_by_pod_and_where_there_is_none_by_address() {
        let object = |name: &str| ObjectRef { namespace: "shop".into(), name: name.into() };
        let pod = object("front");
        let [v4, v6, node] = ["10.0.0.9", "fd00::9", "192.0.2.1"].map(|a| a.parse().unwrap());
        let pods = BTreeMap::from([(v4, &pod), (v6, &pod)]);
        let open = |client, service, backend, seconds| Open {
            client,
            service: object(service),
            backend,
            age: Duration::from_secs(seconds),
        };
        let open = [
            open(node, "cart", 1, 9),
            open(v6, "cart", 1, 5),
            open(v4, "cart", 1, 7),
            open(v4, "search", 2, 1),
        ];
        let views = sums(open.into_iter(), &pods);
        let [front, other] = &views[..] else { panic!("{views:?}") };
        assert_eq!((front.pod.as_ref(), front.address), (Some(&pod), v4));
        assert_eq!((front.connections, front.backends, front.oldest_ms), (3, 2, 7_000));
        let services: Vec<_> =
            front.services.iter().map(|s| (&*s.service, s.connections)).collect();
        assert_eq!(services, [("cart", 2), ("search", 1)]);
        assert_eq!((&other.pod, other.address, other.connections), (&None, node, 1));
    }
}
