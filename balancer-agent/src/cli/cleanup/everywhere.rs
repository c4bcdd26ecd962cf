//! Waits until the pods of a DaemonSet that runs `cleanup` have cleaned all nodes.

use std::pin::pin;

use anyhow::{Context, bail};
use futures_util::TryStreamExt;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{Api, Client, api::WatchParams, core::WatchEvent};

/// Watches the DaemonSet until all of its pods are ready, and returns how many these are.
///
/// `note` is told how far it is. An error where the API server refuses, the DaemonSet is deleted, or the
/// watch ends before: whoever waits asks again.
pub(super) async fn wait(
    client: Client,
    namespace: &str,
    name: &str,
    mut note: impl FnMut(&str),
) -> anyhow::Result<i32> {
    let api: Api<DaemonSet> = Api::namespaced(client, namespace);
    let wanted = WatchParams::default().fields(&format!("metadata.name={name}"));
    let describe = || format!("watching the DaemonSet {namespace}/{name}");
    // From version 0 on: the DaemonSet as it is, then each change.
    let mut events = pin!(api.watch(&wanted, "0").await.with_context(describe)?);
    while let Some(event) = events.try_next().await.with_context(describe)? {
        match event {
            WatchEvent::Added(found) | WatchEvent::Modified(found) => {
                let (ready, wanted) = progress(&found);
                if wanted == Some(ready) {
                    return Ok(ready);
                }
                let wanted = wanted.map_or_else(|| "all".to_owned(), |nodes| nodes.to_string());
                note(&format!("{ready} of {wanted} nodes are clean"));
            }
            WatchEvent::Deleted(_) => bail!(
                "the DaemonSet {namespace}/{name} was deleted before all nodes were clean: apply it \
                 again, or run `balancer-agent cleanup` on the nodes"
            ),
            WatchEvent::Error(status) => {
                return Err(anyhow::Error::msg(status.message).context(describe()));
            }
            WatchEvent::Bookmark(_) => {}
        }
    }
    bail!("the API server ended the watch of the DaemonSet {namespace}/{name}: run it again")
}

/// The pods that are ready and those there have to be; none while its controller has not counted.
fn progress(found: &DaemonSet) -> (i32, Option<i32>) {
    let Some(status) = &found.status else { return (0, None) };
    let has_counted = status.observed_generation >= found.metadata.generation;
    (status.number_ready, has_counted.then_some(status.desired_number_scheduled))
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use kube::Config;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    fn event(kind: &str, generation: i64, observed: i64, ready: i32) -> Value {
        json!({"type": kind, "object": {
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "clean", "generation": generation},
            "status": {
                "observedGeneration": observed, "numberReady": ready, "desiredNumberScheduled": 2,
                "currentNumberScheduled": 2, "numberMisscheduled": 0,
            },
        }})
    }

    /// What waiting comes to with an API server that tells these events, and what was noted.
    async fn waited(events: &[Value]) -> (anyhow::Result<i32>, Vec<String>) {
        let told: String = events.iter().map(|event| format!("{event}\n")).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let path = "/apis/apps/v1/namespaces/kube-system/daemonsets";
        let router = Router::new().route(path, get(move || async move { told }));
        let serving = tokio::spawn(axum::serve(listener, router).into_future());
        let client = Client::try_from(Config::new(server.parse().unwrap())).unwrap();
        let mut notes = Vec::new();
        let outcome =
            wait(client, "kube-system", "clean", |text| notes.push(text.to_owned())).await;
        serving.abort();
        (outcome, notes)
    }

    #[tokio::test]
    async fn all_nodes_are_waited_for() {
        let events = [
            // The counts are of the DaemonSet before this one.
            event("ADDED", 2, 1, 2),
            event("MODIFIED", 2, 2, 1),
            event("MODIFIED", 2, 2, 2),
        ];
        let (outcome, notes) = waited(&events).await;
        assert_eq!(outcome.unwrap(), 2);
        assert_eq!(notes, ["2 of all nodes are clean", "1 of 2 nodes are clean"]);
    }

    #[tokio::test]
    async fn what_ends_too_soon_is_an_error() {
        let begins = event("ADDED", 1, 1, 1);
        let refused = json!({"type": "ERROR", "object": {
            "status": "Failure", "message": "too old", "reason": "Expired", "code": 410,
        }});
        for (last, says) in [
            (event("DELETED", 1, 1, 1), "was deleted"),
            (event("MODIFIED", 1, 1, 1), "ended the watch"),
            (refused, "too old"),
        ] {
            let (outcome, _) = waited(&[begins.clone(), last]).await;
            let error = format!("{:#}", outcome.unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }
}
