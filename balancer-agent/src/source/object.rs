//! What the stages hand on: where something stands, what it is called, what became of it.

use std::{fmt, sync::Arc};

use crate::model::{EndpointSlice, Namespace, Node, ObjectRef, Pod, Problem, Service};

/// What becomes of a file of which a part can't be understood.
pub const STAYS: &str = "what this file defined before stays in force until it is mended";

/// Kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Service,
    EndpointSlice,
    Node,
    Pod,
    Namespace,
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

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Service => write!(f, "Service {}", self.id),
            Kind::EndpointSlice => write!(f, "EndpointSlice {}", self.id),
            Kind::Node => write!(f, "Node {}", self.id.name),
            Kind::Pod => write!(f, "Pod {}", self.id),
            Kind::Namespace => write!(f, "Namespace {}", self.id.name),
        }
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the document, from 1.
    pub document: usize,
    /// Number of the item where the document is a List, from 1.
    pub item: Option<usize>,
}

impl Place {
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
    /// Valid, and by the rules not for this balancer: headless, another proxy's, FQDN, ...
    Skipped,
    /// Can't be decoded; what the file defined before stays.
    Undecodable,
}

/// Something wrong with one field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub field: String,
    pub message: String,
}

impl Fault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// The fault as the world sees it.
    pub fn at(self, object: String) -> Problem {
        Problem { object, field: self.field, message: self.message }
    }
}
