//! Very many connections that are held open.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv6Addr, SocketAddr, TcpListener},
    process::{Child, Stdio},
};

use balancer_lab::{
    Lab, Place, Pod,
    error::{Attempt, Error, Result},
};
use socket2::SockRef;

use super::BACKEND_PORT;

/// A listener whose connections wait in its queue: they are there, and take no descriptor.
pub(super) fn listener(pod: &Pod, connections: usize) -> Result<TcpListener> {
    let length = i32::try_from(connections).unwrap_or(i32::MAX);
    pod.place().set_sysctl("net/core/somaxconn", &length.to_string())?;
    let listen = || {
        let bound = TcpListener::bind((Ipv6Addr::UNSPECIFIED, BACKEND_PORT))?;
        SockRef::from(&bound).listen(length)?;
        Ok(bound)
    };
    pod.place().within(listen)?.map_err(|source: std::io::Error| Error::Io {
        what: format!("listen in {}", pod.name()),
        source,
    })
}

/// A process that holds connections. Killed when dropped.
pub(super) struct Held {
    child: Child,
}

impl Held {
    /// Starts it in a pod.
    pub(super) fn start(
        place: &Place,
        target: SocketAddr,
        count: usize,
        flags: &[&str],
    ) -> Result<Self> {
        let mut command = Lab::self_command(place)?;
        command.args(["connect", "--many", "--count", &count.to_string()]).args(flags);
        command.arg(target.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self { child: command.spawn().attempt("start a process that connects")? })
    }

    /// Waits until all are open.
    pub(super) fn opened(&mut self) -> Result<()> {
        let mut line = String::new();
        if let Some(stdout) = &mut self.child.stdout {
            BufReader::new(stdout).read_line(&mut line).attempt("wait for connections")?;
        }
        if line.is_empty() {
            return Err(Error::Unmet("connections could not be opened; it says why above".into()));
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended already: there is nothing left to do about either result.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
