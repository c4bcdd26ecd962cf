//! Real programs through a Service, on the running kernel: client libraries and servers as they are
//! used, and where their connections went.
//!
//! Every test prints what it saw: `-- --nocapture` shows it.

mod amqp;
mod dns;
mod harness;
mod http;
mod postgres;
mod process;
mod programs;
mod spread;
