//! `connect`: what a fresh connection costs.

use balancer_lab::error::Result;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    Effort, WARM_UP,
    report::{Cell, Column, Report, Table},
    rounds::Rounds,
    stage::{self, BACKENDS, Stage},
    stats::{micros, quantile},
    variant::Variant,
};

/// The metrics of a round, by index.
const P50: usize = 0;
const P99: usize = 1;
const RATE: usize = 2;
/// The most that balancer's p50 and p99 may be of direct's.
const TARGETS: [(usize, &str, f64); 2] = [(P50, "p50", 1.04), (P99, "p99", 1.10)];
/// By how much balancer's p50 may differ between the fewest and the most Services.
const FLAT: f64 = 0.03;
/// How many times iptables-nft's p50 is to be balancer's, with the most Services both have.
const FASTER: f64 = 3.0;

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    let (mut stages, missing) = stage::build_all(&effort.services, effort.many, progress)?;
    let rounds = Rounds::run(&mut stages, effort.rounds, progress, |stage| {
        let connects = stage.worker.connect(&stage.targets, effort.connects, WARM_UP, false)?;
        stage.worker.accept(effort.connects)?;
        let sorted = micros(&connects.nanos);
        let rate = f64::from(effort.connects) / connects.seconds;
        Ok([quantile(&sorted, 0.5), quantile(&sorted, 0.99), rate])
    })?;
    stage::check_tracking(&stages)?;
    let mut notes = verdicts(&stages, &rounds);
    notes.push(rounds.noise(&stages, P50, "p50"));
    notes.push(rounds.noise(&stages, P99, "p99"));
    notes.extend(missing);
    Ok(Report {
        name: "connect",
        what: format!(
            "A client pod connects to {BACKENDS} backend pods on its node, {} rounds of {} connections \
             for each variant in an order shuffled anew. p50 and p99 are of connect() alone, \
             the rate is that of socket(), connect() and close() together; each is the median \
             of the rounds. Ratios are to direct in the same round, with the middle half of \
             the rounds in brackets. The measured Service stands in the middle of the others.",
            effort.rounds, effort.connects
        ),
        tables: vec![table(&stages, &rounds)],
        notes,
        raw: raw(&stages, &rounds),
    })
}

fn table(stages: &[Stage], rounds: &Rounds<3>) -> Table {
    let row = |(index, stage): (usize, &Stage)| {
        let number = |metric, digits| Cell::Number(rounds.metric(index, metric).median, digits);
        let ratio = |metric| match stage.variant {
            Variant::Direct => Cell::Number(1.0, 2),
            _ => Cell::Ratio(rounds.ratio(index, metric)),
        };
        vec![
            stage.variant.name().into(),
            if stage.variant.is_balanced() {
                Cell::Count(stage.services.into())
            } else {
                Cell::Absent
            },
            number(P50, 2),
            number(P99, 2),
            number(RATE, 0),
            ratio(P50),
            ratio(P99),
            ratio(RATE),
        ]
    };
    let column = |key, head| Column { key, head };
    Table {
        caption: "Fresh connections".into(),
        columns: vec![
            column("variant", "variant"),
            column("services", "Services"),
            column("p50_us", "p50 (µs)"),
            column("p99_us", "p99 (µs)"),
            column("connects_per_second", "connects/s"),
            column("p50_ratio", "p50 / direct"),
            column("p99_ratio", "p99 / direct"),
            column("rate_ratio", "rate / direct"),
        ],
        rows: stages.iter().enumerate().map(row).collect(),
    }
}

/// The targets and what they came to.
fn verdicts(stages: &[Stage], rounds: &Rounds<3>) -> Vec<String> {
    let of = |variant| -> Vec<usize> {
        let indexes = 0..stages.len();
        indexes.filter(|&index| stages[index].variant == variant).collect()
    };
    let balancer = of(Variant::Balancer);
    let (Some(&fewest), Some(&most)) = (balancer.first(), balancer.last()) else {
        return vec!["balancer was not measured.".into()];
    };
    let mut verdicts: Vec<String> = TARGETS
        .iter()
        .map(|&(metric, name, target)| {
            let came_to = rounds.ratio(fewest, metric).median;
            let word = word(came_to <= target);
            format!(
                "Target: balancer's {name} at most {target} of direct, without connection \
                 tracking: {came_to:.3}, {word}."
            )
        })
        .collect();
    let flat = rounds.between(most, fewest, P50).median;
    verdicts.push(format!(
        "Target: balancer's p50 with {} Services within {:.0}% of that with {}: {flat:.3} of it, {}.",
        stages[most].services,
        FLAT * 100.0,
        stages[fewest].services,
        word((flat - 1.0).abs() <= FLAT)
    ));
    let same = |iptables: &usize| {
        let services = stages[*iptables].services;
        balancer.iter().find(|&&index| stages[index].services == services).copied()
    };
    let iptables = of(Variant::IptablesNft);
    if let Some((iptables, balancer)) = iptables.last().and_then(|last| Some((*last, same(last)?)))
    {
        let times = rounds.between(iptables, balancer, P50).median;
        verdicts.push(format!(
            "Target: with {} Services at least {FASTER} times faster than iptables-nft: {times:.1} \
             times, {}.",
            stages[iptables].services,
            word(times >= FASTER)
        ));
    }
    verdicts
}

const fn word(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "missed" }
}

fn raw(stages: &[Stage], rounds: &Rounds<3>) -> Value {
    let of_stage = |(index, stage): (usize, &Stage)| {
        json!({
            "variant": stage.variant,
            "services": stage.services,
            "p50_us": rounds.raw(index, P50),
            "p99_us": rounds.raw(index, P99),
            "connects_per_second": rounds.raw(index, RATE),
        })
    };
    stages.iter().enumerate().map(of_stage).collect()
}
