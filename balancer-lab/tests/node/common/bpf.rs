//! What `bpftool` would do to links and maps, by the same calls.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_prog_type};
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

/// Puts as many programs on one side of a device of this thread's network namespace as it takes, each of which
/// leaves packets to the next one. They go when the links are dropped.
pub fn fill(device: &str, side: bpf_attach_type) -> Vec<OwnedFd> {
    // r0 = -1 (TCX_NEXT); exit
    let instructions = [0xffff_ffff_0000_00b7, 0x95];
    let kind = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS;
    let load = || bpf::load_program(kind, side, &instructions).expect("a program");
    let number = nix::net::if_::if_nametoindex(device).expect("a device");
    let links = (0..).map_while(|_| bpf::link_to_device(load(), number, side).ok());
    // The kernel keeps fewer than BPF_MPROG_MAX, which is 64.
    let links: Vec<OwnedFd> = links.take(64).collect();
    assert!((1..64).contains(&links.len()), "{}", links.len());
    links
}
