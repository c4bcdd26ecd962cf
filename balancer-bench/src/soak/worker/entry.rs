//! One socket of a worker, and what is known of it.

use std::{
    collections::VecDeque,
    io,
    net::{Shutdown, SocketAddr},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    time::{Duration, Instant},
};

use balancer_lab::{
    error::{Attempt, Error, Result},
    sockets::disconnect,
};
use io_uring::IoUring;
use nix::libc;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::calls;
use crate::soak::{
    life::{Family, Kind, Target, Transport, Way},
    model::{Claim, Known, Outcome},
    wire::{Told, address},
};

/// How long a call waits that waits.
const PATIENCE: Duration = Duration::from_millis(100);
/// Descriptors of one socket beside the first.
const COPIES: usize = 3;
/// Deeds that are remembered of each socket.
const REMEMBERED: usize = 8;
const QUIET: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// A socket, its copies, and what is known of it.
pub struct Entry {
    pub kind: Kind,
    pub cookie: u64,
    socket: Option<Socket>,
    /// A Unix socket that has the only descriptor.
    posted: Option<(UnixStream, UnixStream)>,
    copies: Vec<Socket>,
    known: Known,
    since: Instant,
    /// What was done to it last, for messages.
    past: VecDeque<String>,
    /// What was dialled when the hook ran last.
    dialled: Option<SocketAddr>,
}

impl Entry {
    pub fn open(kind: Kind) -> Result<Self> {
        let domain = if kind.family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
        let (form, protocol) = match kind.transport {
            Transport::Tcp => (Type::STREAM, Protocol::TCP),
            Transport::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let form = if kind.blocking { form } else { form.nonblocking() };
        let socket = Socket::new(domain, form, Some(protocol)).attempt("open a socket")?;
        if kind.blocking {
            socket.set_write_timeout(Some(PATIENCE)).attempt("set SO_SNDTIMEO")?;
        }
        Ok(Self {
            kind,
            cookie: socket.cookie().attempt("read SO_COOKIE")?,
            socket: Some(socket),
            posted: None,
            copies: Vec::new(),
            known: Known::new(kind.transport),
            since: Instant::now(),
            past: VecDeque::new(),
            dialled: None,
        })
    }

    /// The socket, taken out of the Unix socket if it is there.
    pub fn socket(&mut self) -> Result<&Socket> {
        if let Some((_, inbox)) = self.posted.take() {
            self.socket = Some(calls::fetch(&inbox)?.into());
        }
        self.socket.as_ref().ok_or_else(|| Error::Unmet("a socket was lost on its way".into()))
    }

    /// Into a Unix socket.
    pub fn post(&mut self) -> Result<()> {
        let descriptor = self.socket()?.as_raw_fd();
        let (outbox, inbox) = UnixStream::pair().attempt("make a pair of Unix sockets")?;
        calls::post(&outbox, descriptor)?;
        self.socket = None;
        self.posted = Some((outbox, inbox));
        Ok(())
    }

    pub fn dup(&mut self) -> Result<()> {
        if self.copies.len() < COPIES {
            let copy = self.socket()?.try_clone().attempt("dup()")?;
            self.copies.push(copy);
        }
        Ok(())
    }

    /// Dials. True if that makes a connection to a Service, or begins to; what should not have
    /// happened is returned as an error of the inner kind.
    pub fn dial(
        &mut self,
        target: Target,
        way: Way,
        ring: &mut IoUring,
    ) -> Result<Result<bool, String>> {
        let Kind { transport, family, .. } = self.kind;
        let to = address(target, transport, family);
        let hooked = self.known.hooked();
        let at: SockAddr = to.into();
        let way = match way {
            Way::FastOpen if transport == Transport::Udp => Way::Plain,
            // io_uring would call twice where the first call only tells of an earlier failure.
            Way::Ring if !hooked => Way::Plain,
            way => way,
        };
        let socket = self.socket()?;
        let result = match way {
            Way::Plain => socket.connect(&at),
            Way::Ring => calls::connect(ring, socket, &at),
            Way::FastOpen => {
                let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
                socket.send_to_with_flags(b"x", &at, flags).map(drop)
            }
        };
        let outcome = outcome(result);
        let ran = self.known.dialled(target, way, outcome);
        self.remember(format_args!("{way:?} to {target:?}: {outcome:?}"));
        self.since = Instant::now();
        if ran {
            self.dialled = Some(to);
        }
        if hooked && !is_expected(target, outcome) {
            return Ok(Err(format!("{way:?} to {target:?} at {to}: {outcome:?}")));
        }
        Ok(Ok(ran && is_begun(outcome) && self.known.claim() == Claim::Dialled))
    }

    pub fn send_to(&mut self, target: Target) -> Result<()> {
        let to = address(target, Transport::Udp, self.kind.family);
        // No route, no room: what is charged is charged.
        let _ = self.socket()?.send_to_with_flags(b"x", &to.into(), QUIET);
        self.known.sent_to(target);
        self.remember(format_args!("datagram to {target:?}"));
        self.since = Instant::now();
        Ok(())
    }

    pub fn dissolve(&mut self) -> Result<()> {
        disconnect(self.socket()?).attempt("connect() to AF_UNSPEC")?;
        self.known.dissolved();
        self.remember(format_args!("dissolved"));
        self.since = Instant::now();
        Ok(())
    }

    /// The peer may refuse it.
    pub fn send(&mut self) -> Result<()> {
        let sent = self.socket()?.send_with_flags(b"x", QUIET);
        self.remember(format_args!("sent: {:?}", outcome(sent.map(drop))));
        Ok(())
    }

    /// Fails where it is not connected, which is fine.
    pub fn half_close(&mut self) -> Result<()> {
        let _ = self.socket()?.shutdown(Shutdown::Write);
        self.known.half_closed();
        self.remember(format_args!("half closed"));
        Ok(())
    }

    /// Its next close resets.
    pub fn linger_not(&mut self) -> Result<()> {
        self.socket()?.set_linger(Some(Duration::ZERO)).attempt("set SO_LINGER")
    }

    /// A program is connected to what it dialled, or not at all.
    pub fn ask(&mut self) -> Result<Result<(), String>> {
        if self.kind.transport == Transport::Udp || self.known.claim() != Claim::Dialled {
            return Ok(Ok(()));
        }
        let dialled = self.dialled;
        Ok(match self.socket()?.peer_addr() {
            Ok(peer) if peer.as_socket() == dialled => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Ok(()),
            other => Err(format!(
                "getpeername() after {dialled:?}: {:?}",
                other.map(|peer| peer.as_socket())
            )),
        })
    }

    fn remember(&mut self, what: std::fmt::Arguments<'_>) {
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(format!("{what} -> {:?}", self.known));
    }

    /// What was done to it last.
    pub fn past(&self) -> Vec<String> {
        let kind = format!("{:?}", self.kind);
        std::iter::once(kind).chain(self.past.iter().cloned()).collect()
    }

    pub fn told(&self) -> Told {
        let age_ms = self.since.elapsed().as_millis() as u64;
        Told { cookie: self.cookie, claim: self.known.claim(), age_ms }
    }
}

const fn is_begun(outcome: Outcome) -> bool {
    matches!(outcome, Ok(()) | Err(libc::EINPROGRESS))
}

fn outcome(result: io::Result<()>) -> Outcome {
    result.map_err(|error| error.raw_os_error().unwrap_or(0))
}

/// What a `connect()` may say whose hook ran.
fn is_expected(target: Target, outcome: Outcome) -> bool {
    // Begun; or without a free port, which other sockets may have.
    let begun = is_begun(outcome) || matches!(outcome, Err(libc::EADDRNOTAVAIL | libc::EAGAIN));
    match target {
        Target::Keep
        | Target::One
        | Target::Direct
        | Target::Drop
        | Target::Answer
        | Target::Echo => begun,
        Target::Empty => outcome == Err(libc::ECONNREFUSED),
        Target::NoRoute => !is_begun(outcome),
        Target::Close | Target::Reset | Target::Refuse => outcome != Err(libc::EPERM),
    }
}
