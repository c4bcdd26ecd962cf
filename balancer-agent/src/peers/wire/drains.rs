//! What nodes say of backends that are drained on all nodes.

use std::{net::SocketAddr, time::Duration};

use super::{
    MOST, put_addr,
    reader::{Malformed, Reader},
};
use crate::{desired::BackendAddr, model::Protocol};

/// What is drained by the sender, and what is over, whoever has begun it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drains {
    /// What is drained.
    pub drains: Vec<Drain>,
    /// What is over.
    pub over: Vec<u64>,
}

/// A backend that is drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// A random number.
    pub id: u64,
    /// The backend, of TCP.
    pub backend: SocketAddr,
    /// Over which time its connections are ended, in milliseconds on the wire.
    pub over: Duration,
    /// How long ago that began, in the same unit.
    pub age: Duration,
}

/// What the sender has left of a drain of the addressee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Which one.
    pub id: u64,
    /// Open connections.
    pub open: u32,
    /// Those of them that were ended, and that neither side has closed.
    pub ended: u32,
    /// Those that were busy when they were looked at.
    pub busy: u32,
    /// Those that were at rest, and not yet for long enough.
    pub resting: u32,
    /// True where the backend is not drained there: a Service would have none left.
    pub refused: bool,
}

/// Bytes of what is drained and of what is left, with the length before it, of IPv6.
const DRAIN: usize = 1 + 8 + 4 + 4 + 1 + 2 + 16;
const LEFT: usize = 1 + 8 + 4 * 4 + 1;
/// Kind, length, and how many there are.
const FIXED: usize = 3 + 2;

impl Drains {
    /// As many sections as it takes, each with a kind: of what is drained and of what is over.
    pub(super) fn write(&self, [drains, over]: [u8; 2]) -> Vec<Vec<u8>> {
        let one = |found: &Drain| {
            let mut bytes = Vec::with_capacity(DRAIN);
            bytes.extend(found.id.to_be_bytes());
            bytes.extend(millis(found.over));
            bytes.extend(millis(found.age));
            bytes.push(if found.backend.is_ipv6() { 6 } else { 4 });
            put_addr(&mut bytes, &BackendAddr::new(found.backend, Protocol::Tcp));
            bytes
        };
        let mut sections = sections(drains, &self.drains, DRAIN, one);
        sections.extend(sections_of_ids(over, &self.over));
        sections
    }

    pub(super) fn read_drains(body: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut drains = Vec::new();
        for _ in 0..body.u16()? {
            let mut entry = entry(body)?;
            let (id, over, age) = (entry.u64()?, entry.u32()?, entry.u32()?);
            let Some(ipv6) = entry.family()? else { continue };
            let backend = entry.addr(ipv6)?;
            let [over, age] = [over, age].map(|millis| Duration::from_millis(millis.into()));
            drains.push(Drain { id, backend, over, age });
        }
        Ok(Self { drains, over: Vec::new() })
    }

    pub(super) fn read_over(body: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut over = Vec::new();
        for _ in 0..body.u16()? {
            over.push(entry(body)?.u64()?);
        }
        Ok(Self { drains: Vec::new(), over })
    }
}

impl Left {
    pub(super) fn write(left: &[Self], kind: u8) -> Vec<Vec<u8>> {
        let one = |found: &Self| {
            let mut bytes = Vec::with_capacity(LEFT);
            bytes.extend(found.id.to_be_bytes());
            let numbers = [found.open, found.ended, found.busy, found.resting];
            numbers.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
            bytes.push(u8::from(found.refused));
            bytes
        };
        sections(kind, left, LEFT, one)
    }

    pub(super) fn read(body: &mut Reader<'_>) -> Result<Vec<Self>, Malformed> {
        let mut left = Vec::new();
        for _ in 0..body.u16()? {
            let mut entry = entry(body)?;
            let (id, open, ended) = (entry.u64()?, entry.u32()?, entry.u32()?);
            let (busy, resting, refused) = (entry.u32()?, entry.u32()?, entry.u8()? != 0);
            left.push(Self { id, open, ended, busy, resting, refused });
        }
        Ok(left)
    }
}

fn sections_of_ids(kind: u8, ids: &[u64]) -> Vec<Vec<u8>> {
    sections(kind, ids, 1 + 8, |id| id.to_be_bytes().to_vec())
}

/// Entries that take so many bytes at most, each with its length before it: bytes after the fields that are
/// known are skipped.
fn sections<T>(kind: u8, all: &[T], most: usize, one: impl Fn(&T) -> Vec<u8>) -> Vec<Vec<u8>> {
    let section = |part: &[T]| {
        let mut bytes = vec![kind, 0, 0];
        bytes.extend((part.len() as u16).to_be_bytes());
        for entry in part.iter().map(&one) {
            bytes.push(entry.len() as u8);
            bytes.extend(entry);
        }
        let length = (bytes.len() - 3) as u16;
        bytes[1..3].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    all.chunks((MOST - FIXED) / most).map(section).collect()
}

fn entry<'a>(body: &mut Reader<'a>) -> Result<Reader<'a>, Malformed> {
    let length = body.u8()?;
    Ok(Reader(body.take(length.into())?))
}

fn millis(time: Duration) -> [u8; 4] {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).to_be_bytes()
}
