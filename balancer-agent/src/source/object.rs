//! What the stages hand on: where something stands, what it is called, what became of it.

use std::{fmt, ops::Deref, sync::Arc};

use crate::model::{EndpointSlice, Namespace, Node, ObjectRef, Pod, Problem, Service};

/// What becomes of a file of which a part can't be understood.
pub const STAYS: &str = "what this file defined before stays in force until it is mended";

/// Kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1`.
    Service,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
    /// `v1`.
    Node,
    /// `v1`.
    Pod,
    /// `v1`.
    Namespace,
    /// `discovery.k8s.io/v1`: those of the Service of the agents, which is headless.
    PeerSlice,
}

impl Kind {
    /// False for kinds whose objects have a name alone.
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Node | Self::Namespace)
    }
}

/// What makes an object one: two definitions with one key collide.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    /// Without a namespace for kinds that are not namespaced.
    pub id: ObjectRef,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerSlice => f.write_str("EndpointSlice of the agents"),
            kind => fmt::Debug::fmt(kind, f),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Service => write!(f, "Service {}", self.id),
            Kind::EndpointSlice | Kind::PeerSlice => write!(f, "EndpointSlice {}", self.id),
            Kind::Node => write!(f, "Node {}", self.id.name),
            Kind::Pod => write!(f, "Pod {}", self.id),
            Kind::Namespace => write!(f, "Namespace {}", self.id.name),
        }
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the document, from 1.
    pub document: usize,
    /// Number of the item where the document is a List, from 1.
    pub item: Option<usize>,
}

impl Position {
    /// The place as messages name it.
    pub fn in_file(self, file: &str) -> String {
        match self.item {
            Some(item) => format!("{file}, document {}, item {item}", self.document),
            None => format!("{file}, document {}", self.document),
        }
    }
}

/// What a definition came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A Service to balance.
    Service(Arc<Service>),
    /// Endpoints of a Service.
    Slice(Arc<EndpointSlice>),
    /// A node.
    Node(Arc<Node>),
    /// A pod.
    Pod(Arc<Pod>),
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// A headless Service: not balanced, but the agents find each other by one.
    Headless,
    /// Endpoints of such a Service.
    HeadlessSlice(Arc<EndpointSlice>),
    /// Valid, and by the rules not for this balancer: another proxy's, ExternalName, FQDN, ...
    Skipped,
    /// Can't be decoded; what the file defined before stays.
    Undecodable,
}

/// Something wrong with one field of an object, in bounded words: whatever an object holds, what is
/// told of it fits into a line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub field: String,
    pub message: String,
}

impl Fault {
    /// Characters of a field and of a message at most.
    const FIELD: usize = 200;
    const MESSAGE: usize = 600;

    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: shortened(field.into(), Self::FIELD),
            message: shortened(message.into(), Self::MESSAGE),
        }
    }

    /// The fault as the world sees it.
    pub fn at(self, object: String) -> Problem {
        Problem { object, field: self.field, message: self.message }
    }
}

/// What is wrong with one object, in bounded number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    told: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// Faults of an object that are told; of those beyond only how many there are.
    pub const MOST: usize = 10;

    pub fn push(&mut self, fault: Fault) {
        self.push_with(|| fault);
    }

    /// With words that are found only if they are told: an object may have a hundred thousand faults.
    pub fn push_with(&mut self, fault: impl FnOnce() -> Fault) {
        if self.told.len() < Self::MOST {
            self.told.push(fault());
        } else {
            self.more += 1;
        }
    }

    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }

    /// How many there are, told or not.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.told.len() + self.more
    }

    /// Those that are told, and how many there are beyond.
    pub fn into_told(mut self) -> Vec<Fault> {
        if self.more > 0 {
            let message =
                format!("and {} more problems of this object: mend those first", self.more);
            self.told.push(Fault::new("", message));
        }
        self.told
    }
}

impl Deref for Faults {
    type Target = [Fault];

    fn deref(&self) -> &[Fault] {
        &self.told
    }
}

/// A text, cut at so many characters.
fn shortened(mut text: String, most: usize) -> String {
    // A character has a byte at least: most texts are not looked through.
    if text.len() > most
        && let Some((end, _)) = text.char_indices().nth(most)
    {
        text.truncate(end);
        text.push_str("...");
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_where_a_character_ends() {
        let long = "\u{e9}".repeat(250_000);
        let fault = Fault::new(long.clone(), long);
        assert_eq!(fault.field.chars().count(), Fault::FIELD + 3);
        assert_eq!(fault.message.chars().count(), Fault::MESSAGE + 3);
        let short = Fault::new("f", "\u{e9}".repeat(Fault::MESSAGE));
        assert!(!short.message.ends_with("..."), "{short:?}");
    }

    #[test]
    fn ten_faults_are_told_and_how_many_there_are_beyond() {
        let mut faults = Faults::default();
        faults.extend((0..10).map(|n| Fault::new(format!("f{n}"), "wrong")));
        assert_eq!(faults.clone().into_told().len(), 10);
        for _ in 0..7 {
            faults.push_with(|| panic!("nobody reads it"));
        }
        assert_eq!(faults.count(), 17);
        let told = faults.into_told();
        assert_eq!(told.len(), 11);
        assert!(told[10].message.starts_with("and 7 more problems"), "{told:?}");
    }
}
