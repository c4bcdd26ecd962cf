//! Connections from outside: keeps the rules of NAT, the devices and the counts of what ended without a
//! packet up to date. What begins and ends with packets the programs count themselves, also without an
//! agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use balancer_common::layout::{OutsideFlow, OutsideKey, UDP};

use crate::{
    desired::BackendAddr,
    kernel::{KernelError, outside::OutsidePrograms},
    maps::{MapsError, OutsideCharges},
    model::Problem,
    nat::{NatError, conntrack::Conntrack, table::Tables},
    node::devices,
    plan::{Plan, Write, book::Book},
};

/// Backends with their identifiers.
type Entries = Vec<(u32, BackendAddr)>;

/// How old a connection is before it is asked for: connection tracking knows it by then.
const YOUNG: Duration = Duration::from_secs(10);
/// Connections that are asked for at one look: some 20 ms.
const ASKED: usize = 2000;

/// What goes wrong.
#[derive(Debug, thiserror::Error)]
enum OutsideError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Nat(#[from] NatError),
    #[error(transparent)]
    Maps(#[from] MapsError),
    #[error("device {device}: its programs can't be attached: {source}; tcx is needed (Linux 6.6)")]
    Device { device: String, source: std::io::Error },
}

/// What connections from outside need beside the maps.
pub struct Outside {
    programs: OutsidePrograms,
    /// None before the first look, and where they could not be made or changed.
    tables: Option<Tables>,
    conntrack: Option<Conntrack>,
    /// What the map of the rules has.
    backends: BTreeMap<u32, BackendAddr>,
    /// Devices that the programs are on, by their numbers.
    devices: BTreeMap<u32, String>,
    /// Where the next look goes on among the connections.
    turn: usize,
    problems: Vec<Problem>,
}

impl Outside {
    /// Nothing is done before the first look.
    pub const fn new(programs: OutsidePrograms) -> Self {
        Self {
            programs,
            tables: None,
            conntrack: None,
            backends: BTreeMap::new(),
            devices: BTreeMap::new(),
            turn: 0,
            problems: Vec::new(),
        }
    }

    /// What is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Tells the rules of the backends of a plan, before a program may choose them.
    pub fn put(&mut self, plan: &Plan) {
        let put = writes(plan).filter_map(|write| match write {
            Write::PutBackend { id, backend } => Some((*id, *backend)),
            _ => None,
        });
        let put: Entries = put.collect();
        // One that others were told to have before would be refused.
        let stale: Entries =
            put.iter().filter_map(|(id, _)| self.backends.remove_entry(id)).collect();
        self.change(&stale, Tables::remove);
        self.backends.extend(put.iter().copied());
        self.change(&put, Tables::put);
    }

    /// Has the rules forget backends that a plan has removed.
    pub fn remove(&mut self, plan: &Plan) {
        let removed = writes(plan).filter_map(|write| match write {
            Write::RemoveBackend { id } => self.backends.remove_entry(id),
            _ => None,
        });
        let removed: Entries = removed.collect();
        self.change(&removed, Tables::remove);
    }

    /// Where that fails, all is written anew at the next look.
    fn change(
        &mut self,
        backends: &[(u32, BackendAddr)],
        change: impl FnOnce(&mut Tables, &[(u32, BackendAddr)]) -> Result<(), NatError>,
    ) {
        if let Some(tables) = self.tables.as_mut().filter(|_| !backends.is_empty())
            && let Err(error) = change(tables, backends)
        {
            tracing::warn!(%error, "the rules for traffic from outside are written anew");
            self.tables = None;
        }
    }

    /// Puts the rules in the place of those that an earlier agent left, with what the maps hold.
    pub fn adopt(&mut self, backends: &BTreeMap<BackendAddr, u32>) {
        let failed = self.follow_rules(backends).err();
        self.problems = failed.iter().map(problem).collect();
    }

    /// One look: puts back what others have removed, follows the devices, ends the charges of
    /// connections that connection tracking knows no more, and has flows of UDP leave backends that no
    /// Service has any more. `book` is what the maps hold.
    pub fn look(&mut self, book: &Book, addresses: &[IpAddr], maps: &mut impl OutsideCharges) {
        let backends = &book.held().backends;
        let looked = self.follow_rules(backends).and_then(|()| self.follow_devices(addresses));
        let ended = self.end_flows(book, maps);
        let failed = looked.err().into_iter().chain(ended.err());
        self.problems = failed.map(|error| problem(&error)).collect();
    }

    fn follow_rules(&mut self, backends: &BTreeMap<BackendAddr, u32>) -> Result<(), OutsideError> {
        if let Some(tables) = &mut self.tables {
            if tables.are_there()? {
                return Ok(());
            }
            tracing::warn!(
                "the rules for traffic from outside were removed by somebody else: put back"
            );
        }
        self.tables = None;
        self.backends = backends.iter().map(|(backend, id)| (*id, *backend)).collect();
        let all: Vec<_> = self.backends.iter().map(|(id, backend)| (*id, *backend)).collect();
        match Tables::replace(&all) {
            Ok(tables) => self.tables = Some(tables),
            Err(error) => {
                // Nobody would carry out what the programs choose.
                for device in self.programs.devices().unwrap_or_default() {
                    self.programs.detach(device)?;
                }
                self.devices.clear();
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn follow_devices(&mut self, addresses: &[IpAddr]) -> Result<(), OutsideError> {
        let names = devices::uplinks(addresses).into_iter();
        let wanted: BTreeMap<u32, String> =
            names.filter_map(|name| Some((devices::index(&name)?, name))).collect();
        if wanted == self.devices {
            return Ok(());
        }
        let attached = self.programs.devices().unwrap_or_default();
        for device in attached.difference(&wanted.keys().copied().collect::<BTreeSet<_>>()) {
            self.programs.detach(*device)?;
        }
        self.devices.retain(|number, device| wanted.get(number) == Some(device));
        let mut failed = None;
        for (number, device) in wanted {
            if self.devices.contains_key(&number) {
                continue;
            }
            match self.programs.attach(number) {
                Ok(()) => {
                    tracing::info!(device, "traffic from outside is balanced");
                    self.devices.insert(number, device);
                }
                Err(source) => failed = Some(OutsideError::Device { device, source }),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn end_flows(
        &mut self,
        book: &Book,
        maps: &mut impl OutsideCharges,
    ) -> Result<(), OutsideError> {
        let mut flows = maps.outside()?;
        let old = maps.monotonic_ns().saturating_sub(YOUNG.as_nanos() as u64);
        let leaves = |key: &OutsideKey, flow: &OutsideFlow| {
            key.protocol == UDP && !book.is_named(flow.backend)
        };
        let left: Vec<_> = flows.iter().filter(|(key, flow)| leaves(key, flow)).copied().collect();
        flows.retain(|(key, flow)| flow.since < old && !leaves(key, flow));
        if flows.is_empty() && left.is_empty() {
            return Ok(());
        }
        if self.conntrack.is_none() {
            self.conntrack = Some(Conntrack::open()?);
        }
        let Some(conntrack) = &self.conntrack else { return Ok(()) };
        for (key, flow) in &left {
            conntrack.forget(key)?;
            maps.end_outside(key, flow)?;
        }
        let start = self.turn.checked_rem(flows.len()).unwrap_or(0);
        flows.rotate_left(start);
        self.turn = start + ASKED.min(flows.len());
        let mut ended = 0;
        for (key, flow) in flows.iter().take(ASKED) {
            if !conntrack.has(key)? {
                ended += usize::from(maps.end_outside(key, flow)?);
            }
        }
        if ended > 0 {
            tracing::debug!(ended, "connections from outside that ended without a packet");
        }
        Ok(())
    }
}

fn writes(plan: &Plan) -> impl Iterator<Item = &Write> {
    plan.steps.iter().flat_map(|step| &step.writes)
}

fn problem(error: &OutsideError) -> Problem {
    Problem {
        object: "traffic from outside".to_owned(),
        field: String::new(),
        message: format!(
            "{error}; connections from outside are left to kube-proxy, all else is balanced; mend it, \
             or take --outside-traffic away"
        ),
    }
}
