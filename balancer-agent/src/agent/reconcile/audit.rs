//! Puts back what other tools have changed in the maps, and tells of it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::Reconciler;
use crate::{
    agent::provider::Shared,
    apply,
    maps::{Gauge, MapsError, ReadMaps as _},
    model::Problem,
    plan::{
        audit::{self, Finding, Round},
        book::Epoch,
    },
};

/// Time between two looks.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Looks after which all was looked at.
const LOOKS: u32 = 60;
/// After how long it is tried again to put something back.
const AGAIN: Duration = Duration::from_secs(5);

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Audit {
    round: Round,
    looks: u32,
    /// After which plan the last look was, with how many entries of which maps there should be, and
    /// what the kernel told of them.
    seen: Option<(Epoch, Vec<usize>, Vec<Gauge>)>,
    /// What could not be put back, or would not if it had to be.
    pub(super) problems: Vec<Problem>,
    /// When to try again.
    again: Option<Instant>,
}

impl Reconciler {
    /// One look. What the kernel tells of the maps is compared each time, a part of what they hold
    /// too; all of it where entries have come or gone that no plan has written.
    pub fn audit(&mut self, shared: &Shared) {
        if !self.begun {
            return;
        }
        let result = self.look_at_maps();
        let (mended, problems) = result.unwrap_or_else(|error| {
            let message = format!("{error}; whether it holds what it should can't be told");
            let object = "maps".to_owned();
            (BTreeMap::new(), vec![Problem { object, field: String::new(), message }])
        });
        for (map, entries) in mended {
            shared.put_back(map, entries);
        }
        self.audit.again = (!problems.is_empty()).then(|| Instant::now() + AGAIN);
        if self.audit.problems != problems {
            self.audit.problems = problems;
            self.tell(shared);
        }
    }

    /// How many entries were put back, by map, and what is wrong.
    fn look_at_maps(&mut self) -> Result<(BTreeMap<&'static str, u64>, Vec<Problem>), MapsError> {
        let mut mended = BTreeMap::new();
        let Some(book) = &self.book else { return Ok((mended, Vec::new())) };
        let gauges = self.maps.gauges()?;
        let mut problems: Vec<_> =
            gauges.iter().filter(|gauge| gauge.frozen).map(|gauge| frozen(gauge.map)).collect();
        let found = self.pods.found();
        let held = book.held();
        let counts =
            vec![held.rows.len(), held.frontends.len(), found.opted_out.len(), found.clients.len()];
        let seen = (book.epoch(), counts, gauges);
        let is_due = self.audit.again.is_some_and(|at| Instant::now() >= at);
        let before = self.audit.seen.replace(seen.clone());
        let all = is_due || before.is_some_and(|before| differ(&before, &seen));
        if self.audit.again.is_some() && !all {
            // What was wrong is looked at again when it is tried again.
            problems.clone_from(&self.audit.problems);
            return Ok((mended, problems));
        }
        let findings = if all {
            Round::default().look(book, &self.maps, 1)?
        } else {
            self.audit.round.look(book, &self.maps, LOOKS)?
        };
        tell(&findings);
        let failed = apply::apply(&mut self.maps, &audit::plan(&findings)).problems;
        for finding in &findings {
            *mended.entry(finding.map).or_default() += 1;
        }
        for problem in &failed {
            let of = |finding: &&Finding| audit::object(finding) == problem.object;
            if let Some(finding) = findings.iter().find(of) {
                mended.entry(finding.map).and_modify(|entries| *entries -= 1);
            }
        }
        problems.extend(failed);
        self.audit.looks += 1;
        if all || self.audit.looks.is_multiple_of(LOOKS) {
            let (written, failed) = apply::pods(&mut self.maps, self.pods.found());
            for (map, entries) in written.into_iter().filter(|(_, entries)| *entries > 0) {
                tracing::warn!(map, entries, "changed by somebody else: put back");
                mended.insert(map, entries as u64);
            }
            problems.extend(failed);
        }
        mended.retain(|_, entries| *entries > 0);
        Ok((mended, problems))
    }
}

/// True if entries have come or gone that no plan has written.
fn differ(
    (epoch, counts, gauges): &(Epoch, Vec<usize>, Vec<Gauge>),
    (epoch_now, counts_now, gauges_now): &(Epoch, Vec<usize>, Vec<Gauge>),
) -> bool {
    let differs = |(gauge, now): (&Gauge, &Gauge)| {
        // How many there should be of others is not known without a look at all rows.
        let is_counted = gauge.map != "SERVING";
        gauge.bytes != now.bytes && (is_counted || epoch == epoch_now)
    };
    counts == counts_now && gauges.iter().zip(gauges_now).any(differs)
}

/// Names the first of each map, and how many there are.
fn tell(findings: &[Finding]) {
    let mut by_map: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for Finding { map, object, .. } in findings {
        by_map.entry(map).or_insert((object, 0)).1 += 1;
    }
    for (map, (first, entries)) in by_map {
        tracing::warn!(map, entries, first, "changed by somebody else: put back");
    }
}

fn frozen(map: &str) -> Problem {
    Problem {
        object: format!("map {map}"),
        field: String::new(),
        message:
            "is frozen: no change can be written to it any more; run `balancer-agent cleanup` \
                  and start the agent again"
                .to_owned(),
    }
}
