//! What a steward says would move, to who wants to see it.

use super::{
    MOST,
    moves::{Ask, Grant},
    reader::{Malformed, Reader},
};
use crate::peers::name::{NodeId, ServiceId};

/// Bytes of a plan before its moves: kind, length, Service, number, part, parts, and how many there are.
const FIXED: usize = 3 + 8 + 4 + 2 + 2 + 2;
/// Bytes of a move: node, and what is granted.
const WIDTH: usize = 8 + 6;
/// Parts at most that a plan is sent in: no question draws more datagrams.
const PARTS: usize = 16;

/// A node asks the steward of a Service port what would move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Its row, as where it asks to be permitted.
    pub ask: Ask,
    /// True where the connections of this node alone would move.
    pub only: bool,
}

/// What would move, as a steward answers. It may be nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The Service port.
    pub service: ServiceId,
    /// The question.
    pub number: u32,
    /// This part, and how many there are; none where the steward does not know yet.
    pub part: u16,
    /// As above.
    pub parts: u16,
    /// Moves of this part.
    pub moves: Vec<Planned>,
}

/// Connections of a node that would be ended, and where they would go: backends are indices of
/// [`Ask::candidates`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    /// Whose connections they are.
    pub node: NodeId,
    /// Which, and how many.
    pub grant: Grant,
}

impl Survey {
    pub(super) fn write(&self, kind: u8) -> Vec<u8> {
        let mut bytes = self.ask.write(kind);
        // Before the question, which newer versions may write more of.
        bytes.insert(3, u8::from(self.only));
        let length = (bytes.len() - 3) as u16;
        bytes[1..3].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// None where it is of a family or protocol that is not known.
    pub(super) fn read(body: &mut Reader<'_>) -> Result<Option<Self>, Malformed> {
        let only = body.u8()? != 0;
        Ok(Ask::read(body)?.map(|ask| Self { ask, only }))
    }
}

impl Plan {
    /// All of it, in as many parts as it takes; moves beyond the last part are left out.
    pub fn of(service: ServiceId, number: u32, moves: &[Planned]) -> Vec<Self> {
        let each = (MOST - FIXED) / WIDTH;
        let chunks: Vec<_> = moves.chunks(each).take(PARTS).collect();
        let parts = chunks.len().max(1) as u16;
        let part = |part: u16| {
            let moves = chunks.get(usize::from(part)).map_or_else(Vec::new, |part| part.to_vec());
            Self { service, number, part, parts, moves }
        };
        (0..parts).map(part).collect()
    }

    pub(super) fn write(&self, kind: u8) -> Vec<u8> {
        let moves = &self.moves[..self.moves.len().min((MOST - FIXED) / WIDTH)];
        let mut bytes = vec![kind];
        bytes.extend(((FIXED - 3 + moves.len() * WIDTH) as u16).to_be_bytes());
        bytes.extend(self.service.0.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        let fields = [self.part, self.parts, moves.len() as u16];
        fields.iter().for_each(|field| bytes.extend(field.to_be_bytes()));
        for Planned { node, grant: Grant { from, to, count } } in moves {
            bytes.extend(node.0.to_be_bytes());
            [from, to, count].iter().for_each(|field| bytes.extend(field.to_be_bytes()));
        }
        bytes
    }

    pub(super) fn read(body: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (service, number) = (ServiceId(body.u64()?), body.u32()?);
        let (part, parts) = (body.u16()?, body.u16()?);
        let mut moves = Vec::new();
        for _ in 0..body.u16()? {
            let node = NodeId(body.u64()?);
            let grant = Grant { from: body.u16()?, to: body.u16()?, count: body.u16()? };
            moves.push(Planned { node, grant });
        }
        Ok(Self { service, number, part, parts, moves })
    }
}
