//! A document to values: one, or one for each item of a List.

use serde_norway::{Mapping, Value};

use super::{
    document::Document,
    object::{Fault, STAYS},
};

/// Number of the item where a document is a List, and the value or why there is none.
pub type Piece = (Option<usize>, Result<Value, Fault>);

/// The values of a YAML document.
pub fn yaml(document: &str) -> Result<Vec<Piece>, serde_norway::Error> {
    parse(document).map(expand)
}

fn parse(document: &str) -> Result<Value, serde_norway::Error> {
    let mut value: Value = serde_norway::from_str(document)?;
    if document.contains("<<") {
        value.apply_merge()?;
    }
    Ok(value)
}

/// The parser's words, with lines counted from the start of the file: it is asked again, with as
/// many empty lines before the document as the file has.
pub fn explain(document: &Document<'_>, error: &serde_norway::Error) -> Fault {
    let text = document.text.trim_start_matches('\u{feff}');
    let padded = format!("{}{text}", "\n".repeat(document.lines_before));
    let first_line = document.lines_before + 1;
    unparsable(&match parse(&padded) {
        Err(error) if error.location().is_some() => format!("not YAML: {error}"),
        _ => format!("not YAML, in the document that starts at line {first_line}: {error}"),
    })
}

/// What is said of broken documents that are not told one by one.
pub fn flood(documents: usize) -> Fault {
    unparsable(&format!("{documents} documents from here on are no YAML either"))
}

/// The values of a JSON file: one, or several one after another.
pub fn json(text: &str) -> Vec<Result<Vec<Piece>, Fault>> {
    let text = text.trim_start_matches('\u{feff}');
    serde_json::Deserializer::from_str(text)
        .into_iter::<Value>()
        .map(|value| value.map(expand).map_err(|error| unparsable(&format!("not JSON: {error}"))))
        .collect()
}

fn unparsable(reason: &str) -> Fault {
    Fault::new("", format!("{reason}; {STAYS}"))
}

fn expand(mut value: Value) -> Vec<Piece> {
    let Some(list) = list_kind(&value) else { return vec![(None, Ok(value))] };
    let api_version = value.get("apiVersion").cloned();
    match value.as_mapping_mut().and_then(|mapping| mapping.remove("items")) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Sequence(mut items)) => {
            for item in &mut items {
                if let (Some(kind), Value::Mapping(item)) = (list.strip_suffix("List"), item) {
                    inherit(item, kind, api_version.as_ref());
                }
            }
            items.into_iter().enumerate().map(|(index, item)| (Some(index + 1), Ok(item))).collect()
        }
        Some(_) => {
            let message = format!("the items of a {list} must be a list; {STAYS}");
            vec![(None, Err(Fault::new("items", message)))]
        }
    }
}

/// The kind, where the value is a List of objects.
fn list_kind(value: &Value) -> Option<String> {
    let kind = value.get("kind")?.as_str()?;
    (kind == "List" || (kind.ends_with("List") && value.get("items").is_some()))
        .then(|| kind.to_owned())
}

/// The items of a typed list, as the API sends it, carry neither kind nor version.
fn inherit(item: &mut Mapping, kind: &str, api_version: Option<&Value>) {
    if kind.is_empty() || item.contains_key("kind") {
        return;
    }
    item.insert("kind".into(), kind.into());
    if let (Some(version), false) = (api_version, item.contains_key("apiVersion")) {
        item.insert("apiVersion".into(), version.clone());
    }
}
