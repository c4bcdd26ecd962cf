//! The maps, behind one trait: in the kernel ([`pinned`]), and in memory for tests ([`in_memory`]).
//!
//! - [`identity`]: what a row is known by.
//! - [`convert`]: between plain types and the types of the maps.
//! - [`pins`]: the name of every map, and where it is pinned.
//! - [`slab`]: the memory of an array map.
//! - [`elements`]: its elements, by identifier.
//! - [`rcu`]: waiting for programs that are running.

pub mod convert;
pub mod elements;
pub mod identity;
pub mod in_memory;
pub mod pinned;
pub mod pins;
pub mod rcu;
pub mod slab;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
};

use balancer_common::{
    charge,
    layout::{
        Backend, Frontend, FrontendKey4, FrontendKey6, LIFETIME_WORDS, Level, NodeAddress,
        OutsideFlow, OutsideKey, Pin, RangeKey, Row, SLOT_WORDS, ServiceName, Slot,
    },
    policy::Policy,
    verdict::Verdict,
};
use serde::{Deserialize, Serialize};

/// A map operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// A system call on a map.
    #[error("map {map}: {operation}: {source}")]
    Call {
        /// Name of the map.
        map: &'static str,
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A map is missing, of another type, or of another size than this version expects.
    #[error("map {map}: {problem}; run `balancer-agent cleanup` and start the agent again")]
    Foreign {
        /// Name of the map.
        map: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Key of a frontend, in the map of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrontendKey {
    /// In `FRONTENDS4`.
    V4(FrontendKey4),
    /// In `FRONTENDS6`.
    V6(FrontendKey6),
}

/// A source range as `RANGES` has it: its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeEntry {
    /// How many bits of the key must agree.
    pub bits: u32,
    /// The key.
    pub key: RangeKey,
}

impl FrontendKey {
    /// Name of the map.
    pub const fn map(self) -> &'static str {
        match self {
            Self::V4(_) => "FRONTENDS4",
            Self::V6(_) => "FRONTENDS6",
        }
    }
}

/// How a backend of a Service port is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The policy.
    pub policy: Policy,
    /// Seconds for which a client stays with its backend; 0 without session affinity.
    pub affinity: u32,
    /// Seconds over which a new backend comes to its full share; 0 for at once.
    pub slow_start: u32,
    /// Identifier of the Service port whose memory of clients is used; 0 without session affinity.
    pub group: u32,
    /// True if backends that have just failed are chosen like others.
    pub keeps_suspects: bool,
    /// True if connections from outside must stay on this node.
    pub stays: bool,
    /// Identifier of the entry that they go by then; none where there is none.
    pub outside: Option<u32>,
}

impl Settings {
    /// True where a row is compared by weight ([`Policy::weighs`]), which is the unit of its level.
    pub const fn weighs(&self) -> bool {
        self.policy.weighs(self.slow_start, self.keeps_suspects)
    }
}

/// How much the maps hold at most. Identifiers and slots are below these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Service ports, a family each.
    pub services: u32,
    /// Frontends of each family.
    pub frontends: u32,
    /// Backends, the padding's identifier 0 included.
    pub backends: u32,
    /// Slots, padding included.
    pub slots: u32,
}

/// What the kernel tells of a map without a look at its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge {
    /// Name of the map.
    pub map: &'static str,
    /// Bytes that it takes. From Linux 6.4 they follow the number of entries.
    pub bytes: u64,
    /// True if nothing but programs may write to it any more (`BPF_MAP_FREEZE`).
    pub frozen: bool,
}

/// Read access to the maps. Identifiers and indices may be any: others write to the maps too, and what is
/// not there is 0.
pub trait ReadMaps {
    /// How much fits.
    fn limits(&self) -> Limits;
    /// How many Service ports the maps have room for, whatever the limits are: identifiers are below.
    fn services(&self) -> u32;
    /// Every frontend, in no order.
    fn frontends(&self) -> Result<Vec<(FrontendKey, Frontend)>, MapsError>;
    /// Every Service port that has a name, in no order.
    fn names(&self) -> Result<Vec<(u32, ServiceName)>, MapsError>;
    /// A frontend.
    fn frontend(&self, key: FrontendKey) -> Result<Option<Frontend>, MapsError>;
    /// The name of a Service port.
    fn name(&self, service: u32) -> Result<Option<ServiceName>, MapsError>;
    /// What the kernel tells of maps that the agent alone adds entries to.
    fn gauges(&self) -> Result<Vec<Gauge>, MapsError>;
    /// The word of the row of a Service port, with its generation: another one whenever the row was
    /// replaced.
    fn row_word(&self, service: u32) -> u64;
    /// The row of a Service port.
    fn row(&self, service: u32) -> Row {
        Row::unpack(self.row_word(service))
    }
    /// How a backend of a Service port is chosen.
    fn settings(&self, service: u32) -> Settings;
    /// Clients that may use the restricted addresses of Service ports, in no order.
    fn ranges(&self) -> Result<Vec<RangeEntry>, MapsError>;
    /// Pairs of a Service port and a backend that is not in its row and serves it, in no order.
    fn serving(&self) -> Result<Vec<(u32, u32)>, MapsError>;
    /// A slot.
    fn slot(&self, index: u32) -> Slot;
    /// The slots of a row, without padding. None lies outside of the slab, whatever others have written
    /// in its place.
    fn slots(&self, row: Row) -> impl Iterator<Item = Slot> {
        (row.base..(row.base + row.len).min(SLOT_WORDS as u32)).map(|index| self.slot(index))
    }
    /// A backend, with its totals.
    fn backend(&self, backend: u32) -> Backend;
    /// Open connections of a backend.
    fn active(&self, backend: u32) -> u32;
    /// Backends from identifier 0 on whose open connections are others than in `seen`, which then has them.
    fn changed_active(&self, seen: &mut [u32]) -> Vec<u32> {
        let mut changed = Vec::new();
        for (id, seen) in (0..).zip(seen) {
            let active = self.active(id);
            if std::mem::replace(seen, active) != active {
                changed.push(id);
            }
        }
        changed
    }
    /// True if a backend has just failed and gets no connection while others answer.
    fn is_suspect(&self, backend: u32) -> bool;
    /// Words of the table of charges.
    fn charges(&self) -> u32;
    /// A word of the table of charges.
    fn charge(&self, index: u32) -> u64;
    /// The Service port in a record; valid while the charge at the index stands.
    fn record_service(&self, index: u32) -> u32;
    /// Service ports that open connections name. Reads the whole table of charges.
    fn services_named(&self) -> BTreeSet<u32> {
        let charged = (0..self.charges()).filter(|index| charge::is_charge(self.charge(*index)));
        charged.map(|index| self.record_service(index)).collect()
    }
    /// Pairs of Service port and backend that have an open connection. Reads the whole table of charges.
    fn charged(&self) -> BTreeSet<(u32, u32)> {
        let words = (0..self.charges()).map(|index| (index, self.charge(index)));
        let charged = words.filter(|(_, word)| charge::is_charge(*word));
        charged
            .map(|(index, word)| (self.record_service(index), charge::backend_of(word)))
            .collect()
    }
    /// How long connections lived: [`LIFETIME_WORDS`] of all processors.
    fn lifetimes(&self) -> Result<[u64; LIFETIME_WORDS], MapsError>;

    /// How often a verdict was given.
    fn verdict(&self, verdict: Verdict) -> Result<u64, MapsError>;
}

/// A connected UDP socket and its charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connected {
    /// Cookie of its network namespace.
    pub netns: u64,
    /// Index of the charge.
    pub index: u32,
    /// Word of the charge.
    pub word: u64,
    /// Identifier of the Service port that it dialled.
    pub service: u32,
}

/// A TCP connection: its charge, and what the programs recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Index of the charge.
    pub index: u32,
    /// Word of the charge: cookie and backend.
    pub word: u64,
    /// Identifier of its Service port.
    pub service: u32,
    /// Process that opened it, as the first namespace of processes numbers it.
    pub tgid: u32,
    /// Cookie of its network namespace.
    pub netns: u64,
    /// Address and port of the client.
    pub local: SocketAddr,
    /// CLOCK_MONOTONIC in nanoseconds when its SYN was sent.
    pub since_ns: u64,
}

/// The charges of sockets, for [`crate::agent`] alone, which ends those that nothing else ends.
pub trait Charges {
    /// TCP charges whose SYN has not been sent: index and word.
    fn unsent(&self) -> Vec<(u32, u64)>;
    /// Charges of connected UDP sockets.
    fn connected_udp(&self) -> Vec<Connected>;
    /// Ends a charge and lowers the counter, unless somebody else did. Not one of TCP: a program that
    /// has found it may be about to write its record, and another socket may have its place by then.
    fn end_charge(&self, index: u32, word: u64) -> bool;
    /// The same for charges of TCP whose SYN was not sent. No other socket gets their places before every
    /// program has ended that may have found them. Says how many it ended.
    fn end_unsent(&self, charges: &[(u32, u64)]) -> usize;
}

/// The charges of connections from outside, for [`crate::agent`] alone.
pub trait OutsideCharges {
    /// Connections from outside.
    fn outside(&self) -> Result<Vec<(OutsideKey, OutsideFlow)>, MapsError>;
    /// Some of them, some thousand at most, from where an earlier call has ended or from the beginning. Adds
    /// them to those that were found, and gives where the next call goes on: none at the end.
    fn read_outside(
        &self,
        from: Option<u32>,
        found: &mut Vec<(OutsideKey, OutsideFlow)>,
    ) -> Result<Option<u32>, MapsError>;
    /// Ends the charge of one and lowers the counter, unless somebody else did or it is another one by
    /// now.
    fn end_outside(&mut self, key: &OutsideKey, flow: &OutsideFlow) -> Result<bool, MapsError>;
    /// Now, as [`OutsideFlow::since`].
    fn monotonic_ns(&self) -> u64;
}

/// What this node has heard of the connections of others. Programs count with it as long as the level of
/// the Service port is fresh (3 s): so words of backends are written before the level.
pub trait ClusterCounts {
    /// Says how many connections all other nodes have to a backend.
    fn set_others(&self, backend: u32, connections: u32);
    /// The same, as the programs read it.
    fn others(&self, backend: u32) -> u32;
    /// Says up to which estimate the backends of a Service port may get a connection.
    fn set_level(&self, service: u32, level: Level);
    /// The same, as the programs read it, fresh or not.
    fn level(&self, service: u32) -> Option<Level>;
    /// Now, as [`Level::fresh_ms`].
    fn now_ms(&self) -> u32;
}

/// What a choice looks at beside rows and counters, for [`crate::observe`], which tells what a choice would
/// be.
pub trait ReadChoice: ReadMaps + ClusterCounts {
    /// The tick in which a backend was added.
    fn since(&self, backend: u32) -> u32;
    /// What round-robin counts of a Service port: the next connection raises it.
    fn cursor(&self, service: u32) -> u32;
    /// What is known of an address of a node: where node ports are captured that have no frontend of
    /// their own there.
    fn node(&self, address: IpAddr) -> Result<Option<NodeAddress>, MapsError>;
    /// What is known of clients: cookies of network namespaces and their addresses, in no order.
    fn clients(&self) -> Result<Vec<(u64, Vec<IpAddr>)>, MapsError>;
    /// The backend at which the next connection of a Service port takes a seat.
    fn seat(&self, service: u32) -> Option<u32>;
    /// The backend that the clients of a network namespace had before, by [`Settings::group`].
    fn pin(&self, netns: u64, group: u32) -> Result<Option<Pin>, MapsError>;
}

/// Seats of Service ports: backends that the next connections of this node go to ([`balancer_common::seat`]).
/// One thread adds them and takes them back, while programs take them.
pub trait KeepSeats {
    /// Adds seats at a backend; false where there is no room for another backend.
    fn add_seats(&self, service: u32, backend: u32, count: u32) -> bool;
    /// Takes back seats that nobody has taken, at most so many, and says how many those were.
    fn take_back_seats(&self, service: u32, backend: u32, count: u32) -> u32;
    /// The seats of a Service port that nobody has taken, by backend.
    fn seats(&self, service: u32) -> BTreeMap<u32, u32>;
    /// Takes back all of all Service ports: an agent that has ended may have left some.
    fn forget_all_seats(&self);
}

/// Write access to the maps, for [`crate::apply`] alone.
pub trait WriteMaps: ReadMaps {
    /// Adds or replaces a frontend.
    fn put_frontend(&mut self, key: FrontendKey, value: Frontend) -> Result<(), MapsError>;
    /// Removes a frontend; one that isn't there is no error.
    fn remove_frontend(&mut self, key: FrontendKey) -> Result<(), MapsError>;
    /// Adds or replaces the name of a Service port.
    fn put_name(&mut self, service: u32, name: &ServiceName) -> Result<(), MapsError>;
    /// Removes the name of a Service port, its level and its seats; one that isn't there is no error.
    fn remove_name(&mut self, service: u32) -> Result<(), MapsError>;
    /// Replaces the row of a Service port, in one store, and makes it differ from every row that
    /// was in the same place before.
    fn set_row(&mut self, service: u32, row: Row);
    /// Says how a backend of a Service port is chosen from now on. Where its rows are compared in another
    /// unit than before, their level is forgotten.
    fn set_settings(&mut self, service: u32, settings: Settings);
    /// Admits clients to the restricted addresses of a Service port.
    fn put_range(&mut self, range: RangeEntry) -> Result<(), MapsError>;
    /// Takes an admission back; one that isn't there is no error.
    fn remove_range(&mut self, range: RangeEntry) -> Result<(), MapsError>;
    /// Has flows of a Service port stay with a backend that is not in its row.
    fn put_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError>;
    /// Has them leave it; one that isn't there is no error.
    fn remove_serving(&mut self, service: u32, backend: u32) -> Result<(), MapsError>;
    /// Writes a slot.
    fn set_slot(&mut self, index: u32, slot: Slot);
    /// Makes a backend: counters and totals start at 0, its age too, and it is not suspect.
    fn put_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8);
    /// Writes the address of a backend again; counter, totals and age stay.
    fn restore_backend(&mut self, backend: u32, addr: [u32; 4], port: u16, protocol: u8);
    /// Marks a backend as unused.
    fn remove_backend(&mut self, backend: u32);
    /// Replaces the cgroups that are opted out: identifiers and their level below the root. Gives how
    /// many entries were not as they should be.
    fn set_opted_out(&mut self, cgroups: &BTreeMap<u64, u32>) -> Result<usize, MapsError>;
    /// Replaces what is known of clients: cookies of network namespaces and their addresses. Gives
    /// the same.
    fn set_clients(&mut self, clients: &BTreeMap<u64, Vec<IpAddr>>) -> Result<usize, MapsError>;
    /// Replaces the addresses at which node ports are captured beside those that are frontends. Gives
    /// the same.
    fn set_nodes(&mut self, nodes: &BTreeMap<IpAddr, NodeAddress>) -> Result<usize, MapsError>;
    /// Waits until no program runs that began before the call, so that what was unlinked may be
    /// used again.
    fn wait_grace_period(&mut self);
}
