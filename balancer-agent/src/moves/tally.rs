//! Counts what was ended, for metrics and the log.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::model::{ObjectRef, Reason, Way};

/// One line of the log for each Service and this time.
const LINE: Duration = Duration::from_secs(60);

/// What became of a connection that was to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It was ended so.
    Ended(Way),
    /// That was permitted by the steward of its Service port; it is counted as ended, too.
    Permitted,
    /// No process was found that has it.
    Unheld,
    /// No process is left in its network namespace.
    Unreachable,
    /// This process may not do it.
    Failed,
    /// Its socket is held: who touches it does not come back.
    Stuck,
}

impl Fate {
    /// Its name, in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ended(way) => way.name(),
            Self::Permitted => "permitted",
            Self::Unheld => "unheld",
            Self::Unreachable => "unreachable",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
        }
    }
}

/// How often each happened: by Service, reason and fate.
pub type Counts = BTreeMap<(ObjectRef, Reason, Fate), u64>;

/// Counts since the start, and for the line of the log that comes next.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    totals: Counts,
    /// What was not logged yet, and since when.
    pending: BTreeMap<ObjectRef, Pending>,
}

#[derive(Debug)]
struct Pending {
    since: Duration,
    counts: BTreeMap<(Reason, Fate), u64>,
}

impl Tally {
    /// Counts one.
    pub fn count(&self, now: Duration, service: &ObjectRef, reason: Reason, result: Fate) {
        let mut inner = self.lock();
        *inner.totals.entry((service.clone(), reason, result)).or_default() += 1;
        let begin = || Pending { since: now, counts: BTreeMap::new() };
        let pending = inner.pending.entry(service.clone()).or_insert_with(begin);
        *pending.counts.entry((reason, result)).or_default() += 1;
    }

    /// Everything since the start.
    pub fn totals(&self) -> Counts {
        self.lock().totals.clone()
    }

    /// What is due for the log: Service and text.
    pub fn lines(&self, now: Duration) -> Vec<(ObjectRef, String)> {
        self.take(|pending| now.saturating_sub(pending.since) >= LINE)
    }

    /// What is left for the log at the end.
    pub fn rest(&self) -> Vec<(ObjectRef, String)> {
        self.take(|_| true)
    }

    fn take(&self, due: impl Fn(&Pending) -> bool) -> Vec<(ObjectRef, String)> {
        let mut inner = self.lock();
        let pending = std::mem::take(&mut inner.pending);
        let (lines, rest) = pending.into_iter().partition(|(_, pending)| due(pending));
        inner.pending = rest;
        let lines: BTreeMap<_, _> = lines;
        lines.into_iter().map(|(service, pending)| (service, text(&pending.counts))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(counts: &BTreeMap<(Reason, Fate), u64>) -> String {
    let mut text = String::new();
    for ((reason, result), count) in counts {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a string can't fail.
        let _ = write!(text, "{comma}{} {} {count}", reason.name(), result.name());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_one_line_a_minute() {
        let tally = Tally::default();
        let service = ObjectRef { namespace: "shop".into(), name: "cart".into() };
        let at = Duration::from_secs;
        for second in 0..3 {
            tally.count(at(second), &service, Reason::Rebalance, Fate::Ended(Way::Gentle));
        }
        tally.count(at(3), &service, Reason::Age, Fate::Unheld);
        assert_eq!(tally.lines(at(59)), []);
        let want = "age unheld 1, rebalance gentle 3".to_owned();
        assert_eq!(tally.lines(at(60)), [(service.clone(), want)]);
        assert_eq!(tally.lines(at(120)), []);
        tally.count(at(130), &service, Reason::Age, Fate::Unheld);
        assert_eq!(tally.rest(), [(service.clone(), "age unheld 1".to_owned())]);
        let totals = tally.totals();
        assert_eq!(totals[&(service.clone(), Reason::Age, Fate::Unheld)], 2);
        assert_eq!(totals[&(service, Reason::Rebalance, Fate::Ended(Way::Gentle))], 3);
    }
}
