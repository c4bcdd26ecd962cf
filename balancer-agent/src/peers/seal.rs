//! Bytes to a datagram that nobody else can read or make: ChaCha20-Poly1305 of `ring` (RFC 8439).
//!
//! ```text
//! major version  1 B   1
//! from           8 B   the sender, by its name
//! to             8 B   the addressee, by its name
//! session        8 B   drawn by the sender when it starts
//! counter        4 B   of the datagrams of that session, from 1
//! sealed         the sections, and 16 B by which they are known to be whole
//! ```
//!
//! The first 29 bytes can be read by everybody and changed by nobody: they are sealed with the
//! rest. The key is HKDF-SHA256 of the shared key over `from`, so that no two nodes have one key;
//! session and counter are the nonce, which must never be used twice with a key. A session whose
//! counter is at its end is followed by another one. Receivers derive the key of a peer once, so
//! that what nobody has sealed costs one attempt to open it.

use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    hkdf::Prk,
};

use super::{key::Keys, name::NodeId};

/// Version that must be equal on both sides. Fields may be added without a new one. It is that of
/// the sections: every version seals as this one does, so that another one is believed to be there
/// only where a key has sealed it.
pub const MAJOR: u8 = 1;
/// Bytes before what is sealed.
const HEADER: usize = 29;
/// Bytes that a datagram has beside its sections.
pub const OVERHEAD: usize = HEADER + 16;

/// What everybody can read of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Major version of the sections.
    pub version: u8,
    /// Who says that it sent it.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// The start of the sender.
    pub session: u64,
    /// Number of the datagram in the session.
    pub counter: u32,
}

impl Header {
    /// The header of a datagram; none where it is too short to be one.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < OVERHEAD {
            return None;
        }
        let word =
            |at: usize| bytes[at..at + 8].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let (version, from, to) = (bytes[0], NodeId(word(1)), NodeId(word(9)));
        let counter = u32::from_be_bytes([bytes[25], bytes[26], bytes[27], bytes[28]]);
        Some(Self { version, from, to, session: word(17), counter })
    }

    fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [self.version; HEADER];
        for (at, word) in [(1, self.from.0), (9, self.to.0), (17, self.session)] {
            bytes[at..at + 8].copy_from_slice(&word.to_be_bytes());
        }
        bytes[25..].copy_from_slice(&self.counter.to_be_bytes());
        bytes
    }
}

/// What a node seals with.
pub struct NodeKey(LessSafeKey);

impl NodeKey {
    /// What a shared key gives for a node.
    pub fn new(key: &Prk, from: NodeId) -> Self {
        let from = from.0.to_be_bytes();
        let info = [&b"node"[..], &from];
        let key = key
            .expand(&info, &CHACHA20_POLY1305)
            .unwrap_or_else(|_| unreachable!("a key of 32 bytes is what HKDF-SHA256 gives"));
        Self(LessSafeKey::new(UnboundKey::from(key)))
    }

    /// The sections of a datagram, in its own bytes; none where this key did not seal it, and the
    /// bytes are undefined then.
    pub fn open<'a>(&self, header: &Header, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        let aad = Aad::from(header.bytes());
        let sealed = bytes.get_mut(HEADER..)?;
        self.0.open_in_place(nonce(header), aad, sealed).ok().map(|plain| &*plain)
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey")
    }
}

/// Seals what a node sends.
#[derive(Debug)]
pub struct Sealer {
    from: NodeId,
    session: u64,
    key: NodeKey,
    counter: u32,
}

impl Sealer {
    /// For a session that was never used before: `session` is drawn at random.
    pub fn new(keys: &Keys, from: NodeId, session: u64) -> Self {
        Self { from, session, key: NodeKey::new(keys.first(), from), counter: 0 }
    }

    /// True if there is no number left for a datagram: it needs another session.
    pub const fn is_spent(&self) -> bool {
        self.counter == u32::MAX
    }

    /// Goes on in another session, which was drawn at random.
    pub const fn renew(&mut self, session: u64) {
        (self.session, self.counter) = (session, 0);
    }

    /// A datagram of sections.
    ///
    /// # Panics
    ///
    /// Where the session is spent.
    pub fn seal(&mut self, to: NodeId, sections: &[u8]) -> Vec<u8> {
        assert!(!self.is_spent(), "no nonce is used twice");
        self.counter += 1;
        let Self { from, session, counter, .. } = *self;
        let header = Header { version: MAJOR, from, to, session, counter };
        let mut bytes = Vec::with_capacity(sections.len() + OVERHEAD);
        bytes.extend(header.bytes());
        bytes.extend(sections);
        let aad = Aad::from(header.bytes());
        let tag = self
            .key
            .0
            .seal_in_place_separate_tag(nonce(&header), aad, &mut bytes[HEADER..])
            .unwrap_or_else(|_| unreachable!("a datagram is no longer than the cipher allows"));
        bytes.extend(tag.as_ref());
        bytes
    }
}

fn nonce(header: &Header) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&header.session.to_be_bytes());
    bytes[8..].copy_from_slice(&header.counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;

    const KEY: &str = "3Zt1mXo2v0bqv5rM8nQ5kq0yQvB2m0x3o1S9c7wTgkE=";

    #[test]
    fn every_byte_is_protected() {
        let keys = Keys::parse(KEY, Path::new("/k")).unwrap();
        let (from, to) = (NodeId(1), NodeId(2));
        let mut sealer = Sealer::new(&keys, from, 77);
        let datagram = sealer.seal(to, b"hello");
        assert_eq!(datagram.len(), 5 + OVERHEAD);
        assert!(!datagram.windows(5).any(|bytes| bytes == b"hello"));
        let open = |mut bytes: Vec<u8>| {
            let header = Header::read(&bytes)?;
            let key = NodeKey::new(keys.first(), header.from);
            key.open(&header, &mut bytes).map(<[u8]>::to_vec)
        };
        assert_eq!(open(datagram.clone()).as_deref(), Some(&b"hello"[..]));
        for at in 0..datagram.len() {
            let mut mutated = datagram.clone();
            mutated[at] ^= 1;
            assert_eq!(open(mutated), None, "byte {at}");
            assert_eq!(open(datagram[..at].to_vec()), None, "{at} bytes");
        }
    }

    #[test]
    fn no_two_datagrams_are_alike() {
        let keys = Keys::parse(KEY, Path::new("/k")).unwrap();
        let mut sealer = Sealer::new(&keys, NodeId(1), 77);
        let (a, b) = (sealer.seal(NodeId(2), b"hello"), sealer.seal(NodeId(2), b"hello"));
        assert_ne!(a[HEADER..], b[HEADER..]);
        let mut other = Sealer::new(&keys, NodeId(1), 78);
        assert_ne!(other.seal(NodeId(2), b"hello")[HEADER..], a[HEADER..]);
        sealer.counter = u32::MAX - 1;
        sealer.seal(NodeId(2), b"hello");
        assert!(sealer.is_spent());
        sealer.renew(79);
        assert_ne!(sealer.seal(NodeId(2), b"hello")[HEADER..], a[HEADER..]);
    }

    #[test]
    fn what_is_too_short_has_no_header() {
        assert_eq!(Header::read(&[1; OVERHEAD - 1]), None);
        assert_eq!(Header::read(&[]), None);
        assert_eq!(Header::read(&[9; OVERHEAD]).map(|header| header.version), Some(9));
    }

    /// A datagram of another major version, as an agent of that one seals it.
    pub fn sealed_as(version: u8, keys: &Keys, from: NodeId, to: NodeId) -> Vec<u8> {
        let header = Header { version, from, to, session: 5, counter: 1 };
        let mut bytes = header.bytes().to_vec();
        bytes.extend(b"sections of another version");
        let key = NodeKey::new(keys.first(), from);
        let aad = Aad::from(header.bytes());
        let tag =
            key.0.seal_in_place_separate_tag(nonce(&header), aad, &mut bytes[HEADER..]).unwrap();
        bytes.extend(tag.as_ref());
        bytes
    }
}
