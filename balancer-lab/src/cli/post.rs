//! `balancer-lab post`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Result;
use balancer_lab::posts::{SendOptions, Way, send};

/// Have numbered requests executed over kept connections, and say as JSON which failed
#[derive(clap::Args)]
#[command(after_help = "Example:\n  balancer-lab post 10.96.0.10:80 rests --requests 3 \
                        --pause-ms 3000")]
pub(super) struct Arguments {
    /// Where to connect to
    target: SocketAddr,
    /// What a client does with its connection while it rests
    #[arg(value_enum)]
    way: Way,
    /// Clients, each with a connection
    #[arg(long, default_value_t = 1)]
    clients: u64,
    /// Requests of each client
    #[arg(long, default_value_t = 2)]
    requests: u64,
    /// Milliseconds before the next request of a client
    #[arg(long, default_value_t = 0)]
    pause_ms: u64,
    /// The certificate of the authority to trust, for TLS
    #[arg(long)]
    authority: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let Arguments { target, way, clients, requests, pause_ms, authority } = arguments;
    let pause = Duration::from_millis(pause_ms);
    let authority = authority.filter(|_| way.is_tls());
    let said = send(&SendOptions { target, way, clients, requests, pause, authority })?;
    println!("{}", serde_json::to_string(&said)?);
    Ok(())
}
