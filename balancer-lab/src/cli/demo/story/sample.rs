//! Connections of each pod, as its own kernel table has them: alike for all sides.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context, Result};
use balancer_lab::Pod;
use serde::Serialize;

/// One moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sample {
    /// Seconds after the start.
    pub(super) at: f64,
    /// Open connections of each pod.
    pub(super) connections: Vec<u32>,
    /// Connections that were open at the last sample and are no more.
    pub(super) closed: u32,
}

/// Takes samples.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    /// Peers of each pod.
    open: Vec<BTreeSet<String>>,
}

impl Sampler {
    /// Looks at the pods.
    pub(super) fn take(&mut self, pods: &[Pod], port: u16, at: Duration) -> Result<Sample> {
        let mut open = Vec::new();
        for pod in pods {
            let table = pod.place().within(|| fs::read_to_string("/proc/thread-self/net/tcp"))?;
            open.push(peers(&table.context("read the connections of a pod")?, port));
        }
        let none = BTreeSet::new();
        let closed = |(pod, now): (usize, &BTreeSet<String>)| {
            self.open.get(pod).unwrap_or(&none).difference(now).count() as u32
        };
        let sample = Sample {
            at: at.as_secs_f64(),
            connections: open.iter().map(|peers| peers.len() as u32).collect(),
            closed: open.iter().enumerate().map(closed).sum(),
        };
        self.open = open;
        Ok(sample)
    }
}

/// The peers of established connections to a port.
fn peers(table: &str, port: u16) -> BTreeSet<String> {
    let local = format!(":{port:04X}");
    let peer = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (own, peer, state) = (words.next()?, words.next()?, words.next()?);
        (own.ends_with(&local) && state == "01").then(|| peer.to_owned())
    };
    table.lines().skip(1).filter_map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn established_connections_to_the_port_are_peers() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                     0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100F40A:1F90 C800F40A:9C40 01 00000000:00000000\n   \
                     2: 0100F40A:1F90 C800F40A:9C41 08 00000000:00000000\n   \
                     3: 0100F40A:0050 C800F40A:9C42 01 00000000:00000000\n";
        assert_eq!(peers(table, 8080), ["C800F40A:9C40".to_owned()].into());
    }
}
