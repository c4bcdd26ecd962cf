//! A document to values: one, or one for each item of a List.

use serde_json::{Map, Value};

use super::{
    document::Document,
    object::{Fault, STAYS},
    yaml::{self, YamlError, whole},
};
use crate::settings::quoted;

/// Number of the item where the document is a List, and the value or why there is none.
pub type Piece = (Option<usize>, Result<Value, Fault>);

/// The values of a YAML document, and what is odd about it that changes nothing.
///
/// # Errors
///
/// Where it is not YAML.
pub fn yaml(document: &str) -> Result<(Vec<Piece>, Option<Fault>), YamlError> {
    let read = yaml::read(document)?;
    let odd = read.repeated.map(|(key, line)| {
        let key = quoted(&key);
        Fault::new(
            "",
            format!(
                "{key} is there twice in one mapping, the second time in line {line} of the \
                 document: the last counts, as for kubectl; remove the other"
            ),
        )
    });
    Ok((expand(read.value), odd))
}

/// The parser's words, with lines counted from the start of the file.
pub fn explain(document: &Document<'_>, error: YamlError) -> Fault {
    let line = error.line + document.lines_before;
    unparsable(&format!("not YAML: {}", YamlError { line, ..error }))
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
        .map(|value| match value {
            Ok(mut value) => {
                make_integers(&mut value);
                Ok(expand(value))
            }
            Err(error) => Err(unparsable(&format!("not JSON: {error}"))),
        })
        .collect()
}

/// Floats that are whole are integers for kubectl and the API server, such as the port 80.0.
fn make_integers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(whole) {
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_integers),
        Value::Object(entries) => entries.values_mut().for_each(make_integers),
        _ => {}
    }
}

fn unparsable(reason: &str) -> Fault {
    Fault::new("", format!("{reason}; {STAYS}"))
}

fn expand(mut value: Value) -> Vec<Piece> {
    let Some(list) = list_kind(&value) else { return vec![(None, Ok(value))] };
    let api_version = value.get("apiVersion").cloned();
    match value.as_object_mut().and_then(|object| object.remove("items")) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(mut items)) => {
            for item in &mut items {
                if let (Some(kind), Value::Object(item)) = (list.strip_suffix("List"), item) {
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
fn inherit(item: &mut Map<String, Value>, kind: &str, api_version: Option<&Value>) {
    if kind.is_empty() || item.contains_key("kind") {
        return;
    }
    item.insert("kind".to_owned(), kind.into());
    if let (Some(version), false) = (api_version, item.contains_key("apiVersion")) {
        item.insert("apiVersion".to_owned(), version.clone());
    }
}
