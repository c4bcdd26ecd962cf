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
//!   set cluster-ips { type ipv4_addr }
//!   chain refuse   { meta l4proto tcp reject with tcp reset
//!                    reject with icmp port-unreachable }
//!   chain forward  { type filter hook forward priority filter
//!                    ip daddr @cluster-ips jump refuse }
//!   chain output   { type filter hook output priority filter
//!                    oif != 1 ip daddr @cluster-ips jump refuse }
//!   chain conceal  { type nat hook postrouting priority srcnat - 1
//!                    meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade fully-random }
//! }
//! ```
//!
//! Only the first packet of a connection meets the two chains of NAT. Every packet that comes in meets the
//! two rules of `clear`, which look at its priority alone; the programs set that of first packets, and of
//! datagrams. A packet that is forwarded or sent to a ClusterIP was translated by nobody: the Service lacks the
//! port, or is of another protocol.

use std::{collections::BTreeMap, net::IpAddr};

use balancer_common::layout::{MASQUERADE, REJECT, TCP, TO_BACKEND, TO_BACKEND_MASK};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP};

use super::{
    entries::{BACKENDS, BACKENDS_ID, CLUSTER_IPS, CLUSTER_IPS_ID, Entry},
    expressions::{Expressions, Meta},
    netfilter::header,
};
use crate::{
    desired::BackendAddr,
    maps::identity::Family,
    netlink::{Attributes, Messages},
};

/// Name of the table.
pub const TABLE: &str = "balancer";
/// Name of the chain that refuses what is sent to a ClusterIP.
const REFUSE: &str = "refuse";
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
const GET_RULE: u16 = 7;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const GET_GENERATION: u16 = 16;

/// NF_INET_PRE_ROUTING and those that follow it.
pub const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// NF_IP_PRI_FILTER.
const FILTER: i32 = 0;
/// NF_IP_PRI_NAT_DST and NF_IP_PRI_NAT_SRC.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
/// Priority of the chain that leads packets to backends: before kube-proxy's.
pub const LEAD: i32 = DSTNAT - 1;

/// The number of the loopback in every network namespace.
const LOOPBACK: u32 = 1;

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
    /// Where the destination stands in the header of a packet.
    destination: u32,
    /// The code of ICMP for a port that nobody is at.
    unreachable: u8,
}

const fn traits(family: Family) -> Traits {
    match family {
        Family::V4 => {
            Traits { family: 2, address_type: 7, words: 1, destination: 16, unreachable: 3 }
        }
        Family::V6 => {
            Traits { family: 10, address_type: 8, words: 4, destination: 24, unreachable: 4 }
        }
    }
}

/// Messages that happen at once or not at all.
struct Batch {
    messages: Messages,
    family: u8,
}

impl Batch {
    fn new(family: Family) -> Self {
        let mut messages = Messages::default();
        messages.push(BEGIN, 0, &header(0, SUBSYSTEM), &Attributes::default());
        Self { messages, family: traits(family).family }
    }

    fn push(&mut self, kind: u16, flags: u16, attributes: &Attributes) {
        self.messages.push(SUBSYSTEM << 8 | kind, flags, &header(self.family, 0), attributes);
    }

    fn end(mut self) -> Messages {
        // What comes last is acknowledged when all has happened.
        self.messages.acknowledge();
        self.messages.push(END, 0, &header(0, SUBSYSTEM), &Attributes::default());
        self.messages
    }
}

/// Puts the table of a family in the place of the one that is there, with these backends and ClusterIPs of the
/// family.
pub fn replace(
    family: Family,
    backends: &[(u32, BackendAddr)],
    cluster_ips: &[IpAddr],
) -> Messages {
    let mut batch = Batch::new(family);
    let mut name = Attributes::default();
    name.text(1, TABLE);
    // What is not there can't be deleted.
    batch.push(NEW_TABLE, NLM_F_CREATE, &name);
    batch.push(DELETE_TABLE, 0, &name);
    batch.push(NEW_TABLE, NLM_F_CREATE, &name);
    batch.push(NEW_SET, NLM_F_CREATE, &map(family));
    batch.push(NEW_SET, NLM_F_CREATE, &set(family));
    put_into(&mut batch, backends);
    put_into(&mut batch, cluster_ips);
    for Chain { name, base, rules } in chains(family) {
        let mut chain = Attributes::default();
        chain.text(1, TABLE).text(3, name);
        if let Some((kind, hook, priority)) = base {
            chain.nested(4, |at| {
                at.number(1, hook).number(2, priority as u32);
            });
            chain.number(5, 1).text(7, kind);
        }
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

/// Adds what a set of a family has.
pub fn put(family: Family, entries: &[impl Entry]) -> Messages {
    let mut batch = Batch::new(family);
    put_into(&mut batch, entries);
    batch.end()
}

/// Takes it out.
pub fn remove<E: Entry>(family: Family, entries: &[E]) -> Messages {
    let mut batch = Batch::new(family);
    elements(&mut batch, DELETE_ELEMENTS, 0, entries, |_| None);
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
    let mut message = Messages::default();
    let mut name = Attributes::default();
    name.text(1, TABLE);
    message.push(SUBSYSTEM << 8 | GET_TABLE, 0, &header(traits(family).family, 0), &name);
    message
}

/// What tells our table from one that others have named the same: chains of a family that begin by
/// themselves, with their hooks and priorities, and the messages that ask for them.
pub fn ask_bases(family: Family) -> impl Iterator<Item = (u32, i32, Messages)> {
    chains(family).into_iter().filter_map(move |Chain { name, base, .. }| {
        let (_, hook, priority) = base?;
        let mut message = Messages::default();
        let mut chain = Attributes::default();
        chain.text(1, TABLE).text(3, name);
        message.push(SUBSYSTEM << 8 | GET_CHAIN, 0, &header(traits(family).family, 0), &chain);
        Some((hook, priority, message))
    })
}

/// Asks for the rules of the table of a family: none where that is not there.
pub fn ask_rules(family: Family) -> Messages {
    let mut message = Messages::default();
    let mut name = Attributes::default();
    name.text(1, TABLE);
    let header = header(traits(family).family, 0);
    message.push(SUBSYSTEM << 8 | GET_RULE, NLM_F_DUMP, &header, &name);
    message
}

/// How many rules the chains of the table have, by their names.
pub fn counts(family: Family) -> BTreeMap<&'static str, usize> {
    chains(family).iter().map(|chain| (chain.name, chain.rules.len())).collect()
}

/// Asks for the chains of all tables.
pub fn ask_chains(flags: u16) -> Messages {
    let mut message = Messages::default();
    message.push(SUBSYSTEM << 8 | GET_CHAIN, flags, &header(0, 0), &Attributes::default());
    message
}

/// Asks for the number of the last change of any rules.
pub fn ask_generation() -> Messages {
    let mut message = Messages::default();
    message.push(SUBSYSTEM << 8 | GET_GENERATION, 0, &header(0, 0), &Attributes::default());
    message
}

struct Chain {
    name: &'static str,
    /// Its kind, hook and priority; none where other chains lead there.
    base: Option<(&'static str, u32, i32)>,
    rules: Vec<Expressions>,
}

fn chains(family: Family) -> [Chain; 6] {
    let Traits { family, words, destination, unreachable, .. } = traits(family);
    let rule = Expressions::default;
    let lead = rule().load(Meta::Priority).look_up(BACKENDS, BACKENDS_ID).lead(family, words);
    let reject = rule().load(Meta::Priority).is(REJECT).reject(unreachable);
    let ours = rule().load(Meta::Priority).bits(TO_BACKEND_MASK, 0).is(TO_BACKEND);
    let clear = ours.bits(0, 0).set(Meta::Priority);
    let marked = rule().load(Meta::Mark).bits(MASQUERADE, 0).differs_from(0);
    let conceal = marked.load(Meta::Mark).bits(u32::MAX, MASQUERADE).set(Meta::Mark).masquerade();
    let reset = rule().load(Meta::Protocol).equals_byte(TCP).reset();
    let untranslated = |rule: Expressions| {
        let to = rule.load_header(destination, words * 4);
        to.among(CLUSTER_IPS, CLUSTER_IPS_ID).jump(REFUSE)
    };
    // An address that the node has itself is answered there, such as by a cache for DNS.
    let elsewhere = rule().load(Meta::Device).differs_from(LOOPBACK);
    let chain = |name, base, rules| Chain { name, base, rules };
    [
        chain("lead", Some(("nat", PREROUTING, LEAD)), vec![lead]),
        chain("clear", Some(("filter", PREROUTING, DSTNAT + 1)), vec![reject, clear]),
        chain("conceal", Some(("nat", POSTROUTING, SRCNAT - 1)), vec![conceal]),
        chain(REFUSE, None, vec![reset, rule().reject(unreachable)]),
        chain("forward", Some(("filter", FORWARD, FILTER)), vec![untranslated(rule())]),
        chain("output", Some(("filter", OUTPUT, FILTER)), vec![untranslated(elsewhere)]),
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

/// The set of ClusterIPs.
fn set(family: Family) -> Attributes {
    let Traits { address_type, words, .. } = traits(family);
    let mut set = Attributes::default();
    set.text(1, TABLE).text(2, CLUSTER_IPS).number(3, 0);
    set.number(4, address_type).number(5, words * 4).number(10, CLUSTER_IPS_ID);
    set
}

fn put_into<E: Entry>(batch: &mut Batch, entries: &[E]) {
    elements(batch, NEW_ELEMENTS, NLM_F_CREATE, entries, E::value);
}

fn elements<E: Entry>(
    batch: &mut Batch,
    kind: u16,
    flags: u16,
    entries: &[E],
    value: impl Fn(&E) -> Option<Vec<u8>>,
) {
    for some in entries.chunks(TOGETHER) {
        let mut message = Attributes::default();
        message.text(1, TABLE).text(2, E::SET).nested(3, |list| {
            for entry in some {
                list.nested(1, |element| {
                    element.nested(1, |data| {
                        data.bytes(1, &entry.key());
                    });
                    if let Some(value) = value(entry) {
                        element.nested(2, |data| {
                            data.bytes(1, &value);
                        });
                    }
                });
            }
        });
        message.number(4, E::ID);
        batch.push(kind, flags, &message);
    }
}
