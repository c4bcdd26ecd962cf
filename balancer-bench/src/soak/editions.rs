//! A folder of many Services that is rewritten again and again: plans of thousands of writes.

use std::{collections::BTreeMap, net::Ipv4Addr};

use balancer_lab::{
    Agent,
    error::{Error, Result},
    manifests::{Manifests, Service},
};
use serde_json::Value;

use super::stage;

/// Services beside those that are used.
const FILLERS: u16 = 1000;
/// Services in one file: `kubectl get -o yaml` would write them all in one.
const PER_FILE: usize = 250;

/// The latest contents of the folder.
#[derive(Debug, Default)]
pub(super) struct Editions {
    number: u16,
}

impl Editions {
    /// Writes the next one: every filler with endpoints that it did not have in the one before, and
    /// the Services in use with one backend more or less.
    pub(super) fn next(&mut self, manifests: &Manifests) -> Result<()> {
        self.number += 1;
        let fillers: Vec<Service> = (0..FILLERS).map(|index| filler(index, self.port())).collect();
        for (index, part) in fillers.chunks(PER_FILE).enumerate() {
            let objects =
                part.iter().flat_map(|service| [service.service(), service.endpoint_slice()]);
            // JSON is YAML, and faster to write.
            let text: String = objects.map(|object| format!("---\n{object}\n")).collect();
            manifests.write_text(&format!("fillers-{index}.yaml"), &text)?;
        }
        for service in stage::changing(2 + (self.number % 2) as u8) {
            manifests.write(&service)?;
        }
        Ok(())
    }

    /// The port of the backends of the fillers: others in each edition.
    const fn port(&self) -> u16 {
        8000 + self.number % 16
    }

    /// Fails unless the agent has the latest one, whole.
    pub(super) fn check(&self, agent: &Agent) -> Result<()> {
        let all = agent.json(&["services"])?;
        let shown: BTreeMap<&str, &Value> = all
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|service| Some((service["name"].as_str()?, &service["backends"])))
            .collect();
        for index in 0..FILLERS {
            let wanted = filler(index, self.port());
            let backends = shown.get(wanted.name.as_str()).and_then(|backends| backends.as_array());
            let ports: Vec<_> =
                backends.into_iter().flatten().map(|backend| backend["port"].as_u64()).collect();
            if ports != [Some(self.port().into()); 2] {
                return Err(Error::Unmet(format!(
                    "the agent is ready, and {} has {backends:?} where {} was written",
                    wanted.name,
                    self.port()
                )));
            }
        }
        Ok(())
    }
}

fn filler(index: u16, port: u16) -> Service {
    let [high, low] = index.to_be_bytes();
    let endpoints = [Ipv4Addr::new(10, 250, high, low), Ipv4Addr::new(10, 251, high, low)];
    Service::new(&format!("filler-{index}"), [10, 97, high, low], 80, port, endpoints)
}
