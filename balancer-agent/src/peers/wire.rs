//! Sections of a datagram to bytes and back.
//!
//! A datagram holds sections, each a kind of one byte, a length of two, and so many bytes; all
//! numbers are in network byte order. A section of an unknown kind is skipped, and so are bytes
//! after the fields that are known of a section: fields may be added without a new major version.

mod drains;
mod moves;
mod plan;
mod read;
mod reader;

use std::net::IpAddr;

pub use self::{
    drains::{Drain, Drains, Left},
    moves::{Answer, Ask, Candidate, Done, GRANTS, Grant, candidates},
    plan::{Plan, Planned, Survey},
    read::read,
    reader::Malformed,
};
use super::name::ServiceId;
use crate::{desired::BackendAddr, model::Protocol};

/// Bytes of sections in one datagram at most, so that datagrams have 1,200: no path cuts them.
pub const MOST: usize = 1_200 - super::seal::OVERHEAD;

const HELLO: u8 = 1;
const REPORT: u8 = 2;
const TOTALS: u8 = 3;
const ASK: u8 = 4;
const ANSWER: u8 = 5;
const SURVEY: u8 = 6;
const PLAN: u8 = 7;
const DRAINS: u8 = 8;
const OVER: u8 = 9;
const LEFT: u8 = 10;

/// What one node says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// What it takes to believe each other.
    Hello(Hello),
    /// What the sender has itself, to the steward of the Service port.
    Report(Report),
    /// What all nodes but the addressee have, from the steward.
    Totals(Totals),
    /// What the sender would like to end, to the steward of the Service port.
    Ask(Ask),
    /// What the addressee may end, from the steward.
    Answer(Answer),
    /// The sender wants to know what would move, from the steward of the Service port.
    Survey(Survey),
    /// What would move, from the steward.
    Plan(Plan),
    /// What the sender drains on all nodes, and what of that is over.
    Drains(Drains),
    /// What the sender has left of what the addressee drains.
    Left(Vec<Left>),
}

/// What it takes to believe each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Who sends this back has received it.
    pub challenge: u64,
    /// What was received of that kind; 0 for nothing.
    pub echo: u64,
    /// How many Service ports the reports of this heartbeat are about: all that the sender has
    /// connections to and that it takes the addressee to be the steward of. None where it does not
    /// say that.
    pub reports: Option<u16>,
}

/// Connections of the sender to backends of a Service port. Backends that are not named are as they
/// were, and without a connection once some rounds have passed that did not name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The Service port.
    pub service: ServiceId,
    /// Everything is repeated once in each round, which are numbered, around and around.
    pub round: u8,
    /// Connections that the sender opened to it so far, around and around.
    pub opened: u32,
    /// How many backends this round names, in however many sections: all that the sender has
    /// connections to. None where only what has changed is named.
    pub all: Option<u16>,
    /// What the counts include of what the steward has permitted; none where it never has.
    pub done: Option<Done>,
    /// Open connections of each backend.
    pub counts: Vec<(BackendAddr, u32)>,
}

/// Connections to backends of a Service port of all nodes but the addressee. Backends that are not
/// named are as in a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The Service port.
    pub service: ServiceId,
    /// As in a [`Report`].
    pub round: u8,
    /// How many nodes the steward hears, itself among them.
    pub nodes: u16,
    /// Connections that these nodes open to the Service port in 1,000 s.
    pub rate: u32,
    /// As in a [`Report`].
    pub all: Option<u16>,
    /// Open connections of each backend.
    pub counts: Vec<(BackendAddr, u32)>,
}

/// Bytes of a section before its counts: kind, length, Service, family, protocol, round, number.
const FIXED: usize = 3 + 8 + 1 + 1 + 1 + 2;

/// Puts sections into as few datagrams as they fit; counts that do not fit into one are divided.
/// There is one at least.
pub fn pack(sections: &[Section]) -> Vec<Vec<u8>> {
    let mut packer = Packer(vec![Vec::new()]);
    for section in sections {
        match section {
            Section::Hello(hello) => {
                let mut bytes = vec![HELLO, 0, 18];
                bytes.extend(hello.challenge.to_be_bytes());
                bytes.extend(hello.echo.to_be_bytes());
                bytes.extend(optional(hello.reports));
                packer.whole(&bytes);
            }
            Section::Report(report) => {
                let mut fields = optional(report.all).to_vec();
                fields.extend(report.done.map_or_else(Vec::new, Done::write));
                let opened = report.opened.to_be_bytes();
                let (service, round) = (report.service, report.round);
                packer.counts(REPORT, service, round, [&opened, &fields], &report.counts);
            }
            Section::Totals(totals) => {
                let mut fields = [0; 6];
                fields[..2].copy_from_slice(&totals.nodes.to_be_bytes());
                fields[2..].copy_from_slice(&totals.rate.to_be_bytes());
                let (service, round) = (totals.service, totals.round);
                let fields = [&fields[..], &optional(totals.all)];
                packer.counts(TOTALS, service, round, fields, &totals.counts);
            }
            Section::Ask(ask) => packer.whole(&ask.write(ASK)),
            Section::Answer(answer) => packer.whole(&answer.write(ANSWER)),
            Section::Survey(survey) => packer.whole(&survey.write(SURVEY)),
            Section::Plan(plan) => packer.whole(&plan.write(PLAN)),
            Section::Drains(drains) => packer.all(&drains.write([DRAINS, OVER])),
            Section::Left(left) => packer.all(&Left::write(left, LEFT)),
        }
    }
    packer.0
}

/// A number that may be none, for which 0 stands: others are one more.
fn optional(number: Option<u16>) -> [u8; 2] {
    number.map_or(0, |number| number.saturating_add(1)).to_be_bytes()
}

/// Bytes that the totals of so many backends take.
pub const fn bytes_of(counts: usize, ipv6: bool) -> usize {
    FIXED + 6 + 2 + counts * width(ipv6)
}

/// Bytes of an address, a port, and a number of four bytes or two of two.
const fn width(ipv6: bool) -> usize {
    if ipv6 { 22 } else { 10 }
}

/// Writes the address and the port of a backend.
fn put_addr(bytes: &mut Vec<u8>, backend: &BackendAddr) {
    match backend.addr().ip() {
        IpAddr::V4(ip) => bytes.extend(ip.octets()),
        IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
    bytes.extend(backend.addr().port().to_be_bytes());
}

struct Packer(Vec<Vec<u8>>);

impl Packer {
    /// A datagram with room for so many bytes.
    fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        let full = self.0.last().is_none_or(|last| last.len() + bytes > MOST);
        if full {
            self.0.push(Vec::new());
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// A section that is not divided.
    fn whole(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).extend(bytes);
    }

    /// Sections that are not divided any more.
    fn all(&mut self, sections: &[Vec<u8>]) {
        sections.iter().for_each(|bytes| self.whole(bytes));
    }

    /// Sections with counts. Fields that came after the first version stand after these.
    fn counts(
        &mut self,
        kind: u8,
        service: ServiceId,
        round: u8,
        [before, after]: [&[u8]; 2],
        counts: &[(BackendAddr, u32)],
    ) {
        let shape =
            |(backend, _): &(BackendAddr, u32)| (backend.addr().is_ipv6(), backend.protocol);
        let mut rest = counts;
        loop {
            let (ipv6, protocol) = rest.first().map_or((false, Protocol::Tcp), shape);
            let alike = rest.iter().take_while(|count| shape(count) == (ipv6, protocol)).count();
            let fixed = FIXED + before.len() + after.len();
            // A section of nothing stands for that: the Service port is known, and has nothing.
            let datagram = self.room(fixed + if rest.is_empty() { 0 } else { width(ipv6) });
            let number = alike.min((MOST - datagram.len() - fixed) / width(ipv6));
            let length = fixed - 3 + number * width(ipv6);
            datagram.push(kind);
            datagram.extend((length as u16).to_be_bytes());
            datagram.extend(service.0.to_be_bytes());
            datagram.extend([if ipv6 { 6 } else { 4 }, protocol.number(), round]);
            datagram.extend(before);
            datagram.extend((number as u16).to_be_bytes());
            for (backend, count) in &rest[..number] {
                put_addr(datagram, backend);
                datagram.extend(count.to_be_bytes());
            }
            datagram.extend(after);
            rest = &rest[number..];
            if rest.is_empty() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
