//! Connections from outside of the node: chosen as their SYN comes in, over UDP as a datagram of a new flow
//! does, and handed to the kernel's own connection tracking and NAT.
//!
//! The program writes the backend into the priority of the packet; rules of nf_tables translate the
//! address, and those of all packets that follow. So ICMP errors, fragments, path MTU and ports stay the
//! kernel's. The end of a connection is seen in its packets, on the way in and on the way out: both sides
//! have sent a FIN, or one a RST. Whatever ends without a packet, the agent finds.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_NOEXIST},
    helpers::{bpf_ktime_get_coarse_ns, bpf_skb_load_bytes_relative},
};
use balancer_common::{
    layout::{
        CLIENT_ENDED, ENDING, FrontendKind, KIND, MASQUERADE, OutsideFlow, OutsideKey, Place,
        REJECT, RESTRICTED, SELF_TEST, SERVER_ENDED, STAYS, TCP, TO_BACKEND, UDP, mapped,
    },
    verdict::Verdict,
};

use crate::{
    admission::{self, ADMITTED},
    answer::count,
    atomic,
    choose::choose_for,
    control::control,
    family::{Destination, Family as _, NO_FRONTEND, V6, frontend_of},
    maps,
    rows::lower,
    suspects::{self, balancer_established},
    target::Target,
};

/// Other programs and the kernel decide (TC_ACT_UNSPEC).
const NEXT: i32 = -1;
/// TC_ACT_SHOT.
const DROP: i32 = 2;

/// Offsets count from the header of the network (BPF_HDR_START_NET): some devices have no Ethernet.
const FROM_NETWORK_HEADER: u32 = 1;
/// ETH_P_IP and ETH_P_IPV6, as the context has them.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// Of `frag_off` of IPv4 the bits that are zero in a first fragment, network byte order.
const LATER_FRAGMENT: u16 = 0x1fff_u16.to_be();

/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;
/// For how long a packet of an earlier connection with the same ports may come: that of TIME_WAIT.
const YOUNG: u64 = 60 * SECOND;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// The header of IPv4 (RFC 791).
#[repr(C)]
struct Ipv4 {
    version_and_length: u8,
    service: u8,
    length: u16,
    identification: u16,
    fragment: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    source: u32,
    destination: u32,
}

/// The header of IPv6 (RFC 8200).
#[repr(C)]
struct Ipv6 {
    version_and_flow: u32,
    length: u16,
    next: u8,
    hops: u8,
    source: [u32; 4],
    destination: [u32; 4],
}

/// The first words of the header of TCP (RFC 9293).
#[repr(C)]
struct Tcp {
    source: u16,
    destination: u16,
    sequence: u32,
    acknowledged: u32,
    offset: u8,
    flags: u8,
    window: u16,
}

/// The ports of UDP (RFC 768).
#[repr(C)]
struct Udp {
    source: u16,
    destination: u16,
}

/// A segment of TCP, or a datagram of UDP, which has zeros behind the key.
#[repr(C)]
struct Segment {
    /// Its source as the client, its destination as what was dialled.
    key: OutsideKey,
    /// Host byte order, as the next one.
    sequence: u32,
    acknowledged: u32,
    flags: u32,
}

/// Reads a part of a packet; false where it is shorter.
#[inline(always)]
fn load<T>(skb: *mut __sk_buff, offset: u32, to: &mut MaybeUninit<T>) -> bool {
    // SAFETY: `to` has room for what is written.
    unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            offset,
            to.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            FROM_NETWORK_HEADER,
        ) == 0
    }
}

/// Reads a segment of TCP or a datagram of UDP; 0 where the packet is neither. A function of its own, so
/// that the headers do not lie on the stack while the backend is chosen.
#[inline(never)]
fn read(skb: *mut __sk_buff, segment: *mut Segment) -> u32 {
    // SAFETY: a word of the context.
    let protocol = unsafe { (*skb).protocol };
    let (client, service, offset, transport);
    if protocol == IPV4 {
        let mut header = MaybeUninit::<Ipv4>::uninit();
        if !load(skb, 0, &mut header) {
            return 0;
        }
        // SAFETY: it was read.
        let header = unsafe { header.assume_init_ref() };
        if header.fragment & LATER_FRAGMENT != 0 {
            return 0;
        }
        transport = header.protocol;
        client = mapped(header.source);
        service = mapped(header.destination);
        offset = (header.version_and_length & 0xf) as u32 * 4;
    } else if protocol == IPV6 {
        let mut header = MaybeUninit::<Ipv6>::uninit();
        if !load(skb, 0, &mut header) {
            return 0;
        }
        // SAFETY: it was read.
        let header = unsafe { header.assume_init_ref() };
        transport = header.next;
        client = header.source;
        service = header.destination;
        offset = size_of::<Ipv6>() as u32;
    } else {
        return 0;
    }
    let key = |client_port, service_port| OutsideKey {
        client,
        service,
        client_port,
        service_port,
        protocol: transport,
        zero: [0; 3],
    };
    if transport == UDP {
        let mut header = MaybeUninit::<Udp>::uninit();
        if !load(skb, offset, &mut header) {
            return 0;
        }
        // SAFETY: it was read; `segment` is on the stack of the caller.
        unsafe {
            let header = header.assume_init_ref();
            let key = key(header.source, header.destination);
            segment.write(Segment { key, sequence: 0, acknowledged: 0, flags: 0 });
        }
        return 1;
    }
    let mut header = MaybeUninit::<Tcp>::uninit();
    if transport != TCP || !load(skb, offset, &mut header) {
        return 0;
    }
    // SAFETY: as above.
    unsafe {
        let header = header.assume_init_ref();
        segment.write(Segment {
            key: key(header.source, header.destination),
            sequence: u32::from_be(header.sequence),
            acknowledged: u32::from_be(header.acknowledged),
            flags: header.flags as u32,
        });
    }
    1
}

/// See [`crate::balancer_outside_in`].
#[inline(always)]
pub fn incoming(skb: *mut __sk_buff) -> i32 {
    let mut segment = MaybeUninit::<Segment>::uninit();
    if read(skb, segment.as_mut_ptr()) == 0 {
        return NEXT;
    }
    // SAFETY: it was read.
    let segment = unsafe { segment.assume_init_ref() };
    let flags = segment.flags as u8;
    if segment.key.protocol == UDP || flags & (SYN | ACK | RST | FIN) == SYN {
        return begin(skb, segment);
    }
    if flags & (FIN | RST) != 0 {
        end(&segment.key, flags, CLIENT_ENDED, segment.sequence);
    }
    NEXT
}

/// See [`crate::balancer_outside_out`].
#[inline(always)]
pub fn outgoing(skb: *mut __sk_buff) -> i32 {
    let mut segment = MaybeUninit::<Segment>::uninit();
    if read(skb, segment.as_mut_ptr()) == 0 {
        return NEXT;
    }
    // SAFETY: it was read.
    let segment = unsafe { segment.assume_init_mut() };
    let flags = segment.flags as u8;
    let ends = flags & (FIN | RST) != 0;
    // That its backend answers is worth knowing only where one did not.
    let accepts = flags & (SYN | ACK) == SYN | ACK && suspects::are_any();
    if !ends && !accepts {
        return NEXT;
    }
    let key = &mut segment.key;
    core::mem::swap(&mut key.client, &mut key.service);
    core::mem::swap(&mut key.client_port, &mut key.service_port);
    if ends {
        let acknowledged = if flags & ACK != 0 { segment.acknowledged } else { 0 };
        end(&segment.key, flags, SERVER_ENDED, acknowledged);
    } else if let Some(flow) = maps::OUTSIDE.get_ptr(segment.key) {
        // SAFETY: `flow` is a map value.
        balancer_established(unsafe { atomic::load(&raw const (*flow).backend) });
    }
    NEXT
}

/// A SYN from outside, or a datagram.
#[inline(always)]
fn begin(skb: *mut __sk_buff, segment: &Segment) -> i32 {
    let key = &segment.key;
    let to = Destination { addr: key.service, port: key.service_port };
    let word = V6::frontend(to, key.protocol, Place::Exact);
    if word == NO_FRONTEND {
        return NEXT;
    }
    let frontend = frontend_of(word);
    if frontend.kind & RESTRICTED != 0 {
        if frontend.kind & SELF_TEST != 0 {
            return NEXT;
        }
        if admission::of_client(frontend.service, key.client) != ADMITTED {
            count(Verdict::SourceDenied);
            return DROP;
        }
    }
    let Some(entry) = maps::SERVICES.get_ptr(frontend.service) else {
        count(Verdict::Inconsistent);
        return NEXT;
    };
    // SAFETY: `entry` is a map value; each word stands for itself.
    let (policy, outside) = unsafe {
        (atomic::load(&raw const (*entry).policy), atomic::load(&raw const (*entry).outside))
    };
    let stays = policy & STAYS != 0 && frontend.kind & KIND != FrontendKind::ClusterIp as u32;
    // A flow keeps its backend, whatever the Service has by now.
    if key.protocol == UDP
        && let Some(flow) = maps::OUTSIDE.get_ptr_mut(key)
    {
        return hand_over(skb, TO_BACKEND | next_datagram(flow), !stays);
    }
    if stays && outside == 0 {
        return NEXT;
    }
    let service = if stays { outside - 1 } else { frontend.service };
    let target = match Target::of(service) {
        Ok(target) => target,
        Err(verdict) => {
            count(verdict);
            return match verdict {
                Verdict::NoEndpoint => hand_over(skb, REJECT, false),
                Verdict::NoLocalEndpoint => DROP,
                _ => NEXT,
            };
        }
    };
    if key.protocol == TCP
        && let Some(flow) = maps::OUTSIDE.get_ptr_mut(key)
    {
        return hand_over(skb, TO_BACKEND | another_syn(flow, segment.sequence), !stays);
    }
    let chosen =
        choose_for(|| number(key.client), target.service, target.entry, target.row, control());
    let Some(chosen) = chosen else {
        count(Verdict::Inconsistent);
        return NEXT;
    };
    let backend = chosen as u32;
    let flow = OutsideFlow {
        // SAFETY: the helper has no precondition.
        since: unsafe { bpf_ktime_get_coarse_ns() },
        backend,
        sequence: segment.sequence,
        ended: 0,
        zero: 0,
    };
    if maps::OUTSIDE.insert(key, flow, BPF_NOEXIST as u64).is_err() {
        lower(backend);
        // Another packet of the same client was first, or the map is full.
        let Some(flow) = maps::OUTSIDE.get_ptr(key) else {
            count(Verdict::TooManyConnections);
            return hand_over(skb, TO_BACKEND | backend, !stays);
        };
        // SAFETY: `flow` is a map value.
        let backend = unsafe { atomic::load(&raw const (*flow).backend) };
        return hand_over(skb, TO_BACKEND | backend, !stays);
    }
    count(Verdict::Balanced);
    if let Some(entry) = maps::BACKENDS.get_ptr_mut(backend) {
        // SAFETY: `entry` is a map value.
        unsafe { atomic::increment(&raw mut (*entry).opened) };
    }
    hand_over(skb, TO_BACKEND | backend, !stays)
}

/// The backend of a flow of UDP that goes on. Its time is written once a second.
#[inline(always)]
fn next_datagram(flow: *mut OutsideFlow) -> u32 {
    // SAFETY: `flow` is a map value; each word stands for itself. The helper has no precondition.
    unsafe {
        let now = bpf_ktime_get_coarse_ns();
        if now.wrapping_sub(atomic::load(&raw const (*flow).since)) >= SECOND {
            (&raw mut (*flow).since).write_volatile(now);
        }
        atomic::load(&raw const (*flow).backend)
    }
}

/// The backend of a connection whose SYN was sent again, or of one in the place of another that ended
/// without a packet. The kernel may still track that: then it leads to the same backend whatever is chosen
/// here.
#[inline(always)]
fn another_syn(flow: *mut OutsideFlow, sequence: u32) -> u32 {
    // SAFETY: `flow` is a map value; each word stands for itself. The helper has no precondition.
    unsafe {
        let ended = atomic::load(&raw const (*flow).ended);
        // What another processor is about to remove is not taken over, and the connection not counted.
        if ended & ENDING == 0 && atomic::swap(&raw mut (*flow).ended, ended, 0) {
            (&raw mut (*flow).sequence).write_volatile(sequence);
            (&raw mut (*flow).since).write_volatile(bpf_ktime_get_coarse_ns());
        }
        atomic::load(&raw const (*flow).backend)
    }
}

/// What session affinity knows the client of an address by. No cookie of a network namespace is as large.
#[inline(always)]
const fn number([a, b, c, d]: [u32; 4]) -> u64 {
    let (network, host) = (a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32);
    1 << 63 | network.rotate_left(32) ^ host
}

/// Tells the rules of nf_tables what is to become of a packet.
#[inline(always)]
fn hand_over(skb: *mut __sk_buff, priority: u32, masquerade: bool) -> i32 {
    // SAFETY: words of the context that programs of tc may write.
    unsafe {
        (*skb).priority = priority;
        if masquerade {
            (*skb).mark |= MASQUERADE;
        }
    }
    NEXT
}

/// A segment with FIN or RST of one side. `number` is the sequence number of the client that it tells, its
/// own or what it acknowledges, and 0 where it tells none. While a connection is young, an old one is of an
/// earlier connection; later one that seems old is 2 GiB further on.
#[inline(always)]
fn end(key: &OutsideKey, flags: u8, side: u32, number: u32) {
    let Some(flow) = maps::OUTSIDE.get_ptr_mut(key) else { return };
    // SAFETY: `flow` is a map value; each word stands for itself.
    let (first, ended) = unsafe {
        (atomic::load(&raw const (*flow).sequence), atomic::load(&raw const (*flow).ended))
    };
    if number != 0 && (number.wrapping_sub(first) as i32) <= 0 {
        // SAFETY: as above; the helper has no precondition.
        let age = unsafe {
            bpf_ktime_get_coarse_ns().wrapping_sub(atomic::load(&raw const (*flow).since))
        };
        if age < YOUNG {
            return;
        }
    }
    let mut ended = ended;
    for _ in 0..2 {
        if ended & ENDING != 0 {
            return;
        }
        let both = ended | side;
        let is_over = flags & RST != 0 || both == CLIENT_ENDED | SERVER_ENDED;
        let now = if is_over { both | ENDING } else { both };
        // SAFETY: as above. Who loses the race was beaten by the other side, once at most.
        if unsafe { atomic::swap(&raw mut (*flow).ended, ended, now) } {
            // Until then another processor may have ended the connection and begun it anew, in the same
            // place of the map, with another backend. From then on who ends it is this one alone.
            // SAFETY: as above.
            let backend = unsafe { atomic::load(&raw const (*flow).backend) };
            if is_over && maps::OUTSIDE.remove(key).is_ok() {
                lower(backend);
            }
            return;
        }
        // SAFETY: as above.
        ended = unsafe { atomic::load(&raw const (*flow).ended) };
    }
}
