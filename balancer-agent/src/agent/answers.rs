//! What the running agent answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use super::{drains, drains_of_all, journal::Event, shared::Shared};
use crate::{
    answer::AnswerError,
    api::Answers,
    desired::Desired,
    kernel::inventory,
    maps::ReadMaps as _,
    metrics::Scrape,
    model::ObjectRef,
    moves::{movable::in_use, prospect::Prospect},
    observe::{Snapshot, clients::clients, connections::connections, explain::explain, offline},
    view::{
        AboutQuestion, ClientView, ClientsQuestion, ConnectionView, DrainRequest, DrainView,
        DrainsQuestion, EventKind, EventsQuestion, ExplainQuestion, ExplainView, MetricsQuestion,
        PeerView, PeersQuestion, RebalanceRequest, RebalanceView, ServiceView, ServicesQuestion,
        StatusQuestion, StatusView, TraceQuestion, Wanted,
    },
};

/// Every question that the agent answers.
pub fn answers(shared: &Arc<Shared>) -> Answers<Shared> {
    Answers::of(Arc::clone(shared))
        .with(status)
        .with(services)
        .with(connections_wanted)
        .with(clients_asked)
        .with(explained)
        .with(peers)
        .with(rebalance)
        .with(drain)
        .with(|shared, _: &DrainsQuestion| Ok(drains(shared)))
        .with(|shared, question: &EventsQuestion| Ok(shared.journal().list(question)))
        .with(|shared, _: &AboutQuestion| Ok(shared.about()))
        .with(|shared, _: &MetricsQuestion| Ok(scrape(shared)?.text()))
        .streaming(|shared, question: TraceQuestion| shared.tracing().subscribe(question))
}

/// What metrics show.
pub fn scrape(shared: &Shared) -> Result<Scrape, AnswerError> {
    let (mut snapshot, services, totals) = shared.totals().at(|| {
        let snapshot = Snapshot::read(shared.maps())?;
        let services = shared.services_without_places(&snapshot);
        Ok::<_, AnswerError>((snapshot, services))
    })?;
    // Not while the client reads, too.
    (snapshot.ports, snapshot.counted) = Default::default();
    Ok(Scrape {
        totals,
        series: shared.series(),
        services,
        programs: inventory::programs(shared.pins()),
        lifetimes: snapshot.lifetimes,
        status: shared.status_of(Ok(snapshot)),
        ended: shared.moving().ended(),
        programming: shared.programming().clone(),
        kube_proxy: shared.kube_proxy().clone(),
        mended: shared.mended().clone(),
        source_silent: shared.source_silent(),
        requests: shared.requests().cloned(),
    })
}

fn status(shared: &Shared, _: &StatusQuestion) -> Result<StatusView, AnswerError> {
    Ok(shared.status_of(Snapshot::read(shared.maps())))
}

fn services(shared: &Shared, _: &ServicesQuestion) -> Result<Vec<ServiceView>, AnswerError> {
    Ok(shared.services_of(&Snapshot::read(shared.maps())?))
}

fn connections_wanted(
    shared: &Shared,
    wanted: &Wanted,
) -> Result<Vec<ConnectionView>, AnswerError> {
    // Held while the kernel is asked would keep changes from the maps.
    let pods = shared.desired().pods.clone();
    if let Some(name) = &wanted.pod {
        let namespace = wanted.pod_namespace.clone().unwrap_or_else(|| "default".to_owned());
        shared.pod(&ObjectRef { namespace, name: name.clone() })?;
    }
    let ended = shared.moving().since();
    Ok(connections(shared.maps(), shared.helper(), &pods, &ended, wanted)?)
}

fn clients_asked(
    shared: &Shared,
    question: &ClientsQuestion,
) -> Result<Vec<ClientView>, AnswerError> {
    let pods = shared.desired().pods.clone();
    Ok(clients(shared.maps(), &pods, question)?)
}

fn explained(shared: &Shared, question: &ExplainQuestion) -> Result<ExplainView, AnswerError> {
    let client = match &question.pod {
        None => None,
        Some(name) => Some(shared.client(&ObjectRef {
            namespace: question.pod_namespace.clone().unwrap_or_else(|| "default".to_owned()),
            name: name.clone(),
        })?),
    };
    let services = shared.services_of(&Snapshot::read(shared.maps())?);
    let others = offline::otherwise;
    let mut view = explain(shared.maps(), &services, client.as_ref(), question, others)?;
    view.notes.extend(offline::unattached(shared.pins(), view.address));
    Ok(view)
}

fn peers(shared: &Shared, _: &PeersQuestion) -> Result<Vec<PeerView>, AnswerError> {
    Ok(shared.peers().map_or_else(Vec::new, |peers| peers.list()))
}

fn rebalance(shared: &Shared, request: &RebalanceRequest) -> Result<RebalanceView, AnswerError> {
    let RebalanceRequest { namespace, service, dry_run, node } = request.clone();
    let service = ObjectRef { namespace, name: service };
    if !shared.desired().ports.keys().any(|port| port.service == service) {
        return Err(AnswerError::NotBalanced { service });
    }
    let (moving, desired) = (shared.moving(), || shared.desired());
    if dry_run {
        // A pass may wait for whoever holds a socket; who only asks does not wait with it.
        let (maps, helper, said) = (shared.maps(), shared.helper(), shared.configured_moving());
        let remembered = moving.remembered();
        let Prospect { mut view, surveys, .. } =
            remembered.rebalance(maps, helper, desired, said, &service, node)?;
        if let Some(peers) = shared.peers().filter(|_| !surveys.is_empty()) {
            view.node_moves = peers.node_moves(&surveys);
        }
        return Ok(view);
    }
    let view = moving.mover().rebalance(desired, &service, node)?;
    moving.told();
    Ok(view)
}

fn drain(shared: &Shared, request: &DrainRequest) -> Result<Vec<DrainView>, AnswerError> {
    let moving = shared.moving();
    let mut drained: BTreeSet<_> = moving.drained().into_keys().collect();
    drained.extend(shared.drained_on_all().into_iter().map(|found| found.backend));
    let backends = drains::judge(request, &shared.desired(), &drained)?;
    let over = Duration::from_secs(request.timeout_s.max(1));
    let events = drained_events(&shared.desired(), &backends, request.cancel, over);
    let peers = shared.peers();
    if request.cluster && !request.cancel {
        let peers = peers.ok_or(AnswerError::NoCluster)?;
        peers.drain(&backends, over)?;
        // On this node, too, it is drained as on the others.
        moving.drain(backends, None);
    } else {
        if let Some(peers) = peers.filter(|_| request.cancel) {
            peers.end_drains(&backends);
        }
        moving.drain(backends, (!request.cancel).then_some(over));
    }
    // Not before: what is refused did not happen.
    shared.journal().note(events);
    if let Some(peers) = peers {
        drains_of_all::follow(shared, peers);
    }
    Ok(drains(shared))
}

/// What is remembered of backends that are drained, or are no more.
fn drained_events(
    desired: &Desired,
    backends: &BTreeSet<SocketAddr>,
    cancel: bool,
    over: Duration,
) -> Vec<Event> {
    let mut events = Vec::new();
    for (backend, services) in drains::services_of(desired, |addr| backends.contains(addr)) {
        let text = if cancel {
            format!("{backend} is drained no more: it gets connections again")
        } else {
            format!("{backend} is drained over {} s", over.as_secs())
        };
        let of = |service: &ObjectRef| Event::of(EventKind::Drain, service.clone(), text.clone());
        events.extend(services.into_iter().map(of));
    }
    events
}

fn drains(shared: &Shared) -> Vec<DrainView> {
    let here = shared.moving().drained_here();
    let mut drained: BTreeMap<SocketAddr, (Duration, Duration)> = BTreeMap::new();
    let all = shared.drained_on_all();
    for found in &all {
        drained.insert(found.backend, (found.over, found.since.elapsed() + found.age));
    }
    drained.extend(here.iter().map(|(addr, found)| (*addr, (found.over, found.since.elapsed()))));
    let (ids, ended) = (in_use(shared.maps()), shared.moving().since());
    let services: BTreeMap<SocketAddr, Vec<ObjectRef>> = {
        let desired = shared.desired();
        let found = drains::services_of(&desired, |addr| drained.contains_key(addr));
        found.into_iter().map(|(addr, its)| (addr, its.into_iter().cloned().collect())).collect()
    };
    let view = |(addr, (over, elapsed)): (SocketAddr, (Duration, Duration))| {
        let id = ids.get(&addr).copied();
        let connections = id.map_or(0, |id| shared.maps().active(id));
        let of_all = all.iter().find(|found| found.backend == addr && !here.contains_key(&addr));
        let progress = of_all.and_then(|found| Some(shared.peers()?.progress(found.id)));
        DrainView {
            backend: addr.into(),
            services: services.get(&addr).cloned().unwrap_or_default(),
            timeout_s: over.as_secs(),
            elapsed_s: elapsed.as_secs(),
            connections,
            ended: id.map_or(0, |id| drains::ended(ended.keys().copied(), id, connections)),
            by: of_all.map(|found| found.by.clone()),
            nodes: progress.unwrap_or_default(),
        }
    };
    drained.into_iter().map(view).collect()
}
