//! Lists: versions, pages, and the snapshot that the pages of one list share.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{kinds::Kind, query::Query, selector::Selector, status::Refusal, store::Store};

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// The objects.
    pub items: Vec<Arc<Value>>,
    /// `metadata` of the list.
    pub metadata: Value,
}

/// Where the next page begins.
struct Continue {
    version: u64,
    namespace: String,
    name: String,
}

/// The page that a request asks for.
pub fn list(
    store: &Store,
    kind: &Kind,
    selector: &Selector,
    query: &Query,
) -> Result<Page, Refusal> {
    let from = query.get("continue").filter(|text| !text.is_empty()).map(Continue::parse);
    let from = from.transpose()?;
    let version = match &from {
        Some(from) => from.version,
        None => snapshot(store, query)?,
    };
    let mut items = store.at(kind, version)?;
    items.retain(|object| selector.matches(object));
    if let Some(from) = &from {
        let place = (from.namespace.as_str(), from.name.as_str());
        items.retain(|object| place_of(object) > place);
    }
    let limit = query.number("limit")?.filter(|limit| *limit > 0);
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(limit) = limit
        && let Some(left) = items.len().checked_sub(limit as usize).filter(|left| *left > 0)
    {
        items.truncate(limit as usize);
        let (namespace, name) = items.last().map(|last| place_of(last)).unwrap_or_default();
        metadata["continue"] = json!(format!("{version}.{namespace}.{name}"));
        metadata["remainingItemCount"] = json!(left);
    }
    Ok(Page { items, metadata })
}

/// The version that a new list is of.
fn snapshot(store: &Store, query: &Query) -> Result<u64, Refusal> {
    let current = store.version();
    let Some(asked) = query.number("resourceVersion")? else { return Ok(current) };
    if asked > current {
        return Err(Refusal::from_the_future(asked, current));
    }
    match query.get("resourceVersionMatch") {
        Some("Exact") if asked < store.compacted() => {
            Err(Refusal::too_old(asked, store.compacted()))
        }
        Some("Exact") => Ok(asked),
        None | Some("" | "NotOlderThan") => Ok(current),
        Some(other) => Err(Refusal::invalid(format!("resourceVersionMatch: {other:?}"))),
    }
}

fn place_of(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

impl Continue {
    /// Namespaces have no dots, names may.
    fn parse(token: &str) -> Result<Self, Refusal> {
        let mut parts = token.splitn(3, '.');
        let mut part = || parts.next().map(str::to_owned);
        match (part().and_then(|version| version.parse().ok()), part(), part()) {
            (Some(version), Some(namespace), Some(name)) => Ok(Self { version, namespace, name }),
            _ => Err(Refusal::bad_request(format!("continue key is not valid: {token:?}"))),
        }
    }
}
