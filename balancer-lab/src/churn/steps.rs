//! What the process does.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream},
    thread,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// What a churning process has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Connections open now.
    pub open: u64,
    /// Connections ever opened.
    pub opened: u64,
    /// Connections that were refused.
    pub refused: u64,
}

/// The threads and their connections.
#[derive(Debug)]
pub struct Steps {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    rng: StdRng,
    target: SocketAddr,
    refusing: Option<SocketAddr>,
    held: usize,
    open: Vec<TcpStream>,
    count: Count,
}

impl Steps {
    /// Threads that connect to `target`, and now and then to `refusing`, each holding around `held`
    /// connections.
    pub fn new(
        seed: u64,
        threads: usize,
        target: SocketAddr,
        refusing: Option<SocketAddr>,
        held: usize,
    ) -> Self {
        let worker = |thread: usize| Worker {
            rng: StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(thread as u64)),
            target,
            refusing,
            held,
            open: Vec::new(),
            count: Count::default(),
        };
        Self { workers: (0..threads).map(worker).collect() }
    }

    /// Makes `steps` steps on every thread and returns when all hold still.
    pub fn run(&mut self, steps: u64) -> io::Result<Count> {
        thread::scope(|scope| {
            let running: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| scope.spawn(move || (0..steps).try_for_each(|_| worker.step())))
                .collect();
            running.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
            })
        })?;
        Ok(self.workers.iter().fold(Count::default(), |sum, worker| Count {
            open: sum.open + worker.open.len() as u64,
            opened: sum.opened + worker.count.opened,
            refused: sum.refused + worker.count.refused,
        }))
    }
}

impl Worker {
    fn step(&mut self) -> io::Result<()> {
        if let Some(refusing) = self.refusing
            && self.rng.random_bool(0.1)
        {
            return match TcpStream::connect(refusing) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.count.refused += 1;
                    Ok(())
                }
                Err(error) => Err(error),
                Ok(_) => Err(io::Error::other(format!("{refusing} was to refuse"))),
            };
        }
        // Around `held` connections: the more are open, the likelier a close.
        if self.rng.random_range(0..2 * self.held) < self.open.len() {
            let victim = self.rng.random_range(0..self.open.len());
            self.open.swap_remove(victim);
        } else {
            self.open.push(TcpStream::connect(self.target)?);
            self.count.opened += 1;
        }
        Ok(())
    }
}
