//! Every answer that a program gives to `connect()`, in one place.
//!
//! A program never answers with a bare "not permitted": kernel clients such as sunrpc retry
//! EPERM for ever. What can't be balanced is left untouched, for kube-proxy or the network.

/// What happened to one `connect()` whose destination is a Service.
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
}

/// ECONNREFUSED of `asm-generic/errno.h`, the same on every architecture that has cgroup BPF.
pub const ECONNREFUSED: i32 = 111;
/// EHOSTUNREACH, of the same file.
pub const EHOSTUNREACH: i32 = 113;

impl Verdict {
    /// Every verdict, in the order of its counter.
    pub const ALL: [Self; 5] = [
        Self::Balanced,
        Self::NoEndpoint,
        Self::Inconsistent,
        Self::TooManyConnections,
        Self::NoLocalEndpoint,
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
            Self::NoLocalEndpoint => Some(EHOSTUNREACH),
            Self::Balanced | Self::Inconsistent | Self::TooManyConnections => None,
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_dense_and_ordered() {
        for (index, verdict) in Verdict::ALL.iter().enumerate() {
            assert_eq!(verdict.counter() as usize, index, "{}", verdict.name());
        }
    }

    #[test]
    fn only_a_missing_endpoint_is_refused() {
        let errno = Verdict::ALL.map(Verdict::errno);
        assert_eq!(errno, [None, Some(ECONNREFUSED), None, None, Some(EHOSTUNREACH)]);
    }
}
