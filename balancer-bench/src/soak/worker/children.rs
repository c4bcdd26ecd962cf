//! Children that hold sockets open.

use std::{
    collections::{BTreeSet, VecDeque},
    env,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use balancer_lab::error::{Attempt, Result};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};

use super::calls;
use crate::soak::wire::{Claims, Told};

/// Children at once: each fork copies every descriptor.
const MOST: usize = 4;

struct Child {
    pid: Pid,
    /// What it has open.
    cookies: BTreeSet<u64>,
}

/// The children of a worker, and the sockets that only they have open.
#[derive(Default)]
pub struct Children {
    living: VecDeque<Child>,
    inherited: Claims,
}

impl Children {
    /// A child with a copy of everything.
    pub fn fork(&mut self, cookies: BTreeSet<u64>) -> Result<()> {
        self.make_room()?;
        // What an older child alone has open is not copied.
        self.living.push_back(Child { pid: calls::fork_idle()?, cookies });
        Ok(())
    }

    /// A child that executes this program anew, with one socket as its standard input.
    pub fn exec(&mut self, cookie: u64, socket: OwnedFd) -> Result<()> {
        self.make_room()?;
        let own = env::current_exe().attempt("find the running executable")?;
        let child = Command::new(own)
            .args(["soak-worker", "--hold"])
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .spawn()
            .attempt("start a child")?;
        let pid = Pid::from_raw(child.id().cast_signed());
        self.living.push_back(Child { pid, cookies: [cookie].into() });
        Ok(())
    }

    fn make_room(&mut self) -> Result<()> {
        if self.living.len() < MOST { Ok(()) } else { self.reap() }
    }

    /// Kills the oldest child. Its descriptors are closed when this returns.
    pub fn reap(&mut self) -> Result<()> {
        let Some(child) = self.living.pop_front() else { return Ok(()) };
        kill(child.pid, Signal::SIGKILL).attempt("kill a child")?;
        waitpid(child.pid, None).attempt("wait for a child")?;
        let Self { living, inherited } = self;
        inherited.retain(|cookie, _| living.iter().any(|child| child.cookies.contains(cookie)));
        Ok(())
    }

    /// The worker has closed its last descriptor of a socket.
    pub fn inherit(&mut self, told: Told) {
        if self.living.iter().any(|child| child.cookies.contains(&told.cookie)) {
            self.inherited.insert(told.cookie, told);
        }
    }

    /// The sockets that only children have open.
    pub fn held(&self) -> Vec<Told> {
        self.inherited.values().copied().collect()
    }
}
