//! How many nodes the memory of the machine is enough for.

use std::fs;

use anyhow::{Context as _, Result, ensure};

/// KiB set aside for a node: its agent, its maps, and its clients.
const NODE: u64 = 160 * 1024;
/// Fewer nodes show nothing of a cluster.
const FEWEST: usize = 4;

/// The nodes wanted, or as many as half of the memory that is available holds.
pub(super) fn nodes(wanted: usize) -> Result<usize> {
    let meminfo = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let available = available(&meminfo).context("/proc/meminfo does not tell MemAvailable")?;
    let nodes = wanted.min(fitting(available));
    ensure!(
        nodes >= FEWEST,
        "this takes {FEWEST} nodes or more, {} MiB of available memory, and there are {} MiB: free \
         some",
        FEWEST as u64 * NODE * 2 / 1024,
        available / 1024
    );
    Ok(nodes)
}

fn fitting(available: u64) -> usize {
    (available / 2 / NODE) as usize
}

/// KiB that can be had without swapping (proc_meminfo(5)).
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_available_is_for_nodes() {
        let meminfo = "MemTotal:       24637264 kB\nMemAvailable:    3276800 kB\n";
        assert_eq!(available(meminfo), Some(3_276_800));
        assert_eq!(fitting(3_276_800), 10);
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
