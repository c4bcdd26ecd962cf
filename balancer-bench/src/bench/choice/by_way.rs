//! The table of what the programs used by policy and by protocol.

use super::{
    outcome::{Case, Subject},
    ways::{BACKENDS, Road},
};
use crate::bench::{
    job::SocketUse,
    programs::{PROGRAMS, RELEASE},
    report::{Cell, Column, Table},
};

pub(super) fn table(cases: &[Case]) -> Table {
    let row = |case: &Case| {
        let Subject::Way(way) = case.subject else { return None };
        let whole = |value| Cell::Number(value, 0);
        Some(vec![
            way.name.into(),
            PROGRAMS[way.program].0.into(),
            whole(case.median(|sample| sample.usage[way.program].each())),
            whole(case.median(|sample| sample.above(way.program))),
            // One socket sends all the further datagrams: its release says nothing.
            match way.road {
                Road::Other(SocketUse::UdpFurther) => Cell::Absent,
                _ => whole(case.median(|sample| sample.above(RELEASE))),
            },
        ])
    };
    let column = |key, head| Column { key, head };
    Table {
        caption: format!("Nanoseconds of one run, {BACKENDS} backends"),
        columns: vec![
            column("case", "way"),
            column("program", "program"),
            column("ns", "one run"),
            column("above_ns", "above empty"),
            column("release_above_ns", "release, above empty"),
        ],
        rows: cases.iter().filter_map(row).collect(),
    }
}
