//! Which datagrams are new, whoever records and repeats them.
//!
//! Within a session counters rise, and a datagram whose counter is not higher than the last one's
//! is dropped. A session is believed only once it has sent back a challenge that was drawn after
//! the last one began: what was recorded of an earlier session has an earlier challenge, also where
//! it was this node that started anew and remembers nothing.
//!
//! The challenge of a peer that nobody believes yet is sent back, too. It tells nothing, and else
//! two nodes that have both just started would wait for each other. Where the peer is believed,
//! only its own session changes what is sent back.

use super::{
    key::Keys,
    name::NodeId,
    seal::{Header, NodeKey},
    wire::Hello,
};

/// Why a datagram has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejected {
    /// Too short to be a datagram of an agent.
    Garbage,
    /// Of another major version, and sealed by a key.
    Version,
    /// Not for this node.
    Misdirected,
    /// From this node itself.
    Reflected,
    /// From a node that is no peer.
    Stranger,
    /// None of the keys sealed it.
    Forged,
    /// Of an earlier moment.
    Replayed,
    /// Of a session that has not proved yet to be new. The first datagrams of every session are.
    Unproven,
    /// Sealed by a key, and yet nothing that an agent says.
    Malformed,
}

impl Rejected {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Garbage,
        Self::Version,
        Self::Misdirected,
        Self::Reflected,
        Self::Stranger,
        Self::Forged,
        Self::Replayed,
        Self::Unproven,
        Self::Malformed,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::Version => "version",
            Self::Misdirected => "misdirected",
            Self::Reflected => "reflected",
            Self::Stranger => "stranger",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Unproven => "unproven",
            Self::Malformed => "malformed",
        }
    }
}

/// What is believed of a peer.
#[derive(Debug)]
pub struct Session {
    /// What the next session must send back.
    challenge: u64,
    /// What is sent back to the peer.
    echo: u64,
    believed: Option<Believed>,
    /// What the peer may have sealed with.
    keys: Vec<NodeKey>,
}

#[derive(Clone, Copy, Debug)]
struct Believed {
    session: u64,
    counter: u32,
}

impl Session {
    /// Nothing is believed of a peer; `challenge` is drawn at random.
    pub fn new(keys: &Keys, peer: NodeId, challenge: u64) -> Self {
        let keys = keys.all().iter().map(|key| NodeKey::new(key, peer)).collect();
        Self { challenge, echo: 0, believed: None, keys }
    }

    /// What the peer is told of all this.
    pub const fn hello(&self) -> Hello {
        Hello { challenge: self.challenge, echo: self.echo, reports: None }
    }

    /// Opens a datagram that says that it comes from the peer. Numbers are compared before anything
    /// is computed.
    ///
    /// # Errors
    ///
    /// Where its number is old, or no key sealed it.
    pub fn open<'a>(&self, header: &Header, bytes: &'a mut [u8]) -> Result<&'a [u8], Rejected> {
        if let Some(believed) = &self.believed
            && believed.session == header.session
            && header.counter <= believed.counter
        {
            return Err(Rejected::Replayed);
        }
        let (last, others) = self.keys.split_last().ok_or(Rejected::Forged)?;
        for key in others {
            // What does not open leaves the bytes undefined.
            let mut copy = bytes.to_vec();
            if let Some(plain) = key.open(header, &mut copy) {
                let length = plain.len();
                bytes[..length].copy_from_slice(plain);
                return Ok(&bytes[..length]);
            }
        }
        last.open(header, bytes).ok_or(Rejected::Forged)
    }

    /// Judges an opened datagram; `draw` gives random numbers.
    ///
    /// # Errors
    ///
    /// Where its session has not proved to be new.
    pub fn judge(
        &mut self,
        header: &Header,
        hello: Option<Hello>,
        draw: &mut impl FnMut() -> u64,
    ) -> Result<Judgement, Rejected> {
        let Header { session, counter, .. } = *header;
        let judgement = match self.believed.map(|believed| believed.session == session) {
            Some(true) => Judgement::Known,
            before => {
                let proved = hello.is_some_and(|hello| hello.echo == self.challenge);
                if !proved {
                    if before.is_none() {
                        self.echo = hello.map_or(self.echo, |hello| hello.challenge);
                    }
                    return Err(Rejected::Unproven);
                }
                self.challenge = draw();
                Judgement::New
            }
        };
        self.believed = Some(Believed { session, counter });
        self.echo = hello.map_or(self.echo, |hello| hello.challenge);
        Ok(judgement)
    }
}

/// What a datagram that is believed says of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It was believed before.
    Known,
    /// It is the first one that is believed, or takes the place of another one: the peer has begun
    /// anew, or this node has.
    New,
}

/// The name of a node is what its datagrams are checked by, wherever they come from.
///
/// # Errors
///
/// Where this node is not the addressee, or the sender.
pub fn address_check(header: &Header, me: NodeId) -> Result<(), Rejected> {
    if header.from == me {
        Err(Rejected::Reflected)
    } else if header.to != me {
        Err(Rejected::Misdirected)
    } else {
        Ok(())
    }
}
