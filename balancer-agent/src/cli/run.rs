//! `balancer-agent run`.

use std::path::PathBuf;

use super::{
    exit::{Exit, Failure},
    heap, log,
};
use crate::{
    agent::{self, About, RunError},
    config::{ConfigError, Settings, Surroundings},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent run --kubeconfig /etc/kubernetes/kubelet.conf
  balancer-agent run --manifests /etc/balancer/manifests
  balancer-agent run --config /etc/balancer/agent.yaml --log-format json
  kubectl get services,endpointslices,nodes,pods,namespaces -A -o yaml > manifests/all.yaml
  balancer-agent run --manifests manifests --node-name \"$(hostname)\"

The file of --config is YAML with the names of the flags in camelCase:
  manifests: /etc/balancer/manifests
  metricsBindAddress: 127.0.0.1:10349
  maxBackends: 10000

SIGTERM and SIGINT end the agent and leave balancing in place; `balancer-agent cleanup` removes it.";

/// Run the agent: keep the kernel balancing what Kubernetes describes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,

    /// YAML file with the same settings in camelCase; flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<Exit, Failure> {
    let fault = |error| Failure::new(exit_of(&error), error);
    let given = settings(args).map_err(fault)?;
    let config = given.clone().resolve(Surroundings::look()).map_err(fault)?;
    let log = log::start(config.log_format);
    heap::share();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(agent::run(config, About { given, log }));
    // A thread that is asking the kernel for somebody is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Ok(Exit::Fine),
        Err(error @ RunError::Lacking(_)) => Err(Failure::new(Exit::Lacking, error)),
        Err(error) => Err(error.into()),
    }
}

fn settings(args: Args) -> Result<Settings, ConfigError> {
    let file = args.config.as_deref().map(Settings::read).transpose()?.unwrap_or_default();
    Ok(args.settings.or(file))
}

fn exit_of(error: &ConfigError) -> Exit {
    match error {
        ConfigError::NoCgroup(_) => Exit::Lacking,
        _ => Exit::Usage,
    }
}
