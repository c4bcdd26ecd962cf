//! The measuring process, from outside.

use std::net::{SocketAddr, SocketAddrV4};

use balancer_lab::{
    Lab, Pod,
    error::{Error, Result},
    lines::Lines,
};
use serde::de::DeserializeOwned;

use super::job::{Connects, Job, SocketUse};
use crate::itself;

/// A measuring process in a client pod.
#[derive(Debug)]
pub(super) struct Remote(Lines);

impl Remote {
    /// Starts it and returns once it listens in the backends.
    pub(super) fn start(lab: &Lab, client: &Pod, backends: &[Pod], pinned: bool) -> Result<Self> {
        let mut command = itself::command(client.place())?;
        command.args(["bench-worker", "--lab", lab.id()]);
        for pod in backends {
            command.args(["--backend", pod.name()]);
        }
        if pinned {
            command.arg("--pinned");
        }
        let mut remote = Self(Lines::start(&mut command, "the measuring process")?);
        remote.answer::<String>().map(|_| remote)
    }

    /// Opens and closes connections; their other ends wait for [`Remote::accept`].
    pub(super) fn connect(
        &mut self,
        targets: &[SocketAddrV4],
        count: u32,
        warm_up: u32,
        ask_peer: bool,
    ) -> Result<Connects> {
        self.ask(&Job::Connect { targets: targets.to_vec(), count, warm_up, ask_peer })
    }

    /// Uses sockets, one after another.
    pub(super) fn use_sockets(
        &mut self,
        target: SocketAddr,
        usage: SocketUse,
        count: u32,
    ) -> Result<()> {
        self.ask(&Job::Use { target, usage, count })
    }

    /// Closes the other ends; the number on each backend.
    pub(super) fn accept(&mut self, count: u32) -> Result<Vec<u32>> {
        self.ask(&Job::Accept { count })
    }

    /// Nanoseconds of each exchange.
    pub(super) fn ping_pong(&mut self, target: SocketAddrV4, exchanges: u32) -> Result<Vec<u32>> {
        self.ask(&Job::PingPong { target, exchanges })
    }

    /// Seconds that many chunks take.
    pub(super) fn bulk(&mut self, target: SocketAddrV4, chunks: u32) -> Result<f64> {
        self.ask(&Job::Bulk { target, chunks })
    }

    /// For each trial the number of connections on each backend.
    pub(super) fn spread(
        &mut self,
        target: SocketAddrV4,
        connections: u32,
        trials: u32,
    ) -> Result<Vec<Vec<u32>>> {
        self.ask(&Job::Spread { target, connections, trials })
    }

    fn ask<T: DeserializeOwned>(&mut self, job: &Job) -> Result<T> {
        self.0.tell(job)?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.0.answer::<Result<T, String>>()?.map_err(Error::Unmet)
    }
}
