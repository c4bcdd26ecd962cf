//! Whose sockets are balanced: not those of pods that are opted out, and at some addresses only
//! those that `spec.loadBalancerSourceRanges` admits.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::bpf_sock_addr,
    btf_maps::lpm_trie::Key,
    helpers::{bpf_get_current_ancestor_cgroup_id, bpf_get_netns_cookie},
};
use balancer_common::{
    layout::{Control, Frontend, MAX_LEVEL, RESTRICTED, RangeKey, SELF_TEST, is_mapped, mapped},
    verdict::Verdict,
};

use crate::{family::Destination, maps};

/// Why a socket is not balanced, if there is a reason. `sock` is the context of the hook.
#[inline(always)]
pub fn refuse(
    sock: *mut bpf_sock_addr,
    to: Destination,
    frontend: Frontend,
    control: Control,
) -> Option<Verdict> {
    let levels = control.levels();
    if levels != 0 && balancer_opted_out(levels) != 0 {
        // The agent's own pod may be opted out as well.
        return Some(unless_self_test(frontend, Verdict::OptedOut));
    }
    if frontend.kind & RESTRICTED == 0 {
        return None;
    }
    if frontend.kind & SELF_TEST != 0 {
        return Some(Verdict::SelfTest);
    }
    // SAFETY: the context belongs to a socket.
    let netns = unsafe { bpf_get_netns_cookie(sock.cast()) };
    let ipv4 = is_mapped(to.addr);
    // SAFETY: the context belongs to a socket.
    let [high, low] = unsafe { bound(sock, ipv4) };
    match balancer_source(netns, frontend.service, ipv4 as u32, high, low) {
        ADMITTED => None,
        DENIED => Some(Verdict::SourceDenied),
        _ => Some(Verdict::SourceUnknown),
    }
}

/// The address that a socket is bound to, as in [`RangeKey::addr`], in two words; zero where the kernel
/// will choose one. Volatile: the verifier refuses wider accesses.
///
/// # Safety
/// `sock` is the context of a hook.
#[inline(always)]
unsafe fn bound(sock: *const bpf_sock_addr, ipv4: bool) -> [u64; 2] {
    // SAFETY: the context names its socket, which is there while the hook runs.
    unsafe {
        let socket = read_volatile(&raw const (*sock).__bindgen_anon_1.sk);
        if ipv4 {
            let addr = read_volatile(&raw const (*socket).src_ip4);
            return if addr == 0 { [0; 2] } else { words(mapped(addr)) };
        }
        let addr = &raw const (*socket).src_ip6;
        words([0, 1, 2, 3].map(|word| read_volatile(addr.cast::<u32>().add(word))))
    }
}

/// An address as two words, in the byte order of memory.
#[inline(always)]
const fn words([a, b, c, d]: [u32; 4]) -> [u64; 2] {
    [a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32]
}

#[inline(always)]
fn unless_self_test(frontend: Frontend, verdict: Verdict) -> Verdict {
    if frontend.kind & SELF_TEST != 0 { Verdict::SelfTest } else { verdict }
}

/// 1 if the task is in a cgroup that is opted out. `levels` has the bit of every level that such a
/// cgroup is at. It is the task's cgroup that counts, which is the one the socket was made in unless
/// the socket was handed on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_opted_out(levels: u32) -> u32 {
    let mut level = 1;
    while level <= MAX_LEVEL {
        if levels >> level & 1 != 0 {
            // SAFETY: the helper has no precondition; 0 where the task is not that deep.
            let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
            if cgroup != 0 && maps::OPTED_OUT.get_ptr(cgroup).is_some() {
                return 1;
            }
        }
        level += 1;
    }
    0
}

/// What [`of_client`] answers for a client that may use a Service.
pub const ADMITTED: u32 = 1;
const DENIED: u32 = 2;
const UNKNOWN: u32 = 3;

/// What the source ranges of a Service say about a client, by its address.
#[inline(always)]
pub fn of_client(service: u32, client: [u32; 4]) -> u32 {
    let [high, low] = words(client);
    balancer_source(0, service, 0, high, low)
}

/// What the source ranges of a Service say about an address: the one that a socket is bound to, where
/// that is not zero, or else the one of its network namespace.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_source(netns: u64, service: u32, ipv4: u32, high: u64, low: u64) -> u32 {
    let mut addr = [high as u32, (high >> 32) as u32, low as u32, (low >> 32) as u32];
    if high == 0 && low == 0 {
        // SAFETY: only the agent writes the map; a value replaced meanwhile is read old or new.
        let Some(client) = (unsafe { maps::CLIENTS.get(netns) }) else { return UNKNOWN };
        addr = if ipv4 != 0 { client.ipv4 } else { client.ipv6 };
        if addr == [0; 4] {
            return UNKNOWN;
        }
    }
    let range = RangeKey { service: service.to_be_bytes(), addr };
    let admitted = maps::RANGES.get(&Key::new(size_of::<RangeKey>() as u32 * 8, range)).is_some();
    if admitted { ADMITTED } else { DENIED }
}
