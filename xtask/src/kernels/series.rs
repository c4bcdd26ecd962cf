//! Which kernels are tried, and what is promised for each.

/// One line of kernels.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    /// As it is asked for: the numbers that its versions begin with.
    pub name: &'static str,
    /// The suites of Debian that may have it.
    pub suites: &'static [&'static str],
    /// What balancer does there.
    pub promise: Promise,
}

/// What balancer does on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Everything that the tests ask for.
    Works,
    /// It is refused, in one sentence.
    Refused,
}

/// All kernels, oldest first. Debian never had 5.15, the oldest that is supported.
pub const SERIES: [Series; 5] = [
    Series { name: "5.10", suites: &["bullseye-security"], promise: Promise::Refused },
    Series { name: "6.1", suites: &["bookworm-security"], promise: Promise::Works },
    Series { name: "6.12", suites: &["bookworm-backports"], promise: Promise::Works },
    Series { name: "6.18", suites: &["trixie-backports"], promise: Promise::Works },
    Series { name: "7", suites: &["trixie-backports"], promise: Promise::Works },
];

impl Series {
    /// Whether a version of a package is of this series.
    pub fn has(&self, version: &str) -> bool {
        version.strip_prefix(self.name).is_some_and(|rest| rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_of_one_series() {
        for (version, want) in [
            ("5.10.262-1", Some("5.10")),
            ("6.1.192-2", Some("6.1")),
            ("6.12.117-1~deb12u1", Some("6.12")),
            ("6.18.15-1~bpo13+1", Some("6.18")),
            ("6.19.14-1~bpo13+1", None),
            ("7.3.4-1~bpo13+1", Some("7")),
        ] {
            let found: Vec<_> = SERIES.iter().filter(|series| series.has(version)).collect();
            assert_eq!(
                found.iter().map(|series| series.name).collect::<Vec<_>>(),
                Vec::from_iter(want)
            );
        }
    }
}
