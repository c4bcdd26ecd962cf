//! Puts back what other tools have changed in the maps, and tells of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::Reconciler;
use crate::{
    agent::{audience::Audience, grace_periods::GracePeriods},
    apply,
    maps::{Charges, Gauge, MapsError, OutsideCharges, ReadMaps, WriteMaps},
    model::Problem,
    plan::{
        audit::Round,
        book::{Book, Epoch},
        foreign::Finding,
    },
    pods::Resolved,
};

/// Time between two looks.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// Looks after which all was looked at.
const LOOKS: u32 = 60;
/// After how long it is tried again to read the maps, or to put something back.
const AGAIN: Duration = Duration::from_secs(5);

/// How many entries were put back, by map.
type Mended = BTreeMap<&'static str, u64>;

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Audit {
    round: Round,
    looks: u32,
    seen: Option<Seen>,
    /// Maps that nothing can be written to any more.
    frozen: BTreeSet<&'static str>,
    /// What could not be read or put back.
    failed: Vec<Problem>,
    /// When that is tried again.
    again: Option<Instant>,
}

/// What there was at the end of a look.
#[derive(Clone, Debug)]
struct Seen {
    /// The plan that was made last.
    epoch: Epoch,
    /// How many entries there should be: rows, frontends, opted-out cgroups, clients, nodes.
    counts: [usize; 5],
    /// What the kernel tells of the maps.
    gauges: Vec<Gauge>,
}

impl Seen {
    fn new(book: &Book, pods: Option<&Resolved>, gauges: Vec<Gauge>) -> Self {
        let held = book.held();
        let of_pods =
            |pods: &Resolved| [pods.opted_out.len(), pods.clients.len(), pods.nodes.len()];
        let [opted_out, clients, nodes] = pods.map_or([0; 3], of_pods);
        let counts = [held.rows.len(), held.frontends.len(), opted_out, clients, nodes];
        Self { epoch: book.epoch(), counts, gauges }
    }

    /// True if entries have come or gone since that no plan has written.
    fn differs(&self, before: &Self) -> bool {
        let differs = |(gauge, before_it): (&Gauge, &Gauge)| {
            // How many there should be of others is not known without a look at all rows.
            let is_counted = gauge.map != "SERVING";
            gauge.bytes != before_it.bytes && (is_counted || self.epoch == before.epoch)
        };
        self.counts == before.counts && self.gauges.iter().zip(&before.gauges).any(differs)
    }
}

impl Audit {
    /// One look. What the kernel tells of the maps is compared each time, a part of what they hold
    /// too; all of it where entries have come or gone that no plan has written, and where it is
    /// time to try again what has failed. `pods` is what the maps hold of pods, where that is
    /// known.
    pub(super) fn look(
        &mut self,
        book: &Book,
        pods: Option<&Resolved>,
        maps: &mut impl WriteMaps,
        now: Instant,
    ) -> Mended {
        let mut mended = Mended::new();
        if let Err(error) = self.compare(book, pods, maps, now, &mut mended) {
            self.fail(vec![unreadable(&error)], now);
        }
        mended
    }

    /// A look without a book: a write has failed, of which a frozen map is the reason that stays.
    pub(super) fn look_at_gauges(&mut self, maps: &impl ReadMaps, now: Instant) {
        let failed = self.gauges(maps).err();
        self.fail(failed.iter().map(unreadable).collect(), now);
    }

    /// What the kernel tells of the maps.
    fn gauges(&mut self, maps: &impl ReadMaps) -> Result<Vec<Gauge>, MapsError> {
        let gauges = maps.gauges()?;
        self.frozen = gauges.iter().filter(|gauge| gauge.frozen).map(|gauge| gauge.map).collect();
        Ok(gauges)
    }

    /// What is wrong with the maps.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.frozen.iter().map(|map| frozen(map)).chain(self.failed.iter().cloned())
    }

    fn fail(&mut self, failed: Vec<Problem>, now: Instant) {
        self.again = (!failed.is_empty()).then(|| now + AGAIN);
        self.failed = failed;
    }

    fn compare(
        &mut self,
        book: &Book,
        pods: Option<&Resolved>,
        maps: &mut impl WriteMaps,
        now: Instant,
        mended: &mut Mended,
    ) -> Result<(), MapsError> {
        let seen = Seen::new(book, pods, self.gauges(maps)?);
        let differs = self.seen.as_ref().is_some_and(|before| seen.differs(before));
        self.seen = Some(seen);
        if !differs && self.again.is_some_and(|again| now < again) {
            // All of it is looked at when it is time to.
            return Ok(());
        }
        let all = differs || self.again.is_some();
        let findings = if all {
            Round::default().look(book, maps, 1)?
        } else {
            self.round.look(book, maps, LOOKS)?
        };
        let mut failed = put_back(&findings, maps, mended);
        self.looks += 1;
        if let Some(pods) = pods.filter(|_| all || self.looks.is_multiple_of(LOOKS)) {
            let (written, unwritten) = apply::pods(maps, pods);
            for (map, entries) in written.into_iter().filter(|(_, entries)| *entries > 0) {
                tracing::warn!(map, entries, "changed by somebody else: put back");
                mended.insert(map, entries as u64);
            }
            failed.extend(unwritten);
        }
        if !mended.is_empty() {
            // What was written here is no change of somebody else.
            self.seen = Some(Seen::new(book, pods, maps.gauges()?));
        }
        self.fail(failed, now);
        Ok(())
    }
}

impl<M: WriteMaps + Charges + OutsideCharges, G: GracePeriods> Reconciler<M, G> {
    /// Compares the maps with the book, once there was a first state. While the book is not known,
    /// what the kernel tells of the maps is looked at alone.
    pub fn audit(&mut self, audience: &impl Audience) {
        if !self.begun {
            return;
        }
        let before: Vec<_> = self.audit.problems().collect();
        let now = Instant::now();
        match &self.book {
            Some(book) => {
                let pods = (!self.pods_differ).then(|| self.pods.found());
                for (map, entries) in self.audit.look(book, pods, &mut self.maps, now) {
                    audience.put_back(map, entries);
                }
            }
            None => self.audit.look_at_gauges(&self.maps, now),
        }
        if !self.audit.problems().eq(before) {
            self.tell(audience);
        }
    }
}

/// Puts back what was found, counts that by map, and logs the first of each map. Gives what could
/// not be put back.
fn put_back(findings: &[Finding], maps: &mut impl WriteMaps, mended: &mut Mended) -> Vec<Problem> {
    let mut failed = Vec::new();
    let mut first = BTreeMap::new();
    for finding in findings {
        let problems = apply::apply(maps, &finding.plan()).problems;
        if problems.is_empty() {
            *mended.entry(finding.map).or_default() += 1;
            first.entry(finding.map).or_insert(&finding.object);
        }
        failed.extend(problems);
    }
    for (map, first) in first {
        tracing::warn!(map, entries = mended[map], %first, "changed by somebody else: put back");
    }
    failed
}

fn unreadable(error: &MapsError) -> Problem {
    Problem {
        object: "maps".to_owned(),
        field: String::new(),
        message: format!("{error}; whether it holds what it should can't be told"),
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

#[cfg(test)]
mod tests;
