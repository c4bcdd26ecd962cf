//! What the eBPF programs and the agent must agree on, and the logic both can be tested by.
//!
//! A module imports only those before it in this list:
//!
//! - [`policy`]: the policies and their names.
//! - [`layout`]: the `repr(C)` types of every map, their sizes and byte order.
//! - [`verdict`]: every answer `connect()` can get, with its errno and its counter.
//! - [`siphash`]: a keyed hash, for charges that find their first place full (pure).
//! - [`charge`]: which socket is charged to which backend, each exactly once (pure).
//! - [`suspect`]: which backends have just failed and are passed over (pure).
//! - [`seat`]: backends at which a place is kept for the next connection (pure).
//! - [`choice`]: which backend a new connection gets (pure).
//! - [`weighted`]: the same by weight, and the slow start (pure).
//! - [`cluster`]: both with the connections of all nodes (pure).
//!
//! Nothing here allocates, panics on a reachable path or touches memory directly: the callers hand
//! in accessors, atomics over map memory in the kernel and plain vectors in the tests.
#![no_std]
#![forbid(unsafe_code)]

pub mod charge;
pub mod choice;
pub mod cluster;
pub mod layout;
pub mod policy;
pub mod seat;
pub mod siphash;
pub mod suspect;
pub mod verdict;
pub mod weighted;
