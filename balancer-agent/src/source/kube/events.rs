//! Tells what is wrong with a Service where its owners look: as Events of it.
//!
//! Every agent of a cluster finds the same fault at the same time. The name of the Event follows from
//! the fault, so that there is one, from whichever agent came first; the others are told that it is
//! there, and have nothing to do.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{Api, api::PostParams};
use rand::Rng as _;
use tokio::{sync::mpsc, time::sleep};

use super::access::Access;
use crate::{model::ObjectRef, source::object::Fault};

/// Who reports, as `kubectl describe` shows it.
const COMPONENT: &str = "balancer-agent";
/// The longest pause before an Event: many agents don't write at once, and one does not write fast.
const PAUSE: Duration = Duration::from_secs(1);

/// Something that is wrong with a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub service: ObjectRef,
    /// `metadata.uid` of the Service.
    pub uid: String,
    pub fault: Fault,
}

/// Writes an Event for each note, until there can be no more. What can't be written is in the log
/// and in `status` all the same.
pub async fn write(access: Access, node: String, mut notes: mpsc::Receiver<Note>) {
    let mut was_refused = false;
    while let Some(note) = notes.recv().await {
        let part: f64 = rand::rng().random();
        sleep(PAUSE.mul_f64(part)).await;
        let event = event(&note, &node, Timestamp::now());
        match create(&access, &note.service.namespace, &event).await {
            Ok(()) => was_refused = false,
            Err(error) if !was_refused => {
                was_refused = true;
                tracing::warn!(
                    service = %note.service,
                    "Events can't be written: {error}; what is wrong is in the log and in \
                     `balancer-agent status`"
                );
            }
            Err(_) => {}
        }
    }
}

async fn create(
    access: &Access,
    namespace: &str,
    event: &Event,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // A client of its own each time: credentials may have been renewed, and Events are rare.
    let (client, _) = access.client().await?;
    match Api::namespaced(client, namespace).create(&PostParams::default(), event).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn event(note: &Note, node: &str, now: Timestamp) -> Event {
    let Note { service, uid, fault } = note;
    let mut hasher = DefaultHasher::new();
    (uid, &fault.field, &fault.message).hash(&mut hasher);
    let name = format!("{}.{:016x}", service.name, hasher.finish());
    let is_annotation = fault.field.starts_with("metadata.annotations");
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
            field_path: text(&fault.field),
            ..ObjectReference::default()
        },
        type_: text("Warning"),
        reason: text(if is_annotation { "InvalidAnnotation" } else { "InvalidField" }),
        message: Some(format!("{}: {}", fault.field, fault.message)),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        source: Some(EventSource { component: text(COMPONENT), host: text(node) }),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(uid: &str, field: &str) -> Note {
        let service = ObjectRef { namespace: "shop".into(), name: "web".into() };
        Note { service, uid: uid.into(), fault: Fault::new(field, "is no policy") }
    }

    #[test]
    fn a_fault_has_one_name_on_every_node() {
        let name = |note: &Note, node: &str| {
            event(note, node, Timestamp::UNIX_EPOCH).metadata.name.expect("a name")
        };
        let policy = note("1", "metadata.annotations[\"balancer-agent/policy\"]");
        assert_eq!(name(&policy, "a"), name(&policy, "b"));
        assert!(name(&policy, "a").starts_with("web."));
        for other in [note("2", &policy.fault.field), note("1", "spec.ports")] {
            assert_ne!(name(&policy, "a"), name(&other, "a"));
        }
    }

    #[test]
    fn it_belongs_to_the_service() {
        let field = "metadata.annotations[\"balancer-agent/policy\"]";
        let event = event(&note("u", field), "n", Timestamp::UNIX_EPOCH);
        assert_eq!(event.reason.as_deref(), Some("InvalidAnnotation"));
        assert_eq!(event.involved_object.uid.as_deref(), Some("u"));
        assert_eq!(event.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(event.message, Some(format!("{field}: is no policy")));
    }
}
