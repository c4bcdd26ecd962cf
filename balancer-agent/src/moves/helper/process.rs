//! The process that touches sockets, as its agent sees it.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::protocol::{Batch, Done, Reply, put, take};

/// The name of the subcommand that runs as this process.
pub const VERB: &str = "touch-sockets";
/// How long it may say nothing.
const LIMIT: Duration = Duration::from_secs(2);
/// How often those who wait look whether they should still do so.
const LOOK: Duration = Duration::from_millis(100);

/// Why a batch was not done.
#[derive(Debug)]
pub enum Trouble {
    /// It says nothing, and is at a job.
    Silent,
    /// It says nothing, and is at none: it starts, or looks at processes.
    Slow,
    /// It takes too long, or the agent ends.
    Late,
    /// It has ended.
    Ended(io::Error),
}

/// A running process. Killed when dropped, and not waited for.
#[derive(Debug)]
pub struct Process {
    child: Child,
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl Process {
    /// Starts one: this very program, even where its file was replaced. It has nothing of this one
    /// but its end of a pair of sockets: every other descriptor is closed on exec.
    pub fn start() -> io::Result<Self> {
        let (own, other) = UnixStream::pair()?;
        own.set_read_timeout(Some(LOOK))?;
        own.set_write_timeout(Some(LIMIT))?;
        let child = Command::new("/proc/self/exe")
            .arg0("balancer-agent")
            .arg(VERB)
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, socket: own, buffer: Vec::new() })
    }

    /// One that says what `replies` are, for tests, and what it says ends.
    #[cfg(test)]
    pub fn saying(replies: &[Reply]) -> Self {
        let (own, mut other) = UnixStream::pair().unwrap();
        own.set_read_timeout(Some(LOOK)).unwrap();
        let mut command = Command::new("cat");
        command.stdin(OwnedFd::from(other.try_clone().unwrap())).stdout(Stdio::null());
        let child = command.spawn().unwrap();
        let mut bytes = Vec::new();
        replies.iter().for_each(|reply| put(&mut bytes, reply).unwrap());
        other.write_all(&bytes).unwrap();
        Self { child, socket: own, buffer: Vec::new() }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// True once it has ended. Then its number is free again.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Has a batch done; `each` takes what came of each job in their order, and how long the
    /// process said nothing before, unless it was at something else. Gives what it took of a
    /// processor. Waits no longer than until `deadline`, nor once `is_stopped` says so.
    pub fn exchange(
        &mut self,
        batch: &Batch,
        deadline: Instant,
        is_stopped: impl Fn() -> bool,
        mut each: impl FnMut(Done, Duration),
    ) -> Result<Duration, Trouble> {
        let mut bytes = Vec::new();
        put(&mut bytes, batch).map_err(Trouble::Ended)?;
        self.socket.write_all(&bytes).map_err(Trouble::Ended)?;
        let mut heard = Instant::now();
        let mut is_at_job = false;
        let mut chunk = [0; 1 << 14];
        loop {
            while let Some(reply) = take::<Reply>(&mut self.buffer).map_err(Trouble::Ended)? {
                let silent = if is_at_job { heard.elapsed() } else { Duration::ZERO };
                heard = Instant::now();
                match reply {
                    Reply::Looks => is_at_job = false,
                    Reply::Alive => is_at_job = true,
                    Reply::Done(done) => {
                        each(done, silent);
                        is_at_job = true;
                    }
                    Reply::Finished(spent) => return Ok(spent),
                }
            }
            if is_stopped() || Instant::now() >= deadline {
                return Err(Trouble::Late);
            }
            if heard.elapsed() >= LIMIT {
                return Err(if is_at_job { Trouble::Silent } else { Trouble::Slow });
            }
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(Trouble::Ended(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.buffer.extend_from_slice(&chunk[..length]),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(Trouble::Ended(error)),
            }
        }
    }

    /// Ends it as far as a signal can.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.try_wait();
    }
}

fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
