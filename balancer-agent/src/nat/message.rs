//! Messages of nfnetlink (`linux/netfilter/nfnetlink.h`): a header, and attributes that may hold others.
//! Numbers in attributes are in network byte order.

use std::io;

use netlink_packet_core::{Emitable as _, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt};

/// Bytes of a `nlmsghdr`.
const HEADER: usize = 16;
/// NLMSG_ERROR: an error, or 0 that acknowledges a message.
const ERROR: u16 = 2;
/// Room for everything that is sent at once.
const ROOM: usize = 32 << 20;

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

    /// Adds a number of 32 bits.
    pub fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
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
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    count: u32,
}

impl Messages {
    /// Adds a message: its type, flags beside NLM_F_REQUEST, the family and the number of its header of
    /// nfnetlink, and its attributes.
    pub fn push(
        &mut self,
        message_type: u16,
        flags: u16,
        family: u8,
        resource: u16,
        attributes: &Attributes,
    ) {
        self.count += 1;
        let start = self.bytes.len();
        let length = HEADER + 4 + attributes.0.len();
        let mut header = NetlinkHeader::default();
        header.length = length as u32;
        header.message_type = message_type;
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.count;
        self.bytes.resize(start + HEADER, 0);
        header.emit(&mut self.bytes[start..]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(&attributes.0);
    }

    /// The number of the message that was added last.
    pub const fn last(&self) -> u32 {
        self.count
    }
}

/// What the kernel answers with: its type, and what follows the header.
#[derive(Debug)]
pub struct Answer {
    /// Type of the message.
    pub message_type: u16,
    /// The header of nfnetlink and the attributes.
    pub payload: Vec<u8>,
}

impl Answer {
    /// The value of an attribute.
    pub fn attribute(&self, kind: u16) -> Option<&[u8]> {
        find(self.payload.get(4..)?, kind)
    }
}

/// The value of an attribute among others.
pub fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b])).max(4);
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & !NLA_F_NESTED == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// A socket of nfnetlink.
#[derive(Debug)]
pub struct Netfilter(Socket);

impl Netfilter {
    /// Opens one.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::SndBufForce, &ROOM)?;
        Ok(Self(socket))
    }

    /// Sends messages, and reads until the one with that number is acknowledged.
    pub fn carry_out(&self, messages: &Messages, last: u32) -> io::Result<()> {
        self.send(messages)?;
        loop {
            for (sequence, answer) in self.receive()? {
                if answer.message_type == ERROR {
                    check(&answer.payload)?;
                    if sequence == last {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Sends one message, and gives its answer.
    pub fn ask(&self, message: &Messages) -> io::Result<Answer> {
        self.send(message)?;
        for (_, answer) in self.receive()? {
            if answer.message_type != ERROR {
                return Ok(answer);
            }
            check(&answer.payload)?;
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    fn send(&self, messages: &Messages) -> io::Result<()> {
        self.0.send(&messages.bytes, 0).map(drop)
    }

    fn receive(&self) -> io::Result<Vec<(u32, Answer)>> {
        let (bytes, _) = self.0.recv_from_full()?;
        let mut rest = bytes.as_slice();
        let mut answers = Vec::new();
        while let Some(header) = rest.first_chunk::<HEADER>() {
            let word = |at: usize| {
                u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let length = (word(0) as usize).max(HEADER);
            let payload = rest.get(HEADER..length).unwrap_or_default().to_vec();
            answers.push((word(8), Answer { message_type: word(4) as u16, payload }));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(answers)
    }
}

/// The error in a message of the type [`ERROR`].
fn check(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk::<4>().map_or(0, |code| i32::from_ne_bytes(*code)) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// The flag of a message whose end the kernel is to acknowledge.
pub const ACKNOWLEDGE: u16 = NLM_F_ACK;

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
