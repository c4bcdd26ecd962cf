//! Remembers what has changed on this node: so much, and no more.

pub mod changes;

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use jiff::Timestamp;

use crate::{
    model::ObjectRef,
    view::{EventKind, EventView, EventsQuestion, RecentView},
};

/// So many changes are remembered; beyond, the oldest is forgotten.
const MOST: usize = 4_096;
/// The longest text that is remembered, in characters.
const LONGEST: usize = 400;
/// What `status` counts.
const RECENT: Duration = Duration::from_secs(300);

/// What has changed.
#[derive(Debug, Default)]
pub struct Journal(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    at: Instant,
    time: SystemTime,
    event: Event,
}

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// About what it is.
    pub kind: EventKind,
    /// The object, such as `Service shop/cart`.
    pub object: String,
    /// The Service, where it is about one.
    pub service: Option<ObjectRef>,
    /// What has changed.
    pub message: String,
}

impl Event {
    /// Something that is about a Service.
    pub fn of(kind: EventKind, service: ObjectRef, message: String) -> Self {
        Self { kind, object: format!("Service {service}"), service: Some(service), message }
    }

    /// Something of the agent itself.
    pub fn agent(message: String) -> Self {
        Self { kind: EventKind::Agent, object: "agent".to_owned(), service: None, message }
    }
}

impl Journal {
    /// Remembers what has just changed.
    pub fn note(&self, events: impl IntoIterator<Item = Event>) {
        let (at, time) = (Instant::now(), SystemTime::now());
        let mut held = self.lock();
        for mut event in events {
            if let Some((end, _)) = event.message.char_indices().nth(LONGEST) {
                event.message.truncate(end);
                event.message.push_str(" ...");
            }
            if held.len() == MOST {
                held.pop_front();
            }
            held.push_back(Entry { at, time, event });
        }
    }

    /// What is asked for, the oldest first.
    pub fn list(&self, question: &EventsQuestion) -> Vec<EventView> {
        let wanted = |entry: &&Entry| question.takes(entry);
        self.lock().iter().filter(wanted).map(Entry::view).collect()
    }

    /// The last changes; none where there was none.
    pub fn recent(&self) -> Option<RecentView> {
        let held = self.lock();
        let last = held.back()?.view();
        let count = held.iter().rev().take_while(|entry| entry.at.elapsed() <= RECENT).count();
        Some(RecentView { count: count as u64, last })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn view(&self) -> EventView {
        let Event { kind, object, service, message } = self.event.clone();
        let time = Timestamp::try_from(self.time).unwrap_or_default();
        let age_ms = self.at.elapsed().as_millis() as u64;
        EventView { time: format!("{time:.3}"), age_ms, kind, object, service, message }
    }
}

impl EventsQuestion {
    fn takes(&self, entry: &Entry) -> bool {
        let service = entry.event.service.as_ref();
        let is_or_any = |wanted: Option<&String>, found: fn(&ObjectRef) -> &String| {
            wanted.is_none_or(|wanted| service.map(found) == Some(wanted))
        };
        self.since_s.is_none_or(|since| entry.at.elapsed() <= Duration::from_secs(since))
            && is_or_any(self.namespace.as_ref(), |service| &service.namespace)
            && is_or_any(self.service.as_ref(), |service| &service.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, message: &str) -> Event {
        let service = ObjectRef { namespace: "shop".into(), name: name.into() };
        Event::of(EventKind::Service, service, message.to_owned())
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let journal = Journal::default();
        assert_eq!(journal.recent(), None);
        journal.note((0..MOST + 3).map(|number| event("cart", &number.to_string())));
        let all = journal.list(&EventsQuestion::default());
        assert_eq!((all.len(), all[0].message.as_str()), (MOST, "3"));
        let recent = journal.recent().expect("changes");
        assert_eq!((recent.count, recent.last.message), (MOST as u64, (MOST + 2).to_string()));
        journal.note([event("cart", &"ä".repeat(2 * LONGEST))]);
        let last = journal.recent().expect("changes").last.message;
        assert_eq!(last, "ä".repeat(LONGEST) + " ...");
    }

    #[test]
    fn what_is_asked_for_is_listed() {
        let journal = Journal::default();
        journal.note([event("cart", "came"), event("api", "came"), Event::agent("started".into())]);
        let listed = |question: EventsQuestion| -> Vec<String> {
            journal.list(&question).into_iter().map(|event| event.object).collect()
        };
        let any = EventsQuestion::default;
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(listed(any()), ["Service shop/cart", "Service shop/api", "agent"]);
        assert_eq!(listed(EventsQuestion { service: text("api"), ..any() }), ["Service shop/api"]);
        let of_shop = EventsQuestion { namespace: text("shop"), ..any() };
        assert_eq!(listed(of_shop), ["Service shop/cart", "Service shop/api"]);
        let other = EventsQuestion { namespace: text("x"), service: text("api"), ..any() };
        assert_eq!(listed(other), [] as [&str; 0]);
        assert_eq!(listed(EventsQuestion { since_s: Some(600), ..any() }).len(), 3);
    }
}
