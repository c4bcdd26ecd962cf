//! What balancer has counted: the words of its maps, through their pins.

use std::{
    mem::offset_of,
    net::{Ipv6Addr, SocketAddr},
    path::Path,
};

use balancer_common::{
    charge::{self, WORDS},
    layout::{Backend, Counter, LAYOUT_VERSION, MAX_BACKENDS},
    suspect::count,
};
use balancer_lab::error::Result;

use crate::words::Words;

/// A backend: protocol number and address.
pub type BackendId = (u8, SocketAddr);

/// The maps of counting.
#[derive(Debug)]
pub(super) struct Maps {
    charges: Words,
    backends: Words,
    active: Words,
}

impl Maps {
    /// Opens them below the folder of an agent's pins.
    pub(super) fn open(pins: &Path) -> Result<Self> {
        let open = |name: &str, bytes: usize| {
            Words::map(&pins.join(format!("v{LAYOUT_VERSION}/maps/{name}")), bytes)
        };
        Ok(Self {
            charges: open("CHARGES", WORDS as usize * 8)?,
            backends: open("BACKENDS", 0)?,
            active: open("ACTIVE", MAX_BACKENDS as usize * size_of::<Counter>())?,
        })
    }

    /// Every backend that is in use, its number, and its open connections.
    pub(super) fn backends(&self) -> impl Iterator<Item = (u32, BackendId, u64)> {
        let number = (self.backends.len() * 8 / size_of::<Backend>()) as u32;
        (1..number).filter_map(|id| Some((id, self.backend(id)?, self.active(id))))
    }

    fn backend(&self, id: u32) -> Option<BackendId> {
        let at = id as usize * size_of::<Backend>() / 8;
        let [high, low, rest] = [0, 1, 2].map(|word| self.backends.get(at + word).to_ne_bytes());
        let mut addr = [0; 16];
        addr[..8].copy_from_slice(&high);
        addr[8..].copy_from_slice(&low);
        let [a, b, protocol, in_use, ..] = rest;
        let ip = Ipv6Addr::from(addr).to_canonical();
        (in_use != 0).then(|| (protocol, SocketAddr::new(ip, u16::from_be_bytes([a, b]))))
    }

    fn active(&self, id: u32) -> u64 {
        let counter = self.active.get(id as usize).to_ne_bytes();
        let active = &counter[offset_of!(Counter, active)..][..size_of::<u32>()];
        count(active.try_into().map_or(0, u32::from_ne_bytes)).into()
    }

    /// Every charge: the cookie of a socket and the number of a backend.
    pub(super) fn charges(&self) -> impl Iterator<Item = (u64, u32)> {
        let words = (0..WORDS as usize).map(|index| self.charges.get(index));
        let charges = words.filter(|word| charge::is_charge(*word));
        charges.map(|word| (charge::cookie_of(word), charge::backend_of(word)))
    }
}
