//! The flows of a socket beside the one in its record: to its second and further Services, and to
//! backends that it has left, whose last answers may still come.
//!
//! They are storage of the socket. Threads that send over one socket write them without a lock: a flow
//! has a version, which is odd while the flow is written. What was read is used only where the version
//! is still the same afterwards, and who can't make it odd does not write.

use aya_ebpf::{helpers::bpf_ktime_get_coarse_ns, programs::SockAddrContext};
use balancer_common::layout::{FLOW_IDLE, Flow, Flows, MAX_FLOWS, TICK_SHIFT, ticks};

use crate::{atomic, family::Destination, maps, opaque::opaque, udp::Way};

/// Where a flow of a socket leads. No option, here and elsewhere, where both cases meet again: the
/// compiler leaves what an option does not hold in whatever register, which the verifier refuses.
#[derive(Clone, Copy)]
pub struct Found {
    /// Which of the flows it is; [`MAX_FLOWS`] where there is none.
    pub index: u32,
    /// The row that its backend was last found in.
    pub row: u64,
    /// Its backend.
    pub backend: u32,
}

impl Found {
    /// No flow.
    pub const NONE: Self = Self { index: MAX_FLOWS, row: 0, backend: 0 };

    /// True for a flow.
    #[inline(always)]
    pub const fn is_some(self) -> bool {
        self.index < MAX_FLOWS
    }
}

/// The flows of the socket of a hook, if it has any.
#[inline(always)]
pub fn of(ctx: &SockAddrContext) -> Option<*mut Flows> {
    // SAFETY: the context belongs to a socket.
    let flows = unsafe { maps::FLOWS.get_ptr_mut(ctx) };
    if flows.is_null() { None } else { Some(flows) }
}

/// The same; where it has none, room for some. `None` without memory.
#[inline(always)]
pub fn made(ctx: &SockAddrContext) -> Option<*mut Flows> {
    // SAFETY: as above.
    let flows = unsafe { maps::FLOWS.get_or_insert_ptr_mut(ctx, None) };
    if flows.is_null() { None } else { Some(flows) }
}

#[inline(always)]
fn at(flows: *mut Flows, index: u32) -> *mut Flow {
    // SAFETY: callers stay below MAX_FLOWS.
    unsafe { flows.cast::<Flow>().add(index as usize) }
}

/// The flow at an index that comes from elsewhere, which the verifier may know nothing of any more.
#[inline(always)]
fn one(flows: *mut Flows, index: u32) -> *mut Flow {
    let index = opaque(index as u64);
    at(flows, if index < MAX_FLOWS as u64 { index as u32 } else { 0 })
}

const fn is_whole(version: u32) -> bool {
    version != 0 && version & 1 == 0
}

/// The flow to a Service.
#[inline(always)]
pub fn find(flows: *mut Flows, to: Destination, service: u32) -> Found {
    let mut index = 0;
    while index < MAX_FLOWS {
        let flow = at(flows, index);
        // SAFETY: `flow` is a part of a map value.
        unsafe {
            let version = atomic::load(&raw const (*flow).version);
            let same = is_whole(version)
                && atomic::load(&raw const (*flow).sends) != 0
                && atomic::load(&raw const (*flow).service) == service
                && atomic::load(&raw const (*flow).port) == to.port
                && atomic::load(&raw const (*flow).addr) == to.addr;
            let row = atomic::load(&raw const (*flow).row);
            let backend = atomic::load(&raw const (*flow).backend);
            if same && atomic::swap(&raw mut (*flow).version, version, version) {
                (&raw mut (*flow).used).write_volatile(now());
                return Found { index, row, backend };
            }
        }
        index += 1;
    }
    Found::NONE
}

/// The Service that a backend's answers seem to come from.
#[inline(always)]
pub fn replies(flows: *mut Flows, from: Destination) -> Option<Destination> {
    let mut index = 0;
    while index < MAX_FLOWS {
        let flow = at(flows, index);
        // SAFETY: `flow` is a part of a map value.
        unsafe {
            let version = atomic::load(&raw const (*flow).version);
            let same = is_whole(version)
                && atomic::load(&raw const (*flow).from_port) == from.port
                && atomic::load(&raw const (*flow).from) == from.addr;
            let addr = atomic::load(&raw const (*flow).addr);
            let port = atomic::load(&raw const (*flow).port);
            if same && atomic::swap(&raw mut (*flow).version, version, version) {
                return Some(Destination { addr, port });
            }
        }
        index += 1;
    }
    None
}

/// Notes that the backend of a flow was found in a row.
#[inline(always)]
pub fn mark(flows: *mut Flows, found: Found, row: u64) {
    change(one(flows, found.index), |flow| {
        // SAFETY: `flow` is a part of a map value.
        unsafe { (&raw mut (*flow).row).write_volatile(row) };
    });
}

/// Notes a flow, or where it does not send that only answers are to come. The place of one that it
/// takes the turn of is the last that it takes. False where there is none, or threads were in the way.
#[inline(always)]
pub fn add(
    flows: *mut Flows,
    way: Way,
    backend: u32,
    from: Destination,
    sends: bool,
    instead: Found,
) -> bool {
    let now = now();
    let free = free(flows, now);
    let index = if free < MAX_FLOWS { free } else { instead.index };
    if index >= MAX_FLOWS {
        return false;
    }
    if instead.is_some() {
        change(one(flows, instead.index), |flow| {
            // SAFETY: `flow` is a part of a map value.
            unsafe { (&raw mut (*flow).sends).write_volatile(0) };
        });
    }
    change(one(flows, index), |flow| {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*flow).addr).write_volatile(way.to.addr);
            (&raw mut (*flow).from).write_volatile(from.addr);
            (&raw mut (*flow).row).write_volatile(way.row);
            (&raw mut (*flow).port).write_volatile(way.to.port);
            (&raw mut (*flow).from_port).write_volatile(from.port);
            (&raw mut (*flow).backend).write_volatile(backend);
            (&raw mut (*flow).service).write_volatile(way.service);
            (&raw mut (*flow).used).write_volatile(now);
            (&raw mut (*flow).sends).write_volatile(u32::from(sends));
        }
    })
}

/// A place without a flow, or with the one that has rested longest, if that is long enough;
/// [`MAX_FLOWS`] where there is none.
#[inline(always)]
fn free(flows: *mut Flows, now: u32) -> u32 {
    let (mut oldest, mut rested) = (MAX_FLOWS, ticks(FLOW_IDLE));
    let mut index = 0;
    while index < MAX_FLOWS {
        let flow = at(flows, index);
        // SAFETY: `flow` is a part of a map value.
        let (version, used) = unsafe {
            (atomic::load(&raw const (*flow).version), atomic::load(&raw const (*flow).used))
        };
        if version == 0 {
            return index;
        }
        if now.wrapping_sub(used) >= rested {
            (oldest, rested) = (index, now.wrapping_sub(used));
        }
        index += 1;
    }
    oldest
}

/// Writes a flow, unless another thread does.
#[inline(always)]
fn change(flow: *mut Flow, write: impl FnOnce(*mut Flow)) -> bool {
    // SAFETY: `flow` is a part of a map value.
    unsafe {
        let version = atomic::load(&raw const (*flow).version);
        let odd = version.wrapping_add(1);
        if version & 1 != 0 || !atomic::swap(&raw mut (*flow).version, version, odd) {
            return false;
        }
        write(flow);
        // An atomic, so that all is written before.
        atomic::swap(&raw mut (*flow).version, odd, odd.wrapping_add(1))
    }
}

/// Now, in ticks.
#[inline(always)]
fn now() -> u32 {
    // SAFETY: the helper has no precondition.
    (unsafe { bpf_ktime_get_coarse_ns() } >> TICK_SHIFT) as u32
}
