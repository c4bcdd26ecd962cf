//! EndpointSlices, found by their Service too.

use std::collections::{BTreeMap, BTreeSet};

use super::{EndpointSlice, ObjectRef, compact};

/// EndpointSlices by namespace and name, and by their Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    by_id: BTreeMap<ObjectRef, EndpointSlice>,
    /// Names of the slices of each Service, sorted.
    by_service: BTreeMap<ObjectRef, Vec<Box<str>>>,
}

impl Slices {
    /// The slice of that name.
    pub fn get(&self, id: &ObjectRef) -> Option<&EndpointSlice> {
        self.by_id.get(id)
    }

    /// The slices of a Service, by name.
    pub fn of<'a>(&'a self, service: &'a ObjectRef) -> impl Iterator<Item = &'a EndpointSlice> {
        let names = self.by_service.get(service).map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(|name| {
            let namespace = service.namespace.clone();
            self.by_id.get(&ObjectRef { namespace, name: name.to_string() })
        })
    }

    /// Every slice, by namespace and name.
    pub fn values(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.by_id.values()
    }

    /// Namespace and name of every slice.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectRef> {
        self.by_id.keys()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Adds a slice, or replaces the one of its name, which is returned.
    pub fn insert(&mut self, slice: EndpointSlice) -> Option<EndpointSlice> {
        let old = self.remove(&slice.id);
        let names = self.by_service.entry(slice.of()).or_default();
        if let Err(at) = names.binary_search_by(|name| (**name).cmp(slice.id.name.as_str())) {
            names.insert(at, slice.id.name.as_str().into());
        }
        self.by_id.insert(slice.id.clone(), slice);
        old
    }

    /// Takes a slice out.
    pub fn remove(&mut self, id: &ObjectRef) -> Option<EndpointSlice> {
        let slice = self.by_id.remove(id)?;
        let service = slice.of();
        if let Some(names) = self.by_service.get_mut(&service) {
            names.retain(|name| **name != *id.name);
            if names.is_empty() {
                self.by_service.remove(&service);
            }
        }
        Some(slice)
    }

    /// Gives back the memory that growing has left unused.
    pub fn compact(&mut self) {
        compact(&mut self.by_id);
        compact(&mut self.by_service);
    }

    /// The Services of slices that only one side has, or that differ.
    pub(super) fn differing(&self, other: &Self) -> BTreeSet<ObjectRef> {
        let one_way = |from: &Self, to: &Self| {
            let differs = |slice: &&EndpointSlice| to.get(&slice.id) != Some(*slice);
            from.values().filter(differs).map(EndpointSlice::of).collect::<BTreeSet<_>>()
        };
        let mut services = one_way(self, other);
        services.append(&mut one_way(other, self));
        services
    }
}

impl FromIterator<EndpointSlice> for Slices {
    fn from_iter<I: IntoIterator<Item = EndpointSlice>>(slices: I) -> Self {
        let mut all = Self::default();
        for slice in slices {
            all.insert(slice);
        }
        all
    }
}
