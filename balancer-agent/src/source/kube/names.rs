//! What many endpoints have in common, in memory once.

use std::{collections::HashSet, hash::Hash, sync::Arc};

use crate::model::{Endpoint, Hints, Place};

/// How many there are at least before those that nobody uses are looked for.
const FEW: usize = 1024;

/// Places, hints and beginnings of the pods' names of endpoints.
#[derive(Debug, Default)]
pub struct Names {
    places: Shared<Place>,
    hints: Shared<Hints>,
    stems: Shared<str>,
}

impl Names {
    /// Lets an endpoint share with others what is the same.
    pub fn share(&mut self, endpoint: &mut Endpoint) {
        self.places.share(&mut endpoint.place);
        if let Some(hints) = &mut endpoint.hints {
            self.hints.share(hints);
        }
        if let Some(pod) = &mut endpoint.pod {
            self.stems.share(pod.stem());
        }
    }
}

#[derive(Debug)]
struct Shared<T: ?Sized> {
    known: HashSet<Arc<T>>,
    /// With how many those that nobody uses are looked for.
    crowded: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), crowded: FEW }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        if let Some(known) = self.known.get(value) {
            *value = Arc::clone(known);
            return;
        }
        if self.known.len() >= self.crowded {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.crowded = FEW.max(self.known.len() * 2);
        }
        self.known.insert(Arc::clone(value));
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
            place: Place { node: Some(node.into()), zone: Some(zone.into()) }.into(),
            pod: None,
            hints: Some(Hints { nodes: Vec::new(), zones: vec![zone.into()] }.into()),
        }
    }

    #[test]
    fn what_is_the_same_is_in_memory_once() {
        let mut names = Names::default();
        let mut endpoints = [endpoint("n1", "a"), endpoint("n1", "a"), endpoint("n2", "a")];
        endpoints.iter_mut().for_each(|endpoint| names.share(endpoint));
        let [first, second, third] = &endpoints;
        assert!(Arc::ptr_eq(&first.place, &second.place));
        assert!(!Arc::ptr_eq(&first.place, &third.place));
        let hints = [first, third].map(|endpoint| endpoint.hints.as_ref().expect("hints"));
        assert!(Arc::ptr_eq(hints[0], hints[1]));
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let mut names = Names::default();
        let mut kept = endpoint("kept", "a");
        names.share(&mut kept);
        for node in 0..10 * FEW {
            names.share(&mut endpoint(&format!("n{node}"), "a"));
        }
        assert!(names.places.known.len() <= FEW, "{}", names.places.known.len());
        assert!(names.places.known.contains(&kept.place));
    }
}
