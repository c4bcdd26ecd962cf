//! `balancer-agent run`: ties the stages together.

mod answers;
mod audience;
mod datagrams;
mod disconnected;
mod drains;
mod drains_of_all;
mod grace_periods;
mod handover;
mod journal;
mod known;
mod moving;
mod outside;
mod passes;
mod peers;
mod pods;
mod problem_log;
mod readers;
mod ready;
mod reconcile;
mod selftest;
mod shared;
mod stale;
mod stuck;
mod suspects;
mod sweep;
mod trace;
mod watchdog;

use std::{io, sync::Arc};

use thiserror::Error;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Duration, MissedTickBehavior, timeout},
};

use crate::{
    api,
    config::{RunConfig, Settings},
    doctor, health,
    kernel::{self, KernelError},
    log_lines::LogLines,
    maps::{MapsError, pins::Pins},
    metrics,
    peers::socket::{self, PeerSocket},
    source::{Source, SourceError, Update},
    tasks::{self, Tasks},
};
use audience::Audience as _;
use datagrams::Datagrams;
use grace_periods::WaitingThread;
use journal::Event;
use outside::Outside;
use pods::Pods;
use reconcile::Reconciler;
use selftest::SelfTest;
use shared::Shared;
use watchdog::Watchdog;

/// How long the agent may take to end: those who stop it wait.
const FAREWELL: Duration = Duration::from_millis(800);

/// Why the agent stopped or did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The node lacks something.
    #[error(transparent)]
    Lacking(#[from] doctor::Lacking),
    /// The socket is taken.
    #[error(transparent)]
    Socket(#[from] api::BindError),
    /// An address is taken.
    #[error(transparent)]
    Address(#[from] metrics::BindError),
    /// The address of the peers is taken.
    #[error(transparent)]
    Peers(#[from] socket::BindError),
    /// Programs and maps can't be put in place.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The maps can't be read.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// There is no thread to wait for programs.
    #[error("no thread can be started: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
    /// The source can't be read at all.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A part of the agent has ended.
    #[error(transparent)]
    Task(#[from] tasks::Ended),
    /// No signal handler can be set.
    #[error("signals can't be handled: {0}")]
    Signal(#[from] io::Error),
}

/// What the agent tells of itself to whoever reports a fault.
#[derive(Clone, Debug)]
pub struct About {
    /// What it was told.
    pub given: Settings,
    /// What it logs.
    pub log: LogLines,
}

/// Runs until SIGTERM or SIGINT. What is in the kernel then stays there and goes on balancing.
pub async fn run(config: RunConfig, about: About) -> Result<(), RunError> {
    let loader = kernel::Loader::start();
    doctor::require(&config)?;
    let mut signals = Signals::new()?;
    // Before anything in the kernel is touched: only one agent gets past this line.
    let socket = api::bind(&config.socket)?;
    let endpoints =
        metrics::Endpoints::bind(config.metrics_bind_address, config.healthz_bind_address)?;
    let peer_socket = match &config.peers {
        Some(peers) => Some(PeerSocket::bind(peers.bind_address)?),
        None => None,
    };
    let service = config.peers.as_ref().map(|peers| &peers.service);
    let mut source = Source::open(&config.source, &config.node_name, service).await?;
    let (maps, programs) = kernel::load(
        loader,
        &config.bpffs,
        &config.cgroup,
        config.capacities,
        config.outside_traffic,
    )?;
    tracing::info!(
        cgroup = %config.cgroup.display(),
        bpffs = %config.bpffs.display(),
        adopted = programs.adopted,
        "programs attached"
    );
    let mut reconciler = Reconciler::new(
        maps,
        WaitingThread::start().map_err(RunError::Thread)?,
        config.node_ports.clone(),
        Pods::new(config.cgroup.clone()),
    )?;
    match programs.outside {
        Some(Ok(programs)) => reconciler.serve_outside(Outside::new(programs)),
        Some(Err(error)) => reconciler.lack_outside(outside::unloaded(&error)),
        None => {}
    }
    let shared = Arc::new(Shared::new(&config, about, &source, reconciler.desired())?);
    shared.wait(&[], &source.awaited());
    let before = if programs.adopted { "goes on from what was there" } else { "begins" };
    let version = env!("CARGO_PKG_VERSION");
    shared
        .journal()
        .note([Event::agent(format!("started, version {version}; balancing {before}"))]);
    let test = SelfTest::open(&Pins::new(&config.bpffs))?;
    let mut watchdog = Watchdog::new(programs.guard, test);
    watchdog.look(&shared);

    let (stop, stopped) = watch::channel(false);
    let mut tasks = Tasks::default();
    tasks.start("api", api::serve(socket, answers::answers(&shared), stopped.clone()));
    let health = Arc::clone(shared.health());
    if config.health_check_node_ports {
        let ports = health::node_ports::serve(Arc::clone(&health), stopped.clone());
        tasks.start("health check node ports", ports);
    }
    tasks.start("self-test", watchdog.watch(Arc::clone(&shared), stopped.clone()));
    let datagrams = Datagrams::new(&config, &shared)?;
    tasks.start("UDP sockets", datagrams.run(Arc::clone(&shared), stopped.clone()));
    let reading = trace::Reading::open(&Pins::new(&config.bpffs))?;
    tasks.start("trace", trace::run(Arc::clone(&shared), reading, stopped.clone()));
    tasks.start("suspects", suspects::watch(Arc::clone(&shared), stopped.clone()));
    tasks.start("moves", passes::run(Arc::clone(&shared), stopped.clone()));
    let reaches_ipv6 = peer_socket.as_ref().is_some_and(PeerSocket::reaches_ipv6);
    if let Some((peers, socket)) = shared.peers().zip(peer_socket) {
        let corrections = Arc::clone(shared.moving().corrections());
        let parts = peers::Parts::new(Arc::clone(peers), socket, corrections, &config)?;
        tasks.start("peers", peers::run(parts, stopped.clone()));
        let drains = drains_of_all::run(Arc::clone(&shared), Arc::clone(peers), stopped.clone());
        tasks.start("drains of all nodes", drains);
    }
    let scraped = Arc::clone(&shared);
    let scrape = move || answers::scrape(&scraped);
    let served = endpoints.serve(scrape, Arc::clone(&health), stopped);
    tasks.start("metrics and health", served);

    let mut sweeps = tokio::time::interval(sweep::INTERVAL);
    let mut audits = tokio::time::interval(reconcile::audit::INTERVAL);
    audits.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let audience: &Shared = &shared;
    let result = loop {
        let state = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "stopping; balancing stays in place");
                break Ok(());
            }
            ended = tasks.ended() => break Err(ended.into()),
            update = source.next() => match update {
                Ok(Update::State(state)) => {
                    if let Some(peers) = shared.peers() {
                        peers.learn(state, reaches_ipv6);
                    }
                    state
                }
                Ok(Update::Waiting(problems, kinds)) => {
                    reconciler.wait(problems, &kinds, audience);
                    continue;
                }
                Err(error) => break Err(error.into()),
            },
            _ = sweeps.tick() => {
                let _work = health.work();
                tokio::task::block_in_place(|| reconciler.sweep(audience));
                continue;
            }
            _ = audits.tick() => {
                let _work = health.work();
                tokio::task::block_in_place(|| {
                    reconciler.audit(audience);
                    reconciler.look_outside(audience);
                });
                continue;
            }
            () = reconciler.retry() => {
                let _work = health.work();
                tokio::task::block_in_place(|| reconciler.again(audience));
                continue;
            }
            () = shared.moving().redo() => {
                let _work = health.work();
                tokio::task::block_in_place(|| reconciler.redo(audience));
                continue;
            }
            () = reconciler.pods_due() => {
                let _work = health.work();
                tokio::task::block_in_place(|| reconciler.look_for_pods(audience));
                continue;
            }
        };
        let _work = health.work();
        tokio::task::block_in_place(|| reconciler.reconcile(state, audience));
        source.tell(&shared.desired().clashes);
        ready::announce();
    };
    reconciler.end();
    stop.send_replace(true);
    shared.moving().watch().stop();
    if timeout(FAREWELL, tasks.finish()).await.is_err() {
        tracing::warn!("not all could be finished; what is under way is left");
    }
    result
}

/// SIGTERM and SIGINT.
struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
