//! Handing over to `balancer-lab`, which shows and measures.

use std::{convert::Infallible, ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    cli::Preference,
    compile,
    setup::{self, Needs},
    workspace::{Workspace, is_root},
};

/// Builds everything, then becomes `balancer-lab VERB ARGS`.
pub fn hand_over(
    workspace: &Workspace,
    preference: Preference,
    verb: &str,
    args: &[OsString],
) -> Result<Infallible> {
    let asks_for_help = args.iter().any(|arg| arg == "--help" || arg == "-h");
    if !asks_for_help && !is_root() {
        bail!(
            "`cargo xtask {verb}` needs root, to create network namespaces and load eBPF \
             programs: run it as root, for example in `sudo -s`"
        );
    }
    let needs = if asks_for_help { Needs::BUILD } else { Needs::LAB };
    let toolchain = setup::run(workspace, preference, needs)?;
    let programs = compile::all(workspace, &toolchain, false)?;
    let mut lab = Command::new(&programs.lab);
    programs.tell(&mut lab);
    let error = lab.arg(verb).args(args).exec();
    Err(error).with_context(|| format!("starting {}", programs.lab.display()))
}
