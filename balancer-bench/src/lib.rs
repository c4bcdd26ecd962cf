//! Measurements of balancer, and the model test of its counts. Both run in the lab (`balancer_lab`).
//!
//! A module imports only those before it in this list:
//!
//! - `words`: the words of an agent's array maps, through their pins.
//! - `itself`: this crate's program in a pod, where it measures or opens sockets as it is told.
//! - [`soak`]: sockets that live at random, and a model of what must be counted then.
//! - [`mod@bench`]: measurements beside direct connections and kube-proxy's rules.
#![deny(unsafe_code)]

pub mod bench;
mod itself;
pub mod soak;
mod words;
