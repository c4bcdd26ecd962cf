//! What an Event says, and what it is called.

use std::hash::Hasher as _;

use fnv::FnvHasher;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};

use crate::model::{Clash, ObjectRef};

/// Who reports, as `kubectl describe` shows it.
const COMPONENT: &str = "balancer-agent";
/// The API server keeps Events for an hour by default. What lasts is told again by then.
const HOUR: i64 = 3600;
/// What the API server takes for a message, in bytes.
const LONGEST: usize = 1024;

/// Something that is wrong with a Service, in words that are the same on every node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub service: ObjectRef,
    /// `metadata.uid` of the Service.
    pub uid: String,
    /// Path of the field; empty where no single field is at fault.
    pub field: String,
    /// `reason` of the Event.
    pub reason: &'static str,
    pub message: String,
}

impl Note {
    /// A field that can't be used.
    pub fn invalid(service: ObjectRef, uid: String, field: String, message: &str) -> Self {
        let is_annotation = field.starts_with("metadata.annotations");
        let reason = if is_annotation { "InvalidAnnotation" } else { "InvalidField" };
        let message = format!("{field}: {message}");
        Self { service, uid, field, reason, message }
    }

    /// Something that another Service has.
    pub fn clash(clash: &Clash, uid: String) -> Self {
        let Clash { service, field, message } = clash;
        let message = match *field {
            "" => message.clone(),
            field => format!("{field}: {message}"),
        };
        let (service, field) = (service.clone(), (*field).to_owned());
        Self { service, uid, field, reason: "AddressTaken", message }
    }

    /// What tells it from others, on every node and in every release.
    fn digest(&self) -> u64 {
        let mut hasher = FnvHasher::default();
        for part in [self.uid.as_str(), self.reason, &self.field, &self.message] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// The hour that it is told in. Hours of different faults begin at different times: otherwise
    /// all agents would write all of them as one ends.
    fn hour(&self, now: Timestamp) -> i64 {
        (now.as_second() + self.offset()).div_euclid(HOUR)
    }

    fn offset(&self) -> i64 {
        (self.digest() % HOUR as u64) as i64
    }

    /// When to tell it again if it was told now: in its next hour that is not about to begin.
    pub fn again(&self, now: Timestamp) -> Timestamp {
        let next = self.hour(now) + 1;
        let begin = |hour: i64| hour * HOUR - self.offset();
        let at =
            if begin(next) - now.as_second() < HOUR / 2 { begin(next + 1) } else { begin(next) };
        Timestamp::from_second(at).unwrap_or(Timestamp::MAX)
    }

    /// The Event that tells it now. Every agent of a cluster finds the same fault at the same time:
    /// the name follows from the fault and its hour, so that there is one from whichever came first.
    pub fn event(&self, node: &str, now: Timestamp) -> Event {
        let Self { service, uid, field, reason, message } = self;
        let name = format!("{}.{:016x}-{}", service.name, self.digest(), self.hour(now));
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(service.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: text("v1"),
                kind: text("Service"),
                namespace: text(&service.namespace),
                name: text(&service.name),
                uid: text(uid),
                field_path: text(field),
                ..ObjectReference::default()
            },
            type_: text("Warning"),
            reason: text(reason),
            message: Some(cut(message).to_owned()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            source: Some(EventSource { component: text(COMPONENT), host: text(node) }),
            ..Event::default()
        }
    }
}

/// A message as far as the API server takes it.
fn cut(message: &str) -> &str {
    let ends = message.char_indices().map(|(at, char)| at + char.len_utf8());
    let end = ends.take_while(|end| *end <= LONGEST).last();
    &message[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "metadata.annotations[balancer-agent/policy]";

    fn note(uid: &str, field: &str) -> Note {
        let service = ObjectRef { namespace: "shop".into(), name: "web".into() };
        Note::invalid(service, uid.into(), field.into(), "is no policy")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn name(note: &Note, node: &str, now: Timestamp) -> String {
        note.event(node, now).metadata.name.expect("a name")
    }

    #[test]
    fn a_fault_has_one_name_on_every_node() {
        let policy = note("1", POLICY);
        let told = name(&policy, "a", at(7200));
        assert_eq!(told, name(&policy, "b", at(7200)));
        assert!(told.starts_with("web."), "{told}");
        for other in [note("2", POLICY), note("1", "spec.ports")] {
            assert_ne!(told, name(&other, "a", at(7200)));
        }
    }

    #[test]
    fn what_lasts_has_another_name_each_hour_and_never_two_within_half_of_one() {
        let policy = note("1", POLICY);
        for start in (0..2 * HOUR).step_by(97) {
            let again = policy.again(at(start));
            let pause = again.as_second() - start;
            assert!((HOUR / 2..HOUR * 3 / 2).contains(&pause), "{start}: {pause}");
            assert_ne!(name(&policy, "a", at(start)), name(&policy, "a", again));
            let next = policy.again(again).as_second() - again.as_second();
            assert_eq!(next, HOUR, "from then on each hour");
        }
        let others = (0..100).map(|uid| note(&uid.to_string(), POLICY).again(at(0)));
        let times: std::collections::BTreeSet<_> = others.collect();
        assert!(times.len() > 90, "not all at once: {}", times.len());
    }

    #[test]
    fn it_belongs_to_the_service() {
        let event = note("u", POLICY).event("n", at(0));
        assert_eq!(event.reason.as_deref(), Some("InvalidAnnotation"));
        assert_eq!(event.involved_object.uid.as_deref(), Some("u"));
        assert_eq!(event.involved_object.field_path.as_deref(), Some(POLICY));
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(event.message, Some(format!("{POLICY}: is no policy")));
        let long = note("u", &"ü".repeat(2000)).event("n", at(0)).message.expect("a message");
        assert_eq!(long.len(), LONGEST);
    }
}
