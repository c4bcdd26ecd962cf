//! Watches: a stream of changes, one JSON object a line.

use std::{sync::Arc, time::Duration};

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, interval_at, sleep_until},
};

use super::{
    Api, StreamingLists,
    body::{Piece, broken},
    kinds::Kind,
    query::Query,
    selector::Selector,
    status::Refusal,
    store::Change,
};

/// How long a watch lasts unless the client says so; the real server draws 5 to 10 minutes.
const LASTS: Duration = Duration::from_secs(300);

/// What no client can parse.
const GARBAGE: &[u8] = b"{\"type\":\"ADDED\",\"object\":}}\x01 nonsense\n";

/// A watch that has been asked for.
#[derive(Debug)]
pub struct Watch {
    kind: &'static Kind,
    selector: Selector,
    /// Changes up to this version have been told.
    told: u64,
    initial: bool,
    ends_initial: bool,
    bookmarks: bool,
    until: Instant,
}

#[derive(Serialize)]
struct Event<'a> {
    r#type: &'a str,
    object: &'a Value,
}

impl Watch {
    /// Checks what is asked for.
    pub fn new(
        api: &Api,
        kind: &'static Kind,
        selector: Selector,
        query: &Query,
    ) -> Result<Self, Refusal> {
        let asked = query.number("resourceVersion")?.unwrap_or_default();
        let current = api.store().version();
        if asked > current {
            return Err(Refusal::from_the_future(asked, current));
        }
        let known = api.options.streaming_lists != StreamingLists::Unknown;
        let streams = known && query.is("sendInitialEvents");
        if streams && api.options.streaming_lists == StreamingLists::Forbidden {
            return Err(Refusal::invalid(
                "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless \
                 the WatchList feature gate is enabled",
            ));
        }
        if streams && query.get("resourceVersionMatch") != Some("NotOlderThan") {
            return Err(Refusal::invalid(
                "resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
                 resourceVersionMatch to NotOlderThan",
            ));
        }
        let lasts = query.number("timeoutSeconds")?.filter(|seconds| *seconds > 0);
        let bookmarks = query.is("allowWatchBookmarks");
        Ok(Self {
            kind,
            selector,
            told: asked,
            initial: streams || asked == 0,
            ends_initial: streams && bookmarks,
            bookmarks,
            until: Instant::now() + lasts.map_or(LASTS, Duration::from_secs),
        })
    }

    /// Tells until the client goes away or the time is up.
    pub async fn tell(mut self, api: Arc<Api>, sender: mpsc::Sender<Piece>) {
        let mut changes = api.changes.subscribe();
        if self.initial && self.tell_initial(&api, &sender).await.is_none() {
            return;
        }
        let pause = api.options.bookmarks;
        let mut bookmarks = interval_at(Instant::now() + pause, pause);
        loop {
            changes.mark_unchanged();
            let lines = match self.fresh(&api) {
                Ok(lines) => lines,
                Err(refusal) => {
                    // Faults are for objects. After an error the stream ends, whoever listens.
                    let _ = sender.send(Ok(line("ERROR", &refusal.body()).into())).await;
                    return;
                }
            };
            for line in lines {
                if send(&api, &sender, line).await.is_none() {
                    return;
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                _ = bookmarks.tick(), if self.bookmarks => {
                    if send(&api, &sender, self.bookmark(json!({}))).await.is_none() {
                        return;
                    }
                }
                () = sleep_until(self.until) => return,
                () = sender.closed() => return,
            }
        }
    }

    /// All objects there are, then the bookmark that says so.
    async fn tell_initial(&mut self, api: &Api, sender: &mpsc::Sender<Piece>) -> Option<()> {
        let (version, objects) = {
            let store = api.store();
            // The present is never compacted.
            (store.version(), store.at(self.kind, store.version()).unwrap_or_default())
        };
        self.told = version;
        for object in objects.iter().filter(|object| self.selector.matches(object)) {
            send(api, sender, line("ADDED", object)).await?;
        }
        if self.ends_initial {
            let bookmark = self.bookmark(json!({"k8s.io/initial-events-end": "true"}));
            send(api, sender, bookmark).await?;
        }
        Some(())
    }

    /// What has changed since it was told last.
    fn fresh(&mut self, api: &Api) -> Result<Vec<Vec<u8>>, Refusal> {
        let store = api.store();
        let changes = store.since(self.told)?;
        let lines = changes.filter_map(|change| self.event(change)).collect();
        self.told = store.version();
        Ok(lines)
    }

    fn event(&self, change: &Change) -> Option<Vec<u8>> {
        if (change.key.0, change.key.1) != (self.kind.group, self.kind.plural) {
            return None;
        }
        let meant = |object: &&Arc<Value>| self.selector.matches(object);
        let (before, now) = (&change.before, &change.now);
        match (before.as_ref().filter(meant), now.as_ref().filter(meant)) {
            (None, None) => None,
            (None, Some(now)) => Some(line("ADDED", now)),
            (Some(_), Some(now)) => Some(line("MODIFIED", now)),
            (Some(before), None) => {
                let mut last = Value::clone(before);
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(line("DELETED", &last))
            }
        }
    }

    fn bookmark(&self, annotations: Value) -> Vec<u8> {
        let mut metadata = json!({
            "resourceVersion": self.told.to_string(),
            "creationTimestamp": null,
        });
        if annotations != json!({}) {
            metadata["annotations"] = annotations;
        }
        let object = json!({
            "kind": self.kind.kind,
            "apiVersion": self.kind.api_version(),
            "metadata": metadata,
        });
        line("BOOKMARK", &object)
    }
}

fn line(r#type: &str, object: &Value) -> Vec<u8> {
    let event = Event { r#type, object };
    let mut line = serde_json::to_vec(&event).expect("JSON values are always JSON");
    line.push(b'\n');
    line
}

/// Sends a line, unless it is to go wrong; none where the stream has ended.
async fn send(api: &Api, sender: &mpsc::Sender<Piece>, mut line: Vec<u8>) -> Option<()> {
    api.faults.pause().await;
    if api.faults.is_cut() {
        line.truncate(line.len() / 2);
        sender.send(Ok(line.into())).await.ok()?;
        // A failed send says that the client has gone: the stream ends either way.
        let _ = sender.send(Err(broken())).await;
        return None;
    }
    let bytes = match api.faults.is_garbage() {
        true => Bytes::from_static(GARBAGE),
        false => line.into(),
    };
    sender.send(Ok(bytes)).await.ok()
}
