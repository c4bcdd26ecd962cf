//! What differs between two states.

use std::collections::BTreeSet;

use super::{ObjectRef, Service, State};

/// What differs from the state that was given before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Changes {
    /// Anything, or there was no state before.
    #[default]
    All,
    /// Nothing but these, and problems.
    Some(Parts),
}

/// What changes often, and each time a little.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Services that differ, came or went.
    pub services: BTreeSet<ObjectRef>,
    /// Services some of whose EndpointSlices differ.
    pub endpoints: BTreeSet<ObjectRef>,
    /// True if Pods of this Node or Namespaces differ.
    pub pods: bool,
    /// True if headless Services or their slices differ, as far as the source keeps them.
    pub headless: bool,
}

impl Changes {
    /// Nothing.
    pub const NONE: Self = Self::Some(Parts {
        services: BTreeSet::new(),
        endpoints: BTreeSet::new(),
        pods: false,
        headless: false,
    });

    /// A Service differs.
    pub fn service(&mut self, service: ObjectRef) {
        if let Self::Some(parts) = self {
            parts.services.insert(service);
        }
    }

    /// The slices of a Service differ.
    pub fn endpoints(&mut self, service: ObjectRef) {
        if let Self::Some(parts) = self {
            parts.endpoints.insert(service);
        }
    }

    /// Pods or Namespaces differ.
    pub const fn pods(&mut self) {
        if let Self::Some(parts) = self {
            parts.pods = true;
        }
    }

    /// Headless Services or their slices differ.
    pub const fn headless(&mut self) {
        if let Self::Some(parts) = self {
            parts.headless = true;
        }
    }

    /// What makes one state of another.
    pub fn between(before: &State, after: &State) -> Self {
        let as_before = before.node == after.node && before.missing == after.missing;
        if !as_before {
            return Self::All;
        }
        let differing = |from: &State, to: &State| {
            let differs =
                |(id, service): &(&ObjectRef, &Service)| to.services.get(*id) != Some(*service);
            let services = from.services.iter().filter(differs);
            services.map(|(id, _)| id.clone()).collect::<BTreeSet<_>>()
        };
        let mut services = differing(before, after);
        services.append(&mut differing(after, before));
        Self::Some(Parts {
            services,
            endpoints: before.slices.differing(&after.slices),
            pods: before.pods != after.pods || before.namespaces != after.namespaces,
            headless: before.headless != after.headless,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndpointSlice, Namespace, Node, TrafficPolicy, Tuning};

    fn slice(name: &str, service: &str) -> EndpointSlice {
        EndpointSlice {
            id: ObjectRef { namespace: "shop".into(), name: name.into() },
            service: service.into(),
            triggered: None,
            ports: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    #[test]
    fn services_are_named_whose_slices_differ() {
        let state = |slices: &[(&str, &str)]| State {
            slices: slices.iter().map(|(name, service)| slice(name, service)).collect(),
            ..State::default()
        };
        let before = state(&[("a", "web"), ("b", "api"), ("c", "api")]);
        // slices after -> Services
        for (slices, want) in [
            (&[("a", "web"), ("b", "api"), ("c", "api")][..], &[][..]),
            (&[("a", "web"), ("b", "api")], &["api"]),
            (&[("a", "web"), ("b", "api"), ("c", "api"), ("d", "new")], &["new"]),
            (&[("a", "api"), ("b", "api"), ("c", "api")], &["api", "web"]),
            (&[], &["api", "web"]),
        ] {
            let Changes::Some(parts) = Changes::between(&before, &state(slices)) else {
                panic!("no more than slices differ")
            };
            let names: Vec<_> = parts.endpoints.iter().map(|id| id.name.as_str()).collect();
            assert_eq!((names, parts.pods), (want.to_vec(), false), "{slices:?}");
        }
    }

    #[test]
    fn services_are_named_that_differ_came_or_went() {
        let service = |name: &str, affinity| Service {
            id: ObjectRef { namespace: "shop".into(), name: name.into() },
            uid: Box::default(),
            cluster_ips: Vec::new(),
            external_ips: Vec::new(),
            load_balancer_ips: Vec::new(),
            source_ranges: Vec::new(),
            session_affinity: affinity,
            internal_traffic_policy: TrafficPolicy::Cluster,
            external_traffic_policy: TrafficPolicy::Cluster,
            health_check_node_port: None,
            ports: Vec::new(),
            tuning: Tuning::default(),
        };
        let state = |services: Vec<Service>| State {
            services: services.into_iter().map(|s| (s.id.clone(), s)).collect(),
            ..State::default()
        };
        let before = state(vec![service("a", None), service("b", None), service("c", None)]);
        let after = state(vec![service("a", None), service("b", Some(1)), service("d", None)]);
        let Changes::Some(parts) = Changes::between(&before, &after) else {
            panic!("no more than Services differ")
        };
        let names: Vec<_> = parts.services.iter().map(|id| id.name.as_str()).collect();
        assert_eq!((names, parts.endpoints.len(), parts.pods), (vec!["b", "c", "d"], 0, false));
    }

    #[test]
    fn anything_else_is_everything() {
        let before = State::default();
        assert_eq!(Changes::between(&before, &before), Changes::NONE);
        let after = State { node: Some(Node::default()), ..State::default() };
        assert_eq!(Changes::between(&before, &after), Changes::All);
        let namespace = Namespace { name: "shop".into(), enabled: None };
        let namespaces = [("shop".to_owned(), namespace)].into();
        let after = State { namespaces, ..State::default() };
        let pods = Changes::Some(Parts { pods: true, ..Parts::default() });
        assert_eq!(Changes::between(&before, &after), pods);
    }
}
