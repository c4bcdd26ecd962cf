//! DNS over UDP: hickory's resolver, which opens a socket for each query and does not connect it;
//! and connected sockets, as glibc and c-ares have them, here held open. The server is dnsmasq.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result, bail};
use futures_util::future::try_join_all;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::{Message, Query},
        rr::{Name, RData, RecordType},
    },
};
use serde_json::json;
use tokio::net::UdpSocket;

use crate::{client::Protocol, serve};

/// The name to which each server has an address of its own.
const NAME: &str = "whoami.lab.";

/// A connected socket.
pub(crate) struct Connection {
    socket: UdpSocket,
    /// The identifier of the last query.
    query: u16,
}

impl Protocol for Connection {
    async fn open(target: SocketAddr, connections: usize) -> Result<Vec<Self>> {
        let open = || async {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
            socket.connect(target).await?;
            Ok(Self { socket, query: 0 })
        };
        try_join_all((0..connections).map(|_| open())).await
    }

    async fn ask(&mut self) -> Result<String> {
        self.query += 1;
        let mut query = Message::query();
        query.metadata.id = self.query;
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_ascii(NAME)?, RecordType::A));
        self.socket.send(&query.to_vec()?).await?;
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).await?;
        let answer = Message::from_vec(&buffer[..length])?;
        if answer.metadata.id != self.query {
            bail!("an answer to query {} where {} was asked", answer.metadata.id, self.query);
        }
        let records = answer.answers.iter();
        let mut addresses = records.filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0.to_string()),
            _ => None,
        });
        addresses.next().with_context(|| format!("{NAME} has no address"))
    }

    async fn close(self) -> Result<()> {
        drop(self.socket);
        Ok(())
    }
}

/// Looks the name up again and again, and says as JSON how often each address was the answer.
pub(crate) async fn resolve(server: SocketAddr, lookups: u64) -> Result<()> {
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    // Every lookup is to ask the server.
    builder.options_mut().cache_size = 0;
    let resolver = builder.build()?;
    let mut answers = BTreeMap::<String, u64>::new();
    for _ in 0..lookups {
        let found = resolver.lookup_ip(NAME).await?;
        let address = found.iter().next().with_context(|| format!("{NAME} has no address"))?;
        *answers.entry(address.to_string()).or_default() += 1;
    }
    serve::say(&json!(answers).to_string())?;
    Ok(())
}
