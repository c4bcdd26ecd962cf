//! What `bpftool` would do to links and maps, by the same calls.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use balancer_agent::bpf;

/// Opens a pin.
pub fn open(pin: &Path) -> OwnedFd {
    bpf::open(pin).expect("a pin")
}

/// `bpftool link detach pinned PIN`.
pub fn detach(pin: &Path) {
    bpf::detach_link(open(pin)).expect("detached");
}

/// Puts another program behind a link.
pub fn replace(pin: &Path, program: BorrowedFd<'_>) {
    bpf::update_link(open(pin), program).expect("replaced");
}

/// `bpftool map freeze pinned PIN`.
pub fn freeze(pin: &Path) {
    bpf::freeze_map(open(pin)).expect("frozen");
}
