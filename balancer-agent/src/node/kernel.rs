//! The running kernel.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
};

use nix::sys::utsname;
use serde::Serialize;

/// Major and minor number of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 6 of 6.12.
    pub major: u32,
    /// 12 of 6.12.
    pub minor: u32,
}

impl Version {
    /// Reads the numbers that `release` starts with, such as `6.1.0-31-amd64`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || numbers.next().and_then(Result::ok);
        Some(Self { major: next()?, minor: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The release as `uname -r` prints it; empty where the kernel does not tell.
pub fn release() -> String {
    utsname::uname().map_or_else(|_| String::new(), |u| u.release().to_string_lossy().into_owned())
}

/// What `uname -a` prints but the hostname.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Uname {
    /// `uname -s`.
    pub system: String,
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`.
    pub machine: String,
}

/// The running kernel; empty where it does not tell.
pub fn uname() -> Uname {
    utsname::uname().map_or_else(
        |_| Uname::default(),
        |uname| {
            let text = |text: &OsStr| text.to_string_lossy().into_owned();
            Uname {
                system: text(uname.sysname()),
                release: text(uname.release()),
                version: text(uname.version()),
                machine: text(uname.machine()),
            }
        },
    )
}

/// The hostname; empty where the kernel does not tell.
pub fn hostname() -> String {
    utsname::uname().map_or_else(|_| String::new(), |u| u.nodename().to_string_lossy().into_owned())
}

/// True if the kernel describes its types.
pub fn has_btf() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}

/// True if the kernel has nf_tables, built in or as a module that is loaded, or does not tell.
pub fn has_nf_tables() -> bool {
    let Ok(symbols) = File::open("/proc/kallsyms") else { return true };
    let mut lines = BufReader::new(symbols).lines().map_while(Result::ok).peekable();
    lines.peek().is_none() || lines.any(|line| is_symbol(&line, "nf_tables_newtable"))
}

/// True for a line `address type name`, which the module follows that a symbol is of.
fn is_symbol(line: &str, name: &str) -> bool {
    line.split_ascii_whitespace().nth(2) == Some(name)
}

/// A number below `/proc/sys`; `None` where it does not exist or this process may not see it.
pub fn sysctl(name: &str) -> Option<u32> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions_are_read() {
        for (release, want) in [
            ("6.1.0-31-cloud-amd64", Some((6, 1))),
            ("5.15.0-1", Some((5, 15))),
            ("6.18-rc3", Some((6, 18))),
            ("7.0", Some((7, 0))),
            ("linux", None),
            ("", None),
        ] {
            let version = Version::parse(release).map(|v| (v.major, v.minor));
            assert_eq!(version, want, "{release}");
        }
    }

    #[test]
    fn symbols_are_known_by_their_names() {
        for (line, want) in [
            ("ffffffff81f6ab60 t nf_tables_newtable", true),
            ("0000000000000000 t nf_tables_newtable\t[nf_tables]", true),
            ("ffffffff81f6ab50 t __pfx_nf_tables_newtable", false),
            ("0000000000000000 t other\t[nf_tables_newtable]", false),
            ("", false),
        ] {
            assert_eq!(is_symbol(line, "nf_tables_newtable"), want, "{line}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let version = |release| Version::parse(release).expect(release);
        assert!(version("5.9.0") < version("5.15.0"));
        assert!(version("5.15.0") < version("6.1.0"));
    }
}
