//! Label and field selectors.

use serde_json::Value;

use super::status::Refusal;

/// What a list or a watch is limited to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    namespace: Option<String>,
    labels: Vec<Label>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    path: Vec<String>,
    value: String,
    equal: bool,
}

impl Selector {
    /// Parses the query parameters.
    pub fn parse(namespace: Option<&str>, labels: &str, fields: &str) -> Result<Self, Refusal> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            labels: requirements(labels).into_iter().map(label).collect::<Result<_, _>>()?,
            fields: requirements(fields).into_iter().map(field).collect::<Result<_, _>>()?,
        })
    }

    /// Whether the object is meant.
    pub fn matches(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let here = |namespace: &String| metadata["namespace"] == namespace.as_str();
        self.namespace.as_ref().is_none_or(here)
            && self.labels.iter().all(|label| label.matches(&metadata["labels"]))
            && self.fields.iter().all(|field| field.matches(object))
    }
}

/// Cuts at the commas outside parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

fn label(text: &str) -> Result<Label, Refusal> {
    let one = |value: &str| vec![value.trim_start_matches('=').trim().to_owned()];
    let key = |key: &str| key.trim().to_owned();
    if let Some(absent) = text.strip_prefix('!') {
        return Ok(Label::Absent(key(absent)));
    }
    if let Some((name, value)) = text.split_once("!=") {
        return Ok(Label::NotIn(key(name), one(value)));
    }
    if let Some((name, value)) = text.split_once('=') {
        return Ok(Label::In(key(name), one(value)));
    }
    let Some((head, values)) = text.split_once('(') else {
        return match text.contains(char::is_whitespace) {
            true => Err(Refusal::bad_request(format!("unable to parse requirement: {text:?}"))),
            false => Ok(Label::Exists(key(text))),
        };
    };
    let values = values.trim_end_matches(')').split(',').map(|v| v.trim().to_owned()).collect();
    match head.split_whitespace().collect::<Vec<_>>()[..] {
        [name, "in"] => Ok(Label::In(key(name), values)),
        [name, "notin"] => Ok(Label::NotIn(key(name), values)),
        _ => Err(Refusal::bad_request(format!("unable to parse requirement: {text:?}"))),
    }
}

impl Label {
    fn matches(&self, labels: &Value) -> bool {
        let value = |key: &String| labels.get(key).and_then(Value::as_str);
        match self {
            Self::Exists(key) => value(key).is_some(),
            Self::Absent(key) => value(key).is_none(),
            Self::In(key, values) => value(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(key, values) => !value(key).is_some_and(|v| values.iter().any(|w| w == v)),
        }
    }
}

fn field(text: &str) -> Result<Field, Refusal> {
    let (path, value, equal) = match text.split_once("!=") {
        Some((path, value)) => (path, value, false),
        None => match text.split_once('=') {
            Some((path, value)) => (path, value.trim_start_matches('='), true),
            None => {
                return Err(Refusal::bad_request(format!("invalid field selector: {text:?}")));
            }
        },
    };
    let path = path.trim().split('.').map(str::to_owned).collect();
    Ok(Field { path, value: value.trim().to_owned(), equal })
}

impl Field {
    fn matches(&self, object: &Value) -> bool {
        let found = self.path.iter().try_fold(object, |value, part| value.get(part));
        let text = found.and_then(Value::as_str).unwrap_or_default();
        (text == self.value) == self.equal
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_choose_as_the_real_ones_do() {
        let object = json!({
            "metadata": {"name": "a", "namespace": "n", "labels": {"app": "web", "tier": "front"}},
            "spec": {"nodeName": "node-1"},
        });
        let cases = [
            ("", "", true),
            ("app", "", true),
            ("!app", "", false),
            ("!service.kubernetes.io/headless,!x", "", true),
            ("app=web,tier==front", "", true),
            ("app!=web", "", false),
            ("missing!=web", "", true),
            ("app in (db, web),tier", "", true),
            ("app notin (db,web)", "", false),
            ("", "metadata.name=a", true),
            ("", "metadata.name!=a", false),
            ("", "spec.nodeName=node-1,metadata.namespace==n", true),
            ("", "spec.nodeName=node-2", false),
            ("", "spec.other=", true),
        ];
        for (labels, fields, want) in cases {
            let selector = Selector::parse(None, labels, fields).expect("parsed");
            assert_eq!(selector.matches(&object), want, "labels {labels:?}, fields {fields:?}");
        }
        assert!(!Selector::parse(Some("m"), "", "").expect("parsed").matches(&object));
        for (labels, fields) in [("a b", ""), ("a like (b)", ""), ("", "metadata.name")] {
            assert_eq!(Selector::parse(None, labels, fields).map_err(|e| e.code), Err(400));
        }
    }
}
