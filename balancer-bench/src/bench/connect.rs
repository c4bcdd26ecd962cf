//! `connect`: what a fresh connection costs.

use balancer_lab::error::Result;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    Effort, WARM_UP,
    bare::Bare,
    report::{Cell, Column, Report, Table},
    rounds::Rounds,
    stage::{self, BACKENDS, Stage},
    stats::{micros, quantile},
    variant::Variant,
};

/// What was measured: stages that are alike, one after another.
struct Kind {
    variant: Variant,
    services: u32,
    /// Which of the stages they are.
    stages: Vec<usize>,
}

/// All of it.
struct Measured {
    bare: Bare<4>,
    rounds: Rounds<4>,
    kinds: Vec<Kind>,
}

/// The metrics of a round, by index.
const P50: usize = 0;
const P99: usize = 1;
const RATE: usize = 2;
const CLOSE: usize = 3;
/// How often balancer is loaded: one load may be faster than another by more than what is to be seen.
const LOADS: usize = 3;
/// The most that balancer's p50 of connect() may be of that without programs anywhere.
const OF_BARE: f64 = 1.065;
/// The most that balancer's figures may be of direct's.
const TARGETS: [(usize, &str, f64); 3] = [
    (P50, "p50 of connect()", 1.04),
    (P99, "p99 of connect()", 1.05),
    (CLOSE, "p50 of close()", 1.05),
];
/// By how much balancer's p50 may differ between the fewest and the most Services.
const FLAT: f64 = 0.03;
/// How many times iptables-nft's p50 is to be balancer's, with the most Services both have.
const FASTER: f64 = 3.0;

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    let measure = |stage: &mut Stage| {
        let connects = stage.worker.connect(&stage.targets, effort.connects, WARM_UP, false)?;
        stage.worker.accept(effort.connects)?;
        let (sorted, closes) = (micros(&connects.nanos), micros(&connects.close_nanos));
        let rate = f64::from(effort.connects) / connects.seconds;
        Ok([quantile(&sorted, 0.5), quantile(&sorted, 0.99), rate, quantile(&closes, 0.5)])
    };
    let mut bare = Bare::build(progress)?;
    bare.measure(effort.rounds.div_ceil(2), measure)?;
    let (mut stages, missing) = stage::build_all(&effort.services, effort.many, LOADS, progress)?;
    let rounds = Rounds::run(&mut stages, effort.rounds, progress, measure)?;
    stage::check_tracking(&stages)?;
    let noise = [(P50, "p50"), (P99, "p99")].map(|(at, name)| rounds.noise(&stages, at, name));
    let kinds = kinds(&stages);
    // Their programs go with them.
    drop(stages);
    progress.set_message("no programs anywhere, once more");
    bare.measure(effort.rounds.div_ceil(2), measure)?;
    let measured = Measured { bare, rounds, kinds };
    let mut notes = measured.verdicts();
    notes.extend(noise.into_iter().chain(measured.bare.note()).chain(missing));
    Ok(Report {
        name: "connect",
        what: format!(
            "A client pod connects to {BACKENDS} backend pods on its node, {} rounds of {} connections \
             for each variant in an order shuffled anew, balancer with the fewest Services loaded \
             {LOADS} times. p50 and p99 are of connect() alone, which close() is beside; \
             the rate is that of socket(), connect() and close() together; each is the median \
             of the rounds. No programs anywhere is measured before the others are there and after \
             they are gone; ratios to direct are to the same round, all with the middle half of \
             the rounds in brackets. The measured Service stands in the middle of the others.",
            effort.rounds, effort.connects
        ),
        tables: vec![measured.table()],
        notes,
        raw: measured.raw(),
    })
}

/// The stages, those together that are alike.
fn kinds(stages: &[Stage]) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for (index, &Stage { variant, services, .. }) in stages.iter().enumerate() {
        match kinds.iter_mut().find(|kind| (kind.variant, kind.services) == (variant, services)) {
            Some(kind) => kind.stages.push(index),
            None => kinds.push(Kind { variant, services, stages: vec![index] }),
        }
    }
    kinds
}

impl Measured {
    fn table(&self) -> Table {
        let (bare, rounds) = (&self.bare, &self.rounds);
        let row = |kind: &Kind| {
            let stages = &kind.stages;
            let number =
                |metric, digits| Cell::Number(rounds.metric(stages, metric).median, digits);
            let ratio = |metric| match kind.variant {
                Variant::Direct => Cell::Number(1.0, 2),
                _ => Cell::Ratio(rounds.ratio(stages, metric)),
            };
            vec![
                kind.variant.name().into(),
                if kind.variant.is_balanced() {
                    Cell::Count(kind.services.into())
                } else {
                    Cell::Absent
                },
                number(P50, 2),
                number(P99, 2),
                number(CLOSE, 2),
                number(RATE, 0),
                Cell::Ratio(bare.ratio(rounds.raw(stages, P50), P50)),
                ratio(P50),
                ratio(P99),
                ratio(CLOSE),
                ratio(RATE),
            ]
        };
        let number = |metric, digits| Cell::Number(bare.metric(metric).median, digits);
        let first = vec![
            "no programs anywhere".into(),
            Cell::Absent,
            number(P50, 2),
            number(P99, 2),
            number(CLOSE, 2),
            number(RATE, 0),
            Cell::Number(1.0, 2),
            Cell::Absent,
            Cell::Absent,
            Cell::Absent,
            Cell::Absent,
        ];
        let column = |key, head| Column { key, head };
        Table {
            caption: "Fresh connections".into(),
            columns: vec![
                column("variant", "variant"),
                column("services", "Services"),
                column("p50_us", "p50 (µs)"),
                column("p99_us", "p99 (µs)"),
                column("close_p50_us", "close (µs)"),
                column("connects_per_second", "connects/s"),
                column("p50_of_bare", "p50 / no programs"),
                column("p50_ratio", "p50 / direct"),
                column("p99_ratio", "p99 / direct"),
                column("close_ratio", "close / direct"),
                column("rate_ratio", "rate / direct"),
            ],
            rows: [first].into_iter().chain(self.kinds.iter().map(row)).collect(),
        }
    }

    fn of(&self, variant: Variant) -> Vec<&Kind> {
        self.kinds.iter().filter(|kind| kind.variant == variant).collect()
    }

    /// The targets and what they came to.
    fn verdicts(&self) -> Vec<String> {
        let rounds = &self.rounds;
        let balancer = self.of(Variant::Balancer);
        let (Some(&fewest), Some(&most)) = (balancer.first(), balancer.last()) else {
            return vec!["balancer was not measured.".into()];
        };
        let of_bare = self.bare.ratio(rounds.raw(&fewest.stages, P50), P50).median;
        let mut verdicts = vec![format!(
            "Target: balancer's p50 of connect() at most {OF_BARE} of that without programs \
             anywhere: {of_bare:.3}, {}.",
            word(of_bare <= OF_BARE)
        )];
        verdicts.extend(TARGETS.map(|(metric, name, target)| {
            let came_to = rounds.ratio(&fewest.stages, metric).median;
            let word = word(came_to <= target);
            format!(
                "Target: balancer's {name} at most {target} of direct, without connection \
                 tracking: {came_to:.3}, {word}."
            )
        }));
        let flat = rounds.between(&most.stages, &fewest.stages, P50).median;
        verdicts.push(format!(
            "Target: balancer's p50 with {} Services within {:.0}% of that with {}: {flat:.3} of it, \
             {}.",
            most.services,
            FLAT * 100.0,
            fewest.services,
            word((flat - 1.0).abs() <= FLAT)
        ));
        let same = |iptables: &Kind| {
            balancer.iter().find(|kind| kind.services == iptables.services).copied()
        };
        let iptables = self.of(Variant::IptablesNft);
        if let Some((iptables, balancer)) =
            iptables.last().and_then(|last| Some((*last, same(last)?)))
        {
            let times = rounds.between(&iptables.stages, &balancer.stages, P50).median;
            verdicts.push(format!(
                "Target: with {} Services at least {FASTER} times faster than iptables-nft: \
                 {times:.1} times, {}.",
                iptables.services,
                word(times >= FASTER)
            ));
        }
        verdicts
    }

    fn raw(&self) -> Value {
        let bare = json!({
            "variant": "bare",
            "services": 0,
            "p50_us": self.bare.raw(P50),
            "p99_us": self.bare.raw(P99),
            "close_p50_us": self.bare.raw(CLOSE),
            "connects_per_second": self.bare.raw(RATE),
        });
        let of_kind = |kind: &Kind| {
            let raw = |metric| self.rounds.raw(&kind.stages, metric);
            json!({
                "variant": kind.variant,
                "services": kind.services,
                "p50_us": raw(P50),
                "p99_us": raw(P99),
                "close_p50_us": raw(CLOSE),
                "connects_per_second": raw(RATE),
            })
        };
        [bare].into_iter().chain(self.kinds.iter().map(of_kind)).collect()
    }
}

const fn word(is_reached: bool) -> &'static str {
    if is_reached { "reached" } else { "missed" }
}
