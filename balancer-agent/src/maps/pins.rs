//! Where everything is pinned.

use std::path::{Path, PathBuf};

use balancer_common::layout::LAYOUT_VERSION;

/// Name of each map in the object and of its pin.
pub const MAPS: [&str; 23] = [
    "ACTIVE",
    "BACKENDS",
    "CHARGES",
    "CLIENTS",
    "CONTROL",
    "EVENTS",
    "FLOWS",
    "FRONTENDS4",
    "FRONTENDS6",
    "LIFETIMES",
    "NAMES",
    "NODES",
    "OPTED_OUT",
    "OUTSIDE",
    "AFFINITY",
    "RANGES",
    "RECORDS",
    "SERVICES",
    "SERVING",
    "SINCE",
    "SLOTS",
    "TRACE",
    "VERDICTS",
];

/// The folder of this version's layout.
pub fn version() -> String {
    format!("v{LAYOUT_VERSION}")
}

/// The folders of one agent.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// The pins under the folder given with `--bpffs`, for this version's layout.
    pub fn new(bpffs: &Path) -> Self {
        Self { root: bpffs.join(version()) }
    }

    /// The folder of them all.
    pub fn folder(&self) -> &Path {
        &self.root
    }

    /// The pin of a map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.root.join("maps").join(name)
    }

    /// The pin of a program's link.
    pub fn link(&self, program: &str) -> PathBuf {
        self.links().join(program)
    }

    /// The folder of the links.
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }
}
