//! All files of a folder to one view of it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::{
    content::{Content, Definition, duplicate},
    object::{Found, Key},
};
use crate::model::{
    Changes, EndpointSlice, Headless, Namespace, Node, ObjectRef, Pod, Problem, Service, State,
};

/// A [`State`] that shares its objects with the files they stand in: cheap to make for every
/// change, and to compare.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    services: Vec<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Arc<Pod>>,
    namespaces: Vec<Arc<Namespace>>,
    headless: BTreeSet<ObjectRef>,
    headless_slices: Vec<Arc<EndpointSlice>>,
    problems: Vec<Problem>,
    missing: bool,
}

/// The files by name. Where two define one object, the definition that was there first is in
/// force; that of the first name where both came at once.
pub fn merge<'a>(
    files: impl Iterator<Item = (&'a str, &'a Content)>,
    folder: Option<Problem>,
) -> Merged {
    let mut merged = Merged { problems: folder.into_iter().collect(), ..Merged::default() };
    let mut winners: BTreeMap<&Key, (&str, &Definition)> = BTreeMap::new();
    let mut losers = Vec::new();
    for (file, content) in files {
        merged.problems.extend_from_slice(&content.problems);
        merged.missing |= !content.was_whole;
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
        merged.problems.push(duplicate(object, &first.place.in_file(file)));
    }
    merged.problems.extend(unserved(&winners));
    for (key, (_, definition)) in &winners {
        match &definition.found {
            Found::Service(service) => merged.services.push(Arc::clone(service)),
            Found::Slice(slice) => merged.slices.push(Arc::clone(slice)),
            Found::Headless => drop(merged.headless.insert(key.id.clone())),
            Found::HeadlessSlice(slice) => merged.headless_slices.push(Arc::clone(slice)),
            Found::Node(node) => merged.nodes.push(Arc::clone(node)),
            Found::Pod(pod) => merged.pods.push(Arc::clone(pod)),
            Found::Namespace(namespace) => merged.namespaces.push(Arc::clone(namespace)),
            Found::Skipped | Found::Undecodable => {}
        }
    }
    merged
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
        let Found::Service(service) = &definition.found else { continue };
        let (namespace, name) = (key.id.namespace.as_str(), key.id.name.as_str());
        let has_address = [&service.cluster_ips, &service.external_ips, &service.load_balancer_ips]
            .into_iter()
            .any(|ips| !ips.is_empty());
        let can_be_dialled = has_address && !service.ports.is_empty();
        if can_be_dialled && !served.contains(&(namespace, name)) {
            problems.push(Problem {
                object: format!("{}: {key}", definition.place.in_file(file)),
                field: String::new(),
                message: format!(
                    "no EndpointSlice of namespace {namespace} with the label \
                     kubernetes.io/service-name: {name} has a usable endpoint; connections are \
                     refused until one has"
                ),
            });
        }
    }
    problems
}

/// What to do where the folder has no Node of the name of this one.
const REMEDY: &str = "put it into the folder (kubectl get node NAME -o yaml), or name another one \
                      with --node-name";

impl Merged {
    /// Whether something is not balanced, or not as it says, without the Node of the agent. A folder
    /// without any Node is whole where nothing in it asks for one.
    fn needs_node(&self) -> bool {
        let has_node_port = |service: &Arc<Service>| {
            service.health_check_node_port.is_some()
                || service.ports.iter().any(|port| port.node_port.is_some())
        };
        let has_zones = |slice: &Arc<EndpointSlice>| {
            let hints = slice.endpoints.iter().filter_map(|endpoint| endpoint.hints.as_ref());
            hints.into_iter().any(|hints| !hints.zones.is_empty())
        };
        !self.nodes.is_empty()
            || self.services.iter().any(has_node_port)
            || self.slices.iter().any(has_zones)
    }

    /// A copy that shares nothing, as the node of that name needs it.
    pub fn state(&self, node: Option<&str>) -> State {
        let own = |name: &str| {
            let found = self.nodes.iter().find(|node| node.name == name);
            found.map_or_else(|| Node::unseen(name), |node| Node::clone(node))
        };
        let node = node.map(own);
        let missing = node.as_ref().filter(|node| !node.is_known && self.needs_node());
        State {
            services: self.services.iter().map(|s| (s.id.clone(), Service::clone(s))).collect(),
            slices: self.slices.iter().map(|s| EndpointSlice::clone(s)).collect(),
            pods: {
                let name = node.as_ref().map(|node| node.name.as_str());
                let own = self.pods.iter().filter(|pod| Some(pod.node.as_str()) == name);
                own.map(|pod| (pod.id.clone(), Pod::clone(pod))).collect()
            },
            namespaces: {
                let all = self.namespaces.iter();
                all.map(|n| (n.name.clone(), Namespace::clone(n))).collect()
            },
            headless: Headless {
                services: self.headless.clone(),
                slices: self.headless_slices.iter().map(|s| EndpointSlice::clone(s)).collect(),
            },
            problems: {
                let missing = missing.map(|node| node.missing(REMEDY));
                self.problems.iter().cloned().chain(missing).collect()
            },
            node,
            missing: self.missing,
            triggers: Vec::new(),
            arrived: None,
            changes: Changes::All,
        }
    }
}
