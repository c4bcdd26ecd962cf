//! Backends that say who answered, and clients with connection pools.
//!
//! [`serve`] and [`load`] are what the processes run; [`Server`] and [`Client`] start those
//! processes in a pod and talk to them.

mod bounded;
mod client;
mod load;
mod report;
mod serve;
mod server;

pub use client::Client;
pub use load::{LoadOptions, Pools, Until, load};
pub use report::{Count, Report};
pub use serve::{Answer, ServeOptions, serve};
pub use server::Server;
