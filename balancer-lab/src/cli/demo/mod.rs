//! `balancer-lab demo`: kube-proxy's rules and balancer, side by side.

mod chart;
mod chosen;
mod compare;
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

use anyhow::{Context, Result, ensure};
use balancer_lab::signals;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use chosen::Chosen;
use compare::Compared;
use outcome::Outcome;

/// Compare kube-proxy's random choice with balancer's least connections, on this machine
///
/// Five backend pods and seven client pods, on one node or on several, run in network namespaces and
/// cgroups of their own; nothing outside of them is touched, and all of it is removed at the end.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  balancer-lab demo\n  \
                        balancer-lab demo --scenario nodes-7x3 --scenario shared-20\n  \
                        balancer-lab demo --scenario rollout --scenario scale-out\n  \
                        balancer-lab demo --scenario rollout-nodes\n  \
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
    ensure!(
        !arguments.keep || scenarios.iter().any(|scenario| scenario.nodes().is_none()),
        "--keep leaves the lab of a scenario on one node up: name one, such as pools-5"
    );
    let progress = progress((compare::steps(&scenarios) + stories.len()) as u64);
    let mut told = Vec::new();
    for story in stories {
        progress.set_message(story.name());
        let one = story::tell(story)?;
        progress.inc(1);
        if arguments.output == Output::Text {
            progress.suspend(|| anstream::print!("{}", story::text(&one)));
        }
        told.push(one);
    }
    let Compared { comparisons, view, lab } =
        compare::all(&scenarios, arguments.keep, &progress, |comparison| {
            if arguments.output == Output::Text {
                progress.suspend(|| anstream::print!("{}", text::scenario(comparison)));
            }
        })?;
    progress.finish_and_clear();
    write_report(&arguments.report, &html::page(&comparisons, &told, view.as_ref()))?;
    let further = match lab {
        Some(lab) if arguments.keep => lab.leave()?,
        _ => explore::gone(),
    };
    if arguments.output == Output::Text {
        if !comparisons.is_empty() {
            anstream::print!("{}", text::summary(&comparisons, view.as_ref()));
        }
        println!("The same with charts: {}\n\n{further}", arguments.report.display());
        return Ok(());
    }
    let outcomes: Vec<&Outcome> = comparisons.iter().flat_map(|one| &one.sides).collect();
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
