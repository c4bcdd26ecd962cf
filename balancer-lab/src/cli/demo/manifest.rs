//! The demo's Service, read from the same YAML the agent gets.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, bail};
use balancer_lab::{
    Node,
    kubeproxy::ServicePort,
    manifests::{Endpoint, Manifests, Service},
};
use hyper::Uri;
use serde_json::Value;

/// `deploy/demo/`, compiled in so that the binary stands alone.
const FILES: [(&str, &str); 2] = [
    ("web.endpointslice.yaml", include_str!("../../../../deploy/demo/web.endpointslice.yaml")),
    ("web.service.yaml", include_str!("../../../../deploy/demo/web.service.yaml")),
];

/// The Service of the demo and the pods behind it.
pub(super) struct Web {
    /// `namespace/name`.
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
    /// Name and address of each pod.
    pub(super) pods: Vec<(String, SocketAddrV4)>,
}

impl Web {
    pub(super) fn load() -> Result<Self> {
        let documents: Vec<Value> = FILES
            .iter()
            .map(|(_, text)| serde_saphyr::from_str(text))
            .collect::<Result<_, _>>()
            .context("deploy/demo")?;
        let of_kind = |kind: &str| {
            let found = documents.iter().find(|document| document["kind"] == kind);
            found.with_context(|| format!("deploy/demo: no {kind}"))
        };
        let (service, slice) = (of_kind("Service")?, of_kind("EndpointSlice")?);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (&service["metadata"]["namespace"], &service["metadata"]["name"]);
        let target = port(&slice["ports"][0]["port"])?;
        let endpoints = slice["endpoints"].as_array().context("deploy/demo: no endpoints")?;
        let pods = endpoints
            .iter()
            .map(|endpoint| {
                let ip = ipv4(&endpoint["addresses"][0])?;
                Ok((text(&endpoint["targetRef"]["name"]), SocketAddrV4::new(ip, target)))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            name: format!("{}/{}", text(namespace), text(name)),
            address: ipv4(&service["spec"]["clusterIP"])?,
            port: port(&service["spec"]["ports"][0]["port"])?,
            pods,
        })
    }

    /// Writes the YAML where an agent watches.
    pub(super) fn write(manifests: &Manifests) -> Result<()> {
        for (name, text) in FILES {
            manifests.write_text(name, text)?;
        }
        Ok(())
    }

    /// Gives each pod the address of a node, one node after another, and returns which.
    pub(super) fn spread_over<'a>(&mut self, nodes: &'a [Node]) -> Vec<&'a Node> {
        let homes: Vec<&Node> = nodes.iter().cycle().take(self.pods.len()).collect();
        for (number, ((_, address), home)) in (11..).zip(self.pods.iter_mut().zip(&homes)) {
            address.set_ip(home.pod_ip(number));
        }
        homes
    }

    /// The Service with its pods on these nodes.
    pub(super) fn service(&self, homes: &[&Node]) -> Service {
        let (namespace, name) = self.name.split_once('/').unwrap_or(("default", &self.name));
        let target = self.pods.first().map_or(self.port, |(_, address)| address.port());
        let endpoint = |((_, address), home): (&(String, SocketAddrV4), &&Node)| {
            Endpoint::ready(*address.ip()).on(home.name())
        };
        Service {
            namespace: namespace.into(),
            endpoints: self.pods.iter().zip(homes).map(endpoint).collect(),
            ..Service::new(name, self.address, self.port, target, [] as [IpAddr; 0])
        }
    }

    pub(super) fn uri(&self) -> Result<Uri> {
        Ok(format!("http://{}:{}/", self.address, self.port).parse()?)
    }

    /// The same Service for kube-proxy's rules.
    pub(super) fn service_port(&self) -> ServicePort {
        ServicePort {
            name: format!("{}:http", self.name),
            address: self.address,
            port: self.port,
            backends: self.pods.iter().map(|(_, address)| *address).collect(),
        }
    }
}

fn ipv4(value: &Value) -> Result<Ipv4Addr> {
    match value.as_str().map(str::parse) {
        Some(Ok(IpAddr::V4(address))) => Ok(address),
        _ => bail!("deploy/demo: {value} is not an IPv4 address"),
    }
}

fn port(value: &Value) -> Result<u16> {
    let number = value.as_u64().and_then(|number| number.try_into().ok());
    number.with_context(|| format!("deploy/demo: {value} is not a port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_has_five_pods_behind_one_address() {
        let web = Web::load().expect("deploy/demo is valid");
        assert_eq!((web.name.as_str(), web.port, web.pods.len()), ("demo/web", 80, 5));
        assert_eq!(web.uri().expect("uri").to_string(), "http://10.96.100.10:80/");
    }
}
