//! `balancer-lab connect`

use std::{io, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

/// Connect once, say as JSON whom the program believes to speak to, and hold until the input ends
///
/// A socket whose connection failed is held, too.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  balancer-lab connect 10.96.0.10:80 </dev/null")]
pub(super) struct Arguments {
    /// Where to connect to
    target: SocketAddr,
    /// Give up after so many milliseconds
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
    /// Use Multipath TCP
    #[arg(long)]
    mptcp: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let protocol = if arguments.mptcp { Protocol::MPTCP } else { Protocol::TCP };
    let domain = Domain::for_address(arguments.target);
    let socket = Socket::new(domain, Type::STREAM, Some(protocol))?;
    let timeout = Duration::from_millis(arguments.timeout_ms);
    match socket.connect_timeout(&arguments.target.into(), timeout) {
        Ok(()) => {
            let address = |from: io::Result<socket2::SockAddr>| from.map(|a| a.as_socket());
            let (peer, local) = (address(socket.peer_addr())?, address(socket.local_addr())?);
            let peer = peer.context("the peer has no address of IP")?;
            println!("{}", json!({"peer": peer, "local": local}));
        }
        Err(error) => println!("{}", json!({"error": error.kind().to_string()})),
    }
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}
