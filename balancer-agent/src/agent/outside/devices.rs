//! The devices that the programs are on: those that lead out of the node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{DeviceError, UNBALANCED, problem};
use crate::{
    kernel::outside::OutsidePrograms,
    model::Problem,
    node::{devices, routes::DefaultDevices},
};

/// The programs, and where they are.
pub struct Devices {
    programs: OutsidePrograms,
    /// Devices that the programs were put on, by their numbers.
    attached: BTreeMap<u32, String>,
    routed: DefaultDevices,
}

impl Devices {
    /// None of this agent's yet.
    pub fn new(programs: OutsidePrograms) -> Self {
        Self { programs, attached: BTreeMap::new(), routed: DefaultDevices::default() }
    }

    /// Has the programs on the devices that lead out of the node, and on no others. Gives what went
    /// wrong. Where the kernel does not tell which these are, the programs stay where they are.
    pub fn follow(&mut self, addresses: &[IpAddr]) -> Vec<Problem> {
        let names = match self.routed.look() {
            Ok(routed) => devices::uplinks(routed, addresses).into_iter(),
            Err(error) => {
                let told = "the programs stay on the devices that led out of the node before";
                return vec![problem(&DeviceError::Routes(error), told)];
            }
        };
        let wanted: BTreeMap<u32, String> =
            names.filter_map(|name| Some((devices::index(&name)?, name))).collect();
        let mut problems = Vec::new();
        if wanted != self.attached {
            problems = self.detach_all_but(&wanted.keys().copied().collect());
            self.attached.retain(|number, device| wanted.get(number) == Some(device));
        }
        for (number, device) in wanted {
            let was_there = self.attached.contains_key(&number);
            if was_there && self.programs.are_on(number) {
                continue;
            }
            match self.programs.attach(number) {
                Ok(()) if was_there => {
                    tracing::warn!(
                        device,
                        "its programs were taken off by somebody else: put back"
                    );
                }
                Ok(()) => {
                    tracing::info!(device, "traffic from outside is balanced");
                    self.attached.insert(number, device);
                }
                Err(source) => {
                    self.attached.remove(&number);
                    let error = DeviceError::Attach { device, source };
                    let told =
                        format!("connections that come in over it are not balanced: {UNBALANCED}");
                    problems.push(problem(&error, told));
                }
            }
        }
        problems
    }

    /// Takes the programs off every device, also off those that an earlier agent put them on.
    pub fn leave(&mut self) -> Vec<Problem> {
        self.attached.clear();
        self.detach_all_but(&BTreeSet::new())
    }

    fn detach_all_but(&self, wanted: &BTreeSet<u32>) -> Vec<Problem> {
        let attached = self.programs.devices().unwrap_or_default();
        let detach = |device: &u32| self.programs.detach(*device).err();
        let failed = attached.difference(wanted).filter_map(detach).map(DeviceError::from);
        failed.map(|error| problem(&error, "its programs still choose there")).collect()
    }
}
