//! Snapshots as the wire types of [`crate::view`]. Pure.

use balancer_common::{
    layout::{FrontendKind, Place},
    verdict::Verdict,
};
use nix::errno::Errno;

use super::{BackendSnapshot, PortSnapshot, Snapshot};
use crate::{
    desired::{
        BackendAddr, Desired, DesiredPort, FrontendAddr, PortId, backends::Details,
        pods::DesiredPod,
    },
    model::ObjectRef,
    view::{
        BackendState, BackendView, FrontendView, PodState, PodView, PortView, RefusedView,
        ServiceView, VerdictView,
    },
};

/// Every Service port. `desired` adds what the maps don't hold: nodes, zones, conditions.
pub fn services(snapshot: &Snapshot, desired: Option<&Desired>) -> Vec<ServiceView> {
    all(snapshot, desired, true)
}

/// The same without nodes and zones, for who shows neither: with 100,000 backends that is most of it.
pub fn without_places(snapshot: &Snapshot, desired: Option<&Desired>) -> Vec<ServiceView> {
    all(snapshot, desired, false)
}

fn all(snapshot: &Snapshot, desired: Option<&Desired>, placed: bool) -> Vec<ServiceView> {
    let view = |(id, port): (&PortId, &PortSnapshot)| {
        let known = desired.and_then(|desired| desired.ports.get(id));
        service(id, port, known, placed)
    };
    snapshot.ports.iter().map(view).collect()
}

/// The pods whose connections are not balanced.
pub fn pods(desired: &Desired) -> Vec<PodView> {
    let view = |pod: &DesiredPod| {
        let state = match (pod.opted_out, &pod.sandboxed) {
            (true, _) => PodState::OptedOut,
            (false, Some(_)) => PodState::Sandboxed,
            (false, None) => return None,
        };
        let ObjectRef { namespace, name } = pod.id.clone();
        Some(PodView { namespace, name, state, runtime_class: pod.sandboxed.clone() })
    };
    let mut pods: Vec<_> = desired.pods.values().filter_map(view).collect();
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    pods
}

/// Service ports whose clients are refused, as no endpoint can be used: at most as many as problems are
/// told. Headless Services and those whose addresses others have are not among them.
pub fn refused(desired: &Desired) -> Vec<RefusedView> {
    let refused = |(id, port): (&PortId, &DesiredPort)| {
        let refuses = !port.backends.values().any(|details| details.usable);
        if port.frontends.is_empty() || !refuses {
            return None;
        }
        let elsewhere = port.local && (port.elsewhere.ipv4 || port.elsewhere.ipv6);
        let verdict = if elsewhere { Verdict::NoLocalEndpoint } else { Verdict::NoEndpoint };
        let not_ready = port.backends.values().filter(|d| !d.serving).count() as u64;
        let error = verdict.errno().map(Errno::from_raw)?;
        Some(RefusedView {
            namespace: id.service.namespace.clone(),
            service: id.service.name.clone(),
            service_port: PortView {
                name: id.port.clone(),
                number: port.number,
                protocol: id.protocol,
            },
            error: format!("{error:?}"),
            not_ready,
        })
    };
    desired.ports.iter().filter_map(refused).take(MAX_REFUSED).collect()
}

/// Service ports that are listed as refused at most.
const MAX_REFUSED: usize = 1_000;

/// Every verdict.
pub fn verdicts(snapshot: &Snapshot) -> Vec<VerdictView> {
    let view = |(verdict, total): &(Verdict, u64)| VerdictView {
        name: verdict.name().to_owned(),
        total: *total,
    };
    snapshot.verdicts.iter().map(view).collect()
}

fn service(
    id: &PortId,
    port: &PortSnapshot,
    known: Option<&DesiredPort>,
    placed: bool,
) -> ServiceView {
    let options = port.settings;
    let some = |seconds: u32| (seconds > 0).then_some(seconds);
    let ranges = known.map(|port| port.source_ranges.as_slice()).unwrap_or_default();
    ServiceView {
        namespace: id.service.namespace.clone(),
        name: id.service.name.clone(),
        port: PortView { name: id.port.clone(), number: port.number, protocol: id.protocol },
        policy: options.policy.name().to_owned(),
        affinity_s: some(options.affinity),
        slow_start_s: some(options.slow_start),
        source_ranges: ranges.iter().map(ToString::to_string).collect(),
        frontends: {
            let shown = port.frontends.iter().filter(|f| f.place() == Place::Exact);
            shown.map(frontend).collect()
        },
        backends: port.backends.iter().map(|found| backend(found, known, placed)).collect(),
        moved_total: None,
    }
}

fn frontend(frontend: &FrontendAddr) -> FrontendView {
    FrontendView {
        r#type: kind_name(frontend.kind).to_owned(),
        address: frontend.addr.ip(),
        port: frontend.addr.port(),
        protocol: frontend.protocol,
    }
}

/// Name of a kind of address.
pub const fn kind_name(kind: FrontendKind) -> &'static str {
    match kind {
        FrontendKind::ClusterIp => "ClusterIP",
        FrontendKind::NodePort => "NodePort",
        FrontendKind::ExternalIp => "ExternalIP",
        FrontendKind::LoadBalancer => "LoadBalancer",
    }
}

/// What is known of a backend, for whichever of the port's addresses it stands.
fn details<'a>(port: &'a DesiredPort, backend: &BackendAddr) -> Option<&'a Details> {
    let external = port.external.as_ref().and_then(|external| external.get(backend));
    port.backends.get(backend).or(external)
}

fn backend(found: &BackendSnapshot, known: Option<&DesiredPort>, placed: bool) -> BackendView {
    let details = known.and_then(|port| details(port, &found.backend));
    let state = match details {
        Some(details) if !found.in_row && !details.serving && !details.terminating => {
            BackendState::NotReady
        }
        _ if !found.in_row => BackendState::Draining,
        _ if found.suspect => BackendState::Suspect,
        Some(details) if details.terminating => BackendState::Terminating,
        _ => BackendState::Ready,
    };
    let place = details.filter(|_| placed).map(|details| &*details.place);
    BackendView {
        address: found.backend.addr().ip(),
        port: found.backend.addr().port(),
        node: place.and_then(|place| place.node.as_deref().map(str::to_owned)),
        zone: place.and_then(|place| place.zone.as_deref().map(str::to_owned)),
        state,
        weight: found.weight,
        active: found.active,
        cluster_active: None,
        opened_total: found.opened,
        failed_total: found.failed,
        suspected_total: found.suspected,
        drained_by: None,
    }
}

#[cfg(test)]
mod tests;
