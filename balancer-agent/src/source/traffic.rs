//! The traffic policies of a Service, and the port that depends on one of them.

use k8s_openapi::api::core::v1 as core;

use super::{
    object::{Fault, Faults},
    port::usable,
};
use crate::{model::TrafficPolicy, settings::quoted};

/// `spec.internalTrafficPolicy`.
pub fn internal_policy(spec: &core::ServiceSpec, faults: &mut Faults) -> TrafficPolicy {
    policy("spec.internalTrafficPolicy", spec.internal_traffic_policy.as_deref(), faults)
}

/// `spec.externalTrafficPolicy`.
pub fn external_policy(spec: &core::ServiceSpec, faults: &mut Faults) -> TrafficPolicy {
    policy("spec.externalTrafficPolicy", spec.external_traffic_policy.as_deref(), faults)
}

/// `spec.healthCheckNodePort` where load balancers ask there: the API gives one to Services of type
/// LoadBalancer whose `spec.externalTrafficPolicy` is Local, and means nothing by it elsewhere.
pub fn health_check_node_port(
    spec: &core::ServiceSpec,
    external: TrafficPolicy,
    faults: &mut Faults,
) -> Option<u16> {
    if spec.type_.as_deref() != Some("LoadBalancer") || external != TrafficPolicy::Local {
        return None;
    }
    let port = spec.health_check_node_port.filter(|port| *port != 0)?;
    let usable = usable(port);
    if usable.is_none() {
        let message = format!(
            "{port} is no port: load balancers get no answer; write 1 to 65535, or leave the \
             field out"
        );
        faults.push(Fault::new("spec.healthCheckNodePort", message));
    }
    usable
}

fn policy(field: &str, written: Option<&str>, faults: &mut Faults) -> TrafficPolicy {
    match written {
        None | Some("" | "Cluster") => TrafficPolicy::Cluster,
        Some("Local") => TrafficPolicy::Local,
        Some(other) => {
            let message = format!(
                "{other} is no policy: Cluster is used; write Cluster or Local",
                other = quoted(other)
            );
            faults.push(Fault::new(field, message));
            TrafficPolicy::Cluster
        }
    }
}
