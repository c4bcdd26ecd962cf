//! What the feeds tell, as one state.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::{Instant, SystemTime},
};

use super::{decode::Decoded, events::Note, feed::Told, names::Names};
use crate::{
    model::{Changes, Clash, EndpointSlice, Node, ObjectRef, Problem, State, compact},
    source::{
        Update,
        object::{Fault, Found, Key, Kind},
    },
};

/// The most faults that are told as Events: the same ones on every node. All are in the log and in
/// `status`.
const NOTES: usize = 256;

/// What to do where the API server has no Node of the name of this one.
const REMEDY: &str = "name one that `kubectl get nodes` lists with --node-name, or wait until this one \
                      has registered";

/// The objects of the API server as they were last told.
#[derive(Debug)]
pub struct Store {
    server: String,
    node: String,
    /// The Service of the agents.
    peers: Option<ObjectRef>,
    state: State,
    /// Kinds that were never listed to the end.
    awaited: BTreeSet<Kind>,
    /// Those of them that were given last.
    told_awaited: Option<BTreeSet<Kind>>,
    /// What the lists that are being told have named so far.
    named: BTreeMap<Kind, BTreeSet<ObjectRef>>,
    faults: BTreeMap<Key, Vec<Fault>>,
    /// The uids of Services with faults.
    uids: BTreeMap<ObjectRef, String>,
    /// Objects that could never be understood.
    unread: BTreeSet<Key>,
    nameless: BTreeMap<Kind, String>,
    troubles: BTreeMap<Kind, String>,
    /// When the changes were triggered that no state has shown yet.
    triggers: Vec<SystemTime>,
    /// What differs from the state that was given last.
    changes: Changes,
    /// True if that, or what is wrong, is anything.
    changed: bool,
    /// When the first of it arrived.
    arrived: Option<Instant>,
    names: Names,
    /// True if faults of Services may differ from those that [`Store::notes`] gave last.
    notes_differ: bool,
}

impl Store {
    /// Nothing, until all of `kinds` have been listed.
    pub fn new(
        server: String,
        node: &str,
        peers: Option<ObjectRef>,
        kinds: impl Iterator<Item = Kind>,
    ) -> Self {
        let mut store = Self {
            server,
            node: node.to_owned(),
            peers,
            state: State::default(),
            awaited: kinds.collect(),
            told_awaited: None,
            named: BTreeMap::new(),
            faults: BTreeMap::new(),
            uids: BTreeMap::new(),
            unread: BTreeSet::new(),
            nameless: BTreeMap::new(),
            troubles: BTreeMap::new(),
            triggers: Vec::new(),
            changes: Changes::All,
            changed: false,
            arrived: None,
            names: Names::default(),
            notes_differ: false,
        };
        store.state.node = Some(Node::unseen(node));
        store
    }

    /// Whether there is something to give.
    pub fn has_news(&self) -> bool {
        match &self.told_awaited {
            Some(told) if !self.awaited.is_empty() => {
                *told != self.awaited || self.problems() != self.state.problems
            }
            _ => self.changed,
        }
    }

    /// The kinds that were never listed to the end.
    pub fn awaited(&self) -> Vec<Kind> {
        self.awaited.iter().copied().collect()
    }

    /// What has changed since it was given last.
    pub fn update(&mut self) -> Update<'_> {
        self.state.problems = self.problems();
        if !self.awaited.is_empty() {
            self.told_awaited = Some(self.awaited.clone());
            return Update::Waiting(&self.state.problems, self.awaited());
        }
        self.changed = false;
        self.state.arrived = self.arrived.take();
        let missing = !self.unread.is_empty();
        if std::mem::replace(&mut self.state.missing, missing) != missing {
            self.changes = Changes::All;
        }
        self.state.triggers = std::mem::take(&mut self.triggers);
        self.state.changes = std::mem::replace(&mut self.changes, Changes::NONE);
        Update::State(&self.state)
    }

    /// True if [`Store::notes`] may give other ones than the last time. Not before everything has
    /// been listed.
    pub fn notes_differ(&self) -> bool {
        self.notes_differ && self.awaited.is_empty()
    }

    /// What the owners of Services are told: what is wrong with them, and what others have.
    pub fn notes(&mut self, clashes: &[Clash]) -> Vec<Note> {
        self.notes_differ = false;
        let faults = self.faults.iter().filter(|(key, _)| key.kind == Kind::Service);
        let invalid = faults.flat_map(|(key, faults)| {
            let uid = self.uids.get(&key.id).cloned().unwrap_or_default();
            let note = move |fault: &Fault| {
                let field = fault.field.clone();
                Note::invalid(key.id.clone(), uid.clone(), field, &fault.message)
            };
            faults.iter().map(note)
        });
        let clash = |clash: &Clash| {
            // It may have gone since.
            let service = self.state.services.get(&clash.service)?;
            Some(Note::clash(clash, service.uid.to_string()))
        };
        clashes.iter().filter_map(clash).chain(invalid).take(NOTES).collect()
    }

    /// Takes in what a feed tells.
    pub fn take(&mut self, told: Told) {
        let arrived = if let Told::Is(decoded) = &told { decoded.arrived } else { Instant::now() };
        self.take_in(told);
        if self.changed {
            self.arrived.get_or_insert(arrived);
        }
    }

    fn take_in(&mut self, told: Told) {
        match told {
            Told::Begins(kind) => {
                self.named.insert(kind, BTreeSet::new());
                self.changed |= self.nameless.remove(&kind).is_some();
            }
            Told::Is(decoded) => self.put(*decoded),
            Told::Gone(key) => self.forget(&key),
            Told::Complete(kind) => self.complete(kind),
            Told::Trouble(kind, Some(message)) => {
                self.changed |= self.troubles.insert(kind, message.clone()) != Some(message);
            }
            Told::Trouble(kind, None) => self.changed |= self.troubles.remove(&kind).is_some(),
            Told::Nameless(kind, error) => {
                self.nameless.insert(kind, error);
                self.changed = true;
            }
        }
    }

    fn put(&mut self, decoded: Decoded) {
        let Decoded { key, uid, found, faults, .. } = decoded;
        if let Some(named) = self.named.get_mut(&key.kind) {
            named.insert(key.id.clone());
        }
        if key.kind == Kind::Service {
            let known = if faults.is_empty() {
                self.uids.remove(&key.id)
            } else {
                self.uids.insert(key.id.clone(), uid.clone())
            };
            self.notes_differ |= known.is_some_and(|known| known != uid);
        }
        let told = if faults.is_empty() {
            self.faults.remove(&key)
        } else {
            self.faults.insert(key.clone(), faults.clone())
        };
        let differ = told.unwrap_or_default() != faults;
        self.notes_differ |= differ && key.kind == Kind::Service;
        self.changed |= differ;
        if found == Found::Undecodable {
            if !self.is_known(&key) {
                self.changed |= self.unread.insert(key);
            }
            return;
        }
        self.changed |= self.unread.remove(&key);
        let id = key.id;
        let is_new = match found {
            Found::Service(service) => {
                self.state.headless.services.remove(&id);
                let entry = self.state.services.entry(id.clone());
                let is_new = replace(entry, Arc::unwrap_or_clone(service));
                self.service(is_new, id)
            }
            Found::Headless => {
                let was_there = self.remove(&Key { kind: key.kind, id: id.clone() });
                let is_peers = self.peers.as_ref() == Some(&id);
                let is_new = is_peers && self.state.headless.services.insert(id);
                was_there || self.headless(is_new)
            }
            Found::HeadlessSlice(slice) | Found::Slice(slice) if key.kind == Kind::PeerSlice => {
                let slice = Arc::unwrap_or_clone(slice);
                let is_peers = self.peers == Some(slice.of());
                let is_new = self.state.headless.slices.get(&id) != Some(&slice);
                if is_peers && is_new {
                    self.state.headless.slices.insert(slice);
                }
                self.headless(is_peers && is_new)
            }
            Found::Slice(slice) => self.put_slice(Arc::unwrap_or_clone(slice)),
            Found::Node(node) => {
                let is_new = self.state.node.as_ref() != Some(&*node);
                self.state.node = Some(Arc::unwrap_or_clone(node));
                self.all(is_new)
            }
            Found::Pod(pod) => {
                let is_new = replace(self.state.pods.entry(id), Arc::unwrap_or_clone(pod));
                self.pods(is_new)
            }
            Found::Namespace(namespace) => {
                let entry = self.state.namespaces.entry(id.name);
                let is_new = replace(entry, Arc::unwrap_or_clone(namespace));
                self.pods(is_new)
            }
            Found::HeadlessSlice(_) | Found::Skipped | Found::Undecodable => {
                self.remove(&Key { kind: key.kind, id })
            }
        };
        self.changed |= is_new;
    }

    fn put_slice(&mut self, mut slice: EndpointSlice) -> bool {
        let known = self.state.slices.get(&slice.id);
        if known == Some(&slice) {
            return false;
        }
        if let Some(at) = slice.triggered
            && self.awaited.is_empty()
            && known.and_then(|known| known.triggered) != Some(at)
        {
            self.triggers.push(at);
        }
        slice.endpoints.iter_mut().for_each(|endpoint| self.names.share(endpoint));
        // They grew while they were read.
        slice.endpoints.shrink_to_fit();
        self.changes.endpoints(slice.of());
        if let Some(old) = self.state.slices.insert(slice) {
            self.changes.endpoints(old.of());
        }
        true
    }

    /// Says that anything may differ, if something does.
    fn all(&mut self, is_new: bool) -> bool {
        if is_new {
            self.changes = Changes::All;
        }
        is_new
    }

    fn service(&mut self, is_new: bool, id: ObjectRef) -> bool {
        if is_new {
            self.changes.service(id);
        }
        is_new
    }

    fn pods(&mut self, is_new: bool) -> bool {
        if is_new {
            self.changes.pods();
        }
        is_new
    }

    fn headless(&mut self, is_new: bool) -> bool {
        if is_new {
            self.changes.headless();
        }
        is_new
    }

    fn is_known(&self, key: &Key) -> bool {
        match key.kind {
            Kind::Service => self.state.services.contains_key(&key.id),
            Kind::EndpointSlice => self.state.slices.get(&key.id).is_some(),
            Kind::Node => self.state.node.as_ref().is_some_and(|node| node.is_known),
            Kind::Pod => self.state.pods.contains_key(&key.id),
            Kind::Namespace => self.state.namespaces.contains_key(&key.id.name),
            Kind::PeerSlice => self.state.headless.slices.get(&key.id).is_some(),
        }
    }

    fn forget(&mut self, key: &Key) {
        let was_faulty = self.faults.remove(key).is_some();
        if was_faulty && key.kind == Kind::Service {
            self.uids.remove(&key.id);
            self.notes_differ = true;
        }
        self.changed |= was_faulty;
        self.changed |= self.unread.remove(key);
        self.changed |= self.remove(key);
    }

    fn remove(&mut self, key: &Key) -> bool {
        match key.kind {
            Kind::Service => {
                let was_headless = self.state.headless.services.remove(&key.id);
                let was_there = self.state.services.remove(&key.id).is_some();
                self.service(was_there, key.id.clone()) | self.headless(was_headless)
            }
            Kind::EndpointSlice => {
                let old = self.state.slices.remove(&key.id);
                old.map(|old| self.changes.endpoints(old.of())).is_some()
            }
            Kind::Node => {
                // It may come (again) later.
                let unseen = Some(Node::unseen(&self.node));
                let was_there = self.state.node != unseen;
                self.state.node = unseen;
                self.all(was_there)
            }
            Kind::Pod => {
                let was_there = self.state.pods.remove(&key.id).is_some();
                self.pods(was_there)
            }
            Kind::Namespace => {
                let was_there = self.state.namespaces.remove(&key.id.name).is_some();
                self.pods(was_there)
            }
            Kind::PeerSlice => {
                let was_there = self.state.headless.slices.remove(&key.id).is_some();
                self.headless(was_there)
            }
        }
    }

    /// What a complete list does not name is gone.
    fn complete(&mut self, kind: Kind) {
        let Some(named) = self.named.remove(&kind) else { return };
        let known: Vec<ObjectRef> = match kind {
            Kind::Service => {
                let headless = self.state.headless.services.iter();
                self.state.services.keys().chain(headless).cloned().collect()
            }
            Kind::PeerSlice => self.state.headless.slices.keys().cloned().collect(),
            Kind::EndpointSlice => self.state.slices.keys().cloned().collect(),
            Kind::Node => self.state.node.iter().map(|node| of_cluster(&node.name)).collect(),
            Kind::Pod => self.state.pods.keys().cloned().collect(),
            Kind::Namespace => self.state.namespaces.keys().map(|name| of_cluster(name)).collect(),
        };
        let told = self.faults.keys().chain(&self.unread).filter(|key| key.kind == kind);
        let known: BTreeSet<ObjectRef> =
            known.into_iter().chain(told.map(|key| key.id.clone())).collect();
        for id in known.difference(&named) {
            self.forget(&Key { kind, id: id.clone() });
        }
        self.changed |= self.awaited.remove(&kind);
        match kind {
            Kind::Service => compact(&mut self.state.services),
            Kind::EndpointSlice => self.state.slices.compact(),
            Kind::Node | Kind::Pod | Kind::Namespace | Kind::PeerSlice => {}
        }
    }

    /// What is wrong now.
    fn problems(&self) -> Vec<Problem> {
        let server = format!("API server {}", self.server);
        let problem =
            |message: String| Problem { object: server.clone(), field: String::new(), message };
        // When the server is away every feed says the same.
        let troubles: BTreeSet<&String> = self.troubles.values().collect();
        let troubles = troubles.into_iter().map(|trouble| {
            problem(format!("{trouble}; until it answers, all that it told stays in force"))
        });
        let nameless = self.nameless.iter().map(|(kind, error)| {
            problem(format!("it sent a {kind:?} that can't be told from others: {error}"))
        });
        let faults = self.faults.iter().flat_map(|(key, faults)| {
            faults.iter().cloned().map(|fault| fault.at(key.to_string()))
        });
        // Before all Nodes of that name were listed, nobody knows.
        let unseen = self.state.node.iter().filter(|node| {
            let is_unread = self.unread.iter().any(|key| key.kind == Kind::Node);
            !node.is_known && !is_unread && !self.awaited.contains(&Kind::Node)
        });
        let unseen = unseen.map(|node| node.missing(REMEDY));
        troubles.chain(nameless).chain(unseen).chain(faults).collect()
    }
}

/// Whether the value is another one than before.
fn replace<K: Ord, V: PartialEq>(entry: Entry<'_, K, V>, value: V) -> bool {
    match entry {
        Entry::Occupied(mut entry) => entry.insert(value) != *entry.get(),
        Entry::Vacant(entry) => {
            entry.insert(value);
            true
        }
    }
}

fn of_cluster(name: &str) -> ObjectRef {
    ObjectRef { namespace: String::new(), name: name.to_owned() }
}

#[cfg(test)]
mod tests;
