//! Every map: its purpose, who writes it, who reads it, how long it lives.
//!
//! All are pinned by the agent and outlive it. "Agent" below is the part of it that applies plans.
//! The slabs are arrays of one element: an element is found once, its words are then reached by
//! plain arithmetic, which is what makes a scan of a thousand counters cheap. They can be mapped
//! into the agent's memory, which lets it change single words while programs run.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SkStorage},
    macros::btf_map,
};
use balancer_common::{
    charge::{ALL_WORDS, MAX_CHARGES},
    layout::{
        Backend, Client, ClientKey, Control, Counter, Flows, Frontend, FrontendKey4, FrontendKey6,
        LIFETIME_WORDS, MAX_AFFINITY, MAX_BACKENDS, MAX_CLIENTS, MAX_FRONTENDS, MAX_NODES,
        MAX_OPTED_OUT, MAX_OUTSIDE, MAX_RANGES, MAX_SERVICES, MAX_SERVING, NodeAddress,
        OutsideFlow, OutsideKey, RangeKey, Record, SLOT_WORDS, Service, ServiceName, ServingKey,
        TRACE_BYTES, Trace, TraceEvent,
    },
    verdict::Verdict,
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// What clients dial over IPv4, from sockets of either family, to the Service behind it. Agent
/// writes, all programs that choose read: `connect4`, `connect6`, `sendmsg4`, `sendmsg6` and `outside_in`.
#[btf_map]
pub static FRONTENDS4: HashMap<FrontendKey4, Frontend, { MAX_FRONTENDS as usize }, NO_PREALLOC> =
    HashMap::new();

/// What clients dial over IPv6, to the Service behind it. Agent writes, `connect6`, `sendmsg6` and
/// `outside_in` read.
#[btf_map]
pub static FRONTENDS6: HashMap<FrontendKey6, Frontend, { MAX_FRONTENDS as usize }, NO_PREALLOC> =
    HashMap::new();

/// Addresses at which node ports are captured beside those that are frontends themselves. Agent writes,
/// all hooks of sockets that choose read where they find no frontend and the port is a node port.
#[btf_map]
pub static NODES: HashMap<[u32; 4], NodeAddress, { MAX_NODES as usize }, NO_PREALLOC> =
    HashMap::new();

/// Service ports by identifier, a family each: their rows, and how a backend of them is chosen. Agent
/// writes, all programs that choose read; they write what a choice changes: a cursor, a seat that is taken,
/// the last look for a suspect.
#[btf_map]
pub static SERVICES: Array<Service, { MAX_SERVICES as usize }, MMAPABLE> = Array::new();

/// Rows: the backends of each Service port (`Slot`s). Agent writes, the scan reads.
#[btf_map]
pub static SLOTS: Array<[u64; SLOT_WORDS], 1, MMAPABLE> = Array::new();

/// Open connections of each backend: those of this node, and what the agent has heard of the other ones.
/// Programs raise and lower the first, the agent writes the second, the scan reads both; the agent sets
/// both to 0 before a backend is published.
#[btf_map]
pub static ACTIVE: Array<[Counter; MAX_BACKENDS as usize], 1, MMAPABLE> = Array::new();

/// When each backend was added, in ticks, for the slow start. The agent writes it before the
/// backend is published, the weighted scan reads it.
#[btf_map]
pub static SINCE: Array<[u32; MAX_BACKENDS as usize], 1, MMAPABLE> = Array::new();

/// Backends by identifier: address and totals. The agent writes the address before the first row
/// that names it is published, programs count totals.
#[btf_map]
pub static BACKENDS: Array<Backend, { MAX_BACKENDS as usize }, MMAPABLE> = Array::new();

/// Which socket is charged to which backend, and behind that the key that says where a socket's word
/// is looked for (`balancer_common::charge`). Programs write; the agent reads, and draws the key before
/// the first of them is attached.
#[btf_map]
pub static CHARGES: Array<[u64; ALL_WORDS as usize], 1, MMAPABLE> = Array::new();

/// What is known of a charged socket, by `Charge::record`; valid while the charge stands.
/// Hooks that charge write, those of UDP before anybody finds the charge, and `tcp` as the SYN is sent; `getpeer4`, `getpeer6`, `recvmsg4`,
/// `recvmsg6` and the agent read.
#[btf_map]
pub static RECORDS: Array<Record, { MAX_CHARGES as usize }, MMAPABLE> = Array::new();

/// Where the datagrams of a socket go to Services beside the one in its record, and whose address their
/// answers have. `sendmsg4` and `sendmsg6` write and read, `recvmsg4` and `recvmsg6` read. Part of the
/// socket: no other one takes its room, and the kernel frees it with the socket.
#[btf_map]
pub static FLOWS: SkStorage<Flows> = SkStorage::new();

/// Backends of UDP that new sockets do not go to and that still serve a Service: flows stay with them.
/// Agent writes, `sendmsg4` and `sendmsg6` read where a row has changed.
#[btf_map]
pub static SERVING: HashMap<ServingKey, u32, { MAX_SERVING as usize }, NO_PREALLOC> =
    HashMap::new();

/// Connections from outside of the node, each a charge. `outside_in` and `outside_out` add and remove
/// them; the agent reads, and removes those that ended without a packet. No LRU: whoever is pushed out
/// would be counted for ever.
#[btf_map]
pub static OUTSIDE: HashMap<OutsideKey, OutsideFlow, { MAX_OUTSIDE as usize }, NO_PREALLOC> =
    HashMap::new();

/// Session affinity: the backend of a client (a `Pin`). Programs write and read; the kernel forgets
/// the client that was away longest. A client from outside is known by a number of its address.
#[btf_map]
pub static AFFINITY: LruHashMap<ClientKey, u64, { MAX_AFFINITY as usize }> = LruHashMap::new();

/// What the programs must look at beyond the Service: levels of cgroups, and whether somebody reads
/// what they tell, which the agent writes; and how many backends are suspect, which who changes
/// that writes. All programs that choose read, and those that end charges or learn whether a
/// backend answers.
#[btf_map]
pub static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();

/// Cgroups of pods that are opted out, by their identifier, and their level. Agent writes, all
/// hooks of sockets that choose read.
#[btf_map]
pub static OPTED_OUT: HashMap<u64, u32, { MAX_OPTED_OUT as usize }, NO_PREALLOC> = HashMap::new();

/// Addresses of network namespaces, by their cookie. Agent writes, all hooks of sockets that choose read
/// where a Service has source ranges.
#[btf_map]
pub static CLIENTS: HashMap<u64, Client, { MAX_CLIENTS as usize }, NO_PREALLOC> = HashMap::new();

/// Source ranges of Services. Agent writes, all programs that choose read.
#[btf_map]
pub static RANGES: LpmTrie<RangeKey, u32, { MAX_RANGES as usize }> = LpmTrie::new();

/// How often each verdict was given. Programs write, the agent reads.
#[btf_map]
pub static VERDICTS: PerCpuArray<u64, { Verdict::ALL.len() }> = PerCpuArray::new();

/// How long connections of TCP lived: counts by bucket, and their sum. `tcp` and `release` write, the agent
/// reads.
#[btf_map]
pub static LIFETIMES: PerCpuArray<u64, { LIFETIME_WORDS }> = PerCpuArray::new();

/// What is told of choices and ends while somebody reads it. Agent writes until when, what and how
/// much; programs count what they have told and what they could not.
#[btf_map]
pub static TRACE: Array<Trace, 1, MMAPABLE> = Array::new();

/// What is told. Programs write, the agent reads.
#[btf_map]
pub static EVENTS: RingBuf<TraceEvent, { TRACE_BYTES }> = RingBuf::new();

/// Names of Service ports by identifier. Only the agent uses it: pinned beside the others, it tells
/// a later agent what their numbers mean.
#[btf_map]
pub static NAMES: HashMap<u32, ServiceName, { MAX_SERVICES as usize }, NO_PREALLOC> =
    HashMap::new();
