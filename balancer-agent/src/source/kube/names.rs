//! Names that many objects have in common, each in memory once.

use std::{collections::HashSet, sync::Arc};

use crate::model::Endpoint;

/// How many names there are at least before those that nobody uses are looked for.
const FEW: usize = 1024;

/// Names of nodes and zones.
#[derive(Debug)]
pub struct Names {
    known: HashSet<Arc<str>>,
    /// With how many names those that nobody uses are looked for.
    crowded: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: HashSet::new(), crowded: FEW }
    }
}

impl Names {
    /// Lets an endpoint share its names with others.
    pub fn share(&mut self, endpoint: &mut Endpoint) {
        let Endpoint { node, zone, for_nodes, for_zones, .. } = endpoint;
        for name in [node, zone].into_iter().flatten() {
            self.one(name);
        }
        for name in for_nodes.iter_mut().chain(for_zones) {
            self.one(name);
        }
    }

    fn one(&mut self, name: &mut Arc<str>) {
        if let Some(known) = self.known.get(name) {
            *name = Arc::clone(known);
            return;
        }
        if self.known.len() >= self.crowded {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.crowded = FEW.max(self.known.len() * 2);
        }
        self.known.insert(Arc::clone(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(node: &str, zone: &str) -> Endpoint {
        Endpoint {
            address: [10, 0, 0, 1].into(),
            ready: true,
            serving: true,
            terminating: false,
            node: Some(node.into()),
            zone: Some(zone.into()),
            pod: None,
            for_nodes: Box::default(),
            for_zones: [zone.into()].into(),
        }
    }

    #[test]
    fn a_name_is_in_memory_once() {
        let mut names = Names::default();
        let mut endpoints = [endpoint("n1", "a"), endpoint("n2", "a")];
        endpoints.iter_mut().for_each(|endpoint| names.share(endpoint));
        let [first, second] = &endpoints;
        let zones = [first, second].map(|e| e.zone.as_ref().expect("a zone"));
        assert!(Arc::ptr_eq(zones[0], zones[1]));
        assert!(Arc::ptr_eq(zones[0], &second.for_zones[0]));
        assert_eq!(names.known.len(), 3);
    }

    #[test]
    fn names_that_nobody_uses_are_forgotten() {
        let mut names = Names::default();
        let mut kept = endpoint("kept", "a");
        names.share(&mut kept);
        for node in 0..10 * FEW {
            names.share(&mut endpoint(&format!("n{node}"), "a"));
        }
        assert!(names.known.len() <= FEW, "{}", names.known.len());
        assert!(names.known.contains("kept") && names.known.contains("a"));
    }
}
