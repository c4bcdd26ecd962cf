//! What a Service port is known by from one look to the next.

use crate::{
    model::Protocol,
    view::{PortView, TopServiceView},
};

/// A Service port, as looks know it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortKey {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Number of the Service port.
    pub number: u16,
    /// Its transport protocol.
    pub protocol: Protocol,
}

impl PortKey {
    /// The port of a Service.
    pub fn new(namespace: &str, service: &str, port: &PortView) -> Self {
        Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            number: port.number,
            protocol: port.protocol,
        }
    }

    /// That of a row.
    pub fn of(row: &TopServiceView) -> Self {
        Self::new(&row.namespace, &row.service, &row.service_port)
    }
}
