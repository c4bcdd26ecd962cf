//! Where it was measured: what numbers depend on, and nothing that names the machine.

use std::{fs, process::Command, thread};

use balancer_lab::{error::Result, host};
use serde_json::{Map, Value};

/// Facts of the machine, by name.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Name and value of each.
    pub facts: Vec<(&'static str, String)>,
}

impl Environment {
    /// Looks around.
    pub fn read() -> Result<Self> {
        let cpuinfo = read("/proc/cpuinfo");
        let flags = field(&cpuinfo, "flags").unwrap_or_default();
        let virtual_machine = flags.split(' ').any(|flag| flag == "hypervisor");
        let agent = host::binary("balancer-agent", "BALANCER_AGENT_BIN")?;
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let mut facts = vec![
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("architecture", std::env::consts::ARCH.to_owned()),
            ("processors", format!("{processors}")),
            ("model", field(&cpuinfo, "model name").unwrap_or("unknown").to_owned()),
            ("virtual machine", if virtual_machine { "yes" } else { "no" }.to_owned()),
            ("clock", read("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
            ("load before", read("/proc/loadavg").split(' ').next().unwrap_or("?").to_owned()),
        ];
        for (name, command) in [
            ("balancer", Command::new(agent)),
            ("iptables", Command::new("iptables-nft")),
            ("nftables", Command::new("nft")),
        ] {
            facts.push((name, version(command)));
        }
        Ok(Self { facts })
    }

    /// The facts for programs.
    pub fn json(&self) -> Value {
        let facts = self.facts.iter();
        facts
            .map(|(name, value)| (name.replace(' ', "_"), value.clone().into()))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// What follows the program's name in the first line of its `--version`.
fn version(mut command: Command) -> String {
    let Ok(output) = host::run(command.arg("--version"), "") else {
        return "not installed".to_owned();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    line.split_once(' ').map_or(line, |(_, version)| version).to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The first value of a name in `/proc/cpuinfo`.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_cpuinfo_are_found() {
        let cpuinfo = "processor\t: 0\nmodel name\t: A Model\nflags\t\t: fpu hypervisor\n";
        assert_eq!(field(cpuinfo, "model name"), Some("A Model"));
        assert_eq!(field(cpuinfo, "absent"), None);
    }
}
