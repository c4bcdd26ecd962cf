//! `balancer-agent sysdump`.

mod archive;
mod gather;
mod progress;

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;

use self::{archive::Archive, gather::Gather, progress::Progress};
use super::{
    exit::{Exit, Failure},
    inspect::Place,
    print,
};
use crate::node;

const EXAMPLES: &str = "\
Examples:
  balancer-agent sysdump
  balancer-agent sysdump -o /tmp/worker-3.tar.gz
  balancer-agent sysdump -o - | tar tz
  kubectl -n kube-system exec balancer-agent-x2x7v -- /balancer-agent sysdump -o - > worker-3.tar.gz

The archive has names and addresses of Services, backends, nodes and pods, of 10,000 connections at most
which process has which one, and the agent's own log. It has nothing of what connections carry, and no
key, token or certificate: of those only the names of files. What could not be had is in lacking.txt.";

/// Write all that is known of this node into one archive, for a report of a fault
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The archive, a tar.gz; - is standard output
    /// [default: balancer-NODE-TIME.tar.gz in this folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Cgroup that the agent uses [default: the root of the cgroup2 mount]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,

    #[command(flatten)]
    place: Place,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let to_stdout = args.output.as_deref() == Some(Path::new("-"));
    if to_stdout && io::stdout().is_terminal() {
        let why = anyhow!("an archive is nothing for a terminal: give a file with -o, or a pipe");
        return Err(Failure::new(Exit::Usage, why));
    }
    let taken = Timestamp::now();
    let progress = Progress::start();
    let cgroup = args.cgroup.clone().or_else(|| node::cgroup::root().ok());
    let gather = Gather::new(&args.place, cgroup, &progress);
    let node = gather.node();
    let name = format!("balancer-{node}-{}", taken.strftime("%Y%m%dT%H%M%SZ"));
    let mut archive = Archive::new(&name, taken);
    let lacking = gather.all(&mut archive)?;
    let bytes = archive.finish()?;
    progress.end();
    for line in &lacking {
        print::note(&format!("not in the archive: {line}"));
    }
    if to_stdout {
        // A reader that has seen enough, such as `head`, is no error.
        return match io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(Exit::Fine),
        };
    }
    let path = args.output.clone().unwrap_or_else(|| format!("{name}.tar.gz").into());
    write(&path, &bytes).map_err(|error| Failure::new(Exit::Failed, error))?;
    print::result(&format!("{}\n", path.display()))?;
    Ok(Exit::Fine)
}

/// Writes a file that only its owner may read. No part of it is left where not all could be written.
fn write(path: &Path, bytes: &[u8]) -> Result<(), anyhow::Error> {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    // One of an earlier run that was killed. Whoever puts a link in its place gains nothing: it is not followed.
    let _ = fs::remove_file(&part);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
    let written = written.and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| fs::rename(&part, path)).with_context(|| {
        let _ = fs::remove_file(&part);
        format!("{} can't be written; name another file with -o", path.display())
    })
}
