//! The command line of `cargo xtask`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::architecture::Architecture;

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                           see the problem and the cure on this machine
  cargo xtask demo --scenario pools-5 --keep run one scenario and leave the lab up
  cargo xtask test                           every check, on the real kernel (root)
  cargo xtask test --quick choice            the host tests whose name contains `choice`
  cargo xtask soak --operations 10000000     counts that cannot drift: ten million operations
  cargo xtask kernels --only 6.1             the tests on another kernel, in an emulated machine
  cargo xtask kernels --arch arm64           the same on kernels of another architecture
  cargo xtask image --check                  make the container image and run the agent from it
  cargo xtask image --arch amd64,arm64       make it for both architectures
  cargo xtask dist --arch amd64,arm64        make the files of a release
  cargo xtask --bpf-toolchain nightly build  compile the eBPF programs with nightly Rust";

/// Sets up, builds, tests, measures and shows balancer.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// Which Rust compiler builds the eBPF programs.
    #[arg(
        long,
        global = true,
        env = "BALANCER_BPF_TOOLCHAIN",
        value_enum,
        default_value_t = Preference::Auto,
        value_name = "TOOLCHAIN"
    )]
    pub bpf_toolchain: Preference,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The wish for a BPF toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preference {
    /// The first that is complete: debian, then nightly, then stable.
    Auto,
    /// A nightly with the rust-src component, which compiles `core` itself.
    Nightly,
    /// A compiler that comes with `core` compiled for BPF, as Debian's packages do.
    Debian,
    /// A stable compiler with rust-src, allowed the unstable features it needs.
    Stable,
}

/// The verbs of `cargo xtask`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Find what building and testing need, install what is missing.
    Setup,
    /// Compile the eBPF programs, then the agent, the lab and the benches.
    Build {
        /// Build them without optimisation.
        #[arg(long)]
        debug: bool,
    },
    /// Make the container image: an OCI archive with a static binary, and what it is made of.
    Image(ImageOptions),
    /// Make the files of a release: archives, image, chart, checksums, statement of provenance.
    Dist(DistOptions),
    /// Show least connections beside kube-proxy's rules (root; `demo --help` lists options).
    #[command(disable_help_flag = true)]
    Demo {
        /// Passed on to `balancer-lab demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run every check: format, lints, host tests, tests on this kernel, documentation.
    Test(TestOptions),
    /// Boot other kernels in emulated machines and run the tests there (root).
    Kernels(KernelOptions),
    /// Measure connect() and more (root; `bench --help` lists options).
    #[command(disable_help_flag = true)]
    Bench {
        /// Passed on to `balancer-bench run`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Let sockets live at random and compare counts with them (root; `soak --help` lists options).
    #[command(disable_help_flag = true)]
    Soak {
        /// Passed on to `balancer-bench soak`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// What `cargo xtask image` makes.
#[derive(Args, Debug, Default)]
pub struct ImageOptions {
    /// Architectures, separated by commas: of several, the archive is one index
    /// [default: that of this machine].
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    pub arch: Vec<Architecture>,
    /// Name by which clusters ask for the image, such as registry.example.com/balancer-agent:1.0
    /// [default: balancer-agent:VERSION].
    #[arg(long, value_name = "NAME:TAG")]
    pub name: Option<String>,
    /// Where to write the archive, with the bill of materials beside it
    /// [default: target/balancer-agent-VERSION.tar].
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Unpack the archive and run the agent from it in a chroot (root).
    #[arg(long)]
    pub check: bool,
}

/// What `cargo xtask dist` makes.
#[derive(Args, Debug)]
pub struct DistOptions {
    /// Architectures, separated by commas [default: that of this machine].
    #[arg(long, value_name = "ARCH", value_delimiter = ',')]
    pub arch: Vec<Architecture>,
    /// Name by which clusters ask for the image [default: balancer-agent:VERSION].
    #[arg(long, value_name = "NAME:TAG")]
    pub name: Option<String>,
    /// Folder to write to [default: target/dist].
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Build the commit once more from a clone in another folder, and compare all files.
    #[arg(long)]
    pub twice: bool,
}

/// What `cargo xtask test` runs.
#[derive(Args, Debug)]
pub struct TestOptions {
    /// Leave out the tests on the real kernel and the documentation: needs no root.
    #[arg(long)]
    pub quick: bool,
    /// Run only the tests whose name contains this, and no other check.
    pub filter: Option<String>,
}

/// What `cargo xtask kernels` boots.
#[derive(Args, Debug)]
pub struct KernelOptions {
    /// Boot kernels of this architecture [default: that of this machine].
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<Architecture>,
    /// Boot only this kernel, such as 6.1; may be given several times.
    #[arg(long, value_name = "KERNEL")]
    pub only: Vec<String>,
    /// Run only the tests whose name contains this.
    #[arg(long, value_name = "NAME")]
    pub test: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_after_demo_is_passed_on() {
        let cli = Cli::parse_from(["xtask", "demo", "--output", "json", "--keep", "--help"]);
        let Verb::Demo { args } = cli.verb else { panic!("not the demo verb: {:?}", cli.verb) };
        assert_eq!(args, ["--output", "json", "--keep", "--help"]);
    }

    #[test]
    fn toolchain_can_stand_on_either_side_of_the_verb() {
        for line in [
            ["xtask", "--bpf-toolchain", "debian", "build"],
            ["xtask", "build", "--bpf-toolchain", "debian"],
        ] {
            assert_eq!(Cli::parse_from(line).bpf_toolchain, Preference::Debian, "{line:?}");
        }
    }
}
