//! All trials of a kind of client, beside the targets.

use std::time::Duration;

use super::{
    super::super::{
        report::{Cell, Column, Table},
        stats,
    },
    CONNECTIONS, Clients, PODS, Trial,
};

/// How many must be ended, at least.
const FEWEST: u64 = 13;
/// How long they may take to be even.
const TARGET: Duration = Duration::from_secs(5);

/// The trials as a table, a column for each kind of client.
pub(in super::super) fn table(trials: &[Trial]) -> Table {
    let sums = Clients::ALL.map(|clients| Sum::of(trials.iter().filter(|t| t.clients == clients)));
    let row = |what: &str, cell: fn(&Sum) -> Cell, unit: &str, target: &str| {
        let [hyper, tonic] = sums.each_ref().map(cell);
        let target = if target.is_empty() { Cell::Absent } else { target.into() };
        vec![what.into(), hyper, tonic, unit.into(), target]
    };
    let column = |key, head| Column { key, head };
    Table {
        caption: format!("Rollout: {CONNECTIONS} connections on one of {PODS} pods"),
        columns: vec![
            column("what", "what"),
            column("hyper", "hyper, pools"),
            column("tonic", "tonic, channels"),
            column("unit", "unit"),
            column("target", "target"),
        ],
        rows: vec![
            row("trials", |sum| Cell::Count(sum.trials), "", ""),
            row("even in 5 s", |sum| Cell::Count(sum.in_time), "trials", "all"),
            row("change to even, median", |sum| sum.seconds(0.5), "s", ""),
            row("longest", |sum| sum.seconds(1.0), "s", "5"),
            row("ended, fewest in a trial", |sum| Cell::Count(sum.fewest), "connections", "13"),
            row("most in a trial", |sum| Cell::Count(sum.most), "connections", "13"),
            row("ended twice", |sum| Cell::Count(sum.twice), "connections", "0"),
            row("answered", |sum| Cell::Count(sum.requests), "requests", ""),
            row("failed", |sum| Cell::Count(sum.failed), "requests", "0"),
        ],
    }
}

/// Trials of one kind of client.
struct Sum {
    trials: u64,
    in_time: u64,
    /// Of those that became even, sorted.
    times: Vec<f64>,
    fewest: u64,
    most: u64,
    twice: u64,
    requests: u64,
    failed: u64,
}

impl Sum {
    fn of<'a>(trials: impl Iterator<Item = &'a Trial>) -> Self {
        let trials: Vec<_> = trials.collect();
        let mut times: Vec<_> = trials.iter().filter_map(|trial| trial.seconds).collect();
        times.sort_unstable_by(f64::total_cmp);
        let all = |value: fn(&Trial) -> u64| trials.iter().map(move |trial| value(trial));
        Self {
            trials: trials.len() as u64,
            in_time: times.iter().filter(|time| **time <= TARGET.as_secs_f64()).count() as u64,
            times,
            fewest: all(|trial| trial.ended).min().unwrap_or(0),
            most: all(|trial| trial.ended).max().unwrap_or(0),
            twice: all(|trial| trial.ended.saturating_sub(trial.reopened)).sum(),
            requests: all(|trial| trial.requests).sum(),
            failed: all(|trial| trial.failed).sum(),
        }
    }

    fn seconds(&self, part: f64) -> Cell {
        Cell::Number(stats::quantile(&self.times, part), 1)
    }

    fn is_right(&self) -> bool {
        let ends = (self.fewest, self.most, self.twice) == (FEWEST, FEWEST, 0);
        self.in_time == self.trials && ends && self.failed == 0
    }
}

/// What the targets say.
pub(in super::super) fn notes(trials: &[Trial]) -> Vec<String> {
    let one = |clients: Clients| {
        let of = || trials.iter().filter(|trial| trial.clients == clients);
        let sum = Sum::of(of());
        let reached = if sum.is_right() { "reached" } else { "missed" };
        let first = of().find_map(|trial| trial.first_error.as_ref());
        let first = first.map_or(String::new(), |error| format!("; the first failure: {error}"));
        format!(
            "Target: rollout with {} is even in 5 s by ending {FEWEST}, in each of {} trials, and no \
             request fails: {} of {} in time, {} failed, {reached}{first}.",
            clients.name(),
            sum.trials,
            sum.in_time,
            sum.trials,
            sum.failed,
        )
    };
    Clients::ALL.map(one).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_is_late_or_not_exact_misses_the_target() {
        let trial = |seconds, ended| Trial {
            clients: Clients::Tonic,
            seconds: Some(seconds),
            ended,
            reopened: 13,
            requests: 100,
            failed: 0,
            first_error: None,
        };
        let right = |trials: &[Trial]| Sum::of(trials.iter()).is_right();
        assert!(right(&[trial(2.5, 13), trial(4.0, 13)]));
        assert!(!right(&[trial(2.5, 13), trial(5.5, 13)]));
        assert!(!right(&[trial(2.5, 14)]), "one was ended twice");
        assert!(!right(&[trial(2.5, 12)]));
        assert!(!right(&[Trial { failed: 1, ..trial(2.5, 13) }]));
        assert!(!right(&[Trial { seconds: None, ..trial(2.5, 13) }]));
        let table = table(&[trial(2.5, 13), trial(3.5, 13)]);
        assert_eq!(table.rows[2][2], Cell::Number(3.0, 1), "{table:?}");
        assert_eq!(table.rows[0][1], Cell::Count(0), "{table:?}");
    }
}
