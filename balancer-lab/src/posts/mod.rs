//! Requests with identifiers: a server that counts how often it has executed each, and clients that
//! say of each whether they believe that it was executed.
//!
//! Clients differ in what they do with a connection between two requests. That decides what becomes
//! of a request over a connection that was ended meanwhile.

mod lazy;
mod options;
mod pooled;
mod send;
mod server;

pub use options::{SendOptions, Way};
pub use send::{Said, send};
pub use server::Server;
