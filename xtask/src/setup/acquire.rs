//! Gets a compiler for BPF where there is none: one source after the other.

use std::{fmt, process::Command, time::Duration};

use anyhow::{Result, bail};

use super::{apt, compilers};
use crate::{cli::Preference, process, workspace};

/// Debian's compiler with its compiled `core`; cargo too, since its version must be the same.
const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// Enough for 200 MB over a slow line. A server that cannot be reached fails long before.
const LIMIT: Duration = Duration::from_secs(600);

/// Where a compiler for BPF can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// rustup's nightly with rust-src.
    Nightly,
    /// Debian's packages.
    Debian,
    /// rust-src for the toolchain that rustup uses here.
    Stable,
}

/// The sources worth trying, in their order.
pub fn sources(preference: Preference, rustup: bool, apt: bool) -> Vec<Source> {
    match preference {
        Preference::Nightly => vec![Source::Nightly],
        Preference::Debian => vec![Source::Debian],
        Preference::Stable => vec![Source::Stable],
        Preference::Auto => [Source::Debian, Source::Nightly, Source::Stable]
            .into_iter()
            .filter(|source| if *source == Source::Debian { apt } else { rustup })
            .collect(),
    }
}

impl Source {
    /// Installs the compiler.
    pub fn install(self) -> Result<()> {
        match self {
            Self::Debian => apt::install(&DEBIAN),
            Self::Stable => rustup("adding rust-src to Rust", &["component", "add", "rust-src"]),
            // Not `toolchain install`, which would also replace a nightly that somebody relies on.
            Self::Nightly if compilers::rustup_has("nightly") => rustup(
                "adding rust-src to nightly Rust",
                &["component", "add", "rust-src", "--toolchain", "nightly"],
            ),
            Self::Nightly => rustup(
                "installing nightly Rust with rust-src",
                &[
                    "toolchain",
                    "install",
                    "nightly",
                    "--no-self-update",
                    "--profile=minimal",
                    "--component=rust-src",
                ],
            ),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nightly => "a nightly from rustup",
            Self::Debian => "Debian's packages",
            Self::Stable => "rust-src from rustup",
        })
    }
}

/// Whether rustup can be asked.
pub fn has_rustup() -> bool {
    workspace::find_command("rustup").is_some()
}

/// Runs rustup, and gives up soon when it does not reach its server.
pub fn rustup(label: &str, args: &[&str]) -> Result<()> {
    if !has_rustup() {
        bail!("{label} takes rustup, which is not installed: see https://rustup.rs");
    }
    let mut command = Command::new("rustup");
    process::watched(label, command.args(args).env("RUSTUP_MAX_RETRIES", "1"), LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_follow_the_preference_and_what_the_system_has() {
        use Source::{Debian, Nightly, Stable};
        let auto = |rustup, apt| sources(Preference::Auto, rustup, apt);
        assert_eq!(auto(true, true), [Debian, Nightly, Stable]);
        assert_eq!(auto(true, false), [Nightly, Stable]);
        assert_eq!(auto(false, true), [Debian]);
        assert_eq!(auto(false, false), []);
        assert_eq!(sources(Preference::Debian, true, true), [Debian]);
    }
}
