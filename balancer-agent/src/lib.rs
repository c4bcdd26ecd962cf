//! The agent of balancer. Data flows one way; the modules in the order of the flow:
//!
//! - [`source`]: a folder of YAML, converted once, at the edge.
//! - [`model`]: Services and EndpointSlices as plain types.
//! - [`desired`]: what this node should balance (pure).
//! - [`plan`]: the list of writes that turns what the maps hold into that (pure).
//! - [`apply`]: carries a plan out; the only writer of the kernel.
//! - [`maps`]: the maps behind one trait: in the kernel, and in memory for tests.
//! - [`kernel`]: loads, pins, attaches and adopts the programs and the maps.
//! - [`observe`]: the only reader of the kernel; snapshots for everything below.
//! - [`peers`]: tells the counts to the agents of other nodes, and hears theirs.
//! - [`moves`]: ends the right few of the connections that live long; never chooses a backend.
//! - [`view`]: what is shown, as wire types.
//! - [`api`], [`cli`], [`render`]: how it is shown.
//! - [`doctor`]: what this node can and can't do, and why.
//! - [`agent`]: the loop of `balancer-agent run` that ties them together.

pub mod agent;
pub mod api;
pub mod apply;
pub mod cli;
pub mod config;
pub mod desired;
pub mod doctor;
pub mod health;
pub mod kernel;
pub mod maps;
pub mod metrics;
pub mod model;
pub mod moves;
pub mod node;
pub mod observe;
pub mod peers;
pub mod plan;
pub mod render;
pub mod source;
pub mod tasks;
pub mod view;

#[cfg(test)]
mod testing;
