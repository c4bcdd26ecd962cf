//! What a plan is made from, and what it says: plain data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use balancer_common::charge;
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::{
    maps::Recorded,
    model::{Reason, Way},
};

/// Connections and where they may go, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Now, by the clock of the records.
    pub now: Duration,
    /// Rows of Service ports by identifier.
    pub rows: Arc<BTreeMap<u32, Row>>,
    /// Connections of these rows.
    pub connections: Vec<Recorded>,
    /// Open connections of the backends of these rows, those of other Services included, as the
    /// choice counts them.
    pub active: BTreeMap<u32, u32>,
    /// Those of these backends that are suspect: nothing new goes there.
    pub suspects: BTreeSet<u32>,
    /// Those that are suspect and that nobody has tried for long: one connection goes there at a time.
    pub neglected: BTreeSet<u32>,
    /// Connections ever opened to these backends.
    pub opened: BTreeMap<u32, u64>,
    /// Rows whose connections move for the sake of balance by permits, by identifier.
    pub governed: BTreeMap<u32, Governed>,
}

/// What there is to know of a row whose connections move by permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governed {
    /// Connections of all other nodes to its backends, as far as they are known.
    pub others: BTreeMap<u32, u32>,
    /// Seats that this node keeps at its backends.
    pub seats: BTreeMap<u32, u32>,
    /// What is to be done.
    pub mode: Mode,
    /// True if somebody wants them to move now, on all nodes.
    pub forced: bool,
}

/// What is to be done with the connections of a row that move by permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Waits,
    /// To ask for permits.
    Asks,
    /// So many may be ended, by backend.
    Permitted(BTreeMap<u32, u32>),
    /// No steward answers: to do without.
    Falls {
        /// True if one is asked all the same.
        asks: bool,
        /// Backends from which something was moved just now.
        held: BTreeSet<u32>,
    },
}

/// A row of a Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When connections are moved.
    pub policy: Policy,
    /// True if a new connection goes to the least loaded backend.
    pub exact: bool,
    /// The time over which a new backend comes to its full share.
    pub slow_start: Duration,
    /// Backends that new connections may go to, and their weights.
    pub usable: BTreeMap<u32, u16>,
    /// Backends that they may not go to any more.
    pub leaving: BTreeMap<u32, Leaving>,
}

/// Why new connections don't go to a backend any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It terminates, or is drained; what is open is ended over this time.
    Draining(Duration),
    /// No EndpointSlice of the Service has it any more; what is open is ended after this time.
    Gone(Duration),
}

/// Connections of which some should be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Why.
    pub reason: Reason,
    /// The row they belong to.
    pub row: u32,
    /// Which: indices of [`Input::connections`].
    pub among: Vec<usize>,
    /// How many.
    pub count: usize,
    /// True where none is ended before the steward has permitted it.
    pub asks: bool,
    /// For how long nothing must have moved.
    pub quiet: Duration,
    /// Those that have been due for so long that they are reset if they can't be ended gently:
    /// indices as in `among`.
    pub overdue: BTreeSet<usize>,
}

/// A connection to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Index of [`Input::connections`].
    pub connection: usize,
    /// The row it belongs to.
    pub row: u32,
    /// Why.
    pub reason: Reason,
    /// For how long nothing must have moved.
    pub quiet: Duration,
    /// True if it is ended at a safe moment or not at all.
    pub safe: bool,
    /// True if it is not known whose turn it is: the socket is asked.
    pub unsure: bool,
    /// How long nothing had moved when it was chosen.
    pub idle: Duration,
    /// Bytes that it had sent and received then.
    pub moved: (u64, u64),
    /// Inode of its socket; 0 where no process has it.
    pub inode: u32,
    /// How.
    pub way: Way,
}

impl End {
    /// The gentle end of a connection that rests, for the sake of balance.
    pub const fn gentle(connection: usize, row: u32) -> Self {
        Self {
            connection,
            row,
            reason: Reason::Rebalance,
            quiet: Duration::ZERO,
            safe: true,
            unsure: false,
            idle: Duration::ZERO,
            moved: (0, 0),
            inode: 1,
            way: Way::Gentle,
        }
    }
}

/// The backend that a connection leads to.
pub const fn backend(connection: &Recorded) -> u32 {
    charge::backend_of(connection.word)
}

/// How long ago a connection was opened.
pub fn age(now: Duration, connection: &Recorded) -> Duration {
    now.saturating_sub(Duration::from_nanos(connection.since_ns))
}
