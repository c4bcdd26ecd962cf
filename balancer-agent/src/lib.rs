//! The agent of balancer. Data flows one way; the modules in the order of the flow, in which a module
//! imports only those before it:
//!
//! - [`bpf`]: the calls of bpf(2) that aya has no safe form of.
//! - [`netlink`]: messages of netlink(7) and their attributes.
//! - [`model`]: Services, EndpointSlices, Nodes and Pods as plain types.
//! - [`tasks`]: tasks that run as long as the agent does.
//! - [`log_lines`]: the last lines of the log.
//! - [`node`]: facts about this node, read where the kernel tells them.
//! - [`settings`]: what annotations and the configuration may say, and what it means.
//! - [`source`]: the API server or a folder of YAML, converted once, at the edge.
//! - [`desired`]: what this node should balance (pure).
//! - [`config`]: what `balancer-agent run` was told, validated once.
//! - [`pods`]: what the kernel knows of the pods that are desired.
//! - [`maps`]: the maps behind one trait: in the kernel, and in memory for tests.
//! - [`plan`]: the list of writes that turns what the maps hold into what is desired (pure).
//! - [`apply`]: carries a plan out.
//! - [`nat`]: the rules of nf_tables for traffic from outside, and what connection tracking knows.
//! - [`kernel`]: loads, pins, attaches, adopts and guards the programs and the maps.
//! - [`balance`]: how many connections each backend should have (pure).
//! - [`peers`]: tells the counts to the agents of other nodes, and hears theirs.
//! - [`view`]: what is shown, as wire types.
//! - [`moves`]: ends the right few of the connections that live long; never chooses a backend.
//! - [`observe`]: snapshots of the maps, as views.
//! - [`answer`]: how an agent answers those who ask.
//! - [`http`]: serves a router, with bounds on everything a client controls.
//! - [`health`]: whether the agent does its work, for kubelet and load balancers.
//! - [`api`]: views and requests over a unix socket, and the client for it.
//! - [`metrics`]: the same for Prometheus.
//! - [`doctor`]: what this node can and can't do, and why.
//! - [`agent`]: the loops of `balancer-agent run` that tie these together.
//! - [`render`]: views as tables, JSON and YAML.
//! - [`top`]: what happens now, on a screen.
//! - [`cli`]: the command line: a verb a file.
#![deny(unsafe_code)]

pub mod agent;
pub mod answer;
pub mod api;
pub mod apply;
pub mod balance;
pub mod bpf;
pub mod cli;
pub mod config;
pub mod desired;
pub mod doctor;
pub mod health;
pub mod http;
pub mod kernel;
pub mod log_lines;
pub mod maps;
pub mod metrics;
pub mod model;
pub mod moves;
pub mod nat;
pub mod netlink;
pub mod node;
pub mod observe;
pub mod peers;
pub mod plan;
pub mod pods;
pub mod render;
pub mod settings;
pub mod source;
pub mod tasks;
pub mod top;
pub mod view;

#[cfg(test)]
mod testing;
