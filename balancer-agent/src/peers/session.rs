//! Which datagrams are new, whoever records and repeats them.
//!
//! Within a session counters rise, and a datagram whose counter is not higher than the last one's is
//! dropped. A session is believed only once it has sent back a challenge that was drawn after the last
//! one began: what was recorded of an earlier session has an earlier challenge, also where it was this
//! node that started anew and remembers nothing.
//!
//! The challenge of a peer that nobody believes yet is sent back, too. It tells nothing, and else two
//! nodes that have both just started would wait for each other. Where the peer is believed, only its
//! own session changes what is sent back.

use super::{
    key::Keys,
    name::NodeId,
    seal::{Header, SessionKey},
    wire::Hello,
};

/// Why a datagram has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejected {
    /// Too short to be a datagram of an agent.
    Garbage,
    /// Of another major version.
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
    /// How often another session was believed than before.
    changes: u32,
}

#[derive(Debug)]
struct Believed {
    session: u64,
    key: SessionKey,
    counter: u64,
}

impl Session {
    /// Nothing is believed; `challenge` is drawn at random.
    pub const fn new(challenge: u64) -> Self {
        Self { challenge, echo: 0, believed: None, changes: 0 }
    }

    /// What the peer is told of all this.
    pub const fn hello(&self) -> Hello {
        Hello { challenge: self.challenge, echo: self.echo }
    }

    /// True once something of the peer was believed.
    pub const fn is_believed(&self) -> bool {
        self.believed.is_some()
    }

    /// How often another session took the place of one that was believed.
    pub const fn changes(&self) -> u32 {
        self.changes
    }

    /// Opens a datagram that says that it comes from the peer. Those of the session that is believed
    /// are compared before anything is computed.
    ///
    /// # Errors
    ///
    /// Where its counter is old, or no key sealed it.
    pub fn open<'a>(
        &self,
        keys: &Keys,
        header: &Header,
        bytes: &'a mut [u8],
    ) -> Result<Opened<'a>, Rejected> {
        if let Some(believed) = &self.believed
            && believed.session == header.session
        {
            if header.counter <= believed.counter {
                return Err(Rejected::Replayed);
            }
            let plain = believed.key.open(header, bytes).ok_or(Rejected::Forged)?;
            return Ok(Opened { plain, new: None });
        }
        let (last, others) = keys.all().split_last().ok_or(Rejected::Forged)?;
        for key in others {
            // What does not open leaves the bytes undefined.
            let mut copy = bytes.to_vec();
            let key = SessionKey::new(key, header.from, header.session);
            if let Some(plain) = key.open(header, &mut copy) {
                let length = plain.len();
                bytes[..length].copy_from_slice(plain);
                return Ok(Opened { plain: &bytes[..length], new: Some(key) });
            }
        }
        let key = SessionKey::new(last, header.from, header.session);
        let plain = key.open(header, bytes).ok_or(Rejected::Forged)?;
        Ok(Opened { plain, new: Some(key) })
    }

    /// Judges an opened datagram; `draw` gives random numbers.
    ///
    /// # Errors
    ///
    /// Where its session has not proved to be new.
    pub fn judge(
        &mut self,
        header: &Header,
        new: Option<SessionKey>,
        hello: Option<Hello>,
        draw: &mut impl FnMut() -> u64,
    ) -> Result<(), Rejected> {
        match (new, &mut self.believed) {
            (None, Some(believed)) => believed.counter = header.counter,
            (Some(key), _) => {
                let proved = hello.is_some_and(|hello| hello.echo == self.challenge);
                if !proved {
                    if !self.is_believed() {
                        self.echo = hello.map_or(self.echo, |hello| hello.challenge);
                    }
                    return Err(Rejected::Unproven);
                }
                self.changes += u32::from(self.is_believed());
                let Header { session, counter, .. } = *header;
                self.believed = Some(Believed { session, key, counter });
                self.challenge = draw();
            }
            (None, None) => return Err(Rejected::Unproven),
        }
        self.echo = hello.map_or(self.echo, |hello| hello.challenge);
        Ok(())
    }

    /// Believes nothing any more: the keys have changed.
    pub fn forget(&mut self, challenge: u64) {
        *self = Self { changes: self.changes, ..Self::new(challenge) };
    }
}

/// The name of a node is what its datagrams are checked by, wherever they come from.
pub fn address_check(header: &Header, me: NodeId) -> Result<(), Rejected> {
    if header.from == me {
        Err(Rejected::Reflected)
    } else if header.to != me {
        Err(Rejected::Misdirected)
    } else {
        Ok(())
    }
}

/// A datagram that one of the keys sealed.
#[derive(Debug)]
pub struct Opened<'a> {
    /// Its sections.
    pub plain: &'a [u8],
    /// The key of its session, where that is not the one that is believed.
    pub new: Option<SessionKey>,
}
