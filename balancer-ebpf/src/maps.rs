//! Every map: its purpose, who writes it, who reads it, how long it lives.
//!
//! All are pinned by the agent and outlive it. "Agent" below is the part of it that applies plans.
//! The slabs are arrays of one element: an element is found once, its words are then reached by
//! plain arithmetic, which is what makes a scan of a thousand counters cheap. They can be mapped
//! into the agent's memory, which lets it change single words while programs run.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::btf_map,
};
use balancer_common::{
    charge::WORDS,
    layout::{
        Backend, Frontend, FrontendKey4, FrontendKey6, MAX_BACKENDS, MAX_FRONTENDS, MAX_SERVICES,
        Record, SLOT_WORDS, Service, ServiceName,
    },
    verdict::Verdict,
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// What clients dial over IPv4, from sockets of either family, to the Service behind it. Agent
/// writes, `connect4` and `connect6` read.
#[btf_map]
pub static FRONTENDS4: HashMap<FrontendKey4, Frontend, { MAX_FRONTENDS as usize }, NO_PREALLOC> =
    HashMap::new();

/// What clients dial over IPv6, to the Service behind it. Agent writes, `connect6` reads.
#[btf_map]
pub static FRONTENDS6: HashMap<FrontendKey6, Frontend, { MAX_FRONTENDS as usize }, NO_PREALLOC> =
    HashMap::new();

/// Service ports by identifier, a family each: their rows. Agent writes, `connect4` and `connect6`
/// read.
#[btf_map]
pub static SERVICES: Array<Service, { MAX_SERVICES as usize }, MMAPABLE> = Array::new();

/// Rows: the backends of each Service port (`Slot`s). Agent writes, the scan reads.
#[btf_map]
pub static SLOTS: Array<[u64; SLOT_WORDS], 1, MMAPABLE> = Array::new();

/// Open connections of each backend. Programs raise and lower it, the scan and the agent read it;
/// the agent sets a counter to 0 before a backend is published.
#[btf_map]
pub static ACTIVE: Array<[u32; MAX_BACKENDS as usize], 1, MMAPABLE> = Array::new();

/// Backends by identifier: address and totals. The agent writes the address before the first row
/// that names it is published, programs count totals.
#[btf_map]
pub static BACKENDS: Array<Backend, { MAX_BACKENDS as usize }, MMAPABLE> = Array::new();

/// Which socket is charged to which backend (`balancer_common::charge`). Programs write; the agent
/// reads.
#[btf_map]
pub static CHARGES: Array<[u64; WORDS as usize], 1, MMAPABLE> = Array::new();

/// What is known of the socket whose charge has the same index; valid while the charge stands.
/// `connect4` and `connect6` write, `getpeer4`, `getpeer6` and the agent read.
#[btf_map]
pub static RECORDS: Array<Record, { WORDS as usize }, MMAPABLE> = Array::new();

/// How often each verdict was given. Programs write, the agent reads.
#[btf_map]
pub static VERDICTS: PerCpuArray<u64, { Verdict::ALL.len() }> = PerCpuArray::new();

/// Names of Service ports by identifier. Only the agent uses it: pinned beside the others, it tells
/// a later agent what their numbers mean.
#[btf_map]
pub static NAMES: HashMap<u32, ServiceName, { MAX_SERVICES as usize }, NO_PREALLOC> =
    HashMap::new();
