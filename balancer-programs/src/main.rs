//! Clients and servers of common protocols, as programs have them: each with the library that is
//! usual for it. The tests run them in the pods of a lab, through a Service.
//!
//! - [`serve`]: what servers have in common.
//! - [`client`]: what every client does: open connections, ask over each, report, hold, close.
//!
//! One module a protocol says how that protocol opens, asks and closes, and how it is served:
//!
//! - [`amqp`]: AMQP 0-9-1, through a broker.
//! - [`dns`]: DNS over UDP.
//! - [`grpc`][]: gRPC.
//! - [`http2`]: HTTP/2 without TLS.
//! - [`postgres`]: PostgreSQL, through a pool.
//! - [`rsocket`]: RSocket over TCP.
//! - [`websocket`][]: WebSocket.
#![forbid(unsafe_code)]

mod amqp;
mod client;
mod dns;
mod grpc;
mod http2;
mod postgres;
mod rsocket;
mod serve;
mod websocket;

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

/// Clients and servers of common protocols
#[derive(Parser)]
#[command(arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Answer every request with a name; says "listening" once it does
    Serve {
        #[arg(value_enum)]
        server: Server,
        /// The name to answer with
        #[arg(long)]
        name: String,
        /// Where to listen; for amqp the broker to work for
        address: SocketAddr,
    },
    /// Open connections, ask over each, say as JSON who answered, hold them until the input ends
    Client {
        #[arg(value_enum)]
        client: Client,
        /// What to connect to
        target: SocketAddr,
        /// Connections to hold open
        #[arg(long, default_value_t = 1)]
        connections: usize,
        /// Requests over each connection
        #[arg(long, default_value_t = 1)]
        requests: u64,
    },
    /// Open connections to PostgreSQL, have transactions with a pause in each over them until the input
    /// ends, and say as JSON how many were committed and what failed
    Transact {
        /// What to connect to
        target: SocketAddr,
        /// Connections to hold open
        #[arg(long, default_value_t = 1)]
        connections: u64,
        /// Milliseconds that a connection rests after a transaction
        #[arg(long, default_value_t = 0)]
        rest_ms: u64,
    },
    /// Have queries of PostgreSQL run, one after another, cancel each, and say as JSON how many were
    /// cancelled
    Cancel {
        /// What to connect to
        target: SocketAddr,
        #[arg(long)]
        queries: u64,
    },
    /// Look a name up by a DNS server, again and again, and say as JSON what the answers were
    Resolve {
        /// The server
        server: SocketAddr,
        #[arg(long)]
        lookups: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Server {
    Http2,
    Grpc,
    Websocket,
    Rsocket,
    Amqp,
}

#[derive(Clone, Copy, ValueEnum)]
enum Client {
    Http2,
    Grpc,
    Websocket,
    Rsocket,
    Postgres,
    Amqp,
    Dns,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().verb {
        Verb::Serve { server, name, address } => match server {
            Server::Http2 => http2::serve(name, address).await,
            Server::Grpc => grpc::serve(name, address).await,
            Server::Websocket => websocket::serve(name, address).await,
            Server::Rsocket => rsocket::serve(name, address).await,
            Server::Amqp => amqp::work(name, address).await,
        },
        Verb::Client { client, target, connections, requests } => {
            let plan = client::Plan { target, connections, requests };
            match client {
                Client::Http2 => client::run::<http2::Connection>(plan).await,
                Client::Grpc => client::run::<grpc::Connection>(plan).await,
                Client::Websocket => client::run::<websocket::Connection>(plan).await,
                Client::Rsocket => client::run::<rsocket::Connection>(plan).await,
                Client::Postgres => client::run::<postgres::Connection>(plan).await,
                Client::Amqp => client::run::<amqp::Connection>(plan).await,
                Client::Dns => client::run::<dns::Connection>(plan).await,
            }
        }
        Verb::Transact { target, connections, rest_ms } => {
            let rest = Duration::from_millis(rest_ms);
            postgres::state::transact(target, connections, rest).await
        }
        Verb::Cancel { target, queries } => postgres::state::cancel(target, queries).await,
        Verb::Resolve { server, lookups } => dns::resolve(server, lookups).await,
    }
}
