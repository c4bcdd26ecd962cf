//! The loop that moves connections, beside the one that follows changes: looking at processes and
//! sockets must not keep changes from the maps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch::Receiver};

use super::provider::Shared;
use crate::{
    config::RunConfig,
    kernel::pins::Pins,
    maps::{MapsError, pinned::PinnedMaps},
    model::ObjectRef,
    moves::{
        ended::Ended,
        helper::{Helper, watch::Watch},
        mover::Mover,
        tally::{Counts, Tally},
    },
    observe::connections::now,
    view::RebalanceView,
};

/// What passes at least before a change is looked at: they come in bursts.
const LEAST: Duration = Duration::from_millis(100);
/// What passes at most: the log waits for it.
const MOST: Duration = Duration::from_secs(10);

/// What the loop shares with those who ask, and with the loop that follows changes.
pub struct Moving {
    mover: Mutex<Mover>,
    tally: Arc<Tally>,
    ended: Arc<Ended>,
    watch: Arc<Watch>,
    /// True if the mover has not learned of the last change.
    differs: AtomicBool,
    /// True if the source may lack objects.
    lacking: AtomicBool,
    wake: Notify,
    drained: Mutex<BTreeMap<SocketAddr, Drained>>,
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
            mover: Mutex::new(mover),
            tally,
            ended,
            watch,
            differs: AtomicBool::new(false),
            // Nothing is gone before the first state.
            lacking: AtomicBool::new(true),
            wake: Notify::new(),
            drained: Mutex::default(),
            redo: Notify::new(),
        })
    }

    /// The maps have something new. `lacking` says that the source may lack objects.
    pub fn changed(&self, lacking: bool) {
        self.lacking.store(lacking, SeqCst);
        self.differs.store(true, SeqCst);
        self.wake.notify_one();
    }

    /// What held up those who touch sockets.
    pub const fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// How often connections were ended.
    pub fn ended(&self) -> Counts {
        self.tally.totals()
    }

    /// Which connections were ended, by the words of their charges, and when by the clock of the
    /// records. Some of them may be closed.
    pub fn since(&self) -> HashMap<u64, Duration> {
        self.ended.since()
    }

    /// Moves the connections of a Service to where there are fewer, or says what it would do.
    pub fn rebalance(
        &self,
        shared: &Shared,
        service: &ObjectRef,
        dry_run: bool,
    ) -> Result<RebalanceView, MapsError> {
        let mut mover = self.mover();
        let look = shared.desired(|desired| mover.look(desired, service))?;
        let view = mover.rebalance(look, dry_run);
        self.differs.store(true, SeqCst);
        self.wake.notify_one();
        Ok(view)
    }

    /// Backends that are drained by hand.
    pub fn drained(&self) -> BTreeMap<SocketAddr, Drained> {
        self.drains().clone()
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

    fn pass(&self, shared: &Shared) -> Duration {
        let mut mover = self.mover();
        if self.differs.swap(false, SeqCst) {
            let drained = self.drained().into_iter().map(|(addr, drain)| (addr, drain.over));
            mover.drain(drained.collect());
            let lacking = self.lacking.load(SeqCst);
            if let Err(error) = shared.desired(|desired| mover.learn(desired, lacking)) {
                tracing::warn!("{error}; connections are moved as before");
                self.differs.store(true, SeqCst);
            }
        }
        let pause = mover.pass().unwrap_or(MOST).min(MOST);
        log(self.tally.lines(now()));
        shared.tell_stuck();
        pause
    }

    fn mover(&self) -> MutexGuard<'_, Mover> {
        self.mover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drains(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, Drained>> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves connections until `stopped` turns true.
pub async fn run(shared: Arc<Shared>, mut stopped: Receiver<bool>) {
    let moving = shared.moving();
    loop {
        let pause = tokio::task::block_in_place(|| moving.pass(&shared));
        let woken = async {
            tokio::time::sleep(pause.min(LEAST)).await;
            tokio::select! {
                () = tokio::time::sleep(pause.saturating_sub(LEAST)) => {}
                () = moving.wake.notified() => {}
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = woken => {}
        }
    }
    log(moving.tally.rest());
}

fn log(lines: Vec<(ObjectRef, String)>) {
    for (service, ended) in lines {
        tracing::info!(%service, "connections ended: {ended}");
    }
}
