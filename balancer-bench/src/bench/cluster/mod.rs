//! `cluster`: how evenly the connections of all nodes come to the backends.

mod acceptance;
mod agents;
mod engine;
mod figures;
mod kernel;
mod moves;
mod nodes;
mod simulate;
mod traffic;
mod way;
mod workload;
mod world;

use std::time::Duration;

use balancer_lab::error::Result;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::report::{Cell, Column, Report, Table};
use acceptance::{CASES, Case};
use figures::{Figures, p95};
use simulate::{Outcome, Who};

/// The process in a client pod.
pub use nodes::dial;

/// Runs of each case of moves, at most.
const MOVES: u64 = 100;

/// How much of it.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// Real nodes; none where there is no other than simulated.
    pub nodes: usize,
    /// Nodes of which all but one are played by one thread; none where what many peers take an
    /// agent is not measured.
    pub played: u16,
    /// Simulated workloads of more nodes are left out.
    pub simulated_nodes: usize,
    /// Runs of each workload, at most.
    pub runs: u64,
    /// Only workloads whose name has this in it, and nothing but workloads.
    pub only: Option<String>,
    /// Changes whose way from node to node is measured.
    pub changes: u64,
    /// How long what agents take is measured.
    pub over: Duration,
}

impl Clusters {
    /// For figures to be published.
    pub fn full() -> Self {
        Self {
            nodes: 20,
            played: 500,
            simulated_nodes: 500,
            runs: u64::MAX,
            only: None,
            changes: 200,
            over: Duration::from_secs(60),
        }
    }

    /// For a first impression.
    pub fn quick() -> Self {
        Self {
            nodes: 7,
            played: 0,
            simulated_nodes: 20,
            runs: 4,
            only: None,
            changes: 20,
            over: Duration::from_secs(5),
        }
    }

    /// The workloads of at most so many nodes.
    fn cases(&self, nodes: usize) -> impl Iterator<Item = Case> {
        let is_meant = |case: &Case| {
            case.workload.nodes() <= nodes
                && self.runs > 0
                && self.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))
        };
        let runs = self.runs;
        let cases = CASES.into_iter().filter(is_meant).collect::<Vec<_>>().into_iter();
        cases.map(move |case| Case { runs: case.runs.min(runs), ..case })
    }

    /// Moves of connections of at most so many nodes.
    fn moves(&self, progress: &ProgressBar) -> Vec<moves::Moved> {
        let is_meant = |case: &moves::Case| {
            case.nodes <= self.simulated_nodes
                && self.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))
        };
        let cases = moves::CASES.into_iter().filter(is_meant).collect();
        progress.set_message("moves");
        moves::run(cases, self.runs.min(MOVES), progress)
    }
}

pub(super) fn run(clusters: &Clusters, progress: &ProgressBar) -> Result<Report> {
    let (mut tables, mut raw) = (Vec::new(), Vec::new());
    if clusters.nodes > 0 {
        let is_all = clusters.only.is_none();
        let extent = nodes::Extent {
            nodes: clusters.nodes,
            changes: if is_all { clusters.changes } else { 0 },
            over: if is_all { clusters.over } else { Duration::ZERO },
        };
        let cases = clusters.cases(clusters.nodes).filter(|case| nodes::can(case.workload));
        let measured = nodes::run(cases.collect(), extent, progress)?;
        let caption = format!("Spread over the backends, agents of {} nodes", clusters.nodes);
        tables.push(table(caption, &measured.outcomes));
        tables.extend(measured.tables);
        raw.extend(measured.outcomes.iter().map(|outcome| of_run(outcome, "agents")));
    }
    if clusters.played > 1 && clusters.only.is_none() {
        tables.push(nodes::among_many(clusters.played, clusters.over, progress)?);
    }
    if clusters.simulated_nodes > 0 {
        progress.set_message("simulated clusters");
        let cases = clusters.cases(clusters.simulated_nodes).collect();
        let outcomes = simulate::run(cases, &Who::ALL, progress);
        tables.push(table("Spread over the backends, simulated".into(), &outcomes));
        if clusters.only.is_none() {
            tables.push(traffic::table(clusters.simulated_nodes));
        }
        raw.extend(outcomes.iter().map(|outcome| of_run(outcome, "simulated")));
        let moved = clusters.moves(progress);
        if !moved.is_empty() {
            tables.push(moves::table(&moved));
            raw.extend(moved.iter().map(moves::Moved::raw));
        }
    }
    Ok(Report {
        name: "cluster",
        what: "Clusters whose agents tell each other their counts: n nodes, b backends, m \
               connections of a backend on average, which come at random and live for random \
               times. With agents: each node has its network namespaces, its cgroup and its \
               agent, and who has accepted a connection says where it went. Simulated: what \
               agents say, to whom and when, what follows for a row, and the choice are the \
               functions of the agent and of the programs; a datagram takes 5 to 15 ms, a counter \
               is looked at each 25 ms. Every way sees the same connections. cv: standard \
               deviation divided by the mean, over the backends; gap: most minus least; of steady \
               workloads the mean over time, of others at the end."
            .into(),
        tables,
        notes: vec![
            "dice: kube-proxy. local: each node by its own connections. ideal: exact counts of all \
             nodes without delay. These three are computed. cluster: what agents have heard."
                .into(),
            "Datagrams are sealed and have the headers of IPv4 and UDP. The steward of a \
             Service sums what the nodes report; which node that is differs by Service. Most \
             datagrams are the heartbeats of each node to each other. The target of what \
             agents send and receive is what follows from docs/cluster.md, at most."
                .into(),
        ],
        raw: raw.into(),
    })
}

fn table(caption: String, outcomes: &[Outcome]) -> Table {
    let column = |key, head| Column { key, head };
    Table {
        caption,
        columns: vec![
            column("workload", "workload"),
            column("runs", "runs"),
            column("dice_cv", "dice, cv"),
            column("local_cv", "local, cv"),
            column("ideal_cv", "ideal, cv"),
            column("cluster_cv", "cluster, cv"),
            column("cluster_cv_p95", "95% of runs"),
            column("cluster_max_over_mean", "max/mean"),
            column("cluster_gap", "gap"),
            column("cluster_gap_p95", "95%"),
            column("local_gap", "local, gap"),
            column("demanded", "demanded at most"),
            column("met", "met"),
        ],
        rows: outcomes.iter().map(row).collect(),
    }
}

fn row(outcome: &Outcome) -> Vec<Cell> {
    let Outcome { case, figures } = outcome;
    let of = |who| figures.get(&who).map(Vec::as_slice).unwrap_or_default();
    let cv = |who| Cell::Number(Figures::mean(of(who)).cv, 3);
    let (cluster, local) = (of(Who::Cluster), of(Who::Local));
    let mean = Figures::mean(cluster);
    let demands: Vec<String> = case.demands.iter().map(|demand| demand.text()).collect();
    let met = case.demands.iter().all(|demand| demand.is_met(cluster, local));
    let met = if case.demands.is_empty() {
        ""
    } else if met {
        "yes"
    } else {
        "no"
    };
    vec![
        case.name.into(),
        Cell::Count(case.runs),
        cv(Who::Dice),
        cv(Who::Local),
        cv(Who::Ideal),
        cv(Who::Cluster),
        Cell::Number(p95(cluster.iter().map(|one| one.cv)), 3),
        Cell::Number(mean.max_over_mean, 2),
        Cell::Number(mean.gap, 1),
        Cell::Number(p95(cluster.iter().map(|one| one.gap)), 1),
        Cell::Number(Figures::mean(local).gap, 1),
        Cell::Text(demands.join(", ")),
        met.into(),
    ]
}

fn of_run(outcome: &Outcome, how: &str) -> Value {
    let of = |who: Who| -> Vec<Value> {
        let all = outcome.figures.get(&who).map(Vec::as_slice).unwrap_or_default();
        all.iter()
            .map(|one| json!({"cv": one.cv, "max_over_mean": one.max_over_mean, "gap": one.gap}))
            .collect()
    };
    json!({
        "workload": outcome.case.name,
        "how": how,
        "dice": of(Who::Dice),
        "local": of(Who::Local),
        "ideal": of(Who::Ideal),
        "cluster": of(Who::Cluster),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new pod gets the connections of the one that it replaces, and others hardly any of them.
    #[test]
    fn a_rollout_with_surge_ends_nearly_even() {
        let surge = |case: &Case| case.name.starts_with("rollout with surge, 20n");
        let cases = CASES.into_iter().filter(surge).map(|case| Case { runs: 8, ..case }).collect();
        let outcomes = simulate::run(cases, &Who::ALL, &ProgressBar::hidden());
        let gap = |who| Figures::mean(&outcomes[0].figures[&who]).gap;
        // 20 connections, 3 pods.
        assert_eq!(gap(Who::Ideal), 1.0);
        assert!(gap(Who::Cluster) < 2.0 && gap(Who::Local) > 4.0, "{outcomes:?}");
    }
}
