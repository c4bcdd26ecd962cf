//! Where a process runs: a network namespace and a cgroup.

use std::{
    ffi::{CString, OsStr},
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    sched::{CloneFlags, setns},
    sys::{prctl, signal::Signal, stat::Mode},
    unistd::{Pid, getpid, getppid, write},
};

use crate::error::{Attempt, Result, on};

/// Where iproute2 keeps named network namespaces.
pub(super) const NETNS_DIR: &str = "/var/run/netns";

/// A network namespace and a cgroup: where a pod, or the node, runs its processes.
#[derive(Clone, Debug)]
pub struct Place {
    netns: String,
    cgroup: PathBuf,
    bond: Bond,
}

/// What the processes of a place have to do with whoever starts them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bond {
    /// They die with the thread that started them.
    Tied,
    /// They live on, and are spared the Ctrl-C meant for their starter.
    Lasting,
    /// They replace their starter, or are its business alone.
    None,
}

impl Place {
    pub(super) fn new(netns: String, cgroup: PathBuf, bond: Bond) -> Self {
        Self { netns, cgroup, bond }
    }

    /// Another place whose processes have to do with whoever starts them what those of this have.
    pub(super) fn beside(&self, netns: String, cgroup: PathBuf) -> Self {
        Self { netns, cgroup, bond: self.bond }
    }

    /// The name of the network namespace, as `ip netns` knows it.
    pub fn netns(&self) -> &str {
        &self.netns
    }

    /// The path that opens the network namespace.
    pub fn netns_path(&self) -> PathBuf {
        Path::new(NETNS_DIR).join(&self.netns)
    }

    /// The cgroup directory.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A command whose process enters the cgroup and the network namespace before it starts.
    ///
    /// The process is killed when the *thread* that spawned it ends (the kernel's rule for
    /// `PR_SET_PDEATHSIG`): spawn from a thread that outlives it.
    #[allow(unsafe_code, reason = "the namespace must be entered between fork and exec")]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let procs = c_string(&self.cgroup.join("cgroup.procs"));
        let netns = c_string(&self.netns_path());
        let leash = (self.bond == Bond::Tied).then(getpid);
        let mut command = Command::new(program);
        if self.bond == Bond::Lasting {
            // Nobody is left to read what it says; an inherited pipe would keep its reader waiting.
            command.process_group(0).stderr(Stdio::null());
        }
        // SAFETY: the closure only makes system calls on memory prepared before the fork; it
        // neither allocates nor takes locks, as the child of a threaded process must not.
        unsafe {
            command.pre_exec(move || enter(&procs, &netns, leash).map_err(io::Error::from));
        }
        command
    }

    /// Runs a function on a thread inside the network namespace (not the cgroup, which is a matter
    /// of processes): for servers, sockets and sysctls of tests.
    pub fn within<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        let path = self.netns_path();
        let netns = File::open(&path).attempt(on("open network namespace", &path))?;
        let result = thread::scope(|scope| {
            let inside = move || -> nix::Result<T> {
                setns(netns, CloneFlags::CLONE_NEWNET)?;
                Ok(function())
            };
            scope.spawn(inside).join()
        });
        match result {
            Ok(value) => value.attempt(on("enter network namespace", &path)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Sets a sysctl of the network namespace, as `net/ipv4/ip_forward`.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        let write = || fs::write(format!("/proc/sys/{key}"), value);
        self.within(write)?.attempt(format!("set sysctl {key} to {value}"))
    }
}

/// Moves the calling process into a cgroup and a network namespace; `leash` is the parent to die
/// with.
fn enter(procs: &CString, netns: &CString, leash: Option<Pid>) -> nix::Result<()> {
    let file = open(procs.as_c_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(&file, b"0")?;
    let file = open(netns.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    setns(file, CloneFlags::CLONE_NEWNET)?;
    if let Some(parent) = leash {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the signal was asked for.
        if getppid() != parent {
            return Err(Errno::ESRCH);
        }
    }
    Ok(())
}

/// A path for the kernel; the paths of a lab are built from names checked for NUL and slashes.
fn c_string(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
