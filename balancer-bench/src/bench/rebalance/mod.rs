//! `rebalance`: how soon, with how few ends and at which cost connections that live long come to where
//! they belong.

mod calls;
mod churn;
mod pass;
mod rollout;
mod scale_out;
mod stage;

use balancer_lab::error::Result;
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde_json::json;

use super::{Effort, report::Report};

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    let Moves { trials, ends, budgets, changes, connections, only } = &effort.moves;
    let wants = |part: Part| only.is_none_or(|only| only == part);
    let (mut tables, mut notes, mut raw) = (Vec::new(), Vec::new(), serde_json::Map::new());
    if wants(Part::Rollout) {
        let rollouts = rollout::run(*trials, progress)?;
        tables.push(rollout::table(&rollouts));
        notes.extend(rollout::notes(&rollouts));
        raw.insert("rollout".into(), json!(rollouts));
    }
    if wants(Part::Calls) {
        let calls = calls::run(*ends, progress)?;
        tables.push(calls::table(&calls));
        notes.push(calls::note(&calls, *ends));
        raw.insert("calls".into(), json!(calls));
    }
    if wants(Part::ScaleOut) {
        let scale_outs = scale_out::run(budgets, progress)?;
        tables.push(scale_out::table(&scale_outs));
        notes.extend(scale_out::notes(&scale_outs));
        raw.insert("scale_out".into(), json!(scale_outs));
    }
    if wants(Part::Churn) {
        let churn = churn::run(*changes, progress)?;
        tables.push(churn.table());
        notes.push(churn.note());
        raw.insert("churn".into(), json!(churn));
    }
    if wants(Part::Pass) {
        let pass = pass::run(*connections, progress)?;
        tables.push(pass.table());
        notes.push(pass.note());
        raw.insert("pass".into(), json!(pass));
    }
    Ok(Report {
        name: "rebalance",
        what: "Connections to a Service with rebalance: true; everything else is the agent's \
               default, save where a budget is named. Each client sends a request 100 ms after the \
               answer before, with the defaults of its library, over a connection of its own. \
               Ended: as the agent counts them; ended twice: what was ended beyond the connections \
               that carried requests later and had not before; seconds: from the change of the \
               manifest to an even spread of what the kernel counts."
            .into(),
        tables,
        notes,
        raw: raw.into(),
    })
}

/// A part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Part {
    /// Calls that take time, whose connections are ended again and again
    Calls,
    /// All connections on one of three pods, as a rolling restart leaves them
    Rollout,
    /// Four pods become eight
    ScaleOut,
    /// A pod joins or leaves every ten seconds
    Churn,
    /// The time of a pass over very many connections
    Pass,
}

/// How much of each part.
#[derive(Clone, Debug)]
pub struct Moves {
    /// Rollouts with each kind of client.
    pub trials: u32,
    /// Ends of connections of each kind of calls that take time.
    pub ends: u64,
    /// Budgets of a minute, each with a scale-out of its own.
    pub budgets: Vec<u64>,
    /// Pods that join or leave, one every ten seconds.
    pub changes: u32,
    /// Connections that a pass looks at.
    pub connections: usize,
    /// This part alone.
    pub only: Option<Part>,
}

impl Moves {
    /// For figures to be published: ten minutes for the churn alone, and as many for the rest.
    pub fn full() -> Self {
        let (trials, ends, changes) = (100, 170, 60);
        let budgets = vec![600, 60];
        Self { trials, ends, budgets, changes, connections: 100_000, only: None }
    }

    /// For a first impression.
    pub fn quick() -> Self {
        let (trials, ends, changes) = (6, 20, 6);
        let budgets = vec![600];
        Self { trials, ends, budgets, changes, connections: 100_000, only: None }
    }
}
