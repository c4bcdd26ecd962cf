//! Patches: merge, strategic merge, and server-side apply.
//!
//! Of the schema they know which lists of the served kinds are merged by key; every other list is
//! replaced as a whole.

use serde_json::{Map, Value};

/// The key by which the items of a list are merged.
fn merge_key(kind: &str, field: &str) -> Option<&'static str> {
    match (kind, field) {
        ("Service", "ports") => Some("port"),
        ("Node" | "Pod" | "Service" | "Namespace", "conditions") | ("Node", "addresses") => {
            Some("type")
        }
        ("Pod", "containers" | "initContainers" | "volumes" | "env") => Some("name"),
        _ => None,
    }
}

/// RFC 7386.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let target = map(target);
    for (field, value) in patch {
        if value.is_null() {
            target.remove(field);
        } else {
            merge(target.entry(field).or_insert(Value::Null), value);
        }
    }
}

/// A strategic merge patch; `$patch: delete` and null remove, hints about order are ignored.
pub fn strategic(kind: &str, target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    let target = map(target);
    for (field, value) in patch.iter().filter(|(field, _)| !field.starts_with('$')) {
        match (value, merge_key(kind, field)) {
            (Value::Null, _) => {
                target.remove(field);
            }
            (Value::Array(items), Some(key)) => {
                let list = target.entry(field).or_insert_with(|| Value::Array(Vec::new()));
                merge_items(list, items, key, |old, new| strategic(kind, old, new));
            }
            _ => strategic(kind, target.entry(field).or_insert(Value::Null), value),
        }
    }
}

/// Server-side apply by one manager: what it applied last and leaves out now goes, the rest is
/// laid over. Conflicts between managers are not found.
pub fn apply(kind: &str, target: &mut Value, last: Option<&Value>, new: &Value) {
    if let Some(last) = last {
        withdraw(kind, target, last, new);
    }
    strategic(kind, target, new);
}

/// Removes what `last` has and `new` has not.
fn withdraw(kind: &str, target: &mut Value, last: &Value, new: &Value) {
    let (Some(target), Some(last)) = (target.as_object_mut(), last.as_object()) else { return };
    for (field, last) in last {
        let Some(new) = new.get(field) else {
            target.remove(field);
            continue;
        };
        let Some(target) = target.get_mut(field) else { continue };
        match (merge_key(kind, field), target, last, new) {
            (Some(key), Value::Array(held), Value::Array(last), Value::Array(new)) => {
                let is_in =
                    |items: &[Value], item: &Value| items.iter().any(|i| i[key] == item[key]);
                held.retain(|item| !is_in(last, item) || is_in(new, item));
            }
            (_, target @ Value::Object(_), ..) => withdraw(kind, target, last, new),
            _ => {}
        }
    }
}

fn merge_items(
    list: &mut Value,
    items: &[Value],
    key: &str,
    lay_over: impl Fn(&mut Value, &Value),
) {
    if !list.is_array() {
        *list = Value::Array(Vec::new());
    }
    let Some(held) = list.as_array_mut() else { return };
    for item in items {
        let place = held.iter().position(|old| old[key] == item[key]);
        match (place, item["$patch"] == "delete") {
            (Some(place), true) => drop(held.remove(place)),
            (None, true) => {}
            (Some(place), false) => lay_over(&mut held[place], item),
            (None, false) => held.push(item.clone()),
        }
    }
}

fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_replaces_lists_and_removes_nulls() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "list": [1, 2]});
        merge(&mut target, &json!({"a": {"b": null, "d": 3}, "list": [3]}));
        assert_eq!(target, json!({"a": {"c": 2, "d": 3}, "list": [3]}));
    }

    #[test]
    fn a_strategic_merge_knows_the_ports_of_a_service_by_number() {
        let mut target = json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 90}]}});
        let patch = json!({"spec": {
            "$setElementOrder/ports": [{"port": 80}, {"port": 100}],
            "ports": [{"port": 80, "nodePort": 30080}, {"port": 90, "$patch": "delete"}, {"port": 100}],
        }});
        strategic("Service", &mut target, &patch);
        let ports = json!([{"port": 80, "name": "a", "nodePort": 30080}, {"port": 100}]);
        assert_eq!(target, json!({"spec": {"ports": ports}}));
        let mut slice = json!({"ports": [{"port": 80}, {"port": 90}]});
        strategic("EndpointSlice", &mut slice, &json!({"ports": [{"port": 100}]}));
        assert_eq!(slice, json!({"ports": [{"port": 100}]}));
    }

    #[test]
    fn what_is_no_longer_applied_goes_and_what_others_set_stays() {
        let mut target = json!({
            "metadata": {"labels": {"mine": "1", "old": "1", "theirs": "1"}},
            "spec": {"ports": [{"port": 80}, {"port": 90}, {"port": 100}]},
        });
        let last = json!({
            "metadata": {"labels": {"mine": "1", "old": "1"}},
            "spec": {"ports": [{"port": 80}, {"port": 90}]},
        });
        let new = json!({"metadata": {"labels": {"mine": "2"}}, "spec": {"ports": [{"port": 80}]}});
        apply("Service", &mut target, Some(&last), &new);
        let want = json!({
            "metadata": {"labels": {"mine": "2", "theirs": "1"}},
            "spec": {"ports": [{"port": 80}, {"port": 100}]},
        });
        assert_eq!(target, want);
    }
}
