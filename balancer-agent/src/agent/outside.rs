//! Connections from outside: keeps the rules of NAT, the devices and the counts of what ended without a
//! packet up to date. What begins and ends with packets the programs count themselves, also without an
//! agent.
//!
//! - `rules`: the tables of nf_tables of both families, and the backends in their maps.
//! - `cluster_ips`: the addresses of Services at which other ports are refused.
//! - `devices`: which devices the programs are on.
//! - `flows`: the charges of what ended without a packet, and flows of UDP that leave their backend.

mod cluster_ips;
mod devices;
mod flows;
mod rules;

use std::{fmt, io, net::IpAddr};

use crate::{
    kernel::{KernelError, outside::OutsidePrograms},
    maps::{OutsideCharges, ReadMaps},
    model::Problem,
    plan::{Plan, book::Book, held::Held},
};
use devices::Devices;
use flows::Flows;
use rules::Rules;

/// What is true of connections from outside while no table or no program is there for them.
const UNBALANCED: &str = "they go where kube-proxy leads them, and where there is none they are \
                          refused; all else is balanced";

/// What connections from outside need beside the maps.
pub struct Outside {
    devices: Devices,
    rules: Rules,
    flows: Flows,
    problems: Vec<Problem>,
}

impl Outside {
    /// Nothing is done before the first look.
    pub fn new(programs: OutsidePrograms) -> Self {
        Self {
            devices: Devices::new(programs),
            rules: Rules::new(),
            flows: Flows::new(),
            problems: Vec::new(),
        }
    }

    /// What is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Tells the rules of the backends of a plan, before a program may choose them.
    pub fn put(&mut self, plan: &Plan) {
        self.rules.put(plan);
    }

    /// Has the rules forget backends that a plan has removed.
    pub fn remove(&mut self, plan: &Plan) {
        self.rules.remove(plan);
    }

    /// Puts the rules in the place of those that an earlier agent left, with what the maps hold.
    pub fn adopt(&mut self, held: &Held) {
        self.problems = self.follow_rules(held);
    }

    /// One look: puts back what others have removed, follows the devices, ends the charges of
    /// connections that connection tracking knows no more, and has flows of UDP leave backends that no
    /// Service has any more. `book` is what the maps hold.
    pub fn look(
        &mut self,
        book: &Book,
        addresses: &[IpAddr],
        maps: &mut (impl ReadMaps + OutsideCharges),
    ) {
        let mut problems = self.follow_rules(book.held());
        if self.rules.are_there() {
            problems.extend(self.devices.follow(addresses));
        } else {
            // Nobody would carry out what the programs choose.
            problems.extend(self.devices.leave());
        }
        if let Err(error) = self.flows.follow(book, maps) {
            let told = "connections from outside that end without a packet, and flows of UDP, stay \
                        counted until that is mended";
            problems.push(problem(&error, told));
        }
        self.problems = problems;
    }

    fn follow_rules(&mut self, held: &Held) -> Vec<Problem> {
        let failed = self.rules.follow(held);
        // Programs are on the devices for both families or for none.
        let counted = if self.rules.are_there() {
            ", though the programs choose and count for them, since they serve the other family"
        } else {
            ""
        };
        let told = |(family, error): &(_, _)| {
            let told = format_args!(
                "connections from outside over {family} are not balanced{counted}: {UNBALANCED}"
            );
            problem(error, told)
        };
        failed.iter().map(told).collect()
    }
}

/// What is said where the programs can't be loaded.
pub fn unloaded(error: &KernelError) -> Problem {
    problem(error, format_args!("no connection from outside is balanced: {UNBALANCED}"))
}

fn problem(error: &impl fmt::Display, told: impl fmt::Display) -> Problem {
    Problem {
        object: "traffic from outside".to_owned(),
        field: String::new(),
        message: format!("{error}; {told}; mend it, or take --outside-traffic away"),
    }
}

/// A device that the programs could not be put on or taken off.
#[derive(Debug, thiserror::Error)]
enum DeviceError {
    #[error(
        "device {device}: its programs can't be attached: {source}; the kernel needs tcx (Linux 6.6), or \
         CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (modules sch_ingress, cls_bpf)"
    )]
    Attach { device: String, source: io::Error },
    #[error("the kernel does not tell its routes: {0}")]
    Routes(io::Error),
    #[error(transparent)]
    Detach(#[from] KernelError),
}
