//! `balancer-agent doctor`.

use std::path::PathBuf;

use super::{
    exit::{Exit, Failure},
    print,
};
use crate::{
    api::Client,
    config::{DEFAULT_BPFFS, DEFAULT_SOCKET},
    doctor::{Finding, Outcome, facts::Facts, judge},
    node,
    observe::Offline,
    render::{self, Output},
    view::{CountsView, PeerView, PeersQuestion, StatusQuestion},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent doctor
  balancer-agent doctor --cgroup /sys/fs/cgroup/kubepods.slice
  balancer-agent doctor -o json | jq '.[] | select(.result != \"ok\")'

Exit code 4 if a check failed: `balancer-agent run` would refuse to start or not work.";

/// Check what this node can and can't do, and why
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Output,

    /// Cgroup that the agent uses [default: the root of the cgroup2 mount]
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,

    /// Folder of the pins
    #[arg(long, value_name = "PATH", default_value = DEFAULT_BPFFS)]
    bpffs: PathBuf,

    /// Socket of the agent, which is asked for its peers if it runs
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let cgroup = args.cgroup.clone().or_else(|| node::cgroup::root().ok());
    let facts = Facts::gather(cgroup.as_deref(), &args.bpffs, &own(args), peers(args)?);
    let findings = judge::examine(&facts);
    let page = |findings: &[Finding], _wide| render::doctor(findings);
    print::result(&render::text(args.output, findings.as_slice(), page)?)?;
    let failed = findings.iter().any(|finding| finding.result == Outcome::Fail);
    Ok(if failed { Exit::Lacking } else { Exit::Fine })
}

/// What the running agent says of its peers; none where it does not answer.
fn peers(args: &Args) -> Result<Option<(CountsView, Vec<PeerView>)>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::new(&args.socket);
    let answers = runtime.block_on(async {
        let status = client.ask(&StatusQuestion {}).await.ok()?;
        Some((status.counts?, client.ask(&PeersQuestion {}).await.ok()?))
    });
    Ok(answers)
}

/// Identifiers of balancer's own programs; none where nothing is pinned.
fn own(args: &Args) -> Vec<u32> {
    let status = Offline::open(&args.bpffs).and_then(|maps| maps.status());
    let programs = status.map(|status| status.programs).unwrap_or_default();
    programs.into_iter().filter_map(|program| program.id).collect()
}
