//! `connect()`: replace the Service address by the address of the chosen backend.

use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock_addr,
    helpers::{bpf_get_current_pid_tgid, bpf_get_socket_cookie},
    programs::SockAddrContext,
};
use balancer_common::{
    layout::{Control, EndedBy, Frontend, Place, Record, RecordState, TCP, UDP, mapped},
    verdict::Verdict,
};

use crate::{
    PROCEED, admission,
    answer::answer,
    atomic, charges,
    choose::choose,
    control::control,
    ends,
    family::{Destination, Family, NO_FRONTEND, frontend_of},
    maps, node_ports,
    rows::lower,
    target::Target,
    trace::{Answered, NOBODY},
    udp::{self, Way},
};

/// `::ffff:127.0.0.1`.
const LOOPBACK: [u32; 4] = mapped(u32::from_ne_bytes([127, 0, 0, 1]));

/// See [`crate::balancer_connect4`] and [`crate::balancer_connect6`].
#[inline(always)]
pub fn connect<F: Family>(ctx: &SockAddrContext) -> i32 {
    // SAFETY: the kernel hands in a valid context.
    let addr = unsafe { &mut *ctx.sock_addr };
    // SAFETY: the context belongs to a socket.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // SAFETY: the entry points run each family on its own hook.
    let to = Destination { addr: unsafe { F::read(addr) }, port: addr.user_port as u16 };
    let mut frontend = F::frontend(to, addr.protocol as u8, Place::Exact);
    if frontend == NO_FRONTEND {
        frontend = node_ports::frontend::<F>(ctx.sock_addr);
    }
    // Whatever the answer is, a connection that this socket had before is over.
    ends::end(cookie, EndedBy::Reconnect);
    let control = control();
    if frontend == NO_FRONTEND {
        if control.is_traced() {
            let (verdict, chosen) = (Verdict::NotService, NOBODY);
            Answered { to, protocol: addr.protocol, verdict, service: 0, chosen, cookie }.tell();
        }
        return answer(Verdict::NotService);
    }
    // Others share their low byte with one of these (MPTCP, whose subflows come here by themselves).
    if addr.protocol != TCP as u32 && addr.protocol != UDP as u32 {
        return PROCEED;
    }
    let frontend = frontend_of(frontend);
    let (verdict, chosen) = balance::<F>(addr, to, frontend, control, cookie);
    if control.is_traced() {
        let (protocol, service) = (addr.protocol, frontend.service);
        Answered { to, protocol, verdict, service, chosen, cookie }.tell();
    }
    answer(verdict)
}

/// The verdict, and what was chosen ([`choose`]).
#[inline(always)]
fn balance<F: Family>(
    addr: &mut bpf_sock_addr,
    to: Destination,
    frontend: Frontend,
    control: Control,
    cookie: u64,
) -> (Verdict, u64) {
    if let Some(refused) = admission::refuse(&raw mut *addr, to, frontend, control) {
        if refused == Verdict::SelfTest {
            // SAFETY: as where the address was read.
            unsafe { F::write(addr, LOOPBACK) };
            addr.user_port = frontend.service;
        }
        return (refused, NOBODY);
    }
    let target = match Target::of(frontend.service) {
        Ok(target) => target,
        Err(verdict) => return (verdict, NOBODY),
    };
    let chosen = choose(&raw mut *addr, target.service, target.entry, target.row, control);
    let Some(chosen) = chosen else { return (Verdict::Inconsistent, NOBODY) };
    let backend = chosen as u32;
    match charge::<F>(addr, to, frontend.service, target.word, backend, cookie) {
        Verdict::Balanced => (Verdict::Balanced, chosen),
        failed => {
            lower(backend);
            (failed, chosen)
        }
    }
}

/// Binds the socket to the backend that was reserved for it.
#[inline(always)]
fn charge<F: Family>(
    addr: &mut bpf_sock_addr,
    to: Destination,
    service: u32,
    row: u64,
    backend: u32,
    cookie: u64,
) -> Verdict {
    let Some(entry) = maps::BACKENDS.get_ptr_mut(backend) else { return Verdict::Inconsistent };
    // SAFETY: `entry` is a map value; its address is constant while a row names the backend.
    let (ip, port, in_use) = unsafe { ((*entry).addr, (*entry).port, (*entry).in_use) };
    if in_use == 0 {
        return Verdict::Inconsistent;
    }
    let tcp = addr.protocol == TCP as u32;
    if !tcp {
        // Datagrams of other threads hold no lock.
        let (way, state) = (Way { to, service, row, restricted: 0 }, RecordState::Connected);
        let Some(charge) = udp::charge(addr, cookie, backend, way, state) else {
            return Verdict::TooManyConnections;
        };
        charges::end_others(cookie, charge.index);
        // SAFETY: `entry` is a map value.
        unsafe { atomic::increment(&raw mut (*entry).opened) };
    } else {
        let Some(charge) = charges::insert(cookie, backend) else {
            return Verdict::TooManyConnections;
        };
        // Before the record is written: an atomic waits for the writes before it, and the line of a
        // record is rarely in a cache.
        // SAFETY: `entry` is a map value.
        unsafe { atomic::increment(&raw mut (*entry).opened) };
        if let Some(record) = maps::RECORDS.get_ptr_mut(charge.record()) {
            // SAFETY: `record` is a map value; the socket's lock, which this hook runs under, makes
            // this socket its only writer. The helper has no precondition.
            unsafe {
                dialled(record, to, service);
                (*record).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
                (*record).state = RecordState::Waiting as u16;
            }
        }
    }
    // SAFETY: as where the address was read.
    unsafe { F::write(addr, ip) };
    addr.user_port = port as u32;
    Verdict::Balanced
}

/// Writes what a socket dialled, and that nothing else is known of it yet. In place: the stack has no
/// room for a record. Volatile: the compiler makes one call of writing zeros side by side, to a function
/// that writes them byte by byte.
///
/// # Safety
/// `record` is a map value, and the caller its only writer.
#[inline(always)]
unsafe fn dialled(record: *mut Record, to: Destination, service: u32) {
    // SAFETY: the caller's contract; the address is two aligned words.
    unsafe {
        (*record).addr = to.addr;
        (*record).port = to.port;
        (*record).service = service;
        (*record).tgid = 0;
        (*record).local_port = 0;
        let local = (&raw mut (*record).local_addr).cast::<u64>();
        local.write_volatile(0);
        local.add(1).write_volatile(0);
        (&raw mut (*record).netns).write_volatile(0);
        (&raw mut (*record).since).write_volatile(0);
    }
}
