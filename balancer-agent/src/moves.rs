//! Moves connections that live long: knows each, and ends the right few, gently, so that their
//! clients open them again, on the least-loaded backend. `docs/moving.md` says when and how. In the
//! order of a pass:
//!
//! - [`policy`]: when the connections of a Service are moved.
//! - [`movable`]: rows and backends, as far as connections may have to be moved there.
//! - [`input`]: one moment of these, with their connections: what a plan is made from.
//! - [`looks`]: whose turn it is on a connection, from one look to the next (pure).
//! - [`history`]: what is remembered from one plan to the next.
//! - [`plan`]: which connections are ended, and why (pure), with [`rebalance`], and [`cluster`] where there
//!   are other nodes.
//! - [`ask`]: asks the kernel what connections do, one by one.
//! - [`end`]: ends connections; [`holders`] finds their sockets.
//! - [`datagrams`]: the same for connected UDP sockets.
//! - [`helper`]: a process of its own, in which all this is done.
//! - [`tally`]: counts what was ended, for metrics and the log.
//! - [`report`]: what was chosen, as it is shown.
//! - [`choosing`]: what the kernel says of candidates, and which are ended.
//! - [`prospect`]: what would be moved if somebody asked for it.
//! - [`mover`]: a pass.

pub mod ask;
pub mod choosing;
pub mod cluster;
pub mod corrections;
pub mod datagrams;
pub mod end;
pub mod helper;
pub mod history;
pub mod holders;
pub mod input;
pub mod looks;
pub mod movable;
pub mod mover;
pub mod plan;
pub mod policy;
pub mod prospect;
pub mod rebalance;
pub mod report;
pub mod tally;
