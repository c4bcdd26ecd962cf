//! What moves connections, as the loops of the agent and those who ask share it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    config::RunConfig,
    maps::{MapsError, pinned::PinnedMaps, pins::Pins},
    model::ObjectRef,
    moves::{
        cluster::Authority,
        corrections::Corrections,
        helper::{Helper, watch::Watch},
        history::Ending,
        mover::{Ended, Held, Mover},
        plan::Hindered,
        prospect::Remembered,
        tally::{Counts, Fate, Tally},
    },
    view::ServiceView,
};

/// What the loop shares with those who ask, and with the loop that follows changes.
pub struct Moving {
    mover: Mutex<Mover>,
    tally: Arc<Tally>,
    ended: Arc<Ended>,
    watch: Arc<Watch>,
    corrections: Arc<Corrections>,
    remembered: Arc<Remembered>,
    hindered: Arc<Held>,
    /// True if the mover has not learned of the last change.
    differs: AtomicBool,
    /// True if the source may lack objects.
    lacking: AtomicBool,
    wake: Notify,
    drained: Mutex<BTreeMap<SocketAddr, Drained>>,
    /// Those that are drained on all nodes, as far as this one does.
    followed: Mutex<BTreeMap<SocketAddr, Drained>>,
    /// Those that no row has any more.
    left_out: Mutex<BTreeSet<SocketAddr>>,
    /// Wakes the loop that follows changes: other backends are drained.
    redo: Notify,
}

/// A backend that is drained by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Since when.
    pub since: Instant,
    /// Over which time its connections are ended.
    pub over: Duration,
}

impl Moving {
    /// Opens the maps for itself.
    pub fn new(config: &RunConfig) -> Result<Self, MapsError> {
        let maps = PinnedMaps::open(&Pins::new(&config.bpffs), config.capacities)?;
        let tally = Arc::<Tally>::default();
        let ended = Arc::<Ended>::default();
        let watch = Arc::new(Watch::new());
        let helper = Helper::new(Some(config.cgroup.clone()), Arc::clone(&watch));
        let mover = Mover::new(maps, helper, config.moving, Arc::clone(&tally), Arc::clone(&ended));
        Ok(Self {
            corrections: Arc::clone(mover.corrections()),
            remembered: Arc::clone(mover.remembered()),
            hindered: Arc::clone(mover.hindered()),
            mover: Mutex::new(mover),
            tally,
            ended,
            watch,
            differs: AtomicBool::new(false),
            // Nothing is gone before the first state.
            lacking: AtomicBool::new(true),
            wake: Notify::new(),
            drained: Mutex::default(),
            followed: Mutex::default(),
            left_out: Mutex::default(),
            redo: Notify::new(),
        })
    }

    /// The maps have something new. `lacking` says that the source may lack objects.
    pub fn changed(&self, lacking: bool) {
        self.lacking.store(lacking, SeqCst);
        self.differs.store(true, SeqCst);
        self.wake.notify_one();
    }

    /// Moves nothing for the sake of balance any more without that permits it.
    pub fn obey(&self, authority: Arc<dyn Authority>) {
        self.mover().obey(authority);
    }

    /// What the counters don't say yet of what was moved.
    pub const fn corrections(&self) -> &Arc<Corrections> {
        &self.corrections
    }

    /// What the mover remembers, without a wait for it.
    pub fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// What held up those who touch sockets.
    pub const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// How often connections were ended.
    pub fn ended(&self) -> Counts {
        self.tally.totals()
    }

    /// Adds how many connections of each Service were ended.
    pub fn complete(&self, services: &mut [ServiceView]) {
        let mut moved: BTreeMap<ObjectRef, u64> = BTreeMap::new();
        for ((service, _, fate), count) in self.tally.totals() {
            if matches!(fate, Fate::Ended(_)) {
                *moved.entry(service).or_default() += count;
            }
        }
        for service in services {
            let ServiceView { namespace, name, .. } = &*service;
            let id = ObjectRef { namespace: namespace.clone(), name: name.clone() };
            service.moved_total = Some(moved.get(&id).copied().unwrap_or_default());
        }
    }

    /// Which connections were ended, by the words of their charges, and when by the clock of the
    /// records. Some of them may be closed.
    pub fn since(&self) -> HashMap<u64, Duration> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().map(|(word, ending)| (*word, ending.since)).collect()
    }

    /// When and why a connection was ended, by the word of its charge; none where it was not, and
    /// of what was closed before the last pass.
    pub fn ending(&self, word: u64) -> Option<Ending> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get(&word).copied()
    }

    /// Why connections of backends that drain were not ended in the last pass, by identifier; without a
    /// wait for the mover.
    pub fn hindered(&self) -> BTreeMap<u32, Hindered> {
        self.hindered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Backends that are drained by hand, here or on all nodes.
    pub fn drained(&self) -> BTreeMap<SocketAddr, Drained> {
        let mut all = self.followed().clone();
        all.extend(self.drains().iter());
        all
    }

    /// Those that are drained on this node alone.
    pub fn drained_here(&self) -> BTreeMap<SocketAddr, Drained> {
        self.drains().clone()
    }

    /// Takes what is drained on all nodes, as far as this one does.
    pub fn follow(&self, drained: BTreeMap<SocketAddr, Drained>) {
        let before = std::mem::replace(&mut *self.followed(), drained);
        if before != *self.followed() {
            self.redo.notify_one();
        }
    }

    /// The rows were written without these backends.
    pub fn leave_out(&self, backends: BTreeSet<SocketAddr>) {
        *self.left_out.lock().unwrap_or_else(PoisonError::into_inner) = backends;
    }

    /// Backends that are drained and that no row has any more: none of them gets new connections.
    pub fn left_out(&self) -> BTreeSet<SocketAddr> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drains backends over this time, or gives them new connections again.
    pub fn drain(&self, backends: BTreeSet<SocketAddr>, over: Option<Duration>) {
        let mut drains = self.drains();
        for backend in backends {
            let since = Instant::now();
            match over {
                Some(over) => drop(drains.insert(backend, Drained { since, over })),
                None => drop(drains.remove(&backend)),
            }
        }
        drop(drains);
        self.redo.notify_one();
    }

    /// Waits until other backends are drained. Cancel-safe.
    pub async fn redo(&self) {
        self.redo.notified().await;
    }

    /// Whether the maps have something new since this was asked last: then, whether the source may lack
    /// objects.
    pub fn news(&self) -> Option<bool> {
        self.differs.swap(false, SeqCst).then(|| self.lacking.load(SeqCst))
    }

    /// The next pass looks at everything anew.
    pub fn look_again(&self) {
        self.differs.store(true, SeqCst);
    }

    /// The mover was told something: it makes a pass at once, and looks at everything anew.
    pub fn told(&self) {
        self.look_again();
        self.wake.notify_one();
    }

    /// Waits until there is something to look at. Cancel-safe.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// What was ended, for the log.
    pub const fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The mover, for as long as nobody else needs it.
    pub fn mover(&self) -> MutexGuard<'_, Mover> {
        self.mover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn followed(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Drained>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drains(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Drained>> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
