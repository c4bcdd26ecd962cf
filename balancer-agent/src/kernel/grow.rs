//! Larger maps in the place of smaller ones, with all that they hold.
//!
//! A map keeps the size it was made with. Where the agent is started with a larger capacity, the
//! loader makes a new map beside the old one; what that holds is copied before any program is
//! attached, and the new one takes over the pin. Until then, and wherever the agent dies in between,
//! the running programs go on with the old map, to which nobody else writes. Which socket is charged
//! to which backend, and how many, stands in maps of a fixed size and is not touched.

use std::{fs, io, mem::offset_of, os::fd::AsFd as _, path::PathBuf};

use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapError},
};
use balancer_common::layout::{Backend, FRONTENDS_PER_SERVICE};

use super::{KernelError, pin};
use crate::{
    config::Capacities,
    maps::{
        MapsError,
        pinned::{Key4, Key6, Name, Value},
        pins::Pins,
        slab::Slab,
    },
};

/// What programs count in the map of backends.
const TOTALS: [usize; 2] = [offset_of!(Backend, opened), offset_of!(Backend, failed)];

/// The capacity of each map whose size is configured.
pub fn sizes(capacities: Capacities) -> [(&'static str, u32); 5] {
    let Capacities { services, backends, .. } = capacities;
    let frontends = services * FRONTENDS_PER_SERVICE;
    [
        ("BACKENDS", backends),
        ("FRONTENDS4", frontends),
        ("FRONTENDS6", frontends),
        ("NAMES", services),
        ("SERVICES", services),
    ]
}

/// The maps that grow.
#[derive(Debug)]
pub struct Growth {
    old: Vec<(&'static str, MapData)>,
}

impl Growth {
    /// The pinned maps that are smaller than wanted.
    pub fn find(pins: &Pins, capacities: Capacities) -> Result<Self, KernelError> {
        let mut old = Vec::new();
        for (name, wanted) in sizes(capacities) {
            // Of a growth that came to no end.
            pin::remove(larger(pins, name))?;
            if !pins.map(name).exists() {
                continue;
            }
            let open = || {
                let map = MapData::from_pin(pins.map(name))?;
                let entries = map.info()?.max_entries();
                Ok((map, entries))
            };
            let (map, entries) = open().map_err(|error| failed(name, "open", error))?;
            if entries < wanted {
                old.push((name, map));
            }
        }
        Ok(Self { old })
    }

    /// Where the loader is to find a map, or to make it.
    pub fn pin(&self, pins: &Pins, name: &str) -> PathBuf {
        let grows = self.old.iter().any(|(old, _)| *old == name);
        if grows { larger(pins, name) } else { pins.map(name) }
    }

    /// Copies what the old maps hold, and gives their pins to the new ones. Nothing of it may
    /// change meanwhile but totals; those go on with [`Totals::carry_over`].
    pub fn take_over(self, pins: &Pins) -> Result<Option<Totals>, KernelError> {
        let mut totals = None;
        for (name, old) in self.old {
            let from = larger(pins, name);
            let new = MapData::from_pin(&from).map_err(|error| failed(name, "open", error))?;
            let copied = match name {
                "FRONTENDS4" => copy::<Key4, Value>(old, new),
                "FRONTENDS6" => copy::<Key6, Value>(old, new),
                "NAMES" => copy::<u32, Name>(old, new),
                _ => {
                    let [old, new] = [map(name, &old, &old)?, map(name, &new, &old)?];
                    copy_words(&old, &new);
                    if name == "BACKENDS" {
                        totals = Some(Totals::of(old, new));
                    }
                    Ok(())
                }
            };
            copied.map_err(|error| failed(name, "copy", error))?;
            let path = pins.map(name);
            fs::rename(&from, &path).map_err(|source| KernelError::Pin { path, source })?;
            tracing::info!(map = name, "made larger, with all that it holds");
        }
        Ok(totals)
    }
}

/// The pin of a map that is to take the place of a smaller one. A bpffs allows no dots.
fn larger(pins: &Pins, name: &str) -> PathBuf {
    pins.map(&format!("{name}-larger"))
}

/// Both maps of backends, and the totals that were copied.
#[derive(Debug)]
pub struct Totals {
    old: (Slab, usize),
    new: (Slab, usize),
    copied: Vec<u64>,
}

impl Totals {
    fn of(old: (Slab, usize), new: (Slab, usize)) -> Self {
        let copied = places(new.1).map(|at| new.0.get64(at)).collect();
        Self { old, new, copied }
    }

    /// Adds what programs have counted in the old map since it was copied. None may run any more
    /// that does.
    pub fn carry_over(self) {
        for (at, copied) in places(self.new.1).zip(self.copied) {
            self.new.0.add64(at, self.old.0.get64(at).wrapping_sub(copied));
        }
    }
}

/// Where the totals of all backends stand.
fn places(bytes: usize) -> impl Iterator<Item = usize> {
    let backends = (0..bytes).step_by(size_of::<Backend>());
    backends.flat_map(|at| TOTALS.map(|total| at + total))
}

fn copy_words((old, bytes): &(Slab, usize), (new, _): &(Slab, usize)) {
    for at in (0..*bytes).step_by(8) {
        new.set64(at, old.get64(at));
    }
}

fn copy<K: Pod, V: Pod>(old: MapData, new: MapData) -> Result<(), MapError> {
    let old: HashMap<_, K, V> = HashMap::try_from(Map::HashMap(old))?;
    let mut new: HashMap<_, K, V> = HashMap::try_from(Map::HashMap(new))?;
    for entry in &old {
        let (key, value) = entry?;
        new.insert(key, value, 0)?;
    }
    Ok(())
}

/// Maps as much of an array as another one has.
fn map(
    name: &'static str,
    array: &MapData,
    measure: &MapData,
) -> Result<(Slab, usize), KernelError> {
    let info = measure.info().map_err(|error| failed(name, "info", error))?;
    let bytes = info.value_size() as usize * info.max_entries() as usize;
    let slab = Slab::map(array.fd().as_fd(), bytes);
    let call = |source| MapsError::Call { map: name, operation: "mmap", source };
    Ok((slab.map_err(call)?, bytes))
}

fn failed(map: &'static str, operation: &'static str, error: MapError) -> KernelError {
    let source = match error {
        MapError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    };
    MapsError::Call { map, operation, source }.into()
}
