//! The objects of a large cluster, and changes to them.

use serde_json::{Value, json};

/// Services with an EndpointSlice each.
pub(super) struct Cluster {
    services: usize,
    endpoints: usize,
    /// How often the slice of each Service has changed.
    changed: Vec<usize>,
    /// How often each Service itself has.
    services_changed: Vec<usize>,
    next: usize,
}

impl Cluster {
    pub(super) fn new(services: usize, endpoints: usize) -> Self {
        Self {
            services,
            endpoints,
            changed: vec![0; services],
            services_changed: vec![0; services],
            next: 0,
        }
    }

    /// Every object, a Service and its slice by turns.
    pub(super) fn all(&self) -> Vec<Value> {
        (0..self.services).flat_map(|n| [service(n, 0), self.slice(n)]).collect()
    }

    /// A Service that has got another external address.
    pub(super) fn change_service(&mut self) -> Value {
        self.step();
        self.services_changed[self.next] += 1;
        service(self.next, self.services_changed[self.next])
    }

    /// Goes far from the last one, in no cache.
    const fn step(&mut self) {
        self.next = (self.next + 7919) % self.services;
    }

    /// A slice of which one endpoint is another.
    pub(super) fn change_one(&mut self) -> Value {
        self.step();
        self.changed[self.next] += 1;
        self.slice(self.next)
    }

    /// So many slices, each of another Service.
    pub(super) fn change(&mut self, count: usize) -> Vec<Value> {
        (0..count.min(self.services)).map(|_| self.change_one()).collect()
    }

    fn slice(&self, n: usize) -> Value {
        let changed = self.changed[n];
        let endpoints: Vec<Value> = (0..self.endpoints)
            .map(|slot| {
                // One after another is replaced.
                let age = (changed + self.endpoints - 1 - slot) / self.endpoints;
                let pod = n * self.endpoints + slot + age * self.services * self.endpoints;
                endpoint(n, pod)
            })
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("service-{n}-abcde"),
                "namespace": format!("team-{}", n % 100),
                "labels": {
                    "kubernetes.io/service-name": format!("service-{n}"),
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints,
        })
    }
}

fn service(n: usize, changed: usize) -> Value {
    let address =
        |first: usize| format!("{first}.{}.{}.{}", 96 + n / 50_000, n / 200 % 250, n % 200 + 1);
    let ip = address(10);
    let external: Vec<String> =
        (changed > 0).then(|| address(198 + changed % 2)).into_iter().collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": format!("service-{n}"), "namespace": format!("team-{}", n % 100)},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "externalIPs": external,
            "ipFamilies": ["IPv4"],
            "selector": {"app": format!("service-{n}")},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
    })
}

fn endpoint(service: usize, pod: usize) -> Value {
    let ip = format!(
        "{}.{}.{}.{}",
        11 + pod / 15_625_000,
        pod / 62_500 % 250,
        pod / 250 % 250,
        pod % 250 + 1
    );
    json!({
        "addresses": [ip],
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "nodeName": format!("node-{}", pod % 1000),
        "zone": format!("zone-{}", pod % 3),
        "targetRef": {
            "kind": "Pod",
            "namespace": format!("team-{}", service % 100),
            "name": format!("service-{service}-6b7f9c5d4-{pod:x}"),
            "uid": format!("6f0d3c1e-5b0a-4c0e-9d53-{pod:012x}"),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn addresses(slice: &Value) -> BTreeSet<String> {
        let endpoints = slice["endpoints"].as_array().expect("endpoints");
        endpoints.iter().map(|endpoint| endpoint["addresses"][0].to_string()).collect()
    }

    #[test]
    fn a_service_gets_another_external_address_each_time() {
        let mut cluster = Cluster::new(1, 4);
        let first = service(0, 0)["spec"]["externalIPs"].clone();
        let addresses = [(); 4].map(|()| cluster.change_service()["spec"]["externalIPs"].clone());
        let mut before = first;
        for now in addresses {
            assert_eq!(now.as_array().map(Vec::len), Some(1), "{now}");
            assert_ne!(now, before);
            before = now;
        }
    }

    #[test]
    fn a_change_replaces_one_endpoint() {
        let mut cluster = Cluster::new(100, 4);
        let all: BTreeSet<String> =
            cluster.all().iter().skip(1).step_by(2).flat_map(addresses).collect();
        assert_eq!(all.len(), 400, "each has its own address");
        for _ in 0..300 {
            let before: Vec<_> = (0..100).map(|n| addresses(&cluster.slice(n))).collect();
            let slice = cluster.change_one();
            assert_eq!(addresses(&slice).difference(&before[cluster.next]).count(), 1);
        }
    }
}
