//! What was given up, and who is left alone.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use super::{
    process::Process,
    protocol::{Job, Subject},
};
use crate::node::netns;

/// Most processes that were given up and have not ended. With so many, no other is started.
const MOST: usize = 16;
/// How long a pod is left alone after the first time, and at most: each time twice as long.
const ALONE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(600));

/// Whose sockets are held: a network namespace, in that of the node one process.
type Owner = (u64, u32);

/// A socket that held up who touched it.
#[derive(Clone, Copy, Debug)]
pub struct Stuck {
    /// The socket, or where it is one of several.
    pub subject: Subject,
    /// For how long it is known to be held.
    pub since: Instant,
    /// Until when its pod is left alone at least.
    pub until: Instant,
    /// True while a process still waits for it.
    pub holds: bool,
}

/// Shared by all who have such processes.
#[derive(Debug, Default)]
pub struct Watch {
    stopped: AtomicBool,
    /// The node's network namespace; none where that can't be known.
    own: Option<u64>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    given_up: Vec<(Process, Option<Owner>)>,
    alone: BTreeMap<Owner, (Stuck, u32)>,
    /// Found since somebody asked.
    news: Vec<Stuck>,
    /// No process is started until those that were given up have ended.
    waits: bool,
}

impl Watch {
    /// Nothing was given up yet.
    pub fn new() -> Self {
        Self { own: netns::own().ok(), ..Self::default() }
    }

    /// Nobody waits for anything from now on.
    pub fn stop(&self) {
        self.stopped.store(true, SeqCst);
    }

    /// True once nobody should wait any more.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    /// True while the sockets of this network namespace and process are left alone.
    pub fn spares(&self, owner: Owner) -> bool {
        let owner = self.owner(owner);
        let mut inner = self.lock();
        if inner.alone.is_empty() {
            return false;
        }
        inner.reap();
        let Some((stuck, _)) = inner.alone.get(&owner) else { return false };
        stuck.holds || Instant::now() < stuck.until
    }

    /// Gives up a process, because of a job where that is known.
    pub fn give_up(&self, process: Option<Process>, job: Option<&Job>) {
        let Some(mut process) = process else { return };
        process.kill();
        if let Some(job) = job {
            self.leave_alone(job, true);
        }
        let subject = job.and_then(Job::subject);
        let owner = subject.map(|subject| self.owner(subject.owner()));
        self.lock().given_up.push((process, owner));
    }

    /// A job was done, and was held up.
    pub fn slow(&self, job: &Job) {
        self.leave_alone(job, false);
    }

    /// A process that was just started waits for one of those that were given up.
    pub fn wait_for_all(&self, process: Process) {
        self.give_up(Some(process), None);
        let mut inner = self.lock();
        inner.waits = true;
        drop(inner);
        tracing::warn!(
            "this kernel answers nobody about sockets while one is held: no connection is looked at \
             or ended until it is let go"
        );
    }

    /// True where another process may be started.
    pub fn may_start(&self) -> bool {
        let mut inner = self.lock();
        inner.reap();
        inner.waits &= !inner.given_up.is_empty();
        !self.is_stopped() && !inner.waits && inner.given_up.len() < MOST
    }

    /// True while processes that were given up have not ended.
    pub fn has_given_up(&self) -> bool {
        let mut inner = self.lock();
        inner.reap();
        !inner.given_up.is_empty()
    }

    /// Sockets that are held, or whose pods are left alone because they were.
    pub fn stuck(&self) -> Vec<Stuck> {
        let mut inner = self.lock();
        inner.reap();
        let now = Instant::now();
        let all = inner.alone.values().map(|(stuck, _)| *stuck);
        all.filter(|stuck| stuck.holds || now < stuck.until).collect()
    }

    /// Those that were found since this was asked last.
    pub fn news(&self) -> Vec<Stuck> {
        std::mem::take(&mut self.lock().news)
    }

    fn leave_alone(&self, job: &Job, holds: bool) {
        let Some(subject) = job.subject() else { return };
        let owner = self.owner(subject.owner());
        let mut inner = self.lock();
        let times = inner.alone.get(&owner).map_or(0, |(_, times)| times + 1);
        let alone = ALONE.0.saturating_mul(1 << times.min(10)).min(ALONE.1);
        let since = Instant::now();
        let stuck = Stuck { subject, since, until: since + alone, holds };
        inner.alone.insert(owner, (stuck, times));
        inner.news.push(stuck);
    }

    fn owner(&self, (netns, tgid): Owner) -> Owner {
        (netns, if Some(netns) == self.own { tgid } else { 0 })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Forgets processes that have ended, and pods that were left alone long ago.
    fn reap(&mut self) {
        let Self { given_up, alone, .. } = self;
        given_up.retain_mut(|(process, _)| !process.has_ended());
        let now = Instant::now();
        for (owner, (stuck, _)) in &mut *alone {
            let waits = given_up.iter().any(|(_, of)| of.as_ref() == Some(owner));
            if std::mem::replace(&mut stuck.holds, waits) && !waits {
                // Let go only now.
                stuck.until = stuck.until.max(now + ALONE.0);
            }
        }
        alone.retain(|_, (stuck, _)| stuck.holds || now < stuck.until + ALONE.1);
    }
}
