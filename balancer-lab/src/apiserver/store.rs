//! The objects, and the log of their changes: what etcd is to the real server.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{kinds::Kind, status::Refusal};

/// Where an object is found: kind, namespace (empty for none), name.
pub type Key = (&'static str, &'static str, String, String);

/// The log keeps this many changes; what is older is compacted away.
const LOG: usize = 200_000;

/// A change that was made.
#[derive(Clone, Debug)]
pub struct Change {
    /// The version of the store that it made.
    pub version: u64,
    /// What was changed.
    pub key: Key,
    /// The object afterwards; none where it was deleted.
    pub now: Option<Arc<Value>>,
    /// The object before; none where it was created.
    pub before: Option<Arc<Value>>,
}

/// All objects.
#[derive(Debug)]
pub struct Store {
    version: u64,
    compacted: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Change>,
}

impl Store {
    /// Nothing, at version 1.
    pub fn new() -> Self {
        Self { version: 1, compacted: 0, objects: BTreeMap::new(), log: VecDeque::new() }
    }

    /// The version of the newest change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Changes up to this version can't be watched any more.
    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Forgets the log.
    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.log.clear();
    }

    /// The object of that name.
    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// Writes an object as it is, but for its metadata, which it returns completed.
    pub fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let now = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&now));
        self.record(key, Some(Arc::clone(&now)), before);
        now
    }

    /// Deletes an object and returns its last state, with the version of its deletion.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.version += 1;
        let mut last = Value::clone(&before);
        last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let last = Arc::new(last);
        self.record(key.clone(), None, Some(Arc::clone(&last)));
        Some(last)
    }

    fn record(&mut self, key: Key, now: Option<Arc<Value>>, before: Option<Arc<Value>>) {
        self.log.push_back(Change { version: self.version, key, now, before });
        if self.log.len() > LOG
            && let Some(oldest) = self.log.pop_front()
        {
            self.compacted = oldest.version;
        }
    }

    /// The changes after a version, oldest first.
    pub fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Refusal> {
        if version < self.compacted {
            return Err(Refusal::too_old(version, self.compacted));
        }
        let start = self.log.partition_point(|change| change.version <= version);
        Ok(self.log.range(start..))
    }

    /// All objects of a kind as they were at a version, by namespace and name.
    pub fn at(&self, kind: &Kind, version: u64) -> Result<Vec<Arc<Value>>, Refusal> {
        let of_kind = |key: &Key| key.0 == kind.group && key.1 == kind.plural;
        let first = (kind.group, kind.plural, String::new(), String::new());
        let mut objects: BTreeMap<&Key, Arc<Value>> = (self.objects.range(first..))
            .take_while(|(key, _)| of_kind(key))
            .map(|(key, object)| (key, Arc::clone(object)))
            .collect();
        if version < self.version {
            let changes: Vec<_> = self.since(version).map_err(|_| Refusal::expired())?.collect();
            for change in changes.into_iter().rev().filter(|change| of_kind(&change.key)) {
                match &change.before {
                    Some(before) => objects.insert(&change.key, Arc::clone(before)),
                    None => objects.remove(&change.key),
                };
            }
        }
        Ok(objects.into_values().collect())
    }
}

/// The key of an object.
pub fn key(kind: &'static Kind, namespace: &str, name: &str) -> Key {
    (kind.group, kind.plural, namespace.to_owned(), name.to_owned())
}
