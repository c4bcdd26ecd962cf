//! The client: threads that send requests through connection pools.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hyper::Uri;
use tokio::runtime::{Builder, Handle, Runtime};

use super::{
    Answer, Count, Report,
    sender::{Pools, Sender},
};

/// When a thread stops.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this many requests of its own.
    Requests(u64),
    /// When the process is killed.
    Forever,
    /// When it is told.
    Told,
}

/// What a client does.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What to request.
    pub uri: Uri,
    /// Threads, each with one request in flight.
    pub threads: usize,
    /// Their pools.
    pub pools: Pools,
    /// When they stop.
    pub until: Until,
    /// How long a thread waits between an answer and its next request.
    pub pace: Duration,
}

impl LoadOptions {
    /// Requests without a pause.
    pub fn new(uri: Uri, threads: usize, pools: Pools, until: Until) -> Self {
        Self { uri, threads, pools, until, pace: Duration::ZERO }
    }
}

/// What one thread saw.
#[derive(Default)]
struct Seen {
    connections: BTreeSet<(String, u64)>,
    requests: BTreeMap<String, u64>,
    /// Failures, each with the time after the start.
    errors: Vec<(Duration, String)>,
}

/// Runs the client. `go` is called once when every thread is ready to send, and may block; `done`
/// is called with the report while the pooled connections are still open. `told` ends the requests
/// of [`Until::Told`].
pub fn load(
    options: &LoadOptions,
    told: &Arc<AtomicBool>,
    go: impl FnOnce() -> io::Result<()>,
    done: impl FnOnce(Report) -> io::Result<()>,
) -> io::Result<()> {
    // One thread more drives the connections of a shared pool, as an asynchronous service would.
    let shared = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let shared_pool = Sender::pool(options.pools, options.threads);
    let mut lanes = Vec::new();
    for _ in 0..options.threads {
        let own = || Builder::new_current_thread().enable_all().build();
        lanes.push(match options.pools {
            Pools::Shared => {
                let runtime = Owned::Shared(shared.handle().clone());
                Lane { runtime, sender: shared_pool.clone() }
            }
            Pools::PerThread | Pools::None | Pools::Http2 => {
                Lane { runtime: Owned::Own(own()?), sender: Sender::pool(options.pools, 1) }
            }
            Pools::Channel => {
                let runtime = own()?;
                let sender = runtime.block_on(async { Sender::channel(&options.uri) });
                Lane { runtime: Owned::Own(runtime), sender }
            }
        });
    }
    go()?;
    let barrier = Arc::new(Barrier::new(options.threads));
    let start = Instant::now();
    let workers: Vec<_> = lanes
        .into_iter()
        .map(|lane| {
            let (options, barrier) = (options.clone(), Arc::clone(&barrier));
            let told = Arc::clone(told);
            thread::spawn(move || lane.run(&options, &told, &barrier, start))
        })
        .collect();
    // The lanes come back whole: dropping one would close its connections.
    let mut lanes = Vec::new();
    let mut all = Seen::default();
    for worker in workers {
        let (lane, seen) =
            worker.join().map_err(|_| io::Error::other("a client thread panicked"))?;
        lanes.push(lane);
        all.add(seen);
    }
    done(all.report(start.elapsed()))
}

enum Owned {
    Own(Runtime),
    Shared(Handle),
}

/// One thread's runtime and pool.
struct Lane {
    runtime: Owned,
    sender: Sender,
}

impl Lane {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.runtime {
            Owned::Own(runtime) => runtime.block_on(future),
            Owned::Shared(handle) => handle.block_on(future),
        }
    }

    fn run(
        self,
        options: &LoadOptions,
        told: &AtomicBool,
        barrier: &Barrier,
        start: Instant,
    ) -> (Self, Seen) {
        let mut seen = Seen::default();
        barrier.wait();
        // Everybody holds the first answer unread, and with it a connection, until all have one: so
        // the threads of a shared pool are in flight together at least once.
        let first = self.block_on(self.sender.request(&options.uri));
        barrier.wait();
        let first = match first {
            Ok(begun) => self.block_on(begun.read()),
            Err(error) => Err(error),
        };
        seen.note(first, start);
        let more = |sent| match options.until {
            Until::Elapsed(time) => start.elapsed() < time,
            Until::Requests(count) => sent < count,
            Until::Forever => true,
            Until::Told => !told.load(Ordering::Relaxed),
        };
        let mut sent = 1;
        while more(sent) {
            if !options.pace.is_zero() {
                // Inside the runtime: it must see its connections being closed meanwhile.
                self.block_on(async { tokio::time::sleep(options.pace).await });
            }
            let answer = async { self.sender.request(&options.uri).await?.read().await };
            let answer = self.block_on(answer);
            seen.note(answer, start);
            sent += 1;
        }
        (self, seen)
    }
}

impl Seen {
    fn note(&mut self, answer: Result<Answer, String>, start: Instant) {
        match answer {
            Ok(Answer { backend, connection }) => {
                *self.requests.entry(backend.clone()).or_default() += 1;
                self.connections.insert((backend, connection));
            }
            Err(error) => self.errors.push((start.elapsed(), error)),
        }
    }

    fn add(&mut self, other: Self) {
        self.connections.extend(other.connections);
        self.errors.extend(other.errors);
        for (backend, requests) in other.requests {
            *self.requests.entry(backend).or_default() += requests;
        }
    }

    fn report(self, elapsed: Duration) -> Report {
        let mut backends: BTreeMap<String, Count> = BTreeMap::new();
        for (backend, requests) in self.requests {
            backends.entry(backend).or_default().requests = requests;
        }
        for (backend, _) in self.connections {
            backends.entry(backend).or_default().connections += 1;
        }
        Report {
            backends,
            errors: self.errors.len() as u64,
            failed_at: self.errors.iter().map(|(at, _)| at.as_secs_f64()).collect(),
            first_error: self.errors.into_iter().next().map(|(_, error)| error),
            seconds: elapsed.as_secs_f64(),
        }
    }
}
