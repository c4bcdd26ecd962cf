//! The sockets of a worker, and what is done to them.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
};

use balancer_lab::error::{Attempt, Result};
use io_uring::IoUring;
use socket2::SockAddr;

use super::{children::Children, converse::converse, entry::Entry};
use crate::soak::{
    life::{Deed, Family, Kind, Operation, Target, Transport, Way},
    wire::Report,
};

/// Surprises told of at once.
const SURPRISES: usize = 20;

/// The sockets of a worker, and what it has done since it last told.
pub struct Table {
    slots: Vec<Option<Entry>>,
    children: Children,
    ring: IoUring,
    report: Report,
}

impl Table {
    pub fn new(slots: usize) -> Result<Self> {
        Ok(Self {
            slots: (0..slots).map(|_| None).collect(),
            children: Children::default(),
            ring: IoUring::new(4).attempt("set up io_uring")?,
            report: Report::default(),
        })
    }

    /// What was done since the last time, and what is open.
    pub fn report(&mut self) -> Report {
        let mut report = std::mem::take(&mut self.report);
        report.sockets = self.slots.iter().flatten().map(Entry::told).collect();
        report.sockets.extend(self.children.held());
        report
    }

    /// What was done last to a socket that the worker itself has open.
    pub fn past(&self, cookie: u64) -> Option<Vec<String>> {
        let mut entries = self.slots.iter().flatten();
        entries.find(|entry| entry.cookie == cookie).map(Entry::past)
    }

    pub fn perform(&mut self, operation: Operation) -> Result<()> {
        let Operation { slot, deed } = operation;
        self.report.operations += 1;
        match deed {
            Deed::Dial { target, way, kind, again } => {
                let is_here = |entry: &Entry| entry.kind.transport == kind.transport;
                if !(again && self.slots[slot].as_ref().is_some_and(is_here)) {
                    self.open(slot, kind)?;
                }
                return self.dial(slot, target, way);
            }
            Deed::SendTo { target, family } => {
                let is_here = |entry: &Entry| entry.kind.transport == Transport::Udp;
                if !self.slots[slot].as_ref().is_some_and(is_here) {
                    self.open(slot, Kind { transport: Transport::Udp, family, blocking: false })?;
                }
                return self.slots[slot].as_mut().map_or(Ok(()), |entry| entry.send_to(target));
            }
            Deed::Converse { family } => {
                let surprise = converse(family, &mut self.report)?;
                self.note(surprise);
                return Ok(());
            }
            Deed::Clash => return self.clash(slot),
            Deed::Close => return self.close(slot),
            Deed::Reap => return self.children.reap(),
            Deed::Fork => {
                let mut cookies = BTreeSet::new();
                for entry in self.slots.iter_mut().flatten() {
                    // In a Unix socket it would be in one that both processes read.
                    entry.socket()?;
                    cookies.insert(entry.cookie);
                }
                return self.children.fork(cookies);
            }
            _ => {}
        }
        let Some(entry) = &mut self.slots[slot] else { return Ok(()) };
        match deed {
            Deed::Dissolve => entry.dissolve(),
            Deed::Send => entry.send(),
            Deed::HalfClose => entry.half_close(),
            Deed::Dup => entry.dup(),
            Deed::Post => entry.post(),
            Deed::Ask => {
                let asked = entry.ask()?;
                self.note(asked.err());
                Ok(())
            }
            Deed::Exec => {
                let copy = entry.socket()?.try_clone().attempt("dup()")?;
                self.children.exec(entry.cookie, copy.into())
            }
            Deed::Reset => {
                entry.linger_not()?;
                self.close(slot)
            }
            Deed::Dial { .. }
            | Deed::SendTo { .. }
            | Deed::Converse { .. }
            | Deed::Clash
            | Deed::Close
            | Deed::Reap
            | Deed::Fork => Ok(()),
        }
    }

    fn open(&mut self, slot: usize, kind: Kind) -> Result<()> {
        self.close(slot)?;
        self.slots[slot] = Some(Entry::open(kind)?);
        Ok(())
    }

    fn close(&mut self, slot: usize) -> Result<()> {
        if let Some(entry) = self.slots[slot].take() {
            self.children.inherit(entry.told());
        }
        Ok(())
    }

    fn dial(&mut self, slot: usize, target: Target, way: Way) -> Result<()> {
        let Some(entry) = &mut self.slots[slot] else { return Ok(()) };
        let dialled = entry.dial(target, way, &mut self.ring)?;
        self.report.connections += u64::from(dialled == Ok(true));
        self.note(dialled.err());
        Ok(())
    }

    /// Two sockets from one port to one backend.
    fn clash(&mut self, slot: usize) -> Result<()> {
        let kind = Kind { transport: Transport::Tcp, family: Family::V4, blocking: true };
        let mut local: SockAddr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into();
        for slot in [slot, (slot + 1) % self.slots.len()] {
            self.open(slot, kind)?;
            let Some(entry) = &mut self.slots[slot] else { continue };
            let socket = entry.socket()?;
            socket.set_reuse_address(true).attempt("set SO_REUSEADDR")?;
            socket.bind(&local).attempt("bind")?;
            let port = socket.local_addr().attempt("getsockname()")?;
            local = port;
            self.dial(slot, Target::One, Way::Plain)?;
        }
        Ok(())
    }

    fn note(&mut self, surprise: Option<String>) {
        if self.report.surprises.len() < SURPRISES {
            self.report.surprises.extend(surprise);
        }
    }
}
