//! Decides what the facts mean. Pure: an old kernel needs no old kernel to be tested.

mod essential;
mod features;
mod neighbours;
mod outside;
mod peers;

use std::collections::BTreeSet;

use super::{
    Finding, Outcome,
    facts::{Essential, Facts},
};
use crate::node::{hooks::Attached, kernel::Version};

/// The oldest kernel whose verifier takes the programs.
pub const OLDEST: Version = Version { major: 5, minor: 15 };
/// The first kernel where a program chooses the errno of `connect()`.
pub const SETS_ERRNO: Version = Version { major: 5, minor: 18 };

/// Every check, those that `run` insists on first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut findings = essential(&facts.essential);
    findings.extend([
        features::errno(&facts.essential.release),
        features::protocols(),
        features::processes(facts),
        features::socket_destroy(&facts.ends_sockets),
        features::btf(facts.btf),
        features::jit(facts.jit),
        features::unprivileged(facts.unprivileged_bpf_disabled),
        neighbours::others(&facts.others),
        neighbours::conntrack(facts),
        neighbours::kube_proxy(facts),
        outside::devices(facts),
        outside::rules(facts),
        outside::tracking(facts),
        outside::others(facts),
        neighbours::maps(facts),
        peers::peers(facts.peers.as_ref()),
    ]);
    findings
}

/// The checks that `run` insists on, in the order in which they are worth mending.
pub fn essential(facts: &Essential) -> Vec<Finding> {
    vec![
        essential::kernel(&facts.release),
        essential::privileges(facts),
        essential::clock(facts.clock_offset_ns),
        essential::cgroup(facts),
        essential::bpffs(facts),
        essential::attach(&facts.blockers),
    ]
}

fn ok(check: &str, detail: impl Into<String>) -> Finding {
    Finding { check: check.into(), result: Outcome::Ok, detail: detail.into(), remedy: None }
}

fn warn(check: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { result: Outcome::Warn, remedy: Some(remedy.into()), ..ok(check, detail) }
}

fn fail(check: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { result: Outcome::Fail, remedy: Some(remedy.into()), ..ok(check, detail) }
}

/// Programs, each once, in a stable order.
fn names(programs: &[Attached]) -> String {
    let names: BTreeSet<_> = programs
        .iter()
        .map(|program| {
            let name = if program.name.is_empty() { "nameless" } else { &program.name };
            format!("{name} (id {}, {})", program.id, program.hook.name())
        })
        .collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
