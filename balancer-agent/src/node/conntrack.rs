//! Whether connections of this network namespace are tracked.

use std::net::UdpSocket;

use super::kernel;

/// What was seen of connection tracking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conntrack {
    /// The kernel has no connection tracking, or it is not loaded.
    Absent,
    /// Loaded, but no rule of this network namespace needs it: nothing is tracked.
    Idle,
    /// So many flows are tracked.
    Tracking(u32),
}

/// Sends one datagram to itself over loopback, and looks whether anything is tracked then.
///
/// The kernel registers the hooks only once a rule needs them and tells nowhere in /proc whether
/// it has; the number of tracked flows does, as soon as there is traffic.
pub fn probe() -> Conntrack {
    const COUNT: &str = "net/netfilter/nf_conntrack_count";
    if kernel::sysctl(COUNT).is_none() {
        return Conntrack::Absent;
    }
    // Without loopback there may be no traffic at all: then nothing is tracked either.
    let _sent = UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.send_to(&[0], socket.local_addr()?));
    match kernel::sysctl(COUNT) {
        None => Conntrack::Absent,
        Some(0) => Conntrack::Idle,
        Some(flows) => Conntrack::Tracking(flows),
    }
}
