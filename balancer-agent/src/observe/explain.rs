//! What a `connect()` would get here and now, without doing it.
//!
//! The steps are those of `balancer-ebpf/src/connect.rs`, in their order.

mod captured;
mod reason;

use std::net::{IpAddr, SocketAddr};

use balancer_common::{
    layout::{
        CLUSTER_FRACTION, Counter, Frontend, FrontendKind, Level, RESTRICTED, Row, TICK_SHIFT,
        is_fresh, ticks,
    },
    suspect::SUSPECT,
    verdict::Verdict,
};
use nix::errno::Errno;

use self::{
    captured::captured,
    reason::{Certain, not_service, why},
};
use super::{
    odds::{Candidate, Rules, certain, odds},
    views::kind_name,
};
use crate::{
    desired::FrontendAddr,
    maps::{MapsError, ReadChoice, convert, identity::RowId},
    model::ObjectRef,
    node::clock,
    view::{
        BackendState, BackendView, CandidateView, EndView, ExplainQuestion, ExplainView, PortView,
        ServiceView,
    },
};

/// The pod that would dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Namespace and name.
    pub pod: ObjectRef,
    /// True if its sockets are left alone.
    pub opted_out: bool,
    /// Its addresses; those of the node where it has its network.
    pub addresses: Vec<IpAddr>,
}

/// Explains a `connect()`. `services` are all Service ports at this moment, `client` is none for any client
/// that is not opted out, and `otherwise` says who answers where balancer does not.
pub fn explain(
    maps: &impl ReadChoice,
    services: &[ServiceView],
    client: Option<&Client>,
    question: &ExplainQuestion,
    otherwise: impl FnOnce() -> String,
) -> Result<ExplainView, MapsError> {
    let address = question.address.to_canonical();
    let dialled = FrontendAddr {
        kind: FrontendKind::ClusterIp,
        addr: SocketAddr::new(address, question.port),
        protocol: question.protocol,
    };
    let mut view = ExplainView {
        address,
        port: question.port,
        protocol: question.protocol,
        pod: client.map(|client| client.pod.clone()),
        verdict: String::new(),
        errno: None,
        error: None,
        why: String::new(),
        otherwise: None,
        service: None,
        service_port: None,
        frontend: None,
        policy: None,
        counts_cluster: false,
        pinned: None,
        candidates: Vec::new(),
        notes: Vec::new(),
    };
    let verdict = match captured(maps, dialled, client)? {
        None => {
            view.why = not_service(services, &view);
            Verdict::NotService
        }
        Some(found) if convert::is_self_test(found.key, found.frontend) => {
            view.why = "the agent dials this address to see whether balancing works".into();
            Verdict::SelfTest
        }
        Some(found) => {
            if found.on_node_alone {
                view.notes.push("captured for processes in the network of the node alone".into());
            }
            Explained { maps, services, client }.fill(&mut view, found.frontend)?
        }
    };
    view.verdict = verdict.name().to_owned();
    view.errno = verdict.errno();
    view.error = view.errno.map(|errno| format!("{:?}", Errno::from_raw(errno)));
    let untouched = !matches!(verdict, Verdict::Balanced | Verdict::SelfTest);
    view.otherwise = (untouched && view.errno.is_none()).then(otherwise);
    Ok(view)
}

struct Explained<'a, M> {
    maps: &'a M,
    services: &'a [ServiceView],
    client: Option<&'a Client>,
}

impl<M: ReadChoice> Explained<'_, M> {
    fn fill(&self, view: &mut ExplainView, frontend: Frontend) -> Result<Verdict, MapsError> {
        let service = frontend.service;
        let name = self.maps.name(service)?;
        let Some(RowId { port, .. }) = name.as_ref().and_then(convert::row_id) else {
            view.why = format!("the address leads to Service port {service}, which has no name");
            return Ok(Verdict::Inconsistent);
        };
        let number = name.map_or(0, |name| name.port);
        view.frontend = FrontendKind::from_raw(frontend.kind).map(|kind| kind_name(kind).into());
        view.service_port = Some(PortView { name: port.port, number, protocol: port.protocol });
        view.service = Some(port.service);
        if self.client.is_some_and(|client| client.opted_out) {
            view.why =
                "the pod or its namespace has the label balancer-agent/enabled: \"false\"".into();
            return Ok(Verdict::OptedOut);
        }
        if frontend.kind & RESTRICTED != 0
            && let Some(verdict) = self.restricted(view, service)?
        {
            return Ok(verdict);
        }
        let row = self.maps.row(service);
        if row.len == 0 {
            return Ok(self.without_row(view, row));
        }
        self.choice(view, service, row)?;
        Ok(Verdict::Balanced)
    }

    fn shown(&self, view: &ExplainView) -> Vec<&BackendView> {
        let (service, port) = (view.service.as_ref(), view.service_port.as_ref());
        let of = |shown: &&ServiceView| {
            service.is_some_and(|s| (&s.namespace, &s.name) == (&shown.namespace, &shown.name))
                && Some(&shown.port) == port
        };
        let found = self.services.iter().find(of);
        let family = |backend: &&BackendView| backend.address.is_ipv4() == view.address.is_ipv4();
        found.into_iter().flat_map(|shown| &shown.backends).filter(family).collect()
    }

    /// What source ranges say, where they do not admit the client.
    fn restricted(
        &self,
        view: &mut ExplainView,
        service: u32,
    ) -> Result<Option<Verdict>, MapsError> {
        let ranges = self.maps.ranges()?.into_iter().filter_map(convert::range_of);
        let ranges: Vec<_> =
            ranges.filter(|(of, _)| *of == service).map(|(_, range)| range).collect();
        let listed: Vec<_> = ranges.iter().map(ToString::to_string).collect();
        let listed = listed.join(", ");
        let Some(client) = self.client else {
            view.notes.push(format!(
                "spec.loadBalancerSourceRanges admits only {listed}; others get EHOSTUNREACH: \
                 name a client with --pod"
            ));
            return Ok(None);
        };
        let own = client.addresses.iter().find(|own| own.is_ipv4() == view.address.is_ipv4());
        let known = self.maps.clients()?;
        let known = known.iter().flat_map(|(_, addresses)| addresses);
        let Some(own) = own.filter(|own| known.into_iter().any(|known| known == *own)) else {
            view.why = format!(
                "spec.loadBalancerSourceRanges admits only {listed}, and the network namespace of \
                 the pod is not known (yet)"
            );
            return Ok(Some(Verdict::SourceUnknown));
        };
        if ranges.iter().any(|range| range.contains(own)) {
            return Ok(None);
        }
        view.why = format!("spec.loadBalancerSourceRanges admits only {listed}, and not {own}");
        Ok(Some(Verdict::SourceDenied))
    }

    fn without_row(&self, view: &mut ExplainView, row: Row) -> Verdict {
        let shown = self.shown(view);
        view.candidates = shown.iter().map(|backend| left_out(backend, false)).collect();
        if row.base == Row::NOT_LOCAL.base {
            view.why = "internalTrafficPolicy is Local, and no endpoint of this node is ready; \
                        endpoints of other nodes are not used"
                .into();
            return Verdict::NoLocalEndpoint;
        }
        view.why = "no endpoint of the Service is ready, nor does one that terminates serve".into();
        Verdict::NoEndpoint
    }

    fn choice(&self, view: &mut ExplainView, service: u32, row: Row) -> Result<(), MapsError> {
        let settings = self.maps.settings(service);
        let now = clock::now().as_nanos() as u64;
        let level = self.maps.level(service);
        let level = level.filter(|level| is_fresh(level.fresh_ms, self.maps.now_ms()));
        let rules = Rules {
            policy: settings.policy,
            slow_start: settings.slow_start,
            keeps_suspects: settings.keeps_suspects,
            cursor: self.maps.cursor(service),
            band: level.map(Level::band),
            now_ns: now,
            now: (now >> TICK_SHIFT) as u32,
        };
        let ids: Vec<_> = self.maps.slots(row).collect();
        let candidates: Vec<_> = ids
            .iter()
            .map(|slot| {
                let suspect = self.maps.is_suspect(slot.backend);
                let bit = if suspect { SUSPECT } else { 0 };
                Candidate {
                    weight: slot.weight,
                    salt: slot.salt,
                    counter: Counter {
                        active: self.maps.active(slot.backend) | bit,
                        others: Counter::others_of(self.maps.others(slot.backend)),
                    },
                    since: self.maps.since(slot.backend),
                    suspect_until: self.maps.backend(slot.backend).suspect_until,
                }
            })
            .collect();
        let place = |backend: u32| ids.iter().position(|slot| slot.backend == backend);
        let is_suspect = |at: usize| candidates[at].counter.active & SUSPECT != 0;
        let all_suspect = (0..candidates.len()).all(is_suspect);
        let pinned = self.pin(view, &rules, service, place)?;
        let seat = || self.maps.seat(service).and_then(place).filter(|at| !is_suspect(*at));
        let odds = || odds(&candidates, &rules);
        // Who has a backend that is suspect gets another one, unless that one is suspect, too.
        let stays = |at: &usize| {
            settings.keeps_suspects || !is_suspect(*at) || all_suspect && odds().tried.is_none()
        };
        let pinned = pinned.filter(stays);
        let seat = if pinned.is_none() { seat() } else { None };
        let (each, tried) = match pinned.or(seat) {
            Some(at) => (certain(candidates.len(), at), None),
            None => {
                let odds = odds();
                (odds.each, odds.tried)
            }
        };
        view.policy = Some(settings.policy.name().to_owned());
        view.counts_cluster = rules.band.is_some() && settings.policy.chooses_least();
        let shown = self.shown(view);
        let mut left: Vec<&BackendView> = shown.clone();
        let ends: Vec<_> = ids
            .iter()
            .map(|slot| convert::backend_addr(&self.maps.backend(slot.backend)))
            .map(|addr| addr.map(|addr| addr.addr()))
            .collect();
        for ((candidate, end), chance) in candidates.iter().zip(&ends).zip(&each) {
            let Some(end) = end else { continue };
            let known =
                |shown: &&BackendView| (shown.address, shown.port) == (end.ip(), end.port());
            let shown = shown.iter().copied().find(known);
            left.retain(|shown| !known(shown));
            let suspect = candidate.counter.active & SUSPECT != 0;
            let own = candidate.counter.active & !SUSPECT;
            let others = candidate.counter.others >> CLUSTER_FRACTION;
            let ready = if suspect { BackendState::Suspect } else { BackendState::Ready };
            view.candidates.push(CandidateView {
                address: end.ip(),
                port: end.port(),
                node: shown.and_then(|shown| shown.node.clone()),
                state: shown.map_or(ready, |shown| shown.state),
                weight: candidate.weight,
                own,
                cluster: view.counts_cluster.then(|| u64::from(own) + u64::from(others)),
                odds: Some(*chance),
            });
        }
        let chosen = |candidate: &CandidateView| candidate.odds.is_some_and(|odds| odds > 0.0);
        view.candidates.sort_by_key(|one| (!chosen(one), one.address, one.port));
        let counts_cluster = view.counts_cluster;
        view.candidates.extend(left.into_iter().map(|one| left_out(one, counts_cluster)));
        let end = |at: usize| ends.get(at).copied().flatten();
        view.pinned = pinned.and_then(end).map(EndView::from);
        let certain =
            seat.and_then(end).map(Certain::Seat).or(tried.and_then(end).map(Certain::Trial));
        view.why = why(view, certain, candidates.len());
        Ok(())
    }

    /// The place of the backend that the client stays with by session affinity.
    fn pin(
        &self,
        view: &mut ExplainView,
        rules: &Rules,
        service: u32,
        holds: impl Fn(u32) -> Option<usize>,
    ) -> Result<Option<usize>, MapsError> {
        let settings = self.maps.settings(service);
        if settings.affinity == 0 {
            return Ok(None);
        }
        let Some(client) = self.client else {
            view.notes.push(format!(
                "session affinity: a client that connected within {} s stays with its backend; \
                 name it with --pod",
                settings.affinity
            ));
            return Ok(None);
        };
        for netns in networks(self.maps, Some(client))? {
            let pin = self.maps.pin(netns, settings.group)?;
            let fresh = pin.filter(|pin| pin.is_fresh(rules.now, ticks(settings.affinity)));
            if let Some(at) = fresh.and_then(|pin| holds(pin.backend)) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

/// Cookies of the network namespaces that have the addresses of a client, as far as the maps know them.
fn networks(maps: &impl ReadChoice, client: Option<&Client>) -> Result<Vec<u64>, MapsError> {
    let Some(client) = client else { return Ok(Vec::new()) };
    let mut known = maps.clients()?;
    known.retain(|(_, addresses)| addresses.iter().any(|at| client.addresses.contains(at)));
    Ok(known.into_iter().map(|(netns, _)| netns).collect())
}

fn left_out(backend: &BackendView, counts_cluster: bool) -> CandidateView {
    CandidateView {
        address: backend.address,
        port: backend.port,
        node: backend.node.clone(),
        state: backend.state,
        weight: backend.weight,
        own: backend.active,
        cluster: backend.cluster_active.filter(|_| counts_cluster),
        odds: None,
    }
}

#[cfg(test)]
mod tests;
