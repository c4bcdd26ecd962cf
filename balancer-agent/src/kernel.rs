//! The programs and their attachment: loads, pins, attaches, adopts, removes.
//!
//! Everything lives under one folder of a bpffs, with the version of the map layout in its path:
//!
//! ```text
//! <bpffs>/v9/maps/ACTIVE ...      the maps
//! <bpffs>/v9/links/connect4 ...   the links: programs attached to the cgroup, and to devices
//! ```
//!
//! A pinned link keeps its program attached and running without any process. Starting the agent
//! again therefore never interrupts balancing: the maps are adopted by their pins, and the program
//! behind each link is replaced in one step.

mod attach;
mod cleanup;
mod clsact;
pub mod damage;
mod device;
mod grow;
pub mod guard;
pub mod inventory;
pub mod link;
mod load;
mod lock;
pub mod outside;
mod pin;

use std::{io, path::PathBuf};

pub use cleanup::{Removed, cleanup};
pub use grow::sizes;
pub use load::{Loader, Programs, load};

/// Why the kernel could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A folder or pin could not be made, read or removed.
    #[error("{path}: {source}")]
    Pin {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The cgroup can't be opened.
    #[error("cgroup {path}: {source}; give an existing cgroup v2 directory with --cgroup")]
    Cgroup {
        /// The cgroup.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The object can't be loaded: maps can't be made.
    #[error("the maps can't be made: {0}; `balancer-agent doctor` tells what this kernel lacks")]
    Load(#[from] aya::EbpfError),
    /// The kernel refuses a program.
    #[error(
        "the kernel refuses program {program}: {source}; \
         `balancer-agent doctor` tells what this kernel lacks"
    )]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel says.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program can't be attached, or replaced behind its link.
    #[error("program {program} can't be attached to cgroup {cgroup}: {source}")]
    Attach {
        /// Its name.
        program: &'static str,
        /// The cgroup.
        cgroup: PathBuf,
        /// What the kernel says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Programs of another version of the layout are attached.
    #[error(
        "an agent with another layout of the maps ({layout}) has its programs in {bpffs}, and two \
         can't balance the same sockets: run `balancer-agent cleanup`, which leaves open \
         connections alone, and start this one again"
    )]
    OtherLayout {
        /// Its folder.
        layout: String,
        /// Where its pins are.
        bpffs: PathBuf,
    },
    /// Another process keeps these pins.
    #[error(
        "another agent (pid {holder}) keeps the pins in {}: stop it, or use --bpffs and --socket \
         for a second one",
        bpffs.display()
    )]
    Held {
        /// Where the pins are.
        bpffs: PathBuf,
        /// Its process, or `unknown`.
        holder: String,
    },
    /// The rules for traffic from outside can't be removed.
    #[error(transparent)]
    Nat(#[from] crate::nat::NatError),
    /// The maps are not what this version expects.
    #[error(transparent)]
    Maps(#[from] crate::maps::MapsError),
}
