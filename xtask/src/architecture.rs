//! The architectures that balancer is built for, and what compilers, packages and images call them.

use std::env;

use anyhow::{Result, bail};
use clap::ValueEnum;

/// An architecture, by the name that Kubernetes, Go and Debian have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Architecture {
    /// That of this machine.
    pub fn of_host() -> Result<Self> {
        match env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("balancer is built for x86_64 and aarch64, not for {other}"),
        }
    }

    /// As images and packages are marked.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As Linux, QEMU and GNU's tools call it.
    pub fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The compiler's target.
    pub fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.machine())
    }

    /// A program of GNU's cross tools, such as `aarch64-linux-gnu-gcc`.
    pub fn gnu(self, program: &str) -> String {
        format!("{}-linux-gnu-{program}", self.machine())
    }

    /// Debian's packages of a C compiler for it, and of its C library.
    pub fn cross_packages(self) -> [&'static str; 2] {
        match self {
            Self::Amd64 => ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            Self::Arm64 => ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        }
    }
}
