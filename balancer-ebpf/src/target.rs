//! A Service as a hook finds it.

use balancer_common::{
    layout::{Row, Service},
    verdict::Verdict,
};

use crate::{atomic, maps};

/// A Service with usable endpoints.
pub struct Target {
    /// Its identifier.
    pub service: u32,
    /// Its map value.
    pub entry: *const Service,
    /// The word of its row, with the generation.
    pub word: u64,
    /// Its row; not empty.
    pub row: Row,
}

impl Target {
    /// The Service, or what to answer instead.
    #[inline(always)]
    pub fn of(service: u32) -> Result<Self, Verdict> {
        let Some(entry) = maps::SERVICES.get_ptr(service) else {
            return Err(Verdict::Inconsistent);
        };
        // SAFETY: `entry` is a map value; the agent replaces the word in one store.
        let word = unsafe { atomic::load(&raw const (*entry).row) };
        let row = Row::unpack(word);
        if row.len == 0 {
            let not_local = row.base == Row::NOT_LOCAL.base;
            return Err(if not_local { Verdict::NoLocalEndpoint } else { Verdict::NoEndpoint });
        }
        Ok(Self { service, entry, word, row })
    }
}
