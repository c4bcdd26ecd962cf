//! Which compiler and which linker make the eBPF object: a pure choice over what was found.

use std::path::PathBuf;

use crate::cli::Preference;

/// The oldest compiler that the workspace can be built with.
const OLDEST: Release = Release { major: 1, minor: 89 };

/// The LLVM versions for which bpf-linker can be built.
pub const LINKABLE_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// A release of Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// Always 1 so far.
    pub major: u32,
    /// What changes every six weeks.
    pub minor: u32,
}

impl std::fmt::Display for Release {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A Rust compiler with some way to make `core` for BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The compiler itself, never a proxy.
    pub rustc: PathBuf,
    /// The cargo beside it.
    pub cargo: PathBuf,
    /// Its release.
    pub release: Release,
    /// Whether it is a nightly.
    pub nightly: bool,
    /// The major version of its LLVM.
    pub llvm: u32,
    /// Whether its sysroot has `core` compiled for BPF.
    pub compiled_core: bool,
    /// Whether its sysroot has the sources of `core`.
    pub rust_src: bool,
}

/// An installed bpf-linker that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linker {
    /// The program.
    pub path: PathBuf,
    /// The major version of its LLVM.
    pub llvm: u32,
}

/// How a compiler gets its `core`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A nightly builds it from its sources.
    NightlyBuildStd,
    /// It was compiled by whoever packaged the compiler.
    CompiledCore,
    /// A stable compiler builds it from its sources, by `RUSTC_BOOTSTRAP`.
    StableBuildStd,
}

impl Way {
    fn suits(self, compiler: &Compiler) -> bool {
        compiler.release >= OLDEST
            && match self {
                Self::NightlyBuildStd => compiler.nightly && compiler.rust_src,
                Self::CompiledCore => compiler.compiled_core,
                Self::StableBuildStd => !compiler.nightly && compiler.rust_src,
            }
    }
}

/// What compiles and links the eBPF programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// How `core` is made.
    pub way: Way,
    /// The compiler.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// Its release.
    pub release: Release,
    /// The major version of its LLVM.
    pub llvm: u32,
    /// The linker that reads its bitcode.
    pub linker: PathBuf,
}

/// A compiler, with a linker unless one has to be built for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen<'a> {
    /// How `core` is made.
    pub way: Way,
    /// The compiler.
    pub compiler: &'a Compiler,
    /// A linker that can read its bitcode.
    pub linker: Option<&'a Linker>,
}

impl Chosen<'_> {
    /// The toolchain, once there is a linker.
    pub fn toolchain(&self, linker: PathBuf) -> Toolchain {
        Toolchain {
            way: self.way,
            rustc: self.compiler.rustc.clone(),
            cargo: self.compiler.cargo.clone(),
            release: self.compiler.release,
            llvm: self.compiler.llvm,
            linker,
        }
    }
}

/// Chooses: first what is complete, in the order of preference; else the first compiler for which
/// a linker can be built. Of several that suit alike, the newest release.
pub fn choose<'a>(
    preference: Preference,
    compilers: &'a [Compiler],
    linkers: &'a [Linker],
) -> Option<Chosen<'a>> {
    let ways: &[Way] = match preference {
        // A core that its packager compiled needs no other download and changes with no day.
        Preference::Auto => &[Way::CompiledCore, Way::NightlyBuildStd, Way::StableBuildStd],
        Preference::Nightly => &[Way::NightlyBuildStd],
        Preference::Debian => &[Way::CompiledCore],
        Preference::Stable => &[Way::StableBuildStd],
    };
    let mut newest_first: Vec<_> = compilers.iter().collect();
    newest_first.sort_by_key(|compiler| std::cmp::Reverse(compiler.release));
    let all = || {
        ways.iter().flat_map(|&way| {
            newest_first
                .iter()
                .filter(move |compiler| way.suits(compiler))
                .map(move |&compiler| (way, compiler))
        })
    };
    all()
        .find_map(|(way, compiler)| {
            let linker = linker_for(compiler, linkers)?;
            Some(Chosen { way, compiler, linker: Some(linker) })
        })
        .or_else(|| {
            all()
                .find(|(_, compiler)| LINKABLE_LLVM.contains(&compiler.llvm))
                .map(|(way, compiler)| Chosen { way, compiler, linker: None })
        })
}

/// LLVM reads the bitcode of its own version and of older ones; the nearest is the safest.
fn linker_for<'a>(compiler: &Compiler, linkers: &'a [Linker]) -> Option<&'a Linker> {
    linkers.iter().filter(|linker| linker.llvm >= compiler.llvm).min_by_key(|linker| linker.llvm)
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
