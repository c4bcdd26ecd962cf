//! `rebalance`: how soon, with how few ends and at which cost connections that live long come to where
//! they belong.

mod calls;
mod churn;
mod pass;
mod rollout;
mod scale_out;
mod stage;

use indicatif::ProgressBar;
use serde_json::json;

use super::{Effort, report::Report};
use crate::error::Result;

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    let Moves { trials, ends, budgets, changes, connections } = &effort.moves;
    let calls = calls::run(*ends, progress)?;
    let rollouts = rollout::run(*trials, progress)?;
    let scale_outs = scale_out::run(budgets, progress)?;
    let churn = churn::run(*changes, progress)?;
    let pass = pass::run(*connections, progress)?;
    let mut notes = rollout::notes(&rollouts);
    notes.extend(scale_out::notes(&scale_outs));
    notes.extend([calls::note(&calls), churn.note(), pass.note()]);
    Ok(Report {
        name: "rebalance",
        what: "Connections to a Service with rebalance: true; everything else is the agent's \
               default, save where a budget is named. Each client sends a request 100 ms after the \
               answer before, with the defaults of its library, over a connection of its own. \
               Ended: as the agent counts them; ended twice: what was ended beyond the connections \
               that carried requests later and had not before; seconds: from the change of the \
               manifest to an even spread of what the kernel counts."
            .into(),
        tables: vec![
            rollout::table(&rollouts),
            calls::table(&calls),
            scale_out::table(&scale_outs),
            churn.table(),
            pass.table(),
        ],
        notes,
        raw: json!({
            "rollout": rollouts, "calls": calls, "scale_out": scale_outs, "churn": churn, "pass": pass,
        }),
    })
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
}

impl Moves {
    /// For figures to be published: a quarter of an hour.
    pub fn full() -> Self {
        Self { trials: 100, ends: 170, budgets: vec![600, 60], changes: 60, connections: 100_000 }
    }

    /// For a first impression.
    pub fn quick() -> Self {
        Self { trials: 6, ends: 20, budgets: vec![600], changes: 6, connections: 100_000 }
    }
}
