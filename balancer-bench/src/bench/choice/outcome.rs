//! What the programs used, and the tables of it.

use serde_json::{Map, Value, json};

use super::{cluster::Others, ways::Way};
use crate::bench::{
    programs::{CONNECT, PEER, PROGRAMS, RELEASE, TCP, Usage},
    report::{Cell, Column, Table},
    stats::Spread,
};

/// The most that a run may take beyond an empty program, in nanoseconds: program, backends, limit.
const TARGETS: [(usize, u32, f64); 3] =
    [(CONNECT, 16, 450.0), (CONNECT, 1024, 1400.0), (RELEASE, 16, 250.0)];

/// What the programs used in one round.
pub(super) struct Sample {
    pub(super) connects: u32,
    /// As [`Programs::usage`].
    pub(super) usage: Vec<Usage>,
}

impl Sample {
    /// Nanoseconds of one run beyond an empty program.
    pub(super) fn above(&self, program: usize) -> f64 {
        self.usage[program].each() - self.empty(program)
    }

    fn empty(&self, program: usize) -> f64 {
        self.usage[PROGRAMS.len() + program].each()
    }

    fn runs(&self, program: usize) -> f64 {
        self.usage[program].runs / f64::from(self.connects)
    }

    /// Nanoseconds that opening and closing one connection takes beyond empty programs.
    fn connection(&self) -> f64 {
        let all = [CONNECT, RELEASE, TCP].map(|program| self.above(program) * self.runs(program));
        all.iter().sum()
    }
}

/// What is measured.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    /// Connections to a Service with so many backends; 0 is an address that is no Service.
    Backends(u32),
    /// The same, with the connections of other nodes.
    Cluster(u32, Others),
    /// A policy or a protocol.
    Way(&'static Way),
}

impl Subject {
    pub(super) fn name(self) -> String {
        match self {
            Self::Backends(0) => "no Service".to_owned(),
            Self::Backends(1) => "1 backend".to_owned(),
            Self::Backends(n) => format!("{n} backends"),
            Self::Cluster(n, others) => format!("{n} backends, {}", others.name()),
            Self::Way(way) => way.name.to_owned(),
        }
    }
}

/// A subject and its rounds.
pub(super) struct Case {
    pub(super) subject: Subject,
    pub(super) samples: Vec<Sample>,
}

impl Case {
    pub(super) const fn of(subject: Subject) -> Self {
        Self { subject, samples: Vec::new() }
    }

    /// Its number of backends, if that is what it is about.
    const fn backends(&self) -> Option<u32> {
        match self.subject {
            Subject::Backends(backends) => Some(backends),
            Subject::Cluster(..) | Subject::Way(_) => None,
        }
    }

    /// True where a Service is dialled for its number of backends.
    const fn is_by_backends(&self) -> bool {
        !matches!(self.subject, Subject::Way(_))
    }

    pub(super) fn median(&self, value: impl Fn(&Sample) -> f64) -> f64 {
        Spread::of(self.samples.iter().map(value)).median
    }
}

fn by_backends(cases: &[Case]) -> impl Iterator<Item = &Case> {
    cases.iter().filter(|case| case.is_by_backends())
}

pub(super) fn table(cases: &[Case]) -> Table {
    let whole = |value| Cell::Number(value, 0);
    let row = |case: &Case| {
        let each = |program: usize| whole(case.median(|sample| sample.usage[program].each()));
        let above = |program: usize| whole(case.median(|sample| sample.above(program)));
        vec![
            Cell::Text(case.subject.name()),
            each(CONNECT),
            above(CONNECT),
            each(RELEASE),
            above(RELEASE),
            each(TCP),
            Cell::Number(case.median(|sample| sample.runs(TCP)), 1),
            each(PEER),
            whole(case.median(Sample::connection)),
        ]
    };
    let floor = |program: usize| {
        let all = by_backends(cases).flat_map(|case| &case.samples);
        whole(Spread::of(all.map(|sample| sample.empty(program))).median)
    };
    let mut rows = vec![vec![
        "empty programs".into(),
        floor(CONNECT),
        Cell::Absent,
        floor(RELEASE),
        Cell::Absent,
        floor(TCP),
        Cell::Absent,
        floor(PEER),
        Cell::Absent,
    ]];
    rows.extend(by_backends(cases).map(row));
    let column = |key, head| Column { key, head };
    Table {
        caption: "Nanoseconds of one run".into(),
        columns: vec![
            column("case", "connect to"),
            column("connect4_ns", "connect4"),
            column("connect4_above_ns", "above empty"),
            column("release_ns", "release"),
            column("release_above_ns", "above empty"),
            column("tcp_ns", "tcp"),
            column("tcp_runs", "its runs"),
            column("getpeer4_ns", "getpeer4"),
            column("connection_above_ns", "connection in all, above empty"),
        ],
        rows,
    }
}

pub(super) fn notes(cases: &[Case]) -> Vec<String> {
    let note = |&(program, backends, limit): &(usize, u32, f64)| {
        let case = cases.iter().find(|case| case.backends() == Some(backends))?;
        let reached = case.median(|sample| sample.above(program));
        let word = if reached <= limit { "reached" } else { "missed" };
        Some(format!(
            "Target: {} with {backends} backends at most {limit} ns above an empty program: \
             {reached:.0} ns, {word}.",
            PROGRAMS[program].0
        ))
    };
    TARGETS.iter().filter_map(note).collect()
}

pub(super) fn raw(cases: &[Case]) -> Value {
    let of_program = |case: &Case, program: usize| -> Value {
        let each = |at: usize| -> Vec<f64> {
            case.samples.iter().map(|sample| sample.usage[at].each()).collect()
        };
        json!({"ns": each(program), "empty_ns": each(PROGRAMS.len() + program)})
    };
    let of_case = |case: &Case| {
        let programs: Map<String, Value> = PROGRAMS
            .iter()
            .enumerate()
            .map(|(index, (name, ..))| ((*name).to_owned(), of_program(case, index)))
            .collect();
        json!({"case": case.subject.name(), "programs": programs})
    };
    cases.iter().map(of_case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_told_from_its_floor() {
        let usage = |nanos, runs| Usage { nanos, runs };
        let sample = Sample {
            connects: 10,
            usage: vec![
                usage(3000.0, 10.0),
                usage(2000.0, 10.0),
                usage(4000.0, 40.0),
                usage(1000.0, 10.0),
                usage(0.0, 0.0),
                usage(0.0, 0.0),
                usage(500.0, 10.0),
                usage(500.0, 10.0),
                usage(2000.0, 40.0),
                usage(500.0, 10.0),
            ],
        };
        assert_eq!((sample.above(CONNECT), sample.above(TCP)), (250.0, 50.0));
        assert_eq!((sample.runs(TCP), sample.connection()), (4.0, 250.0 + 150.0 + 200.0));
    }
}
