//! The expressions of rules (`linux/netfilter/nf_tables.h`), as attributes.
//!
//! Registers have 16 bytes each; a value that is looked up may span the first words of the next one.

use crate::netlink::Attributes;

/// The first register (`NFT_REG_1`).
const REGISTER: u32 = 1;
/// The first word of it (`NFT_REG32_00`).
const WORD: u32 = 8;
/// NFTA_LIST_ELEM.
const ELEMENT: u16 = 1;
/// NFTA_DATA_VALUE.
const VALUE: u16 = 1;

/// What is known of a packet (`nft_meta_keys`).
#[derive(Clone, Copy, Debug)]
pub enum Meta {
    /// `skb->priority`.
    Priority = 2,
    /// `skb->mark`.
    Mark = 3,
    /// The number of the device that it leaves over.
    Device = 5,
    /// The protocol of the transport, one byte.
    Protocol = 16,
}

/// The expressions of one rule, in order.
#[derive(Debug, Default)]
pub struct Expressions(Vec<Attributes>);

impl Expressions {
    fn push(mut self, name: &str, fill: impl FnOnce(&mut Attributes)) -> Self {
        let mut expression = Attributes::default();
        expression.text(1, name).nested(2, fill);
        self.0.push(expression);
        self
    }

    /// Adds the list to a rule.
    pub fn add_to(self, rule: &mut Attributes, kind: u16) {
        rule.nested(kind, |list| {
            for expression in self.0 {
                list.nested(ELEMENT, |element| element.append(&expression));
            }
        });
    }

    /// Loads what is known of the packet.
    pub fn load(self, meta: Meta) -> Self {
        self.push("meta", |data| {
            data.number(1, REGISTER).number(2, meta as u32);
        })
    }

    /// Sets what is known of the packet.
    pub fn set(self, meta: Meta) -> Self {
        self.push("meta", |data| {
            data.number(2, meta as u32).number(3, REGISTER);
        })
    }

    /// Changes what was loaded: `(loaded & mask) ^ xor`.
    pub fn bits(self, mask: u32, xor: u32) -> Self {
        self.push("bitwise", |data| {
            let value = |word: u32| {
                move |data: &mut Attributes| {
                    data.bytes(VALUE, &word.to_ne_bytes());
                }
            };
            data.number(1, REGISTER).number(2, REGISTER).number(3, 4);
            data.nested(4, value(mask)).nested(5, value(xor));
        })
    }

    /// Goes on where what was loaded is a number.
    pub fn is(self, number: u32) -> Self {
        self.compare(0, number)
    }

    /// Goes on where what was loaded is not a number.
    pub fn differs_from(self, number: u32) -> Self {
        self.compare(1, number)
    }

    /// Goes on where what was loaded is a byte.
    pub fn equals_byte(self, byte: u8) -> Self {
        self.push("cmp", |data| {
            data.number(1, REGISTER).number(2, 0).nested(3, |value| {
                value.bytes(VALUE, &[byte]);
            });
        })
    }

    fn compare(self, operation: u32, number: u32) -> Self {
        self.push("cmp", |data| {
            data.number(1, REGISTER).number(2, operation);
            data.nested(3, |value| {
                value.bytes(VALUE, &number.to_ne_bytes());
            });
        })
    }

    /// Loads bytes of the header of the network (`NFT_PAYLOAD_NETWORK_HEADER`).
    pub fn load_header(self, offset: u32, bytes: u32) -> Self {
        self.push("payload", |data| {
            data.number(1, REGISTER).number(2, 1).number(3, offset).number(4, bytes);
        })
    }

    /// Goes on where a set has what was loaded.
    pub fn among(self, set: &str, id: u32) -> Self {
        self.push("lookup", |data| {
            data.text(1, set).number(2, REGISTER).number(4, id);
        })
    }

    /// Goes on in another chain (`NFT_JUMP`, to the register of the verdict).
    pub fn jump(self, chain: &str) -> Self {
        const JUMP: u32 = -3_i32 as u32;
        const VERDICT: u16 = 2;
        self.push("immediate", |data| {
            data.number(1, 0).nested(2, |value| {
                value.nested(VERDICT, |verdict| {
                    verdict.number(1, JUMP).text(2, chain);
                });
            });
        })
    }

    /// Loads what a map has for what was loaded; goes no further where it has nothing.
    pub fn look_up(self, map: &str, id: u32) -> Self {
        self.push("lookup", |data| {
            data.text(1, map).number(2, REGISTER).number(3, REGISTER).number(4, id);
        })
    }

    /// Leads the connection to the address that was loaded, and the port `words` words behind it.
    pub fn lead(self, family: u8, words: u32) -> Self {
        self.push("nat", |data| {
            data.number(1, 1).number(2, family.into()).number(3, REGISTER).number(5, WORD + words);
        })
    }

    /// Gives the connection an address of this node as its source, and a random port
    /// (`NF_NAT_RANGE_PROTO_RANDOM_FULLY`).
    pub fn masquerade(self) -> Self {
        self.push("masq", |data| {
            data.number(1, 1 << 4);
        })
    }

    /// Answers that nobody is at the port, by ICMP.
    pub fn reject(self, code: u8) -> Self {
        self.push("reject", |data| {
            data.number(1, 0).bytes(2, &[code]);
        })
    }

    /// Answers with a segment that resets the connection.
    pub fn reset(self) -> Self {
        self.push("reject", |data| {
            data.number(1, 1);
        })
    }
}
