//! Every answer that a program gives to `connect()`, in one place.
//!
//! A program never answers with a bare "not permitted": kernel clients such as sunrpc retry
//! EPERM for ever. What can't be balanced is left untouched, for kube-proxy or the network.

/// What happened to one `connect()`, or to the first datagram of a socket to a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Verdict {
    /// The destination was replaced by a backend.
    Balanced = 0,
    /// The Service has no usable endpoint: ECONNREFUSED, as kube-proxy rejects.
    NoEndpoint = 1,
    /// A map contradicts another one: untouched.
    Inconsistent = 2,
    /// No room to record one more connection: untouched.
    TooManyConnections = 3,
    /// internalTrafficPolicy is Local and this node has no usable endpoint: EHOSTUNREACH. kube-proxy
    /// drops, which shows as a timeout.
    NoLocalEndpoint = 4,
    /// The address and port are no Service: untouched. Datagrams that go elsewhere are not counted.
    NotService = 5,
    /// The socket belongs to a pod that is opted out: untouched.
    OptedOut = 6,
    /// `spec.loadBalancerSourceRanges` does not admit this client: EHOSTUNREACH, as where a firewall
    /// answers that it is prohibited. kube-proxy drops, which shows as a timeout.
    SourceDenied = 7,
    /// The address of the client is not known (yet), but the Service has
    /// `spec.loadBalancerSourceRanges`: untouched.
    SourceUnknown = 8,
    /// The agent's own connection, by which it sees whether programs run: led to the agent, and not
    /// counted.
    SelfTest = 9,
}

/// ECONNREFUSED of `asm-generic/errno.h`, the same on every architecture that has cgroup BPF.
pub const ECONNREFUSED: i32 = 111;
/// EHOSTUNREACH, of the same file.
pub const EHOSTUNREACH: i32 = 113;

impl Verdict {
    /// Every verdict that is counted, in the order of its counter.
    pub const ALL: [Self; 9] = [
        Self::Balanced,
        Self::NoEndpoint,
        Self::Inconsistent,
        Self::TooManyConnections,
        Self::NoLocalEndpoint,
        Self::NotService,
        Self::OptedOut,
        Self::SourceDenied,
        Self::SourceUnknown,
    ];

    /// Index of its counter in the map of verdicts.
    #[inline(always)]
    pub const fn counter(self) -> u32 {
        self as u32
    }

    /// The errno that `connect()` returns, or `None` where it proceeds.
    #[inline(always)]
    pub const fn errno(self) -> Option<i32> {
        match self {
            Self::NoEndpoint => Some(ECONNREFUSED),
            Self::NoLocalEndpoint | Self::SourceDenied => Some(EHOSTUNREACH),
            Self::Balanced
            | Self::Inconsistent
            | Self::TooManyConnections
            | Self::NotService
            | Self::OptedOut
            | Self::SourceUnknown
            | Self::SelfTest => None,
        }
    }

    /// Name in metrics and in the output of the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::NoEndpoint => "no-endpoint",
            Self::Inconsistent => "inconsistent",
            Self::TooManyConnections => "too-many-connections",
            Self::NoLocalEndpoint => "no-local-endpoint",
            Self::NotService => "not-service",
            Self::OptedOut => "opted-out",
            Self::SourceDenied => "source-denied",
            Self::SourceUnknown => "source-unknown",
            Self::SelfTest => "self-test",
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    #[test]
    fn counters_are_dense_and_ordered() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(verdict.counter() as usize, index, "{}", verdict.name());
        }
    }

    #[test]
    fn an_errno_is_never_eperm_and_most_are_none() {
        let errno = Verdict::ALL.map(|verdict| (verdict, verdict.errno()));
        let refused: Vec<_> = errno.into_iter().filter(|(_, errno)| errno.is_some()).collect();
        let expected = [
            (Verdict::NoEndpoint, Some(ECONNREFUSED)),
            (Verdict::NoLocalEndpoint, Some(EHOSTUNREACH)),
            (Verdict::SourceDenied, Some(EHOSTUNREACH)),
        ];
        assert_eq!(refused, expected);
    }
}
