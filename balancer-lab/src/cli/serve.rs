//! `balancer-lab serve`

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use balancer_lab::http::{Protocol, ServeOptions, serve};

/// Answer HTTP requests, or gRPC health checks, with the name given and the number of the connection
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  balancer-lab serve --name web-0 --listen 10.244.0.10:8080\n  \
                  balancer-lab serve --name slow --listen [::1]:8080 --work-us 2000\n  \
                  balancer-lab serve --name web-0 --listen 10.244.0.10:8080 --grpc"
)]
pub(super) struct Arguments {
    /// The name to answer with
    #[arg(long)]
    name: String,
    /// Address and port to listen on; may be repeated
    #[arg(long, required = true)]
    listen: Vec<SocketAddr>,
    /// Microseconds a request occupies the backend, one request at a time
    #[arg(long, default_value_t = 0)]
    work_us: u64,
    /// Milliseconds before a request is answered, however many there are
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Serve HTTP/2
    #[arg(long, conflicts_with = "grpc")]
    http2: bool,
    /// Serve gRPC: grpc.health.v1, with name and number in the header of each answer
    #[arg(long, conflicts_with = "work_us")]
    grpc: bool,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let Arguments { name, listen, work_us, delay_ms, http2, grpc } = arguments;
    let protocol = match (grpc, http2) {
        (true, _) => Protocol::Grpc,
        (false, true) => Protocol::Http2,
        (false, false) => Protocol::Http,
    };
    let where_to = format!("{listen:?}");
    let (work, delay) = (Duration::from_micros(work_us), Duration::from_millis(delay_ms));
    let options = ServeOptions { protocol, name, listen, work, delay };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options)).with_context(|| format!("serve on {where_to}"))
}
