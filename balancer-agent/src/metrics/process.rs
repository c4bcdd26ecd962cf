//! The process of the agent, by the names that every client of Prometheus gives.

use std::{fmt, fs, io};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// What proc(5) tells of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Process {
    cpu_s: f64,
    virtual_bytes: u64,
    resident_bytes: u64,
    open_fds: u64,
    max_fds: u64,
    start_s: f64,
}

impl Process {
    /// Reads it. None of it is hidden from the process itself.
    pub(super) fn read() -> io::Result<Self> {
        let unfit = || io::Error::other("proc(5) is not as expected");
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat")?).ok_or_else(unfit)?;
        let booted = fs::read_to_string("/proc/stat")?;
        let booted = booted.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok());
        let booted: f64 = booted.ok_or_else(unfit)?;
        let status = fs::read_to_string("/proc/self/status")?;
        let bytes = |name| kibibytes(&status, name).map(|size| size << 10).ok_or_else(unfit);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Ok(Self {
            cpu_s: stat.cpu_ticks as f64 / TICKS,
            virtual_bytes: bytes("VmSize:")?,
            resident_bytes: bytes("VmRSS:")?,
            open_fds: fs::read_dir("/proc/self/fd")?.count() as u64,
            max_fds: limit.unwrap_or(u64::MAX),
            start_s: booted + stat.start_ticks as f64 / TICKS,
        })
    }
}

/// Ticks of a second in proc(5): `USER_HZ`, the same on every architecture that has cgroup BPF.
const TICKS: f64 = 100.0;

/// A size in `/proc/self/status`.
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// What is wanted of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
}

impl Stat {
    /// The name, which may hold anything, ends at the last parenthesis; then comes field 3.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() };
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)? })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Processor time of the agent";
        encoder
            .encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.cpu_s, None)?;
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: f64| {
            encoder
                .encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?
                .encode_gauge(&value)
        };
        let (bytes, seconds) = (|| Some(Unit::Bytes), Some(Unit::Seconds));
        let help = "When the agent started, in seconds since 1970";
        gauge("process_start_time", help, seconds, self.start_s)?;
        let help = "Memory that the agent has in use";
        gauge("process_resident_memory", help, bytes(), self.resident_bytes as f64)?;
        let help = "Address space of the agent, the maps included";
        gauge("process_virtual_memory", help, bytes(), self.virtual_bytes as f64)?;
        gauge("process_open_fds", "Open files", None, self.open_fds as f64)?;
        gauge("process_max_fds", "Limit of open files", None, self.max_fds as f64)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn a_name_of_parentheses_hides_nothing() {
        let text = "7 (a) (b) S 1 7 7 0 -1 4194560 9 0 0 0 30 12 0 0 20 0 5 0 4711 0 0";
        assert_eq!(Stat::parse(text), Some(Stat { cpu_ticks: 42, start_ticks: 4711 }));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_told() {
        let process = Process::read().expect("proc");
        assert!(process.resident_bytes > 1 << 20 && process.open_fds > 2, "{process:?}");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process));
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for name in [
            "process_cpu_seconds_total ",
            "process_start_time_seconds ",
            "process_resident_memory_bytes ",
            "process_virtual_memory_bytes ",
            "process_open_fds ",
            "process_max_fds ",
        ] {
            assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in {text}");
        }
    }
}
