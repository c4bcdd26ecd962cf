//! Packets as they come over a device, for programs that are run on them without one.

use std::{net::SocketAddrV4, path::Path};

use aya::{
    TestRunOptions,
    programs::{SchedClassifier, TestRun as _, loaded_programs},
};
use balancer_agent::bpf;

/// Flags of TCP.
pub const SYN: u8 = 2;
pub const RST: u8 = 4;

/// The program behind a pinned link.
pub fn program(link: &Path) -> SchedClassifier {
    let id = bpf::link_info(super::bpf::open(link)).expect("a link").prog_id;
    let mut loaded = loaded_programs().filter_map(Result::ok);
    let info = loaded.find(|info| info.id() == id).expect("a program");
    SchedClassifier::from_program_info(info, "".into()).expect("a program for packets")
}

/// Runs a program on a packet so many times, one after another (`BPF_PROG_TEST_RUN`).
pub fn run(program: &SchedClassifier, packet: &[u8], times: u32) {
    let options =
        TestRunOptions { data_in: Some(packet), repeat: times, ..TestRunOptions::default() };
    program.test_run(options).expect("run");
}

/// Bytes of the header of Ethernet.
pub const ETHERNET: usize = 14;

/// A segment of TCP without data, in a frame of Ethernet. The kernel fills the checksum of IP in where it sends
/// one, and no program looks at it.
pub fn segment(client: SocketAddrV4, to: SocketAddrV4, flags: u8, sequence: u32) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0]);
    frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    frame.extend(client.ip().octets());
    frame.extend(to.ip().octets());
    frame.extend(client.port().to_be_bytes());
    frame.extend(to.port().to_be_bytes());
    frame.extend(sequence.to_be_bytes());
    frame.extend([0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    // Addresses and segment, the protocol and the length of the segment.
    let words = frame[ETHERNET + 12..].chunks(2);
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let sum = sum + 6 + 20;
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    frame[ETHERNET + 36..][..2].copy_from_slice(&checksum.to_be_bytes());
    frame
}
