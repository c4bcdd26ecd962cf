//! Text of a file to values: one for each document, or for each item of a List.

use serde_norway::{Mapping, Value};

use super::{
    document::{Document, split},
    object::{Fault, Place, STAYS},
};

/// A value and where it stands, or why there is none.
pub type Piece = (Place, Result<Value, Fault>);

/// Documents of one file whose errors are told one by one; a flood helps nobody.
const MAX_TOLD: usize = 16;

/// The values of a YAML file.
pub fn yaml(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut broken = 0;
    for document in split(text) {
        let place = Place { document: document.number, item: None };
        match parse(document.text) {
            Ok(value) => expand(place, value, &mut pieces),
            Err(error) => {
                broken += 1;
                if broken <= MAX_TOLD {
                    pieces.push((place, Err(unparsable(&explain(&document, &error)))));
                }
            }
        }
    }
    if broken > MAX_TOLD {
        let more = broken - MAX_TOLD;
        let place = Place { document: pieces.len(), item: None };
        pieces.push((place, Err(unparsable(&format!("{more} further documents are no YAML")))));
    }
    pieces
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
fn explain(document: &Document<'_>, error: &serde_norway::Error) -> String {
    let text = document.text.trim_start_matches('\u{feff}');
    let padded = format!("{}{text}", "\n".repeat(document.lines_before));
    let first_line = document.lines_before + 1;
    match parse(&padded) {
        Err(error) if error.location().is_some() => format!("not YAML: {error}"),
        _ => format!("not YAML, in the document that starts at line {first_line}: {error}"),
    }
}

/// The values of a JSON file: one, or several one after another.
pub fn json(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let text = text.trim_start_matches('\u{feff}');
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    for (index, value) in values.enumerate() {
        let place = Place { document: index + 1, item: None };
        match value {
            Ok(value) => expand(place, value, &mut pieces),
            Err(error) => pieces.push((place, Err(unparsable(&format!("not JSON: {error}"))))),
        }
    }
    pieces
}

fn unparsable(reason: &str) -> Fault {
    Fault::new("", format!("{reason}; {STAYS}"))
}

fn expand(place: Place, mut value: Value, pieces: &mut Vec<Piece>) {
    let Some(list) = list_kind(&value) else {
        pieces.push((place, Ok(value)));
        return;
    };
    let api_version = value.get("apiVersion").cloned();
    match value.as_mapping_mut().and_then(|mapping| mapping.remove("items")) {
        None | Some(Value::Null) => {}
        Some(Value::Sequence(items)) => {
            for (index, mut item) in items.into_iter().enumerate() {
                if let (Some(kind), Value::Mapping(item)) = (list.strip_suffix("List"), &mut item) {
                    inherit(item, kind, api_version.as_ref());
                }
                pieces.push((Place { item: Some(index + 1), ..place }, Ok(item)));
            }
        }
        Some(_) => pieces.push((
            place,
            Err(Fault::new("items", format!("the items of a {list} must be a list; {STAYS}"))),
        )),
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
