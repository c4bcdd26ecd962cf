//! Entries of the hash maps, as they stand there, whoever wrote them.

use balancer_common::layout::{Frontend, ServiceName};

use crate::maps::{FrontendKey, MapsError, RangeEntry, ReadMaps};

/// Every entry of the hash maps that plans are about, in no order.
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
}

impl Entries {
    /// Reads the maps.
    pub fn read(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        Ok(Self {
            frontends: maps.frontends()?,
            names: maps.names()?,
            ranges: maps.ranges()?,
            serving: maps.serving()?,
        })
    }
}
