//! The annotations `balancer-agent/...` of a Service: how its backends are chosen.

use std::{collections::BTreeMap, time::Duration};

use balancer_common::policy::Policy;

use super::{
    object::{Fault, Faults},
    weights::weights,
};
use crate::{
    model::{Moving, Tuning},
    settings::{
        duration,
        moving::{self, Setting},
        quoted,
    },
};

/// What the name of every annotation of balancer begins with.
const PREFIX: &str = "balancer-agent/";
const POLICY: &str = "policy";
const WEIGHTS: &str = "weights";
const SLOW_START: &str = "slow-start";
const SUSPECT: &str = "suspect";
/// Names that mean something to this version, beside those of [`moving::ALL`].
const KNOWN: [&str; 4] = [POLICY, WEIGHTS, SLOW_START, SUSPECT];
/// How long a slow start may take.
const SLOW_START_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// What the annotations say, as far as they are usable.
pub fn tuning(annotations: Option<&BTreeMap<String, String>>, faults: &mut Faults) -> Tuning {
    let mut tuning = Tuning::default();
    let mut moving = Moving::default();
    let mut weighted = false;
    let ours = annotations.into_iter().flatten();
    let ours = ours.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())));
    for (name, value) in ours {
        match name {
            POLICY => tuning.policy = policy(value, faults),
            SLOW_START => tuning.slow_start = slow_start(value, faults),
            SUSPECT => tuning.keeps_suspects = keeps_suspects(value, faults),
            WEIGHTS => {
                weighted = true;
                tuning.weights = weights(&field(WEIGHTS), value, faults);
            }
            _ => match Setting::named(name).map(|setting| setting.take(&mut moving, value)) {
                Some(Ok(())) => {}
                Some(Err(wrong)) => {
                    let message = format!("{wrong}; the cluster's default is used");
                    faults.push(Fault::new(field(name), message));
                }
                None => faults.push_with(|| unknown(name)),
            },
        }
    }
    if let Some((name, why)) = moving::contradiction(&moving) {
        faults.push(Fault::new(field(name), why));
    }
    if moving.rebalance == Some(true) && !tuning.policy.chooses_least() {
        let why = format!("the policy is {}", tuning.policy.name());
        no_rebalance(&mut moving, &why, faults);
    }
    tuning.moving = (moving != Moving::default()).then(|| moving.into());
    if weighted && tuning.policy != Policy::WeightedLeastConnections {
        tuning.weights.clear();
        faults.push(Fault::new(
            field(WEIGHTS),
            format!(
                "the policy is {}, which knows no weights: they have no effect; annotate \
                 {PREFIX}{POLICY}: {} too, or remove them",
                tuning.policy.name(),
                Policy::WeightedLeastConnections.name(),
            ),
        ));
    }
    if tuning.slow_start > 0 && !tuning.policy.chooses_least() {
        tuning.slow_start = 0;
        faults.push(Fault::new(
            field(SLOW_START),
            format!(
                "the policy is {}, which gives a new backend no more than the others: there is no \
                 slow start; remove it, or annotate {PREFIX}{POLICY}: {}",
                tuning.policy.name(),
                Policy::LeastConnections.name(),
            ),
        ));
    }
    tuning
}

/// Says that connections are not moved for the sake of balance, since they would not come back
/// where they are missing.
pub fn no_rebalance(moving: &mut Moving, why: &str, faults: &mut Faults) {
    moving.rebalance = Some(false);
    faults.push(Fault::new(
        field("rebalance"),
        format!(
            "{why}: what is ended would not be opened again where connections are missing, so that \
             none is moved; remove one of both"
        ),
    ));
}

fn field(name: &str) -> String {
    format!("metadata.annotations[{PREFIX}{name}]")
}

fn policy(value: &str, faults: &mut Faults) -> Policy {
    Policy::from_name(value).unwrap_or_else(|| {
        let names = Policy::ALL.map(Policy::name);
        let default = Policy::default();
        let remedy = match closest(value, &names) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("write one of {}", names.join(", ")),
        };
        faults.push(Fault::new(
            field(POLICY),
            format!("{} is no policy: {} is used; {remedy}", quoted(value), default.name()),
        ));
        default
    })
}

/// Whole seconds, rounded up; 0 where there is no slow start.
fn slow_start(value: &str, faults: &mut Faults) -> u32 {
    let wrong = match duration::parse(value) {
        Some(found) if SLOW_START_RANGE.contains(&found) => {
            return found.as_nanos().div_ceil(1_000_000_000) as u32;
        }
        Some(_) => "is not between 1s and 1h",
        None => "is no duration",
    };
    let message = format!(
        "{value} {wrong}: there is no slow start; write one such as 30s or 2m",
        value = quoted(value)
    );
    faults.push(Fault::new(field(SLOW_START), message));
    0
}

/// True for `off`.
fn keeps_suspects(value: &str, faults: &mut Faults) -> bool {
    match value {
        "off" => true,
        "on" => false,
        _ => {
            let message = format!(
                "{value} is neither on nor off: it is on, and backends that have just failed get no \
                 connections while others answer; write \"off\", in quotes, to turn that off",
                value = quoted(value)
            );
            faults.push(Fault::new(field(SUSPECT), message));
            false
        }
    }
}

fn unknown(name: &str) -> Fault {
    let all = [&KNOWN[..], &moving::ALL.map(|setting| setting.name)[..]].concat();
    let remedy = match closest(name, &all) {
        Some(known) => format!("did you mean {PREFIX}{known}?"),
        None => format!(
            "known are {}",
            all.iter().map(|name| format!("{PREFIX}{name}")).collect::<Vec<_>>().join(", ")
        ),
    };
    Fault::new(field(name), format!("no annotation of balancer: it has no effect; {remedy}"))
}

/// The name that was meant, if one is near enough: a slip of some letters. Nobody meant one of these
/// by a text of pages, whose likeness takes long to find.
fn closest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    if text.len() > 64 {
        return None;
    }
    let text = text.trim().to_lowercase().replace('_', "-");
    let slips = |name: &str| strsim::damerau_levenshtein(&text, name);
    let near = names.iter().copied().min_by_key(|name| slips(name));
    near.filter(|name| slips(name) <= 1 + name.len() / 4)
}

#[cfg(test)]
mod tests;
