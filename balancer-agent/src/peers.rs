//! Agents tell each other their counts, so that every node knows what every pod has.
//!
//! All of it but [`socket`] and [`key`] is free of sockets, files and clocks: time is an argument, so
//! that two thousand nodes run in one loop. What is said to whom, and why so, is in `docs/cluster.md`.
//!
//! - [`name`]: nodes and Service ports, as datagrams name them.
//! - [`key`]: the keys that agents share.
//! - [`wire`]: sections of a datagram to bytes and back.
//! - [`seal`]: bytes to a datagram that nobody else can read or make.
//! - [`session`]: which datagrams are new, whoever records and repeats them.
//! - [`steward`]: who sums the counts of a Service port; [`ledger`]: the sums.
//! - [`permits`]: which connections may move, and where to.
//! - [`drains`]: backends that are drained on all nodes.
//! - [`own`]: what this node reports; [`known`]: what it was told; [`level`]: what follows for a row.
//! - [`pace`]: when something is said.
//! - [`node`]: ties these together, without keys; [`exchange`]: with them.
//! - [`membership`]: who the peers are; [`socket`]: how they are reached.

pub mod drains;
pub mod exchange;
pub mod key;
pub mod known;
pub mod ledger;
pub mod level;
pub mod membership;
pub mod name;
pub mod node;
pub mod own;
pub mod pace;
pub mod permits;
pub mod seal;
pub mod session;
pub mod socket;
pub mod steward;
pub mod wire;

use std::time::Duration;

/// A moment: the time since an arbitrary one, by a clock that never goes back and is never set.
pub type Moment = Duration;
