//! A process in a client pod that opens and closes connections as it is told, and that process from
//! outside.

use std::{
    collections::HashMap,
    io::{self, BufRead as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use balancer_lab::{
    Place,
    error::{Attempt as _, Error, Result},
    lines::Lines,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use socket2::{Domain, Protocol, Socket, Type};

use crate::itself;

/// What the process is told, a line of JSON each. It answers with a line: a `Result`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
enum Errand {
    /// Open a connection. Answer: its own address.
    Open(SocketAddrV4),
    /// Reset the connection with this own address. Answer: nothing.
    Close(SocketAddr),
}

/// The process. Dropping it ends it, and with it its connections.
#[derive(Debug)]
pub(super) struct Dialer(Mutex<Lines>);

impl Dialer {
    pub(super) fn start(place: &Place) -> Result<Self> {
        let mut command = itself::command(place)?;
        Ok(Self(Mutex::new(Lines::start(command.arg("bench-dialer"), "a client")?)))
    }

    /// Opens a connection and returns its own address.
    pub(super) fn open(&self, target: SocketAddrV4) -> Result<SocketAddr> {
        self.ask(Errand::Open(target))
    }

    /// Resets one.
    pub(super) fn close(&self, local: SocketAddr) -> Result<()> {
        self.ask(Errand::Close(local))
    }

    fn ask<T: DeserializeOwned>(&self, errand: Errand) -> Result<T> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.tell(&errand)?;
        lines.answer::<Result<T, String>>()?.map_err(Error::Unmet)
    }
}

/// How many descriptors this process may have at most, from now on.
pub(super) fn allow_many_descriptors() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).attempt("read RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).attempt("raise RLIMIT_NOFILE")
}

/// Does what standard input says until that ends.
pub fn run() -> Result<()> {
    allow_many_descriptors()?;
    let mut held = HashMap::new();
    for line in io::stdin().lock().lines() {
        let line = line.attempt("read an errand")?;
        let errand = serde_json::from_str(&line)
            .map_err(|error| Error::Unmet(format!("{line:?} is no errand: {error}")))?;
        match errand {
            Errand::Open(target) => answer(open(target).map(|(local, stream)| {
                held.insert(local, stream);
                local
            })),
            Errand::Close(local) => answer(match held.remove(&local) {
                Some(_) => Ok(()),
                None => Err(Error::Unmet(format!("there is no connection from {local}"))),
            }),
        }?;
    }
    Ok(())
}

/// A connection from a port that no other one has: left to choose, the kernel gives the same port
/// to connections to different pods.
fn open(target: SocketAddrV4) -> Result<(SocketAddr, TcpStream)> {
    let any: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    let socket =
        Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).attempt("socket()")?;
    socket.bind(&any.into()).attempt("bind()")?;
    socket.connect(&target.into()).attempt(format!("connect to {target}"))?;
    // A close resets: no port is in TIME_WAIT.
    socket.set_linger(Some(Duration::ZERO)).attempt("set SO_LINGER")?;
    let stream = TcpStream::from(socket);
    Ok((stream.local_addr().attempt("getsockname()")?, stream))
}

fn answer<T: Serialize>(result: Result<T>) -> Result<()> {
    let line = serde_json::to_string(&result.map_err(|error| error.to_string()))
        .map_err(io::Error::from)
        .attempt("write an answer")?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).attempt("answer")
}
