//! `traffic`: what an established connection carries.

use balancer_lab::error::Result;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    Effort,
    job::CHUNK,
    report::{Cell, Column, Report, Table},
    rounds::Rounds,
    stage::{self, Stage},
    stats::{micros, quantile},
    variant::Variant,
};

/// Exchanges of a variant in a round.
const EXCHANGES: u32 = 1000;
/// Chunks of a variant in a round: 32 MiB.
const CHUNKS: u32 = 512;
/// How many exchanges of balancer's come to one of direct's, at least.
const TARGET: f64 = 0.98;
/// The metrics of a round, by index.
const P50: usize = 0;
const P99: usize = 1;
const BULK: usize = 2;

pub(super) fn run(effort: &Effort, progress: &ProgressBar) -> Result<Report> {
    // What is loaded matters to the first packet alone: one Service will do.
    let (mut stages, missing) = stage::build_all(&[1], None, 1, progress)?;
    let rounds = Rounds::run(&mut stages, effort.rounds, progress, |stage| {
        let sorted = micros(&stage.worker.ping_pong(stage.targets[0], EXCHANGES)?);
        let seconds = stage.worker.bulk(stage.targets[0], CHUNKS)?;
        let gigabytes = f64::from(CHUNKS) * CHUNK as f64 / 1e9;
        Ok([quantile(&sorted, 0.5), quantile(&sorted, 0.99), gigabytes / seconds])
    })?;
    stage::check_tracking(&stages)?;
    let mut notes = verdict(&stages, &rounds);
    notes.push(rounds.noise(&stages, P50, "exchange p50"));
    notes.push(rounds.noise(&stages, BULK, "throughput"));
    notes.extend(missing);
    Ok(Report {
        name: "traffic",
        what: format!(
            "100 bytes there and 100 bytes back, then {} MiB one way, over a connection that is \
             already open; one thread does both ends, so that nothing waits for a scheduler. \
             {} rounds of {EXCHANGES} exchanges for each variant, shuffled; medians of the rounds, \
             ratios to direct in the same round with the middle half of the rounds in brackets.",
            CHUNKS as usize * CHUNK / (1024 * 1024),
            effort.rounds
        ),
        tables: vec![table(&stages, &rounds)],
        notes,
        raw: raw(&stages, &rounds),
    })
}

fn table(stages: &[Stage], rounds: &Rounds<3>) -> Table {
    let row = |(index, stage): (usize, &Stage)| {
        let number = |metric| Cell::Number(rounds.metric(&[index], metric).median, 2);
        let ratio = |metric| match stage.variant {
            Variant::Direct => Cell::Number(1.0, 2),
            _ => Cell::Ratio(rounds.ratio(&[index], metric)),
        };
        vec![
            stage.variant.name().into(),
            number(P50),
            number(P99),
            number(BULK),
            ratio(P50),
            ratio(P99),
            ratio(BULK),
        ]
    };
    let column = |key, head| Column { key, head };
    Table {
        caption: "Established connections".into(),
        columns: vec![
            column("variant", "variant"),
            column("exchange_p50_us", "exchange p50 (µs)"),
            column("exchange_p99_us", "p99 (µs)"),
            column("bulk_gigabytes_per_second", "bulk (GB/s)"),
            column("exchange_p50_ratio", "p50 / direct"),
            column("exchange_p99_ratio", "p99 / direct"),
            column("bulk_ratio", "bulk / direct"),
        ],
        rows: stages.iter().enumerate().map(row).collect(),
    }
}

fn verdict(stages: &[Stage], rounds: &Rounds<3>) -> Vec<String> {
    let balancer = stages.iter().position(|stage| stage.variant == Variant::Balancer);
    let verdict = |index| {
        let exchanges = 1.0 / rounds.ratio(&[index], P50).median;
        let word = if exchanges >= TARGET { "reached" } else { "missed" };
        format!(
            "Target: at least {TARGET} of the exchanges that direct does in the same time: \
             {exchanges:.3}, {word}."
        )
    };
    balancer.map(verdict).into_iter().collect()
}

fn raw(stages: &[Stage], rounds: &Rounds<3>) -> Value {
    let of_stage = |(index, stage): (usize, &Stage)| {
        json!({
            "variant": stage.variant,
            "exchange_p50_us": rounds.raw(&[index], P50),
            "exchange_p99_us": rounds.raw(&[index], P99),
            "bulk_gigabytes_per_second": rounds.raw(&[index], BULK),
        })
    };
    stages.iter().enumerate().map(of_stage).collect()
}
