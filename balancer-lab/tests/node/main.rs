//! Tests of the agent, its programs and the lab, on the kernel that runs here: each in a lab of its
//! own. One program, so that what they have in common is linked once:
//! `cargo test --profile checks --package balancer-lab --test node -- affinity::`.
//!
//! They need root, iproute2 and cgroup2, and the programs that `cargo xtask build` makes.

mod common;

mod affinity;
mod agent;
mod alerts;
mod balancing;
mod calls;
mod changes;
mod cluster;
mod counting;
mod datagrams;
mod demo;
mod drains_all;
mod explain;
mod external;
mod families;
mod frontends;
mod held;
mod journal;
mod kube;
mod kubectl;
mod lab;
mod lingers;
mod metrics;
mod moves;
mod node_ports;
mod nodes;
mod others;
mod outside;
mod overload;
mod peer_faults;
mod peers;
mod permit_faults;
mod permit_rounds;
mod permits;
mod plugin;
mod pods;
mod policies;
mod privileges;
mod spread;
mod stuck;
mod suspects;
mod sysdump;
mod top;
mod trace;
mod trials;
mod truth;
mod verdicts;
mod verifier;
mod worst;
