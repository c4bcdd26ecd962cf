//! `balancer-agent manual`: for those who package the binary, so that it is not shown.

use std::path::PathBuf;

use clap::CommandFactory;

use super::{
    Cli,
    exit::{Exit, Failure},
};

/// Write a man page of each verb into a folder
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder, which must be there
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    clap_mangen::generate_to(Cli::command(), &args.folder)?;
    Ok(Exit::Fine)
}
