//! How a backend is chosen, by the name that the annotation `balancer-agent/policy` takes.

/// The policy of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Policy {
    /// The fewest open connections.
    #[default]
    LeastConnections = 0,
    /// The fewest open connections for its weight.
    WeightedLeastConnections = 1,
    /// The less loaded of two random backends.
    PowerOfTwo = 2,
    /// Each in turn.
    RoundRobin = 3,
    /// A random one.
    Random = 4,
}

impl Policy {
    /// Every policy, the default first.
    pub const ALL: [Self; 5] = [
        Self::LeastConnections,
        Self::WeightedLeastConnections,
        Self::PowerOfTwo,
        Self::RoundRobin,
        Self::Random,
    ];

    /// Name in the annotation and in the output of the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastConnections => "least-connections",
            Self::WeightedLeastConnections => "weighted-least-connections",
            Self::PowerOfTwo => "power-of-two",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
        }
    }

    /// True where a new connection goes to the backend with the fewest, by number or by weight: only then
    /// is a connection that was ended opened again where one is missing.
    pub const fn chooses_least(self) -> bool {
        matches!(self, Self::LeastConnections | Self::WeightedLeastConnections)
    }

    /// True where a row that is scanned is compared by the weights of its backends, and not by their
    /// connections alone: by weight, for a slow start, and where backends that have just failed are chosen
    /// like others. What the agent says of the row is in the unit of that comparison
    /// ([`crate::layout::Level`]).
    pub const fn weighs(self, slow_start: u32, keeps_suspects: bool) -> bool {
        match self {
            Self::WeightedLeastConnections => true,
            Self::LeastConnections => slow_start != 0 || keeps_suspects,
            // These compare nothing, but where they fall back to the fewest connections.
            Self::PowerOfTwo | Self::RoundRobin | Self::Random => false,
        }
    }

    /// The inverse of [`Policy::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// The inverse of `policy as u8`.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::LeastConnections),
            1 => Some(Self::WeightedLeastConnections),
            2 => Some(Self::PowerOfTwo),
            3 => Some(Self::RoundRobin),
            4 => Some(Self::Random),
            _ => None,
        }
    }
}

/// The weight of a backend that no rule names.
pub const DEFAULT_WEIGHT: u16 = 1;
/// The largest weight.
pub const MAX_WEIGHT: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_read_back() {
        for policy in Policy::ALL {
            assert_eq!(Policy::from_name(policy.name()), Some(policy));
            assert_eq!(Policy::from_raw(policy as u8), Some(policy));
        }
        assert_eq!(Policy::from_name("least_connections"), None);
        assert_eq!(Policy::from_raw(5), None);
    }

    #[test]
    fn what_chooses_the_least_may_weigh() {
        for policy in Policy::ALL {
            let weighs = policy == Policy::WeightedLeastConnections;
            assert_eq!(policy.weighs(0, false), weighs, "{}", policy.name());
            for (slow_start, keeps) in [(30, false), (0, true), (30, true)] {
                assert_eq!(
                    policy.weighs(slow_start, keeps),
                    policy.chooses_least(),
                    "{}, {slow_start} s, {keeps}",
                    policy.name()
                );
            }
        }
    }
}
