//! From requests to answers.

use std::{sync::Arc, time::Instant};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Api, Seen,
    body::Answer,
    discovery,
    kinds::{self, Kind},
    list::{Page, list},
    locked,
    query::Query,
    selector::Selector,
    status::Refusal,
    watch::Watch,
    write::{self, Patch, Target},
};

/// How many pieces of a watch may wait for their client.
const BACKLOG: usize = 64;

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Collection(&'static Kind, Option<&'a str>),
    Object(&'static Kind, &'a str, &'a str),
}

/// Answers a request that came over the connection of that number.
pub async fn answer(
    api: Arc<Api>,
    connection: u64,
    request: Request<Incoming>,
) -> Response<Answer> {
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    let response = match respond(&api, request).await {
        Ok(response) => response,
        Err(refusal) => json_answer(refusal.code, &refusal.body()),
    };
    let (status, at) = (response.status().as_u16(), Instant::now());
    locked(&api.seen).push(Seen { method, uri, status, connection, at });
    response
}

async fn respond(api: &Arc<Api>, request: Request<Incoming>) -> Result<Response<Answer>, Refusal> {
    api.faults.pause().await;
    if let Some(code) = api.faults.failure(request.method() == Method::POST) {
        return Err(Refusal::on_command(code));
    }
    authenticate(api, &request)?;
    let (head, body) = request.into_parts();
    let path: Vec<&str> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    if let ["healthz" | "livez" | "readyz", ..] = path[..] {
        return Ok(text_answer("ok"));
    }
    if let Some(document) = discovery::document(&path, api.options.version) {
        return Ok(json_answer(200, &document));
    }
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let place = place(&path).ok_or_else(Refusal::no_such_path)?;
    let dry = query.get("dryRun") == Some("All");
    let media = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(binary) = media.filter(|media| media.contains("protobuf")) {
        return Err(Refusal::media_type(binary));
    }
    let body = async {
        let body = body.collect().await.map_err(|e| Refusal::bad_request(e.to_string()))?;
        Ok(body.to_bytes())
    };
    match (head.method, place) {
        (Method::GET, Place::Collection(kind, namespace)) => {
            let fields = query.get("fieldSelector").unwrap_or_default();
            let labels = query.get("labelSelector").unwrap_or_default();
            let selector = Selector::parse(namespace, labels, fields)?;
            match query.is("watch") {
                true => Ok(watch(api, Watch::new(api, kind, selector, &query)?)),
                false => Ok(list_answer(api, kind, &list(&api.store(), kind, &selector, &query)?)),
            }
        }
        (Method::POST, Place::Collection(kind, namespace)) => {
            let object = parse(&body.await?)?;
            let given = object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
            let namespace = match kind.namespaced {
                true => namespace.unwrap_or(&given),
                false => "",
            };
            let _turn = locked(&api.writing);
            let made = write::create(api, kind, namespace, object, dry)?;
            Ok(json_answer(201, &made))
        }
        (Method::DELETE, Place::Collection(kind, namespace)) => {
            let fields = query.get("fieldSelector").unwrap_or_default();
            let labels = query.get("labelSelector").unwrap_or_default();
            let selector = Selector::parse(namespace, labels, fields)?;
            let page = list(&api.store(), kind, &selector, &Query::default())?;
            let _turn = locked(&api.writing);
            for object in &page.items {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
                let (namespace, name) = (text("namespace").to_owned(), text("name").to_owned());
                write::delete(api, &Target { kind, namespace, name })?;
            }
            Ok(list_answer(api, kind, &page))
        }
        (method, Place::Object(kind, namespace, name)) => {
            let (namespace, name) = (namespace.to_owned(), name.to_owned());
            let target = Target { kind, namespace, name };
            let object = match method {
                Method::GET => get(api, &target)?,
                Method::PUT => {
                    let object = parse(&body.await?)?;
                    let _turn = locked(&api.writing);
                    write::replace(api, &target, object, dry)?
                }
                Method::PATCH => {
                    let how = how(media.unwrap_or_default(), &query)?;
                    let change = parse(&body.await?)?;
                    let _turn = locked(&api.writing);
                    write::patch(api, &target, &how, &change, dry)?
                }
                Method::DELETE => {
                    body.await?;
                    return delete(api, &target, dry);
                }
                _ => return Err(Refusal::not_allowed()),
            };
            Ok(json_answer(200, &object))
        }
        _ => Err(Refusal::not_allowed()),
    }
}

fn authenticate(api: &Api, request: &Request<Incoming>) -> Result<(), Refusal> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    match token.is_some_and(|token| locked(&api.tokens).contains(token)) {
        true => Ok(()),
        false => Err(Refusal::unauthorized()),
    }
}

/// `/api/v1/...` and `/apis/GROUP/VERSION/...`; subresources are taken for their object.
fn place<'a>(path: &[&'a str]) -> Option<Place<'a>> {
    let (group, version, rest) = match path {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let kind = |plural: &str| kinds::of_url(group, version, plural);
    match rest {
        ["namespaces", namespace, plural, rest @ ..] if kind(plural).is_some() => {
            let kind = kind(plural)?;
            match rest {
                [] => Some(Place::Collection(kind, Some(namespace))),
                [name] | [name, "status"] => Some(Place::Object(kind, namespace, name)),
                _ => None,
            }
        }
        [plural] => Some(Place::Collection(kind(plural)?, None)),
        [plural, name] | [plural, name, "status"] => {
            let kind = kind(plural).filter(|kind| !kind.namespaced)?;
            Some(Place::Object(kind, "", name))
        }
        _ => None,
    }
}

fn how(media: &str, query: &Query) -> Result<Patch, Refusal> {
    match media.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" => Ok(Patch::Merge),
        "application/strategic-merge-patch+json" => Ok(Patch::Strategic),
        "application/apply-patch+yaml" => match query.get("fieldManager") {
            Some(manager) if !manager.is_empty() => Ok(Patch::Apply(manager.to_owned())),
            _ => Err(Refusal::invalid("fieldManager: Required value: is required for apply patch")),
        },
        other => Err(Refusal::media_type(other)),
    }
}

fn get(api: &Api, target: &Target) -> Result<Arc<Value>, Refusal> {
    let store = api.store();
    let found = store.get(&super::store::key(target.kind, &target.namespace, &target.name));
    found.cloned().ok_or_else(|| Refusal::not_found(target.kind.plural, &target.name))
}

fn delete(api: &Api, target: &Target, dry: bool) -> Result<Response<Answer>, Refusal> {
    let _turn = locked(&api.writing);
    let last = if dry { get(api, target)? } else { write::delete(api, target)? };
    let details = json!({
        "name": target.name,
        "group": target.kind.group,
        "kind": target.kind.plural,
        "uid": last["metadata"]["uid"],
    });
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    });
    Ok(json_answer(200, &status))
}

/// YAML is a superset of JSON, and apply patches may be either.
fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_saphyr::from_slice(body).map_err(|e| Refusal::bad_request(e.to_string()))
}

fn watch(api: &Arc<Api>, watch: Watch) -> Response<Answer> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(watch.tell(Arc::clone(api), sender));
    response(200, "application/json", Answer::Stream(receiver))
}

/// The items of a list don't repeat their kind.
fn list_answer(api: &Api, kind: &Kind, page: &Page) -> Response<Answer> {
    let item = |object: &Arc<Value>| {
        let mut object = Value::clone(object);
        if let Some(object) = object.as_object_mut() {
            object.remove("kind");
            object.remove("apiVersion");
        }
        object
    };
    let body = json!({
        "kind": format!("{}List", kind.kind),
        "apiVersion": kind.api_version(),
        "metadata": page.metadata,
        "items": page.items.iter().map(item).collect::<Vec<_>>(),
    });
    let mut bytes = body.to_string().into_bytes();
    if api.faults.is_cut() {
        bytes.truncate(bytes.len() / 2);
        return response(200, "application/json", Answer::broken(bytes));
    }
    if api.faults.is_garbage() {
        bytes = b"<html>nothing of use</html>".to_vec();
    }
    response(200, "application/json", Answer::whole(bytes))
}

fn json_answer(code: u16, body: &Value) -> Response<Answer> {
    response(code, "application/json", Answer::whole(body.to_string().into_bytes()))
}

fn text_answer(text: &str) -> Response<Answer> {
    response(200, "text/plain", Answer::whole(text.as_bytes().to_vec()))
}

fn response(code: u16, media: &str, body: Answer) -> Response<Answer> {
    let builder = Response::builder().status(code).header(CONTENT_TYPE, media);
    builder.body(body).expect("status and media type are always legal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_collections_and_objects() {
        let kind = |group: &str, plural: &str| kinds::of_url(group, "v1", plural).expect("a kind");
        let (services, namespaces) = (kind("", "services"), kind("", "namespaces"));
        let slices = kind("discovery.k8s.io", "endpointslices");
        let cases = [
            ("api/v1/services", Some(Place::Collection(services, None))),
            ("api/v1/namespaces/a/services", Some(Place::Collection(services, Some("a")))),
            ("api/v1/namespaces/a/services/b", Some(Place::Object(services, "a", "b"))),
            ("api/v1/namespaces/a/services/b/status", Some(Place::Object(services, "a", "b"))),
            ("api/v1/namespaces/a/services/b/proxy", None),
            ("api/v1/namespaces", Some(Place::Collection(namespaces, None))),
            ("api/v1/namespaces/a", Some(Place::Object(namespaces, "", "a"))),
            ("api/v1/namespaces/a/status", Some(Place::Object(namespaces, "", "a"))),
            ("api/v1/services/a", None),
            ("api/v1/gadgets", None),
            ("apis/discovery.k8s.io/v1/endpointslices", Some(Place::Collection(slices, None))),
            ("apis/discovery.k8s.io/v1beta1/endpointslices", None),
        ];
        for (path, want) in cases {
            let parts: Vec<&str> = path.split('/').collect();
            assert_eq!(place(&parts), want, "{path}");
        }
    }
}
