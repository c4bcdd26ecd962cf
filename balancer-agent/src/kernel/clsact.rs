//! Programs on devices of kernels without tcx (before Linux 6.6): filters of the queueing discipline `clsact`,
//! which stay without any process, through rtnetlink(7).

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _},
};

use aya_obj::generated::bpf_attach_type::{self, BPF_TCX_EGRESS};
use netlink_packet_core::NLM_F_CREATE;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::netlink::{Attributes, Messages, Netlink, find};

/// RTM_NEWQDISC, RTM_NEWTFILTER, RTM_DELTFILTER and RTM_GETTFILTER.
const NEW_DISCIPLINE: u16 = 36;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;
/// NLM_F_EXCL.
const ONLY_NEW: u16 = 0x200;

/// Bytes of a `tcmsg`.
const HEADER: usize = 20;
/// TC_H_CLSACT, and its two sides, to which filters belong (TC_H_MIN_INGRESS and TC_H_MIN_EGRESS).
const CLSACT: u32 = 0xffff_fff1;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
/// What our filters are known by among those of others: their priority, which has them run before most, and
/// their handle.
const PRIORITY: u32 = 10;
const HANDLE: u32 = 0xba;
/// ETH_P_ALL, network byte order.
const EVERYTHING: u32 = 0x0003_u16.to_be() as u32;
/// TCA_KIND and TCA_OPTIONS.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
/// TCA_BPF_FD, TCA_BPF_NAME, TCA_BPF_FLAGS and TCA_BPF_ID.
const PROGRAM: u16 = 6;
const NAME: u16 = 7;
const FLAGS: u16 = 8;
const ID: u16 = 11;
/// TCA_BPF_FLAG_ACT_DIRECT: what the program returns is what becomes of the packet.
const DIRECT: u32 = 1;

/// Puts a program on one side of a device, or in the place of the one of ours that is there, in one step.
pub fn attach(
    program: impl AsFd,
    name: &str,
    device: u32,
    side: bpf_attach_type,
) -> io::Result<()> {
    let mut attributes = Attributes::default();
    attributes.text(KIND, "clsact");
    // Its handle has no minor part.
    let header = header(device, CLSACT & 0xffff_0000, CLSACT, 0);
    match carry_out(NEW_DISCIPLINE, NLM_F_CREATE | ONLY_NEW, &header, &attributes) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    let mut attributes = Attributes::default();
    attributes.text(KIND, "bpf").nested(OPTIONS, |options| {
        options.host_number(PROGRAM, program.as_fd().as_raw_fd().cast_unsigned());
        options.text(NAME, name).host_number(FLAGS, DIRECT);
    });
    carry_out(NEW_FILTER, NLM_F_CREATE, &filter(device, side), &attributes)
}

/// Takes the program of ours off; where there is none, or no such device, nothing is to be done.
pub fn detach(device: u32, side: bpf_attach_type) -> io::Result<()> {
    let mut attributes = Attributes::default();
    attributes.text(KIND, "bpf");
    match carry_out(DELETE_FILTER, 0, &filter(device, side), &attributes) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// The kernel's identifier of the program of ours; none where there is none.
pub fn program(device: u32, side: bpf_attach_type) -> io::Result<Option<u32>> {
    let mut attributes = Attributes::default();
    attributes.text(KIND, "bpf");
    let mut messages = Messages::default();
    messages.push(GET_FILTER, 0, &filter(device, side), &attributes);
    match open()?.ask(&messages) {
        Ok(answer) => {
            let id = answer.attribute(OPTIONS).and_then(|options| find(options, ID));
            Ok(id.and_then(<[u8]>::first_chunk).map(|id| u32::from_ne_bytes(*id)))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The device, its discipline or the filter is not there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL))
}

fn open() -> io::Result<Netlink> {
    Netlink::open(NETLINK_ROUTE, HEADER)
}

fn carry_out(kind: u16, flags: u16, header: &[u8], attributes: &Attributes) -> io::Result<()> {
    let mut messages = Messages::default();
    messages.push(kind, flags, header, attributes);
    messages.acknowledge();
    open()?.carry_out(&messages)
}

fn filter(device: u32, side: bpf_attach_type) -> [u8; HEADER] {
    let parent = if side == BPF_TCX_EGRESS { EGRESS } else { INGRESS };
    header(device, HANDLE, parent, PRIORITY << 16 | EVERYTHING)
}

/// A `tcmsg` of no family.
fn header(device: u32, handle: u32, parent: u32, info: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    for (at, word) in [device, handle, parent, info].into_iter().enumerate() {
        header[4 + at * 4..][..4].copy_from_slice(&word.to_ne_bytes());
    }
    header
}
