//! Where connections went, as told from three sides.

use std::{collections::BTreeMap, fmt};

/// A row of the table: one backend as its clients, its own kernel and the agent see it.
#[derive(Debug)]
pub struct Seen {
    pub by_clients: u64,
    /// Not of UDP, whose servers have one socket for all clients.
    pub by_server: Option<u64>,
    pub by_agent: u64,
    pub requests: u64,
}

/// Where the connections went, by backend.
#[derive(Debug)]
pub struct Spread(pub BTreeMap<String, Seen>);

impl Spread {
    /// As many connections as the clients opened, as even as they can be, the same from all sides.
    pub fn assert_even(&self, connections: u64) {
        let counts = || self.0.values().map(|seen| seen.by_agent);
        assert_eq!(counts().sum::<u64>(), connections, "\n{self}");
        assert!(counts().max().zip(counts().min()).is_some_and(|(a, b)| a - b <= 1), "\n{self}");
        let agree = |seen: &Seen| {
            seen.by_clients == seen.by_agent && seen.by_server.is_none_or(|n| n == seen.by_agent)
        };
        assert!(self.0.values().all(agree), "\n{self}");
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "  {:<14} {:>8} {:>8} {:>8} {:>9}",
            "connections of", "clients", "server", "agent", "requests"
        )?;
        for (name, seen) in &self.0 {
            let Seen { by_clients, by_agent, requests, .. } = seen;
            let by_server = seen.by_server.map_or_else(|| "-".into(), |count| count.to_string());
            writeln!(
                formatter,
                "  {name:<14} {by_clients:>8} {by_server:>8} {by_agent:>8} {requests:>9}"
            )?;
        }
        Ok(())
    }
}
