//! All files of a folder to one state.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{
    content::{Content, Definition, duplicate},
    object::{Found, Key},
};
use crate::model::{ObjectRef, Problem, State};

/// The state that the files give, by name of file. Where two define one object, the definition
/// that was there first is in force; the first name where both came at once.
pub fn merge<'a>(files: impl Iterator<Item = (&'a str, &'a Content)>) -> State {
    let mut state = State::default();
    let mut winners: BTreeMap<&Key, (&str, &Definition)> = BTreeMap::new();
    let mut losers = Vec::new();
    for (file, content) in files {
        state.problems.extend_from_slice(&content.problems);
        state.missing |= !content.was_whole;
        let claims = content.definitions.iter().filter(|(_, d)| d.found != Found::Undecodable);
        for (key, definition) in claims {
            match winners.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert((file, definition));
                }
                Entry::Occupied(mut entry) if definition.since < entry.get().1.since => {
                    losers.push((key, entry.insert((file, definition))));
                }
                Entry::Occupied(_) => losers.push((key, (file, definition))),
            }
        }
    }
    losers.sort_by_key(|(_, (file, definition))| (*file, definition.place));
    for (key, (file, definition)) in losers {
        let object = format!("{}: {key}", definition.place.in_file(file));
        let (file, first) = winners[key];
        state.problems.push(duplicate(object, &first.place.in_file(file)));
    }
    state.problems.extend(unserved(&winners));
    for (key, (_, definition)) in winners {
        match &definition.found {
            Found::Service(service) => {
                state.services.insert(key.id.clone(), service.clone());
            }
            Found::Slice(slice) => {
                state.slices.insert(key.id.clone(), slice.clone());
            }
            Found::Skipped | Found::Undecodable => {}
        }
    }
    state
}

/// Says which Services no slice gives an endpoint: more often a wrong label than an intention.
fn unserved(winners: &BTreeMap<&Key, (&str, &Definition)>) -> Vec<Problem> {
    let served: BTreeSet<(&str, &str)> = winners
        .values()
        .filter_map(|(_, definition)| match &definition.found {
            Found::Slice(slice) if !slice.endpoints.is_empty() => {
                Some((slice.id.namespace.as_str(), slice.service.as_str()))
            }
            _ => None,
        })
        .collect();
    let mut problems = Vec::new();
    for (key, (file, definition)) in winners {
        let ObjectRef { namespace, name } = &key.id;
        let is_balanced = matches!(&definition.found, Found::Service(service)
            if !service.cluster_ips.is_empty() && !service.ports.is_empty());
        if is_balanced && !served.contains(&(namespace.as_str(), name.as_str())) {
            problems.push(Problem {
                object: format!("{}: {key}", definition.place.in_file(file)),
                field: String::new(),
                message: format!(
                    "no EndpointSlice of namespace {namespace} with the label \
                     kubernetes.io/service-name: {name} has a usable endpoint: connections are \
                     refused until one has"
                ),
            });
        }
    }
    problems
}
