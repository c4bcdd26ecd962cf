//! Backends that say who answered, and clients with connection pools: HTTP/1.1 with hyper, and gRPC
//! with tonic.
//!
//! [`serve`] and [`load`] are what the processes run; [`Server`] and [`Client`] start those
//! processes in a pod and talk to them.

mod answer;
mod bounded;
mod client;
mod grpc;
mod load;
mod report;
mod sender;
mod serve;
mod server;

pub use answer::Answer;
pub use client::Client;
pub use load::{LoadOptions, Until, load};
pub use report::{Count, Report};
pub use sender::Pools;
pub use serve::{Protocol, ServeOptions, serve};
pub use server::Server;
