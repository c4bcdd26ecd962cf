//! Entries of the maps, as they stand there, whoever wrote them.

use balancer_common::layout::{Backend, Frontend, ServiceName};

use crate::maps::{FrontendKey, MapsError, RangeEntry, ReadMaps};

/// Every entry of the hash maps that plans are about, in no order, and the backends.
#[derive(Clone, Debug)]
pub struct Entries {
    /// `FRONTENDS4` and `FRONTENDS6`.
    pub frontends: Vec<(FrontendKey, Frontend)>,
    /// `NAMES`: identifiers and names.
    pub names: Vec<(u32, ServiceName)>,
    /// `RANGES`.
    pub ranges: Vec<RangeEntry>,
    /// `SERVING`: identifiers of Service ports and backends.
    pub serving: Vec<(u32, u32)>,
    /// `BACKENDS`: what is in use, by identifier.
    pub backends: Vec<(u32, Backend)>,
}

impl Entries {
    /// Reads the maps.
    pub fn read(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        Ok(Self {
            frontends: maps.frontends()?,
            names: maps.names()?,
            ranges: maps.ranges()?,
            serving: maps.serving()?,
            backends: backends(maps).collect(),
        })
    }
}

/// Every backend that is in use, with its identifier.
pub fn backends(maps: &impl ReadMaps) -> impl Iterator<Item = (u32, Backend)> {
    (1..maps.limits().backends)
        .map(|id| (id, maps.backend(id)))
        .filter(|(_, entry)| entry.in_use != 0)
}
