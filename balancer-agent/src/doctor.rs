//! What this node can and can't do for balancing, and why: [`facts`] gathers, [`judge`] decides.

pub mod facts;
pub mod judge;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::facts::Facts;
use crate::config::RunConfig;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing to do.
    Ok,
    /// Balancing works, with less than it could have.
    Warn,
    /// Balancing does not work.
    Fail,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One check: an element of `doctor -o json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the check.
    pub check: String,
    /// How it went.
    pub result: Outcome,
    /// What was found.
    pub detail: String,
    /// What to do about it; absent where there is nothing to do.
    pub remedy: Option<String>,
}

/// The node lacks something without which `run` cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}: {remedy}")]
pub struct Lacking {
    /// What is missing.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

/// Refuses to start where the node lacks something; names the first thing that must be mended.
pub fn require(config: &RunConfig) -> Result<(), Lacking> {
    let facts = Facts::essential(Some(&config.cgroup), &config.bpffs);
    judge::essential(&facts).into_iter().try_for_each(lacking)
}

fn lacking(finding: Finding) -> Result<(), Lacking> {
    match (finding.result, finding.remedy) {
        (Outcome::Fail, remedy) => {
            Err(Lacking { detail: finding.detail, remedy: remedy.unwrap_or_default() })
        }
        _ => Ok(()),
    }
}
