//! Stops a thread of another process at a system call, as a debugger does: what else happens at that
//! moment is then no matter of luck.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::error::{Attempt as _, Error, Result};

/// A thread that is stopped. It goes on when this is dropped, which must be where it was made: the kernel
/// knows who traces by the thread.
#[derive(Debug)]
pub struct Stopped(Pid);

impl Stopped {
    /// Waits until a thread has made this system call, and stops it before it does anything else.
    /// An error where it does not within the time, as far as it makes others, or ends.
    pub fn after(thread: u32, number: i64, within: Duration) -> Result<Self> {
        let deadline = Instant::now() + within;
        let on = |what: &str| format!("{what} thread {thread}");
        let pid = i32::try_from(thread).map_err(|_| Error::Unmet(on("there is no")))?;
        let pid = Pid::from_raw(pid);
        ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD).attempt(on("trace"))?;
        let stopped = Self(pid);
        ptrace::interrupt(pid).attempt(on("interrupt"))?;
        let mut has_begun = false;
        loop {
            let status = waitpid(pid, Some(WaitPidFlag::__WALL)).attempt(on("wait for"))?;
            let mut signal = None;
            match status {
                WaitStatus::PtraceSyscall(_) => {
                    let is_it = call(thread) == Some(number);
                    if has_begun && is_it {
                        return Ok(stopped);
                    }
                    // Each call stops it twice.
                    has_begun = is_it;
                }
                WaitStatus::Stopped(_, given) => {
                    signal = (given != Signal::SIGTRAP).then_some(given);
                }
                WaitStatus::PtraceEvent(..) => {}
                ended => return Err(Error::Unmet(format!("{}: {ended:?}", on("stop")))),
            }
            if Instant::now() >= deadline {
                return Err(Error::Unmet(format!("{} at call {number} in time", on("stop"))));
            }
            ptrace::syscall(pid, signal).attempt(on("let go on"))?;
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may have been killed: there is nothing left to let go.
        let _ = ptrace::detach(self.0, None);
    }
}

/// The number of the system call that a thread is in; none where it runs, or has ended.
pub fn call(thread: u32) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{thread}/syscall")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
