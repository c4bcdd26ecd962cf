//! Whose sockets are balanced: not those of pods that are opted out, and at some addresses only
//! those that `spec.loadBalancerSourceRanges` admits.

use aya_ebpf::{
    btf_maps::lpm_trie::Key,
    helpers::{bpf_get_current_ancestor_cgroup_id, bpf_get_netns_cookie},
};
use balancer_common::{
    layout::{Control, Frontend, MAX_LEVEL, RESTRICTED, RangeKey, SELF_TEST, is_mapped},
    verdict::Verdict,
};

use crate::{family::Destination, maps};

/// Why a socket is not balanced, if there is a reason. `sock` is the context of the hook.
#[inline(always)]
pub fn refuse<C>(
    sock: *mut C,
    to: Destination,
    frontend: &Frontend,
    control: Control,
) -> Option<Verdict> {
    let levels = control.opted_out_levels;
    if levels != 0 {
        if balancer_opted_out(levels) != 0 {
            // The agent's own pod may be opted out as well.
            return Some(unless_self_test(frontend, Verdict::OptedOut));
        }
    }
    if frontend.kind & RESTRICTED == 0 {
        return None;
    }
    if frontend.kind & SELF_TEST != 0 {
        return Some(Verdict::SelfTest);
    }
    // SAFETY: the context belongs to a socket.
    let netns = unsafe { bpf_get_netns_cookie(sock.cast()) };
    match balancer_source(netns, frontend.service, is_mapped(to.addr) as u32) {
        ADMITTED => None,
        DENIED => Some(Verdict::SourceDenied),
        _ => Some(Verdict::SourceUnknown),
    }
}

#[inline(always)]
fn unless_self_test(frontend: &Frontend, verdict: Verdict) -> Verdict {
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

const ADMITTED: u32 = 1;
const DENIED: u32 = 2;
const UNKNOWN: u32 = 3;

/// What the source ranges of a Service say about the address of a network namespace.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn balancer_source(netns: u64, service: u32, ipv4: u32) -> u32 {
    // SAFETY: only the agent writes the map; a value replaced meanwhile is read old or new.
    let Some(client) = (unsafe { maps::CLIENTS.get(netns) }) else { return UNKNOWN };
    let addr = if ipv4 != 0 { client.ipv4 } else { client.ipv6 };
    if addr == [0; 4] {
        return UNKNOWN;
    }
    let range = RangeKey { service: service.to_be_bytes(), addr };
    let admitted = maps::RANGES.get(&Key::new(size_of::<RangeKey>() as u32 * 8, range)).is_some();
    if admitted { ADMITTED } else { DENIED }
}
