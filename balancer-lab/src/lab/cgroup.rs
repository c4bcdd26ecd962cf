//! Cgroups of a lab: made with it, emptied and removed with it.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Seek},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Attempt, Error, Result, on};

/// How long killed processes may take to be gone.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a cgroup and its parents.
pub(super) fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).attempt(on("create cgroup", path))
}

/// Kills every process in a cgroup and below, waits until they are gone, and removes the tree.
/// A cgroup that is not there is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    if !path.is_dir() {
        return Ok(());
    }
    fs::write(path.join("cgroup.kill"), "1").attempt(on("kill the processes in", path))?;
    wait_until_empty(path)?;
    remove_tree(path)
}

/// Blocks until no process is left: the kernel wakes pollers of `cgroup.events`.
fn wait_until_empty(path: &Path) -> Result<()> {
    let events_path = path.join("cgroup.events");
    let mut events = File::open(&events_path).attempt(on("open", &events_path))?;
    let deadline = Instant::now() + DEATH_TIMEOUT;
    loop {
        let mut text = String::new();
        events.rewind().attempt(on("rewind", &events_path))?;
        events.read_to_string(&mut text).attempt(on("read", &events_path))?;
        if text.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Unmet(format!(
                "processes in {} survived SIGKILL for {DEATH_TIMEOUT:?}; see its cgroup.procs",
                path.display()
            )));
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        poll(&mut fds, timeout).attempt(on("wait for", &events_path))?;
    }
}

/// Removes a tree of cgroups, deepest first: only the directories, the files go with them.
fn remove_tree(path: &Path) -> Result<()> {
    let entries = fs::read_dir(path).attempt(on("list cgroup", path))?;
    let children: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    for child in children {
        remove_tree(&child)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).attempt(on("remove cgroup", path))
        }
        _ => Ok(()),
    }
}
