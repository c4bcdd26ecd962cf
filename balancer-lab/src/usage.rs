//! What the process of an agent uses.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
    time::Duration,
};

use aya::maps::MapData;
use nix::unistd::{SysconfVar, sysconf};

use crate::{
    Agent, Lab,
    error::{Attempt, Error, Result, on},
};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Anonymous pages and those of its binary, at most so far. Without those of maps, which the
    /// kernel counts as files.
    pub own_peak: u64,
}

impl Usage {
    /// Of the agent. What it had at its peak beyond now is taken to be its own.
    pub fn of(agent: &Agent) -> Result<Self> {
        let path = proc(agent, "status")?;
        let text = fs::read_to_string(&path).attempt(on("read", &path))?;
        let field = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim_matches([':', '\t', ' ']).split(' ').next());
            kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
        };
        let maps = resident_maps(agent)?;
        Ok(Self { own_peak: field("VmHWM").saturating_sub(maps) })
    }
}

/// Bytes of maps in the kernel that the agent has touched.
fn resident_maps(agent: &Agent) -> Result<u64> {
    let path = proc(agent, "smaps")?;
    let text = fs::read_to_string(&path).attempt(on("read", &path))?;
    let (mut is_map, mut bytes) = (false, 0);
    for line in text.lines() {
        let first = line.split(' ').next().unwrap_or_default();
        if !first.ends_with(':') {
            is_map = line.ends_with("anon_inode:bpf-map");
        } else if is_map && first == "Rss:" {
            let kib = line["Rss:".len()..].trim().split(' ').next().unwrap_or_default();
            bytes += kib.parse::<u64>().unwrap_or(0) << 10;
        }
    }
    Ok(bytes)
}

/// Bytes of all maps that are pinned in the lab, as the kernel accounts for them.
pub fn map_memory(lab: &Lab) -> Result<u64> {
    let mut bytes = 0;
    for version in entries(&lab.bpffs().join("balancer"))? {
        for pin in entries(&version.join("maps"))? {
            let map =
                MapData::from_pin(&pin).map_err(io::Error::other).attempt(on("open", &pin))?;
            let info = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
            let text = fs::read_to_string(&info).attempt(on("read", Path::new(&info)))?;
            let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
            bytes += line.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(bytes)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).attempt(on("read", folder))?;
    entries.map(|entry| Ok(entry.attempt(on("read", folder))?.path())).collect()
}

/// Processor time of the agent so far.
pub fn processor_time(agent: &Agent) -> Result<Duration> {
    let path = proc(agent, "stat")?;
    let text = fs::read_to_string(&path).attempt(on("read", &path))?;
    // The name, in brackets, may hold anything; utime and stime are the 14th and 15th field.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    let second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / second as f64))
}

fn proc(agent: &Agent, file: &str) -> Result<PathBuf> {
    let pid = agent.pid().ok_or_else(|| Error::Unmet("the agent has ended".into()))?;
    Ok(format!("/proc/{pid}/{file}").into())
}
