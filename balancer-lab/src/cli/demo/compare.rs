//! Plays scenarios on all sides.

use anyhow::Result;
use balancer_lab::Lab;
use indicatif::ProgressBar;

use super::{
    outcome::{Balancer, Comparison, Outcome},
    scenario::Scenario,
    stage::{Scene, Stage},
    text::View,
};

/// What came of the scenarios.
pub(super) struct Compared {
    pub(super) comparisons: Vec<Comparison>,
    /// What an agent said of the one that tells most.
    pub(super) view: Option<View>,
    /// Balancer's lab of one node, where one was needed.
    pub(super) lab: Option<Stage<Lab>>,
}

/// How many steps of the progress bar the scenarios are.
pub(super) fn steps(scenarios: &[Scenario]) -> usize {
    let steps = |several: bool, sides: usize| {
        let of = scenarios.iter().filter(|scenario| scenario.nodes().is_some() == several).count();
        if of == 0 { 0 } else { (of + 1) * sides }
    };
    steps(false, Balancer::ONE_NODE.len()) + steps(true, Balancer::SEVERAL_NODES.len())
}

/// Plays them, those of several nodes first, and hands each to `show` as soon as it is over.
pub(super) fn all(
    scenarios: &[Scenario],
    keep: bool,
    progress: &ProgressBar,
    show: impl Fn(&Comparison),
) -> Result<Compared> {
    let (several, one): (Vec<Scenario>, _) =
        scenarios.iter().partition(|scenario| scenario.nodes().is_some());
    let (mut comparisons, mut view) = (Vec::new(), None);
    let mut play = |scenarios: Vec<Scenario>, sides: &[(Balancer, &Scene)]| -> Result<()> {
        for scenario in scenarios {
            let (comparison, seen) = compare(scenario, sides, progress)?;
            show(&comparison);
            comparisons.push(comparison);
            // Of many clients the view tells most.
            if view.is_none() || scenario == Scenario::Pods7x3 {
                view = seen;
            }
        }
        Ok(())
    };
    if let Some(nodes) = several.iter().filter_map(|scenario| scenario.nodes()).max() {
        let mut stages = Vec::new();
        for side in Balancer::SEVERAL_NODES {
            step(progress, format!("{nodes} nodes, {}", side.title(true)));
            stages.push((side, Stage::build_nodes(side, nodes)?));
        }
        let sides: Vec<_> = stages.iter().map(|(side, stage)| (*side, &stage.scene)).collect();
        play(several, &sides)?;
    }
    let mut lab = None;
    if !one.is_empty() {
        step(progress, "kube-proxy's lab: 12 pods, rules".into());
        let rules = Stage::build(Balancer::Iptables, false)?;
        step(progress, "balancer's lab: 12 pods, agent".into());
        let least = Stage::build(Balancer::LeastConnections, keep)?;
        let sides =
            [(Balancer::Iptables, &rules.scene), (Balancer::LeastConnections, &least.scene)];
        play(one, &sides)?;
        lab = Some(least);
    }
    Ok(Compared { comparisons, view, lab })
}

/// One scenario on these sides, and what the agent of the last of them said.
fn compare(
    scenario: Scenario,
    sides: &[(Balancer, &Scene)],
    progress: &ProgressBar,
) -> Result<(Comparison, Option<View>)> {
    let (name, several_nodes) = (scenario.name(), scenario.nodes().is_some());
    let (mut outcomes, mut view) = (Vec::new(), None);
    for (side, scene) in sides {
        step(progress, format!("{name}, {}", side.title(several_nodes)));
        let (report, seen) = scene.play(scenario)?;
        outcomes.push(Outcome::new(name.clone(), *side, &scene.backends(), &report)?);
        view = seen;
    }
    let description = scenario.description();
    Ok((Comparison { name, description, several_nodes, sides: outcomes }, view))
}

fn step(progress: &ProgressBar, what: String) {
    progress.inc(1);
    progress.set_message(what);
}
