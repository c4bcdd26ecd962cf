//! Whether the maps still hold what the agent wrote: other tools may write to them too.
//!
//! The book says what they hold. A round goes through it in slices, as long as one wants it to
//! take, and what the book does not know is looked for at the end of each. What differs comes with
//! the writes that put it back, as in a plan. Counts are not among it: programs write those.

use std::{collections::BTreeSet, ops::Bound};

use balancer_common::layout::{Backend, Row, Slot};

use super::{
    Write,
    book::Book,
    entries::Entries,
    foreign::{self, Finding},
    held::{Held, HeldRow},
};
use crate::{
    desired::{BackendAddr, FrontendAddr},
    maps::{MapsError, ReadMaps, convert, identity::RowId},
};

/// How far a round has come in what has an order.
#[derive(Clone, Debug, Default)]
enum Place<K> {
    #[default]
    Start,
    After(K),
    End,
}

impl<K> Place<K> {
    /// Where to go on; nowhere at the end.
    const fn from(&self) -> Option<Bound<&K>> {
        match self {
            Self::Start => Some(Bound::Unbounded),
            Self::After(last) => Some(Bound::Excluded(last)),
            Self::End => None,
        }
    }

    /// The last that was looked at; none at the end.
    fn after(last: Option<K>) -> Self {
        last.map_or(Self::End, Self::After)
    }
}

/// How far a round has come. Each look goes on where the one before ended.
#[derive(Clone, Debug, Default)]
pub struct Round {
    rows: Place<RowId>,
    frontends: Place<FrontendAddr>,
    backends: Place<BackendAddr>,
    looks: u32,
}

impl Round {
    /// The next part of a round of so many looks. The last one looks for what the book does not
    /// know.
    pub fn look(
        &mut self,
        book: &Book,
        maps: &impl ReadMaps,
        looks: u32,
    ) -> Result<Vec<Finding>, MapsError> {
        let mut findings = Vec::new();
        let part = |len: usize| len.div_ceil(looks as usize);
        let Held { rows, frontends, backends } = book.held();

        let mut last = None;
        let next = self.rows.from().map(|from| rows.range((from, Bound::Unbounded)));
        for (id, row) in next.into_iter().flatten().take(part(rows.len())) {
            check_row(id, row, maps, &mut findings)?;
            last = Some(id.clone());
        }
        self.rows = Place::after(last);

        let mut last = None;
        let next = self.frontends.from().map(|from| frontends.from(from));
        for (frontend, leads) in next.into_iter().flatten().take(part(frontends.len())) {
            let (key, value) = convert::frontend(*frontend, leads.service, leads.restricted);
            if maps.frontend(key)? != Some(value) {
                let (service, restricted) = (leads.service, leads.restricted);
                let write = Write::PutFrontend { frontend: *frontend, service, restricted };
                let object = foreign::named(frontend);
                findings.push(Finding::new(key.map(), object, vec![write]));
            }
            last = Some(*frontend);
        }
        self.frontends = Place::after(last);

        let mut last = None;
        let next = self.backends.from().map(|from| backends.range((from, Bound::Unbounded)));
        for (backend, id) in next.into_iter().flatten().take(part(backends.len())) {
            let Backend { addr, port, protocol, in_use, .. } = maps.backend(*id);
            if (addr, port, protocol) != convert::backend(*backend) || in_use != 1 {
                let write = Write::RestoreBackend { id: *id, backend: *backend };
                findings.push(Finding::new("BACKENDS", backend, vec![write]));
            }
            last = Some(*backend);
        }
        self.backends = Place::after(last);

        self.looks += 1;
        if self.looks >= looks {
            *self = Self::default();
            unknown(book, maps, &mut findings)?;
        }
        Ok(findings)
    }
}

fn check_row(
    id: &RowId,
    held: &HeldRow,
    maps: &impl ReadMaps,
    findings: &mut Vec<Finding>,
) -> Result<(), MapsError> {
    let HeldRow { id: service, number, row, ref backends, settings, .. } = *held;
    if maps.name(service)? != Some(convert::name(id, number)) {
        let write = Write::PutName { service, id: Box::new(id.clone()), number };
        findings.push(Finding::new("NAMES", id, vec![write]));
    }
    if maps.settings(service) != settings {
        let write = Write::SetSettings { service, settings };
        findings.push(Finding::new("SERVICES", id, vec![write]));
    }
    // One that no agent has written stays until it is known what should be there.
    let Some(row) = row else { return Ok(()) };
    let link = Write::SetRow { service, row };
    let is_linked = maps.row(service) == row;
    if row.len > 0 && !holds(maps, row, backends) {
        let slots = Write::PutSlots { row, backends: backends.clone() };
        findings.push(Finding::new("SLOTS", id, vec![slots, link.clone()]));
    }
    if !is_linked {
        findings.push(Finding::new("SERVICES", id, vec![link]));
    }
    Ok(())
}

/// True if the slots of a row are these backends with their weights, sorted, and padding.
fn holds(maps: &impl ReadMaps, row: Row, backends: &[(u32, u16)]) -> bool {
    let mut found: Vec<_> = maps.slots(row).map(|slot| (slot.backend, slot.weight)).collect();
    found.sort_unstable();
    let mut padding = row.base + row.len..row.base + Row::width(row.len);
    found == backends && padding.all(|index| maps.slot(index) == Slot::PAD)
}

/// What the book does not know, and what is there or not as a whole.
fn unknown(
    book: &Book,
    maps: &impl ReadMaps,
    findings: &mut Vec<Finding>,
) -> Result<(), MapsError> {
    let held = book.held();
    let entries = Entries::read(maps)?;
    // First: a range that differs behind its prefix is the same entry of the map.
    findings.extend(foreign::foreign(held, &entries, maps));
    let found: BTreeSet<_> = entries.ranges.iter().copied().collect();
    for entry in foreign::ranges(held).difference(&found).copied() {
        if let Some((service, range)) = convert::range_of(entry) {
            let write = Write::PutRange { service, range };
            findings.push(Finding::new("RANGES", foreign::named_range(entry), vec![write]));
        }
    }
    let found: BTreeSet<_> = entries.serving.iter().copied().collect();
    for (service, backend) in foreign::serving(held).difference(&found).copied() {
        let write = Write::PutServing { service, backend };
        let object = foreign::named_serving(service, backend);
        findings.push(Finding::new("SERVING", object, vec![write]));
    }
    Ok(())
}
