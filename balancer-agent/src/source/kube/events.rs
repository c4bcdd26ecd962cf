//! Tells what is wrong with a Service where its owners look: as Events of it.
//!
//! - `note`: what an Event says, and its name, which is the same from every node (pure).
//! - `agenda`: when to tell what (pure).
//! - [`write`]: the only one who writes; one client, one request at a time.

mod agenda;
mod note;

use k8s_openapi::{api::core::v1::Event, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Duration, sleep},
};

use super::{access::Access, trouble::chain};
use agenda::{Agenda, Outcome, PACE};
pub use note::Note;

/// Writes an Event for each note, until there can be no more. What can't be written is in the log
/// and in `status` all the same.
pub async fn write(access: Access, node: String, mut notes: watch::Receiver<Vec<Note>>) {
    let mut writer = Writer { access, node, client: None, was_refused: false };
    let mut agenda = Agenda::default();
    // Many agents find the same at the same time, and should not all write at once.
    let mut pause = PACE.mul_f64(rand::random());
    loop {
        agenda.follow(&notes.borrow_and_update(), Timestamp::now());
        let next = agenda.next().map(|(note, at)| (note.clone(), at));
        let due = async {
            match next {
                Some((note, at)) => {
                    let until = at.duration_since(Timestamp::now());
                    sleep(Duration::try_from(until).unwrap_or_default()).await;
                    note
                }
                None => std::future::pending().await,
            }
        };
        let note = tokio::select! {
            note = due => note,
            changed = notes.changed() => if changed.is_ok() { continue } else { return },
        };
        sleep(std::mem::take(&mut pause)).await;
        let now = Timestamp::now();
        let outcome = writer.tell(&note, now).await;
        pause = agenda.attempted(&note, outcome, now, rand::random());
    }
}

struct Writer {
    access: Access,
    node: String,
    /// Kept as long as it is of use, and its connection with it.
    client: Option<Client>,
    /// Whether it was said that nothing can be written.
    was_refused: bool,
}

impl Writer {
    async fn tell(&mut self, note: &Note, now: Timestamp) -> Outcome {
        let event = note.event(&self.node, now);
        match self.create(&note.service.namespace, &event).await {
            Ok(()) => {
                self.was_refused = false;
                Outcome::There
            }
            Err((outcome, why)) => {
                if !std::mem::replace(&mut self.was_refused, true) {
                    tracing::warn!(
                        service = %note.service,
                        "Events can't be written: {why}; what is wrong is in the log and in \
                         `balancer-agent status`"
                    );
                }
                outcome
            }
        }
    }

    async fn create(&mut self, namespace: &str, event: &Event) -> Result<(), (Outcome, String)> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let made = self.access.client().await;
                let (client, _) = made.map_err(|error| (Outcome::Failed, error.to_string()))?;
                self.client.insert(client).clone()
            }
        };
        match Api::namespaced(client, namespace).create(&PostParams::default(), event).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 400..=499) => {
                let outcome = match status.code {
                    // The credentials are read again.
                    401 => {
                        self.client = None;
                        Outcome::Failed
                    }
                    429 => Outcome::Failed,
                    // No right to, no such namespace (any more), or not to its taste.
                    _ => Outcome::Refused,
                };
                Err((outcome, status.message))
            }
            Err(error) => {
                self.client = None;
                Err((Outcome::Failed, chain(&error)))
            }
        }
    }
}
