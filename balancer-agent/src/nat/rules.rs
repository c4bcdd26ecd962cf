//! The constant set of rules, and the map of backends that they look into: a table for each family.
//!
//! ```text
//! table ip balancer {
//!   map backends { type classid : ipv4_addr . inet_service }
//!   chain lead     { type nat hook prerouting priority dstnat - 1
//!                    dnat ip to meta priority map @backends }
//!   chain clear    { type filter hook prerouting priority dstnat + 1
//!                    meta priority 0xbaffffff reject with icmp port-unreachable
//!                    meta priority & 0xff000000 == 0xba000000 meta priority set 0 }
//!   chain conceal  { type nat hook postrouting priority srcnat - 1
//!                    meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade fully-random }
//! }
//! ```
//!
//! Only the first packet of a connection meets the two chains of NAT. Every packet that comes in meets the
//! two rules of `clear`, which look at its priority alone; the programs set that of first packets, and of
//! datagrams.

use std::net::IpAddr;

use balancer_common::layout::{MASQUERADE, REJECT, TO_BACKEND, TO_BACKEND_MASK};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};

use super::{
    expressions::{Expressions, Meta},
    message::{Attributes, Messages},
};
use crate::{desired::BackendAddr, maps::identity::Family};

/// Name of the table.
pub const TABLE: &str = "balancer";
/// Name of the map.
const BACKENDS: &str = "backends";
/// What the map is called in the messages that make it.
const BACKENDS_ID: u32 = 1;

/// NFNL_SUBSYS_NFTABLES.
const SUBSYSTEM: u16 = 10;
/// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END: what stands between them happens at once or not at all.
const BEGIN: u16 = 16;
const END: u16 = 17;

const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const GET_CHAIN: u16 = 4;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_MAP: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const GET_GENERATION: u16 = 16;

/// NF_INET_PRE_ROUTING and NF_INET_POST_ROUTING.
pub const PREROUTING: u32 = 0;
const POSTROUTING: u32 = 4;
/// NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
/// Priority of the chain that leads packets to backends: before kube-proxy's.
pub const LEAD: i32 = DSTNAT - 1;

/// Elements of one message: an attribute has at most 65,535 bytes.
const TOGETHER: usize = 1000;

/// What IPv4 and IPv6 differ in.
struct Traits {
    /// NFPROTO_IPV4 and NFPROTO_IPV6.
    family: u8,
    /// Types of an address as `nft` shows them.
    address_type: u32,
    /// Words of an address.
    words: u32,
    /// The code of ICMP for a port that nobody is at.
    unreachable: u8,
}

const fn traits(family: Family) -> Traits {
    match family {
        Family::V4 => Traits { family: 2, address_type: 7, words: 1, unreachable: 3 },
        Family::V6 => Traits { family: 10, address_type: 8, words: 4, unreachable: 4 },
    }
}

/// Messages that happen at once or not at all.
struct Batch {
    messages: Messages,
    family: u8,
}

impl Batch {
    fn new(family: Family) -> Self {
        let mut messages = Messages::new();
        messages.push(BEGIN, 0, 0, SUBSYSTEM, &Attributes::default());
        Self { messages, family: traits(family).family }
    }

    fn push(&mut self, kind: u16, flags: u16, attributes: &Attributes) {
        self.messages.push(SUBSYSTEM << 8 | kind, flags, self.family, 0, attributes);
    }

    fn end(mut self) -> Messages {
        // What comes last is acknowledged when all has happened.
        self.messages.acknowledge();
        self.messages.push(END, 0, 0, SUBSYSTEM, &Attributes::default());
        self.messages
    }
}

/// Puts the table of a family in the place of the one that is there, with these backends of the family in
/// its map.
pub fn replace(family: Family, backends: &[(u32, BackendAddr)]) -> Messages {
    let mut batch = Batch::new(family);
    let mut name = Attributes::default();
    name.text(1, TABLE);
    // What is not there can't be deleted.
    batch.push(NEW_TABLE, NLM_F_CREATE, &name);
    batch.push(DELETE_TABLE, 0, &name);
    batch.push(NEW_TABLE, NLM_F_CREATE, &name);
    batch.push(NEW_MAP, NLM_F_CREATE, &map(family));
    put_into(&mut batch, backends);
    for Chain { name, kind, hook, priority, rules } in chains(family) {
        let mut chain = Attributes::default();
        chain.text(1, TABLE).text(3, name).nested(4, |at| {
            at.number(1, hook).number(2, priority as u32);
        });
        chain.number(5, 1).text(7, kind);
        batch.push(NEW_CHAIN, NLM_F_CREATE, &chain);
        for expressions in rules {
            let mut rule = Attributes::default();
            rule.text(1, TABLE).text(2, name);
            expressions.add_to(&mut rule, 4);
            batch.push(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, &rule);
        }
    }
    batch.end()
}

/// Adds backends of a family to its map.
pub fn put(family: Family, backends: &[(u32, BackendAddr)]) -> Messages {
    let mut batch = Batch::new(family);
    put_into(&mut batch, backends);
    batch.end()
}

/// Takes backends of a family out of its map.
pub fn remove(family: Family, backends: &[(u32, BackendAddr)]) -> Messages {
    let mut batch = Batch::new(family);
    elements(&mut batch, DELETE_ELEMENTS, 0, backends, |_| None);
    batch.end()
}

/// Takes the table of a family away.
pub fn delete(family: Family) -> Messages {
    let mut batch = Batch::new(family);
    let mut name = Attributes::default();
    name.text(1, TABLE);
    batch.push(DELETE_TABLE, 0, &name);
    batch.end()
}

/// Makes a table of a family that no other socket may change, and that goes with this one
/// (NFT_TABLE_F_OWNER).
#[cfg(test)]
pub fn own(family: Family) -> Messages {
    let mut batch = Batch::new(family);
    let mut name = Attributes::default();
    name.text(1, TABLE).number(2, 2);
    batch.push(NEW_TABLE, NLM_F_CREATE, &name);
    batch.end()
}

/// Asks for the table of a family.
pub fn ask(family: Family) -> Messages {
    let mut message = Messages::new();
    let mut name = Attributes::default();
    name.text(1, TABLE);
    message.push(SUBSYSTEM << 8 | GET_TABLE, 0, traits(family).family, 0, &name);
    message
}

/// Asks for the chains of all tables.
pub fn ask_chains(flags: u16) -> Messages {
    let mut message = Messages::new();
    message.push(SUBSYSTEM << 8 | GET_CHAIN, flags, 0, 0, &Attributes::default());
    message
}

/// Asks for the number of the last change of any rules.
pub fn ask_generation() -> Messages {
    let mut message = Messages::new();
    message.push(SUBSYSTEM << 8 | GET_GENERATION, 0, 0, 0, &Attributes::default());
    message
}

struct Chain {
    name: &'static str,
    kind: &'static str,
    hook: u32,
    priority: i32,
    rules: Vec<Expressions>,
}

fn chains(family: Family) -> [Chain; 3] {
    let Traits { family, words, unreachable, .. } = traits(family);
    let rule = Expressions::default;
    let lead = rule().load(Meta::Priority).look_up(BACKENDS, BACKENDS_ID).lead(family, words);
    let reject = rule().load(Meta::Priority).is(REJECT).reject(unreachable);
    let ours = rule().load(Meta::Priority).bits(TO_BACKEND_MASK, 0).is(TO_BACKEND);
    let clear = ours.bits(0, 0).set(Meta::Priority);
    let marked = rule().load(Meta::Mark).bits(MASQUERADE, 0).differs_from(0);
    let conceal = marked.load(Meta::Mark).bits(u32::MAX, MASQUERADE).set(Meta::Mark).masquerade();
    let chain = |name, kind, hook, priority, rules| Chain { name, kind, hook, priority, rules };
    [
        chain("lead", "nat", PREROUTING, LEAD, vec![lead]),
        chain("clear", "filter", PREROUTING, DSTNAT + 1, vec![reject, clear]),
        chain("conceal", "nat", POSTROUTING, SRCNAT - 1, vec![conceal]),
    ]
}

/// The map: what `nft` calls `classid : ipv4_addr . inet_service`.
fn map(family: Family) -> Attributes {
    const CLASSID: u32 = 23;
    const INET_SERVICE: u32 = 13;
    const IS_MAP: u32 = 8;
    let Traits { address_type, words, .. } = traits(family);
    let mut map = Attributes::default();
    map.text(1, TABLE).text(2, BACKENDS).number(3, IS_MAP);
    map.number(4, CLASSID).number(5, 4);
    map.number(6, address_type << 6 | INET_SERVICE).number(7, (words + 1) * 4);
    map.number(10, BACKENDS_ID);
    map
}

fn put_into(batch: &mut Batch, backends: &[(u32, BackendAddr)]) {
    elements(batch, NEW_ELEMENTS, NLM_F_CREATE, backends, |backend| Some(value(backend)));
}

fn elements(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    backends: &[(u32, BackendAddr)],
    value: impl Fn(BackendAddr) -> Option<Vec<u8>>,
) {
    for some in backends.chunks(TOGETHER) {
        let mut message = Attributes::default();
        message.text(1, TABLE).text(2, BACKENDS).nested(3, |list| {
            for (id, backend) in some {
                list.nested(1, |element| {
                    let key = (TO_BACKEND | id).to_ne_bytes();
                    element.nested(1, |data| {
                        data.bytes(1, &key);
                    });
                    if let Some(value) = value(*backend) {
                        element.nested(2, |data| {
                            data.bytes(1, &value);
                        });
                    }
                });
            }
        });
        message.number(4, BACKENDS_ID);
        batch.push(kind, flags, &message);
    }
}

/// Address and port, each in words of its own.
fn value(backend: BackendAddr) -> Vec<u8> {
    let addr = backend.addr();
    let mut value = match addr.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    value.extend(addr.port().to_be_bytes());
    value.extend([0; 2]);
    value
}
