//! A Service and its EndpointSlice, as far as tests vary them.

use std::{collections::BTreeMap, net::IpAddr};

use serde_json::{Map, Value, json};

/// A Service with its endpoints, as far as tests vary them. Start from [`Service::new`].
#[derive(Clone, Debug)]
pub struct Service {
    /// Namespace of the Service and its EndpointSlice.
    pub namespace: String,
    /// Name of the Service; the slice and the file are named after it.
    pub name: String,
    /// The ClusterIP.
    pub cluster_ip: String,
    /// Name, port and target port of every port.
    pub ports: Vec<(String, u16, u16)>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Protocol of every port.
    pub protocol: &'static str,
    /// Annotations of the Service.
    pub annotations: BTreeMap<String, String>,
    /// Further fields of the Service's `spec`; they win over those that stand there already.
    pub spec: Map<String, Value>,
    /// The Service's `status`.
    pub status: Value,
}

/// One endpoint; unset conditions are left out of the YAML.
#[derive(Clone, Debug, Default)]
pub struct Endpoint {
    /// The address.
    pub address: String,
    /// Condition `ready`.
    pub ready: Option<bool>,
    /// Condition `serving`.
    pub serving: Option<bool>,
    /// Condition `terminating`.
    pub terminating: Option<bool>,
    /// The node it runs on.
    pub node: Option<String>,
    /// The zone of that node.
    pub zone: Option<String>,
    /// The zones whose clients should use it (`hints.forZones`).
    pub for_zones: Vec<String>,
}

impl Endpoint {
    /// A ready endpoint on the lab's node.
    pub fn ready(address: impl Into<IpAddr>) -> Self {
        Self {
            address: address.into().to_string(),
            ready: Some(true),
            node: Some("lab-node".into()),
            ..Self::default()
        }
    }

    /// The same on another node.
    #[must_use]
    pub fn on(mut self, node: &str) -> Self {
        self.node = Some(node.into());
        self
    }
}

impl Service {
    /// A TCP Service in namespace `default` with one port and ready endpoints on `target_port`.
    pub fn new<A: Into<IpAddr>>(
        name: &str,
        cluster_ip: impl Into<IpAddr>,
        port: u16,
        target_port: u16,
        endpoints: impl IntoIterator<Item = A>,
    ) -> Self {
        Self {
            cluster_ip: cluster_ip.into().to_string(),
            ports: vec![("http".into(), port, target_port)],
            endpoints: endpoints.into_iter().map(Endpoint::ready).collect(),
            ..Self::headless(name)
        }
    }

    /// A Service without an address of its own, without ports and endpoints.
    pub fn headless(name: &str) -> Self {
        Self {
            namespace: "default".into(),
            name: name.into(),
            cluster_ip: "None".into(),
            ports: Vec::new(),
            endpoints: Vec::new(),
            protocol: "TCP",
            annotations: BTreeMap::new(),
            spec: Map::new(),
            status: Value::Null,
        }
    }

    /// The same over UDP.
    #[must_use]
    pub const fn udp(mut self) -> Self {
        self.protocol = "UDP";
        self
    }

    /// The same with an annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// The same with a field of its `spec`, as the API names it.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.spec.insert(field.into(), value);
        self
    }

    /// The Service object.
    pub fn service(&self) -> Value {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|(name, port, target)| {
                json!({"name": name, "port": port, "targetPort": target, "protocol": self.protocol})
            })
            .collect();
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "annotations": self.annotations,
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": self.cluster_ip,
                "clusterIPs": [self.cluster_ip],
                "ports": ports,
                "selector": {"app": self.name},
            },
            "status": self.status,
        });
        for (field, value) in &self.spec {
            object["spec"][field] = value.clone();
        }
        object
    }

    /// The EndpointSlice object.
    pub fn endpoint_slice(&self) -> Value {
        let ports: Vec<Value> = self
            .ports
            .iter()
            .map(|(name, _, target)| json!({"name": name, "port": target, "protocol": self.protocol}))
            .collect();
        let family = if self.cluster_ip.contains(':') { "IPv6" } else { "IPv4" };
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-lab", self.name),
                "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": self.name},
            },
            "addressType": family,
            "endpoints": self.endpoints.iter().map(Endpoint::value).collect::<Vec<_>>(),
            "ports": ports,
        })
    }
}

impl Endpoint {
    fn value(&self) -> Value {
        let set = |pairs: [(&str, Value); 3]| -> Value {
            pairs
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Map<_, _>>()
                .into()
        };
        let mut endpoint = set([
            ("nodeName", json!(self.node)),
            ("zone", json!(self.zone)),
            ("addresses", json!([self.address])),
        ]);
        endpoint["conditions"] = set([
            ("ready", json!(self.ready)),
            ("serving", json!(self.serving)),
            ("terminating", json!(self.terminating)),
        ]);
        if !self.for_zones.is_empty() {
            let zones: Vec<_> = self.for_zones.iter().map(|zone| json!({"name": zone})).collect();
            endpoint["hints"] = json!({"forZones": zones});
        }
        endpoint
    }
}
