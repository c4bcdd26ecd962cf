//! Handing over to `balancer-lab`, which shows, and to `balancer-bench`, which measures.

use std::{convert::Infallible, ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    cli::Preference,
    compile,
    setup::{self, Needs},
    workspace::{Workspace, is_root},
};

/// A verb that another program carries out.
#[derive(Clone, Copy, Debug)]
pub enum Delegated {
    /// `balancer-lab demo`.
    Demo,
    /// `balancer-bench run`.
    Bench,
    /// `balancer-bench soak`.
    Soak,
}

impl Delegated {
    /// The verb here, and there.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Demo => ("demo", "demo"),
            Self::Bench => ("bench", "run"),
            Self::Soak => ("soak", "soak"),
        }
    }
}

/// Builds what the verb needs, then becomes the program of the verb with these arguments.
pub fn hand_over(
    workspace: &Workspace,
    preference: Preference,
    verb: Delegated,
    args: &[OsString],
) -> Result<Infallible> {
    let (here, there) = verb.names();
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    if !asks_for_help && !is_root() {
        bail!(
            "`cargo xtask {here}` needs root, to create network namespaces and load eBPF \
             programs: run it as root, for example in `sudo -s`"
        );
    }
    let needs = if asks_for_help { Needs::BUILD } else { Needs::LAB };
    let toolchain = setup::run(workspace, preference, needs)?;
    let packages = match verb {
        Delegated::Demo => compile::SHOWS,
        Delegated::Bench | Delegated::Soak => compile::MEASURES,
    };
    let programs = compile::programs(workspace, &toolchain, packages, false)?;
    let program = match verb {
        Delegated::Demo => &programs.lab,
        Delegated::Bench | Delegated::Soak => &programs.bench,
    };
    let mut command = Command::new(program);
    programs.tell(&mut command);
    let error = command.arg(there).args(args).exec();
    Err(error).with_context(|| format!("starting {}", program.display()))
}
