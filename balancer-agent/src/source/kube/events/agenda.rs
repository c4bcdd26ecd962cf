//! When to tell what. Pure.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::Timestamp;

use super::note::Note;

/// The shortest time between two requests.
pub const PACE: Duration = Duration::from_secs(1);
/// The longest pause after failures in a row.
const LONGEST: Duration = Duration::from_secs(600);

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The Event is there, from whomever.
    There,
    /// The API server does not take this one.
    Refused,
    /// No Event can be written now.
    Failed,
}

/// What is wrong now, and when each is to be told.
#[derive(Debug, Default)]
pub struct Agenda {
    due: BTreeMap<Note, Timestamp>,
    failures: u32,
}

impl Agenda {
    /// Takes what is wrong now. What is new is due at once, what is mended not any more.
    pub fn follow(&mut self, notes: &[Note], now: Timestamp) {
        let known = std::mem::take(&mut self.due);
        let due = |note: &Note| (note.clone(), known.get(note).copied().unwrap_or(now));
        self.due = notes.iter().map(due).collect();
    }

    /// What to tell next, and when.
    pub fn next(&self) -> Option<(&Note, Timestamp)> {
        self.due.iter().map(|(note, at)| (note, *at)).min_by_key(|(_, at)| *at)
    }

    /// Takes what became of an attempt, and returns the pause until the next one; `draw` is from 0
    /// to 1.
    pub fn attempted(
        &mut self,
        note: &Note,
        outcome: Outcome,
        now: Timestamp,
        draw: f64,
    ) -> Duration {
        let pause = if outcome == Outcome::There {
            self.failures = 0;
            PACE.mul_f64(1.0 + draw)
        } else {
            let full = PACE.saturating_mul(2 << self.failures.min(16)).min(LONGEST);
            self.failures = self.failures.saturating_add(1);
            full.mul_f64(0.5 + draw / 2.0)
        };
        // One that failed comes after those that were not tried.
        let at = if outcome == Outcome::Failed { now } else { note.again(now) };
        if let Some(due) = self.due.get_mut(note) {
            *due = at;
        }
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ObjectRef;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn note(name: &str) -> Note {
        let service = ObjectRef { namespace: "shop".into(), name: name.into() };
        Note::invalid(service, name.into(), "spec.ports".into(), "is missing")
    }

    #[test]
    fn what_is_new_is_due_and_what_is_mended_is_not() {
        let mut agenda = Agenda::default();
        let (a, b) = (note("a"), note("b"));
        agenda.follow(std::slice::from_ref(&a), at(0));
        assert_eq!(agenda.next(), Some((&a, at(0))));
        assert!(agenda.attempted(&a, Outcome::There, at(0), 0.0) >= PACE);
        agenda.follow(&[a.clone(), b.clone()], at(5));
        assert_eq!(agenda.next(), Some((&b, at(5))));
        agenda.attempted(&b, Outcome::There, at(5), 0.0);
        let (_, next) = agenda.next().expect("both are told again");
        assert!(next >= at(1800), "{next}");
        agenda.follow(&[], at(6));
        assert_eq!(agenda.next(), None);
    }

    #[test]
    fn pauses_grow_with_failures_and_the_next_one_is_another() {
        let mut agenda = Agenda::default();
        let (a, b) = (note("a"), note("b"));
        agenda.follow(&[a.clone(), b.clone()], at(0));
        let mut pauses = Vec::new();
        for second in 1..12 {
            pauses.push(agenda.attempted(&a, Outcome::Failed, at(second), 1.0).as_secs());
            assert_eq!(agenda.next().map(|(note, _)| note), Some(&b));
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(agenda.attempted(&b, Outcome::There, at(20), 0.0), PACE);
        assert_eq!(agenda.next(), Some((&a, at(11))), "it is tried again");
        agenda.attempted(&a, Outcome::Refused, at(21), 0.0);
        assert!(agenda.next().is_some_and(|(_, at_)| at_ >= at(1800)), "not before its next hour");
    }

    /// All that an agent may have to tell, over a day in which nothing is mended.
    #[test]
    fn what_lasts_is_told_each_hour_with_a_second_between_any_two() {
        let notes: Vec<_> = (0..256).map(|n| note(&format!("web-{n}"))).collect();
        let mut agenda = Agenda::default();
        let begin = at(1_800_000_000);
        let (mut now, mut pause) = (begin, Duration::ZERO);
        let mut told: BTreeMap<Note, Vec<Timestamp>> = BTreeMap::new();
        let mut last = None;
        for draw in (0..).map(|n| f64::from(n % 7) / 7.0) {
            agenda.follow(&notes, now);
            let (next, due) = agenda.next().map(|(note, at)| (note.clone(), at)).unwrap();
            now = now.max(due) + pause;
            if now > begin + Duration::from_hours(24) {
                break;
            }
            if let Some(last) = last.replace(now) {
                assert!(now >= last + PACE, "two requests at {last} and {now}");
            }
            pause = agenda.attempted(&next, Outcome::There, now, draw);
            told.entry(next).or_default().push(now);
        }
        assert_eq!(told.len(), notes.len());
        for (note, times) in told {
            let pauses: Vec<_> =
                times.windows(2).map(|two| two[1].duration_since(two[0])).collect();
            assert!(pauses.len() >= 22, "{note:?} was told {} times in a day", times.len());
            // An hour, and what stands before it: each takes a second to two.
            let late = pauses[1..].iter().map(|pause| pause.as_secs() - 3_600);
            assert!(
                late.clone().all(|late| late.abs() < 256 * 2),
                "{:?}",
                late.collect::<Vec<_>>()
            );
        }
    }
}
