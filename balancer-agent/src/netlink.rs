//! Messages of netlink(7): the header that all have, that of a protocol, and attributes that may hold others.

use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use netlink_packet_core::{Emitable as _, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};

/// Bytes of a `nlmsghdr`.
const HEADER: usize = 16;
/// NLMSG_ERROR: an error, or 0 that acknowledges a message.
const ERROR: u16 = 2;
/// NLMSG_DONE: what ends the answers to a dump.
const DONE: u16 = 3;
/// NLM_F_DUMP_INTR: what is dumped changed meanwhile, so that some of it may lack.
const INTERRUPTED: u16 = 0x10;
/// NLA_TYPE_MASK: without the bits that tell of nested attributes and of the byte order.
const TYPE: u16 = 0x3fff;

/// The attributes of a message.
#[derive(Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = (value.len() + 4) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a number of 32 bits in network byte order, as netfilter has them.
    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// The same in the byte order of the host, as all others have them.
    pub fn host_number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Adds a name, with the zero that ends it.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Adds those of another one.
    pub fn append(&mut self, others: &Self) {
        self.0.extend(&others.0);
    }

    /// Adds attributes.
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }
}

/// Messages that are sent at once.
#[derive(Debug)]
pub struct Messages {
    bytes: Vec<u8>,
    /// What all of them are numbered with, and no others of this process: answers have it, too.
    number: u32,
    /// Where the last one begins.
    last: usize,
}

impl Default for Messages {
    /// None yet, with a number of their own.
    fn default() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        Self { bytes: Vec::new(), number: NUMBER.fetch_add(1, Ordering::Relaxed), last: 0 }
    }
}

impl Messages {
    /// Adds a message: its type, flags beside NLM_F_REQUEST, the header of its protocol, and its attributes.
    pub fn push(&mut self, message_type: u16, flags: u16, header: &[u8], attributes: &Attributes) {
        let start = self.bytes.len();
        self.last = start;
        let length = HEADER + header.len() + attributes.0.len();
        let mut first = NetlinkHeader::default();
        first.length = length as u32;
        first.message_type = message_type;
        first.flags = NLM_F_REQUEST | flags;
        first.sequence_number = self.number;
        self.bytes.resize(start + HEADER, 0);
        first.emit(&mut self.bytes[start..]);
        self.bytes.extend(header);
        self.bytes.extend(&attributes.0);
    }

    /// Has the kernel acknowledge the message that was added last. It answers to the others only where it
    /// refuses them.
    pub fn acknowledge(&mut self) {
        // Of a `nlmsghdr`, after its length and type.
        if let Some(flags) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            let before = u16::from_ne_bytes([flags[0], flags[1]]);
            flags.copy_from_slice(&(before | NLM_F_ACK).to_ne_bytes());
        }
    }
}

/// What the kernel answers with.
#[derive(Debug)]
pub struct Answer {
    /// Type of the message.
    pub message_type: u16,
    flags: u16,
    /// The header of its protocol.
    pub header: Vec<u8>,
    attributes: Vec<u8>,
}

impl Answer {
    /// The value of an attribute.
    pub fn attribute(&self, kind: u16) -> Option<&[u8]> {
        find(&self.attributes, kind)
    }
}

/// The value of an attribute among others.
pub fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b])).max(4);
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & TYPE == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// A socket of a protocol.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    /// Bytes of the header of its messages, a multiple of 4.
    header: usize,
}

impl Netlink {
    /// Opens one.
    pub fn open(protocol: isize, header: usize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, header })
    }

    /// Makes room for so many bytes that are sent at once.
    pub fn make_room(&self, bytes: usize) -> io::Result<()> {
        Ok(setsockopt(&self.socket, sockopt::SndBufForce, &bytes)?)
    }

    /// Sends messages, and reads until the one that asks for it is acknowledged, or one is refused.
    pub fn carry_out(&self, messages: &Messages) -> io::Result<()> {
        self.ask(messages).map(drop)
    }

    /// Sends messages, and gives the first answer. Those that are still under way to earlier messages are
    /// passed over.
    pub fn ask(&self, messages: &Messages) -> io::Result<Answer> {
        self.socket.send(&messages.bytes, 0)?;
        loop {
            let answers = self.receive()?.into_iter();
            let mut ours = answers.filter(|(number, _)| *number == messages.number);
            if let Some((_, answer)) = ours.next() {
                if answer.message_type == ERROR {
                    check(&answer.header)?;
                }
                return Ok(answer);
            }
        }
    }

    /// Sends a message that asks for a dump, and gives all that is answered. Where that changed meanwhile,
    /// the error is [`io::ErrorKind::Interrupted`]: it is to be asked again.
    pub fn ask_all(&self, messages: &Messages) -> io::Result<Vec<Answer>> {
        self.socket.send(&messages.bytes, 0)?;
        let (mut all, mut is_whole) = (Vec::new(), true);
        loop {
            for (number, answer) in self.receive()? {
                if number != messages.number {
                    continue;
                }
                is_whole &= answer.flags & INTERRUPTED == 0;
                match answer.message_type {
                    DONE => {
                        check(&answer.header)?;
                        return if is_whole {
                            Ok(all)
                        } else {
                            Err(io::ErrorKind::Interrupted.into())
                        };
                    }
                    ERROR => check(&answer.header)?,
                    _ => all.push(answer),
                }
            }
        }
    }

    fn receive(&self) -> io::Result<Vec<(u32, Answer)>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        let mut answers = Vec::new();
        while let Some(header) = rest.first_chunk::<HEADER>() {
            let word = |at: usize| {
                u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let length = (word(0) as usize).max(HEADER);
            let mut header = rest.get(HEADER..length).unwrap_or_default().to_vec();
            let attributes = header.split_off(self.header.min(header.len()));
            let (message_type, flags) = (word(4) as u16, (word(4) >> 16) as u16);
            answers.push((word(8), Answer { message_type, flags, header, attributes }));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(answers)
    }
}

/// The error in a message of the type [`ERROR`] or [`DONE`].
fn check(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code)) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_nested_and_found() {
        let mut attributes = Attributes::default();
        attributes.text(1, "abc").number(2, 0x0102_0304).nested(3, |inner| {
            inner.bytes(7, &[9]);
        });
        let expected: &[u8] = &[
            8, 0, 1, 0, b'a', b'b', b'c', 0, 8, 0, 2, 0, 1, 2, 3, 4, 12, 0, 3, 0x80, 5, 0, 7, 0, 9,
            0, 0, 0,
        ];
        assert_eq!(attributes.0, expected);
        assert_eq!(find(&attributes.0, 2), Some(&[1, 2, 3, 4][..]));
        let inner = find(&attributes.0, 3).unwrap();
        assert_eq!((find(inner, 7), find(inner, 8)), (Some(&[9][..]), None));
        assert_eq!(find(&[255, 0, 1, 0], 1), None, "longer than what there is");
    }
}
