//! `balancer-agent trace`.

use std::{ops::ControlFlow, time::Duration};

use anyhow::anyhow;
use balancer_common::verdict::Verdict;
use clap::builder::PossibleValuesParser;
use clap_complete::ArgValueCompleter;

use super::{
    complete,
    connections::BackendArg,
    exit::{Exit, Failure},
    inspect::Where,
    print,
    service::{self, Named, ServiceArg, Within},
};
use crate::{
    render::{self, Output, RenderError},
    settings::duration,
    view::{DroppedView, TraceQuestion, TraceView},
};

const EXAMPLES: &str = "\
Examples:
  balancer-agent trace                              every choice, refusal and end from now on
  balancer-agent trace shop/cart --max-events 20
  balancer-agent trace --errors                     what is refused, and connections that fail
  balancer-agent trace --pod shop/frontend-5f7 -o wide
  balancer-agent trace --backend 10.244.1.7:8080
  balancer-agent trace --verdict not-service        what goes past balancer
  balancer-agent trace --timeout 10s -o json | jq -r 'select(.event == \"ended\") | .reason'

Programs tell nothing while nobody reads. At most 5,000 events in a second are told; how many were not
is said.";

/// Show each choice of a backend, each refusal and each end as they happen, and why
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    named: Named,

    #[command(flatten)]
    within: Within,

    /// Only those to this backend, as ADDRESS or ADDRESS:PORT
    #[arg(long, value_name = "BACKEND", add = ArgValueCompleter::new(complete::backends))]
    backend: Option<BackendArg>,

    /// Only those of this pod, as NAMESPACE/NAME; NAME alone is in the namespace of -n, else in default
    #[arg(long, value_name = "POD", add = ArgValueCompleter::new(complete::pods))]
    pod: Option<ServiceArg>,

    /// Only this verdict, and no ends
    #[arg(long, value_name = "VERDICT", value_parser = verdicts())]
    verdict: Option<String>,

    /// Only what failed: refusals, and connections that were refused, timed out or reset
    #[arg(long)]
    errors: bool,

    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_events: Option<u64>,

    /// End after this time, such as 30s or 10m
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    timeout: Option<Duration>,

    #[command(flatten)]
    place: Where,
}

fn verdicts() -> PossibleValuesParser {
    PossibleValuesParser::new(Verdict::ALL.map(Verdict::name))
}

fn timeout(text: &str) -> Result<Duration, String> {
    duration::parse(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "give a time above 0, such as 30s or 10m".to_owned())
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let within = args.within.namespace();
    let service = args.within.service(&args.named)?;
    if let Some(service) = &service {
        service::known(&args.place, service)?;
    }
    let pod = args.pod.as_ref().map(|pod| pod.within(within));
    let question = TraceQuestion {
        namespace: service.as_ref().map(ServiceArg::namespace).or(within).map(str::to_owned),
        service: service.as_ref().map(|service| service.name().to_owned()),
        backend: args.backend.map(|backend| backend.address),
        backend_port: args.backend.and_then(|backend| backend.port),
        pod_namespace: pod.as_ref().map(|pod| pod.namespace().to_owned()),
        pod: pod.as_ref().map(|pod| pod.name().to_owned()),
        verdict: args.verdict.clone(),
        errors: args.errors,
    };
    let mut shown = Shown { output: args.place.output, left: args.max_events, ..Shown::default() };
    let stopped = args.place.talk(async |agent| {
        let follow = agent.follow(&question, |view| shown.take(&view));
        let follow = async {
            match args.timeout {
                None => follow.await,
                Some(time) => tokio::time::timeout(time, follow).await.unwrap_or(Ok(true)),
            }
        };
        tokio::select! {
            stopped = follow => stopped.map(Ok),
            // No line may come for long by which that would be seen.
            gone = print::reader_gone() => Ok(gone.map(|()| true)),
        }
    })??;
    let Shown { failed, dropped, .. } = shown;
    if let Some(failure) = failed {
        return Err(failure);
    }
    if dropped.total() > 0 {
        print::note(&format!("{} events were not told", dropped.total()));
    }
    if stopped { Ok(Exit::Fine) } else { Err(Failure::new(Exit::Unreachable, gone())) }
}

fn gone() -> anyhow::Error {
    anyhow!("the agent has ended; run `balancer-agent trace` again when there is one")
}

/// What has been shown.
#[derive(Default)]
struct Shown {
    output: Output,
    /// Events that are still wanted; none where all are.
    left: Option<u64>,
    dropped: DroppedView,
    failed: Option<Failure>,
}

impl Shown {
    fn take(&mut self, view: &TraceView) -> ControlFlow<()> {
        match (view, &mut self.left) {
            (TraceView::Begun, _) => {
                print::note("from now on; programs tell nothing once nobody reads");
                return ControlFlow::Continue(());
            }
            (TraceView::Dropped(more), _) => {
                self.dropped.capped += more.capped;
                self.dropped.full += more.full;
                self.dropped.behind += more.behind;
            }
            (_, Some(left)) => *left -= 1,
            (_, None) => {}
        }
        let printed = line(self.output, view).map_err(Failure::from).and_then(|text| {
            // Nobody reads any more.
            Ok(print::piece(&text)?)
        });
        match printed {
            Ok(true) if self.left != Some(0) => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(failure) => {
                self.failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}

/// One event: a line of text or of JSON, a document of YAML.
fn line(output: Output, view: &TraceView) -> Result<String, RenderError> {
    match output {
        Output::Json => Ok(serde_json::to_string(view)? + "\n"),
        Output::Yaml => Ok(format!("---\n{}", render::text(output, view, render::trace)?)),
        Output::Table | Output::Wide => render::text(output, view, render::trace),
    }
}
