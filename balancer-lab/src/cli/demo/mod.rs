//! `balancer-lab demo`: kube-proxy's rules and balancer, side by side.

mod chart;
mod chosen;
mod explore;
mod html;
mod manifest;
mod outcome;
mod scenario;
mod stage;
mod story;
mod text;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use chosen::Chosen;
use manifest::Web;
use outcome::{Balancer, Outcome, Pair};
use scenario::Scenario;
use stage::Stage;

use super::signals;

/// Compare kube-proxy's random choice with balancer's least connections, on this machine
///
/// Five backend pods and seven client pods run in network namespaces and cgroups of their own;
/// nothing outside of them is touched, and all of it is removed at the end.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  balancer-lab demo\n  \
                        balancer-lab demo --scenario pools-5 --scenario shared-20\n  \
                        balancer-lab demo --scenario rollout --scenario scale-out\n  \
                        balancer-lab demo --output json\n  balancer-lab demo --keep")]
pub(super) struct Arguments {
    /// Run only this scenario; may be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    scenario: Vec<Chosen>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Where to write the HTML report
    #[arg(long, value_name = "FILE", default_value = "target/balancer-demo.html")]
    report: PathBuf,
    /// Leave balancer's lab up for exploring; `balancer-lab sweep --kept` removes it
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    signals::watch().context("watch for signals")?;
    let (scenarios, stories) = chosen::apart(&arguments.scenario);
    if scenarios.is_empty() && arguments.keep {
        bail!("--keep leaves the lab of a scenario up: name one that is no story, such as pools-5");
    }
    let web = Web::load()?;
    let comparisons = if scenarios.is_empty() { 0 } else { scenarios.len() * 2 + 2 };
    let progress = progress((comparisons + stories.len()) as u64);
    let mut told = Vec::new();
    for story in stories {
        progress.set_message(format!("{}, all sides at once", story.name()));
        let one = story::tell(story)?;
        progress.inc(1);
        if arguments.output == Output::Text {
            progress.suspend(|| anstream::print!("{}", story::text(&one)));
        }
        told.push(one);
    }
    if scenarios.is_empty() {
        progress.finish_and_clear();
        write_report(&arguments.report, &html::page(&[], &told, None))?;
        match arguments.output {
            Output::Text => {
                println!(
                    "The same with charts: {}\n\n{}",
                    arguments.report.display(),
                    explore::gone()
                );
            }
            Output::Json => print_json(&[], &told)?,
        }
        return Ok(());
    }
    let step = |what: &str| {
        progress.inc(1);
        progress.set_message(what.to_owned());
    };
    progress.set_message("kube-proxy's lab: 12 pods, rules");
    let iptables = Stage::build(Balancer::Iptables, &web, false)?;
    step("balancer's lab: 12 pods, agent");
    let least = Stage::build(Balancer::LeastConnections, &web, arguments.keep)?;
    let backends: Vec<String> = web.pods.iter().map(|(name, _)| name.clone()).collect();
    let (mut pairs, mut view) = (Vec::new(), None);
    for &scenario in &scenarios {
        let name = scenario.name();
        step(&format!("{name}, kube-proxy"));
        let (random, ()) = iptables.play(scenario, &web, |_| Ok(()))?;
        step(&format!("{name}, balancer"));
        let (even, seen) = least.play(scenario, &web, |agent| {
            let agent = agent.context("balancer's lab has no agent")?;
            Ok(agent.cli(&["backends", &web.name])?)
        })?;
        // Of many clients the view tells most.
        if view.is_none() || scenario == Scenario::Pods7x3 {
            view = Some(text::View {
                scenario: name.clone(),
                command: format!("backends {}", web.name),
                output: seen,
            });
        }
        let pair = Pair {
            iptables: Outcome::new(name.clone(), Balancer::Iptables, &backends, &random)?,
            least: Outcome::new(name.clone(), Balancer::LeastConnections, &backends, &even)?,
            description: scenario.description(),
            name,
        };
        if arguments.output == Output::Text {
            progress.suspend(|| anstream::print!("{}", text::scenario(&pair)));
        }
        pairs.push(pair);
    }
    progress.finish_and_clear();
    drop(iptables);
    write_report(&arguments.report, &html::page(&pairs, &told, view.as_ref()))?;
    let further = if arguments.keep { least.leave(&web)? } else { explore::gone() };
    if arguments.output == Output::Text {
        anstream::print!("{}", text::summary(&pairs, view.as_ref()));
        println!("The same with charts: {}\n\n{further}", arguments.report.display());
        return Ok(());
    }
    let outcomes: Vec<&Outcome> =
        pairs.iter().flat_map(|pair| [&pair.iptables, &pair.least]).collect();
    print_json(&outcomes, &told)?;
    if arguments.keep {
        eprint!("{further}");
    }
    Ok(())
}

fn print_json(scenarios: &[&Outcome], stories: &[story::Told]) -> Result<()> {
    let all = serde_json::json!({"scenarios": scenarios, "stories": stories});
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

fn write_report(path: &Path, page: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    fs::write(path, page).with_context(|| format!("write {}", path.display()))
}

/// A bar on standard error, drawn only on a terminal.
fn progress(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{bar:30.green} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}
