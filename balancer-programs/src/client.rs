//! What every client does, whatever it speaks.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, stdin};

use crate::serve;

/// What a client is to do.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) connections: usize,
    /// Over each connection.
    pub(crate) requests: u64,
}

/// A connection of some protocol.
pub(crate) trait Protocol: Sized {
    /// Opens connections. All are open when it returns.
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>>;

    /// Sends a request and returns the name of the server that answered.
    async fn ask(&mut self) -> Result<String>;

    /// Says goodbye as the protocol has it.
    async fn close(self) -> Result<()>;
}

/// Carries out the plan: one request at a time over each connection, over all of them together.
pub(crate) async fn run<P: Protocol>(plan: Plan) -> Result<()> {
    let mut connections = P::open(plan.target, plan.connections).await?;
    let mut servers = Vec::new();
    for _ in 0..plan.requests {
        let answers = try_join_all(connections.iter_mut().map(P::ask)).await?;
        if servers.is_empty() {
            servers = answers;
        } else if servers != answers {
            bail!("connections changed their servers: from {servers:?} to {answers:?}");
        }
    }
    let mut counts = BTreeMap::<String, u64>::new();
    for server in servers {
        *counts.entry(server).or_default() += 1;
    }
    serve::say(&json!({"connections": counts, "requests": plan.requests}).to_string())?;
    stdin().read_to_end(&mut Vec::new()).await?;
    try_join_all(connections.into_iter().map(P::close)).await?;
    Ok(())
}
