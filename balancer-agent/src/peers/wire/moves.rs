//! What nodes and stewards say of connections that are to move.

use std::time::Duration;

use super::{
    MOST, put_addr,
    reader::{Malformed, Reader},
    width,
};
use crate::{desired::BackendAddr, model::Protocol, peers::name::ServiceId};

/// A node asks the steward of a Service port which of its connections it may end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The Service port.
    pub service: ServiceId,
    /// Numbers the questions of a node, around and around.
    pub number: u32,
    /// The last question whose answer was carried out or refused; of those between, no answer came in time,
    /// and none will be used.
    pub done: u32,
    /// How many nodes the asker hears, itself among them.
    pub nodes: u16,
    /// How long its backends have not changed, as far as it knows.
    pub settled: Duration,
    /// How many connections of the Service may be moved in a minute, in all of the cluster.
    pub budget: u32,
    /// How many it would end.
    pub want: u32,
    /// True if somebody has asked for it: neither budget nor settling count.
    pub forced: bool,
    /// A hash of the backends of its row.
    pub shape: u64,
    /// Where they are, and where they may go: of one family and protocol, the first of them where there
    /// are too many for one datagram.
    pub candidates: Vec<Candidate>,
}

/// A backend of the row of a node that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The backend.
    pub backend: BackendAddr,
    /// Its share beside that of others; 0 where nothing may go.
    pub weight: u16,
    /// Connections that the node could end there.
    pub quiet: u16,
}

/// What a steward answers. It may be nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The Service port.
    pub service: ServiceId,
    /// The question.
    pub number: u32,
    /// What may be ended, [`GRANTS`] at most.
    pub grants: Vec<Grant>,
}

/// Connections that may be ended, and where they go. Backends are indices of [`Ask::candidates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Where they are.
    pub from: u16,
    /// Where they go.
    pub to: u16,
    /// How many.
    pub count: u16,
}

/// The last question of a node whose answer it has carried out, or has refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Its number.
    pub number: u32,
    /// How many of its permits were not used.
    pub refused: u16,
}

/// Bytes of a question before its candidates: kind, length, Service, number, done, nodes, settled, budget, want,
/// forced, shape, family, protocol, and how many there are.
const ASK: usize = 3 + 8 + 4 + 4 + 2 + 4 + 4 + 4 + 1 + 8 + 1 + 1 + 2;

/// Bytes of an answer before its permits: kind, length, Service, number, and how many there are.
const ANSWER: usize = 3 + 8 + 4 + 2;
/// Bytes of a permit.
const GRANT: usize = 6;
/// How many permits fit into an answer.
pub const GRANTS: usize = (MOST - ANSWER) / GRANT;

/// How many candidates fit into a question.
pub const fn candidates(ipv6: bool) -> usize {
    (MOST - ASK) / width(ipv6)
}

impl Ask {
    pub(super) fn write(&self, kind: u8) -> Vec<u8> {
        let shape = |found: &Candidate| (found.backend.addr().is_ipv6(), found.backend.protocol);
        let (ipv6, protocol) = self.candidates.first().map_or((false, Protocol::Tcp), shape);
        let alike = self.candidates.iter().take_while(|found| shape(found) == (ipv6, protocol));
        let named: Vec<_> = alike.take(candidates(ipv6)).collect();
        let length = ASK - 3 + named.len() * width(ipv6);
        let mut bytes = vec![kind];
        bytes.extend((length as u16).to_be_bytes());
        bytes.extend(self.service.0.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.done.to_be_bytes());
        bytes.extend(self.nodes.to_be_bytes());
        let settled = u32::try_from(self.settled.as_millis()).unwrap_or(u32::MAX);
        bytes.extend(settled.to_be_bytes());
        bytes.extend(self.budget.to_be_bytes());
        bytes.extend(self.want.to_be_bytes());
        bytes.push(u8::from(self.forced));
        bytes.extend(self.shape.to_be_bytes());
        bytes.extend([if ipv6 { 6 } else { 4 }, protocol.number()]);
        bytes.extend((named.len() as u16).to_be_bytes());
        for candidate in named {
            put_addr(&mut bytes, &candidate.backend);
            bytes.extend(candidate.weight.to_be_bytes());
            bytes.extend(candidate.quiet.to_be_bytes());
        }
        bytes
    }

    /// None where it is of a family or protocol that is not known.
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let (service, number, done) = (ServiceId(body.u64()?), body.u32()?, body.u32()?);
        let (nodes, settled) = (body.u16()?, Duration::from_millis(body.u32()?.into()));
        let (budget, want, forced) = (body.u32()?, body.u32()?, body.u8()? != 0);
        let (shape, family) = (body.u64()?, body.family()?);
        let protocol = Protocol::from_number(body.u8()?);
        let Some((ipv6, protocol)) = family.zip(protocol) else { return Ok(None) };
        let mut candidates = Vec::new();
        for _ in 0..body.u16()? {
            let backend = BackendAddr::new(body.addr(ipv6)?, protocol);
            candidates.push(Candidate { backend, weight: body.u16()?, quiet: body.u16()? });
        }
        Ok(Some(Self {
            service,
            number,
            done,
            nodes,
            settled,
            budget,
            want,
            forced,
            shape,
            candidates,
        }))
    }
}

impl Answer {
    pub(super) fn write(&self, kind: u8) -> Vec<u8> {
        let grants = &self.grants[..self.grants.len().min(GRANTS)];
        let mut bytes = vec![kind];
        bytes.extend(((ANSWER - 3 + grants.len() * GRANT) as u16).to_be_bytes());
        bytes.extend(self.service.0.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend((grants.len() as u16).to_be_bytes());
        for Grant { from, to, count } in grants {
            [from, to, count].iter().for_each(|field| bytes.extend(field.to_be_bytes()));
        }
        bytes
    }

    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (service, number) = (ServiceId(body.u64()?), body.u32()?);
        let mut grants = Vec::new();
        for _ in 0..body.u16()? {
            grants.push(Grant { from: body.u16()?, to: body.u16()?, count: body.u16()? });
        }
        Ok(Self { service, number, grants })
    }
}

impl Done {
    pub(super) fn write(self) -> Vec<u8> {
        [&self.number.to_be_bytes()[..], &self.refused.to_be_bytes()].concat()
    }

    /// None where the sender says nothing of that.
    pub(super) fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self { number: body.u32().ok()?, refused: body.u16().ok()? })
    }
}
