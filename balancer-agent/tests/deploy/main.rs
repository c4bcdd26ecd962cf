//! What is in `deploy/`: that it is what the API takes, that it fits the agent, and that its forms
//! agree with each other.

mod config;
mod consistency;
mod kustomize;
mod monitoring;
mod objects;
mod ports;
mod render;
mod schema;
mod values;

use std::path::PathBuf;

/// The folder `deploy` of the repository.
fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}
