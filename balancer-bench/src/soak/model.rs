//! What must be charged: the rules of counting, told apart from the programs that count. Pure.

use nix::libc;
use serde::{Deserialize, Serialize};

use super::life::{Target, Transport, Way};

/// What a worker claims of one of its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// Not charged.
    Free,
    /// It dialled a Service: charged to the backend that the kernel says it is connected to, and
    /// not charged where that says it is not.
    Dialled,
    /// UDP that sent datagrams to a Service: charged, to any of its backends.
    Datagrams,
    /// No hook was told what became of it; see [`Doubt`].
    Doubtful(Doubt),
}

/// Why a charge may stand or not, until the agent has looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    /// `connect()` failed inside the kernel, after its hook.
    Failed,
    /// Its association was dissolved (UDP).
    Dissolved,
    /// It sent datagrams to a Service while one of the others held: the agent's look does not
    /// settle it.
    Datagrams,
}

/// What the kernel takes a TCP socket for when `connect()` is called: whether the hook will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Unconnected,
    /// A call returned before the connection was there: the next one only tells how it went.
    Connecting,
    Connected,
    /// One of the others: io_uring took the error away from the socket, the error was that of a
    /// write, or it was shut down on its way. The next call tells.
    Torn,
}

/// What came of a call.
pub type Outcome = Result<(), i32>;

/// The errors of a `connect()` that the kernel refuses by itself, after the hook.
const INSIDE: [i32; 8] = [
    libc::EHOSTUNREACH,
    libc::ENETUNREACH,
    libc::EADDRNOTAVAIL,
    libc::EACCES,
    libc::EINVAL,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EAGAIN,
];

/// What is known of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    transport: Transport,
    phase: Phase,
    claim: Claim,
}

impl Known {
    /// A socket that was just opened.
    pub const fn new(transport: Transport) -> Self {
        Self { transport, phase: Phase::Unconnected, claim: Claim::Free }
    }

    /// TCP or UDP.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// What it must be charged to.
    pub const fn claim(&self) -> Claim {
        self.claim
    }

    /// True if the hook runs in the next `connect()`.
    pub const fn hooked(&self) -> bool {
        matches!((self.transport, self.phase), (Transport::Udp, _) | (_, Phase::Unconnected))
    }

    /// It dialled. True if the hook ran.
    pub fn dialled(&mut self, target: Target, way: Way, outcome: Outcome) -> bool {
        if self.transport == Transport::Udp {
            self.claim = after_hook(target, outcome);
            return true;
        }
        let begun = matches!(outcome, Ok(()) | Err(libc::EINPROGRESS));
        let ran = match (self.phase, outcome) {
            (_, Err(libc::EISCONN | libc::EALREADY)) => false,
            (_, Err(errno)) if INSIDE.contains(&errno) => true,
            (Phase::Unconnected, _) => true,
            (Phase::Connecting | Phase::Connected, _) => false,
            // What the error was taken from would not begin anything.
            (Phase::Torn, _) => begun,
        };
        if ran {
            self.claim = after_hook(target, outcome);
        }
        self.phase = match outcome {
            // The first write may return before the connection is there.
            Ok(()) if way == Way::FastOpen => Phase::Connecting,
            Ok(()) | Err(libc::EISCONN) => Phase::Connected,
            Err(libc::EINPROGRESS | libc::EALREADY) => Phase::Connecting,
            // It was shut down after it was refused: no call but the one to AF_UNSPEC changes that.
            Err(libc::EINVAL) => Phase::Torn,
            Err(_) if way != Way::Plain => Phase::Torn,
            Err(_) => Phase::Unconnected,
        };
        ran
    }

    /// It was shut down for writing.
    pub const fn half_closed(&mut self) {
        if matches!(self.phase, Phase::Connecting) {
            self.phase = Phase::Torn;
        }
    }

    /// It connected to AF_UNSPEC.
    pub fn dissolved(&mut self) {
        self.phase = Phase::Unconnected;
        let told = self.transport == Transport::Tcp;
        if self.claim == Claim::Dialled && !told {
            self.claim = Claim::Doubtful(Doubt::Dissolved);
        }
    }

    /// It sent a datagram to a Service, or tried to: the hook runs before anything can fail.
    pub fn sent_to(&mut self, target: Target) {
        if matches!(target, Target::Direct | Target::Empty) {
            return;
        }
        self.claim = match self.claim {
            Claim::Free => Claim::Datagrams,
            Claim::Doubtful(_) => Claim::Doubtful(Doubt::Datagrams),
            claim => claim,
        };
    }
}

/// The claim of a socket whose hook ran.
fn after_hook(target: Target, outcome: Outcome) -> Claim {
    match (target, outcome) {
        (Target::Direct | Target::Empty, _) => Claim::Free,
        (_, Err(errno)) if INSIDE.contains(&errno) => Claim::Doubtful(Doubt::Failed),
        _ => Claim::Dialled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(dials: &[(Target, Outcome)]) -> Claim {
        let mut known = Known::new(Transport::Tcp);
        for (target, outcome) in dials {
            known.dialled(*target, Way::Plain, *outcome);
        }
        known.claim()
    }

    #[test]
    fn a_second_dial_changes_nothing_while_the_first_is_under_way() {
        let begun = (Target::Keep, Err(libc::EINPROGRESS));
        assert_eq!(tcp(&[begun, (Target::Direct, Ok(()))]), Claim::Dialled);
        assert_eq!(tcp(&[begun, (Target::Direct, Err(libc::EISCONN))]), Claim::Dialled);
        let refused = (Target::Keep, Err(libc::ECONNREFUSED));
        assert_eq!(tcp(&[begun, refused, (Target::Direct, Ok(()))]), Claim::Free);
    }

    #[test]
    fn what_fails_inside_is_doubtful_until_it_is_dialled_again() {
        let unreachable = (Target::NoRoute, Err(libc::EHOSTUNREACH));
        assert_eq!(tcp(&[unreachable]), Claim::Doubtful(Doubt::Failed));
        assert_eq!(tcp(&[unreachable, (Target::Keep, Ok(()))]), Claim::Dialled);
    }

    #[test]
    fn datagrams_charge_a_socket_that_is_not_charged() {
        let mut known = Known::new(Transport::Udp);
        known.sent_to(Target::Direct);
        assert_eq!(known.claim(), Claim::Free);
        known.sent_to(Target::Keep);
        known.dissolved();
        assert_eq!(known.claim(), Claim::Datagrams, "it names the Service in every datagram");
        known.dialled(Target::Keep, Way::Plain, Ok(()));
        known.dissolved();
        assert_eq!(known.claim(), Claim::Doubtful(Doubt::Dissolved));
    }
}
