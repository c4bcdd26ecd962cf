//! What the parts of the running agent share.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    process,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant, SystemTime},
};

use super::{
    About,
    audience::Audience,
    handover::{Handover, Look},
    journal::{Event, Journal},
    known::Reader,
    moving::{Drained, Moving},
    peers::{Peers, drains::DrainedAll},
    readers::Tracing,
    stuck,
};
use crate::{
    answer::AnswerError,
    config::{BackendSeries, RunConfig},
    desired::{Desired, pods::DesiredPod},
    health::Health,
    maps::{MapsError, ReadChoice as _, ReadMaps as _, pinned::PinnedMaps, pins::Pins},
    metrics::{KubeProxy, Mended, Programming, Synced, Totals},
    model::{self, ObjectRef, Problem, Protocol, nearest},
    moves::helper::{Helper, watch::Stuck},
    observe::{Snapshot, explain::Client, offline, views},
    source::{Heard, Kind, Source, kube::Requests},
    view::{AboutView, AgentView, BalancingView, CountsView, ServiceView, StatusView},
};

/// What the loop shares with those who ask.
pub struct Shared {
    bpffs: PathBuf,
    /// Asks about connections that somebody wants to see.
    helper: Helper,
    /// Whose processes are looked at.
    cgroup: PathBuf,
    pins: Pins,
    maps: PinnedMaps,
    node: String,
    source: String,
    started: Instant,
    desired: Reader,
    published: RwLock<Published>,
    balancing: RwLock<Option<BalancingView>>,
    programming: Programming,
    kube_proxy: KubeProxy,
    totals: Totals,
    series: BackendSeries,
    heard: Heard,
    requests: Option<Requests>,
    mended: Mended,
    health: Arc<Health>,
    moving: Moving,
    configured: model::Moving,
    /// None where this node counts alone.
    peers: Option<Arc<Peers>>,
    datagrams: Handover,
    tracing: Arc<Tracing>,
    journal: Journal,
    about: About,
}

/// What the loop has told.
#[derive(Default)]
struct Published {
    problems: Vec<Problem>,
    /// Kinds that are missing until the first state.
    awaited: Vec<Kind>,
}

impl Shared {
    /// Opens the maps a second time, for reading.
    pub fn new(
        config: &RunConfig,
        about: About,
        source: &Source,
        desired: Reader,
    ) -> Result<Self, MapsError> {
        let requests = source.requests();
        let (source, heard) = (source.describe(), source.heard());
        let pins = Pins::new(&config.bpffs);
        let moving = Moving::new(config)?;
        let helper = Helper::new(Some(config.cgroup.clone()), Arc::clone(moving.watch()));
        let peers = Peers::new(config).map(Arc::new);
        if let Some(peers) = &peers {
            moving.obey(Arc::clone(peers) as _);
        }
        Ok(Self {
            bpffs: config.bpffs.clone(),
            cgroup: config.cgroup.clone(),
            helper,
            maps: PinnedMaps::open(&pins, config.capacities)?,
            pins,
            node: config.node_name.clone(),
            source,
            started: Instant::now(),
            desired,
            published: RwLock::default(),
            balancing: RwLock::default(),
            programming: Programming::default(),
            kube_proxy: KubeProxy::default(),
            totals: Totals::default(),
            series: config.metrics_backends,
            heard,
            requests,
            mended: Mended::default(),
            health: Arc::default(),
            moving,
            configured: config.moving,
            peers,
            datagrams: Handover::default(),
            tracing: Arc::default(),
            journal: Journal::default(),
            about,
        })
    }

    /// What is desired.
    pub fn desired(&self) -> RwLockReadGuard<'_, Desired> {
        self.desired.read()
    }

    /// Takes whether balancing works.
    pub fn tell_balancing(&self, balancing: BalancingView) {
        self.health.balances(balancing.state);
        let mut held = self.balancing.write().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_none_or(|held| held.state != balancing.state) {
            let detail = if balancing.detail.is_empty() { "" } else { ": " };
            let text = format!("balancing {}{detail}{}", balancing.state, balancing.detail);
            self.journal.note([Event::agent(text)]);
        }
        *held = Some(balancing);
    }

    /// What moves connections.
    pub const fn moving(&self) -> &Moving {
        &self.moving
    }

    /// When connections are moved where no annotation says it.
    pub const fn configured_moving(&self) -> &model::Moving {
        &self.configured
    }

    /// The agents of other nodes; none where this node counts alone.
    pub const fn peers(&self) -> Option<&Arc<Peers>> {
        self.peers.as_ref()
    }

    /// Backends that are drained on all nodes.
    pub fn drained_on_all(&self) -> Vec<DrainedAll> {
        self.peers().map_or_else(Vec::new, |peers| peers.drained())
    }

    /// What looks at UDP sockets.
    pub const fn datagrams(&self) -> &Handover {
        &self.datagrams
    }

    /// What has changed.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// What the agent was told, without what was left out, and what it has logged.
    pub fn about(&self) -> AboutView {
        let given = serde_json::to_value(&self.about.given).unwrap_or_default();
        let mut configuration = given.as_object().cloned().unwrap_or_default();
        configuration.retain(|_, value| !value.is_null());
        AboutView { configuration, log: self.about.log.list() }
    }

    /// Who reads what programs tell.
    pub const fn tracing(&self) -> &Arc<Tracing> {
        &self.tracing
    }

    /// Whose processes are looked at.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// What probes are told.
    pub const fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Logs what held up those who touch sockets since this was done last.
    pub fn tell_stuck(&self) {
        for problem in self.stuck(&self.moving.watch().news()) {
            tracing::warn!(connection = problem.object, "{}", problem.message);
        }
    }

    /// What is told of sockets that held up those who touch them.
    fn stuck(&self, stuck: &[Stuck]) -> Vec<Problem> {
        if stuck.is_empty() {
            return Vec::new();
        }
        let names = self.maps.names().unwrap_or_default().into_iter().collect();
        let pods = self.desired().pods.clone();
        // Where it can't be read, processes are looked for.
        let clients = self.maps.clients().unwrap_or_default().into_iter().collect();
        let (names, pods, clients) = (&names, &pods, &clients);
        let holders = stuck::Holders { names, pods, clients, cgroup: &self.cgroup };
        stuck.iter().map(|stuck| stuck::problem(stuck, &holders)).collect()
    }

    /// The maps, for reading.
    pub const fn maps(&self) -> &PinnedMaps {
        &self.maps
    }

    /// What asks about connections that somebody wants to see.
    pub const fn helper(&self) -> &Helper {
        &self.helper
    }

    /// Where the maps are pinned.
    pub const fn pins(&self) -> &Pins {
        &self.pins
    }

    /// A pod of this node, as somebody who dials.
    pub fn client(&self, pod: &ObjectRef) -> Result<Client, AnswerError> {
        let found = self.pod(pod)?;
        let desired = self.desired();
        let own = if found.host_network { &desired.node_addresses } else { &found.addresses };
        Ok(Client { pod: pod.clone(), opted_out: found.opted_out, addresses: own.clone() })
    }

    /// A pod of this node, or the names that could have been meant.
    pub fn pod(&self, pod: &ObjectRef) -> Result<DesiredPod, AnswerError> {
        let desired = self.desired();
        let found = desired.pods.values().find(|found| found.id == *pod);
        found.cloned().ok_or_else(|| {
            let known = desired.pods.values().map(|known| known.id.clone());
            let hint = nearest::object(pod, known, "give NAMESPACE/NAME of one that does");
            AnswerError::NoPod { pod: pod.clone(), hint }
        })
    }

    /// How long changes took to be written.
    pub const fn programming(&self) -> &Programming {
        &self.programming
    }

    /// The same by the names of kube-proxy.
    pub const fn kube_proxy(&self) -> &KubeProxy {
        &self.kube_proxy
    }

    /// What Service ports were sent since the agent started.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Which series metrics have of Services and their backends.
    pub const fn series(&self) -> BackendSeries {
        self.series
    }

    /// For how long the API server has sent nothing; none where there is none, or it never did.
    pub fn source_silent(&self) -> Option<Duration> {
        self.heard.silent()
    }

    /// What the API server was asked; none where there is none.
    pub const fn requests(&self) -> Option<&Requests> {
        self.requests.as_ref()
    }

    /// How many entries of maps were put back.
    pub const fn mended(&self) -> &Mended {
        &self.mended
    }

    /// The status at the moment of a snapshot. What can't be read is absent, and a problem.
    pub fn status_of(&self, snapshot: Result<Snapshot, MapsError>) -> StatusView {
        let (pods, refused, mut problems, waiting_for) = {
            let published = self.read();
            let desired = self.desired();
            let awaited = published.awaited.iter().map(ToString::to_string).collect();
            let (pods, refused) = (views::pods(&desired), views::refused(&desired));
            (pods, refused, published.problems.clone(), awaited)
        };
        let snapshot = snapshot.map_err(|error| problems.push(unreadable(&error))).ok();
        problems.extend(self.stuck(&self.moving.watch().stuck()));
        problems.extend(self.peers().into_iter().flat_map(|peers| peers.problems()));
        let alone = || CountsView::alone("--peers names no Service of the agents");
        let counts = self.peers().map_or_else(alone, |peers| peers.counts());
        // Before the kernel is asked: what was put back meanwhile is seen, and not said to be missing.
        let balancing = self.balancing.read().unwrap_or_else(PoisonError::into_inner).clone();
        let kernel = offline::status(&self.bpffs, &self.pins, snapshot.as_ref());
        problems.extend_from_slice(&kernel.problems);
        StatusView {
            agent: Some(AgentView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: process::id(),
                node: self.node.clone(),
                uptime_s: self.started.elapsed().as_secs(),
                source: self.source.clone(),
                ready: self.health.report().ready,
                waiting_for,
            }),
            balancing,
            counts: Some(counts),
            pods,
            refused,
            problems,
            events: self.journal.recent(),
            ..kernel
        }
    }

    /// Every Service port at the moment of a snapshot.
    pub fn services_of(&self, snapshot: &Snapshot) -> Vec<ServiceView> {
        let mut services = self.completed(views::services(snapshot, Some(&self.desired())));
        self.moving.complete(&mut services);
        services
    }

    /// The same without nodes and zones, and without what was moved.
    pub fn services_without_places(&self, snapshot: &Snapshot) -> Vec<ServiceView> {
        self.completed(views::without_places(snapshot, Some(&self.desired())))
    }

    /// With the counts of other nodes.
    fn completed(&self, mut services: Vec<ServiceView>) -> Vec<ServiceView> {
        if let Some(peers) = self.peers() {
            peers.complete(&mut services);
        }
        let mut by: BTreeMap<SocketAddr, String> = BTreeMap::new();
        by.extend(self.drained_on_all().into_iter().map(|found| (found.backend, found.by)));
        by.extend(self.moving.drained_here().into_keys().map(|addr| (addr, self.node.clone())));
        let tcp = services.iter_mut().filter(|service| service.port.protocol == Protocol::Tcp);
        for backend in tcp.flat_map(|service| &mut service.backends) {
            backend.drained_by = by.get(&(backend.address, backend.port).into()).cloned();
        }
        services
    }

    fn write(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audience for Shared {
    fn know(&self, desired: &Desired) {
        self.health.know(desired);
    }

    fn wait(&self, problems: &[Problem], kinds: &[Kind]) {
        let mut published = self.write();
        published.problems = problems.to_vec();
        published.awaited = kinds.to_vec();
    }

    fn changed(&self, lacking: bool, written: bool) {
        self.moving.changed(lacking);
        if let Some(peers) = self.peers.as_ref().filter(|_| written) {
            peers.changed();
        }
    }

    fn settle(&self, problems: Vec<Problem>, complete: bool) {
        let mut published = self.write();
        published.problems = problems;
        published.awaited.clear();
        drop(published);
        self.health.written(complete);
    }

    fn written(&self, triggers: &[SystemTime]) {
        self.programming.written(triggers);
        self.kube_proxy.written(triggers);
    }

    fn synced(&self, sync: &Synced) {
        self.kube_proxy.synced(sync);
    }

    fn happened(&self, events: Vec<Event>) {
        self.journal.note(events);
    }

    fn put_back(&self, map: &'static str, entries: u64) {
        let text =
            format!("{entries} entries of the map {map} put back: another tool had changed them");
        self.journal.note([Event::agent(text)]);
        self.mended.add(map, entries);
    }

    fn look(&self, look: Look) {
        self.datagrams.give(look);
    }

    fn drained(&self) -> BTreeMap<SocketAddr, Drained> {
        self.moving.drained()
    }

    fn left_out(&self, backends: BTreeSet<SocketAddr>) {
        self.moving.leave_out(backends);
    }
}

fn unreadable(error: &MapsError) -> Problem {
    let object = "maps".to_owned();
    Problem { object, field: String::new(), message: format!("can't be read: {error}") }
}
