//! `balancer-lab connect`

use std::{
    io,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Result;
use serde_json::json;

/// Connect once, say as JSON whom the program believes to speak to, and hold until the input ends
#[derive(clap::Args)]
#[command(after_help = "Example:\n  balancer-lab connect 10.96.0.10:80 </dev/null")]
pub(super) struct Arguments {
    /// Where to connect to
    target: SocketAddr,
    /// Give up after so many milliseconds
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let timeout = Duration::from_millis(arguments.timeout_ms);
    match TcpStream::connect_timeout(&arguments.target, timeout) {
        Ok(stream) => {
            println!("{}", json!({"peer": stream.peer_addr()?, "local": stream.local_addr()?}));
            io::copy(&mut io::stdin().lock(), &mut io::sink())?;
        }
        Err(error) => println!("{}", json!({"error": error.kind().to_string()})),
    }
    Ok(())
}
