//! Service ports as they stand at one moment, read beside an agent that changes them.
//!
//! The agent replaces a row by one store of its word, and writes neither the slots nor the backends
//! of a row while a word leads there. So what is read between two looks at one word that agree
//! belongs together; and where no word has changed since it was read, all rows stand side by side.
//! Nobody is held up for that, neither the agent nor the programs.

use std::collections::BTreeMap;

use balancer_common::layout::{Backend, Frontend, Row, ServiceName, Slot};

use crate::maps::{FrontendKey, MapsError, ReadMaps, Settings};

/// How often rows are looked at again that change meanwhile.
const LOOKS: usize = 64;
/// How often all is read again where Service ports or their addresses change meanwhile.
const TRIES: usize = 4;

/// What the maps hold of Service ports.
#[derive(Debug, Default)]
pub struct Moment {
    /// The names of Service ports, by their identifier.
    pub names: BTreeMap<u32, ServiceName>,
    /// Where each address leads that is dialled.
    pub frontends: BTreeMap<FrontendKey, Frontend>,
    /// The row of each Service port that has a name.
    pub rows: BTreeMap<u32, RowThen>,
}

/// A row with its backends.
#[derive(Clone, Debug, Default)]
pub struct RowThen {
    word: u64,
    /// How one of its backends is chosen.
    pub settings: Settings,
    /// Its slots, without padding, and the backend of each.
    pub slots: Vec<(Slot, Backend)>,
}

impl RowThen {
    /// Where its slots were.
    pub const fn row(&self) -> Row {
        Row::unpack(self.word)
    }

    fn read(maps: &impl ReadMaps, service: u32) -> Self {
        let mut word = maps.row_word(service);
        for _ in 0..LOOKS {
            let found = Self::at(maps, service, word);
            let now = maps.row_word(service);
            if now == word {
                return found;
            }
            word = now;
        }
        // Replaced all the time: what stood at the last look.
        Self::at(maps, service, word)
    }

    fn at(maps: &impl ReadMaps, service: u32, word: u64) -> Self {
        let slots = slots(maps, Row::unpack(word));
        Self { word, settings: maps.settings(service), slots }
    }
}

fn slots(maps: &impl ReadMaps, row: Row) -> Vec<(Slot, Backend)> {
    maps.slots(row).map(|slot| (slot, maps.backend(slot.backend))).collect()
}

impl Moment {
    /// Reads the maps.
    pub fn read(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        let mut moment = Self { rows: BTreeMap::new(), ..Self::named(maps)? };
        for _ in 0..TRIES {
            moment.read_rows(maps);
            let again = Self::named(maps)?;
            let same = again.names == moment.names && again.frontends == moment.frontends;
            moment.names = again.names;
            moment.frontends = again.frontends;
            if same {
                return Ok(moment);
            }
        }
        moment.read_rows(maps);
        Ok(moment)
    }

    fn named(maps: &impl ReadMaps) -> Result<Self, MapsError> {
        let names = maps.names()?.into_iter().collect();
        let frontends = maps.frontends()?.into_iter().collect();
        Ok(Self { names, frontends, rows: BTreeMap::new() })
    }

    /// Reads the rows that differ from what was read, until none does any more.
    fn read_rows(&mut self, maps: &impl ReadMaps) {
        let Self { names, rows, .. } = self;
        rows.retain(|service, _| names.contains_key(service));
        for _ in 0..LOOKS {
            let mut settled = true;
            for &service in names.keys() {
                let known = rows.get(&service);
                if known.is_none_or(|known| known.word != maps.row_word(service)) {
                    rows.insert(service, RowThen::read(maps, service));
                    settled = false;
                }
            }
            if settled {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
