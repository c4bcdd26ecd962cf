//! Listings while rows are replaced: after any number of reads, the next write comes.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, VecDeque},
};

use balancer_common::{layout::LIFETIME_WORDS, verdict::Verdict};

use super::*;
use crate::{
    apply::apply,
    desired::{BackendAddr, DesiredPort, PortId, backends::Details},
    maps::{Gauge, Limits, RangeEntry, Settings, in_memory::InMemoryMaps},
    model::{ObjectRef, Protocol},
    observe::Snapshot,
    plan::{
        Extent, Plan, Step, Write,
        book::Book,
        plan,
        rows::{Rows, rows},
    },
};

/// Little room, so that it is used again and again.
const LIMITS: Limits = Limits { services: 3, frontends: 8, backends: 8, slots: 16 };

/// Maps that are written to while they are read: one write comes before each read from some read
/// on.
struct Changing {
    maps: RefCell<InMemoryMaps>,
    writes: RefCell<VecDeque<Write>>,
    after: Cell<usize>,
}

impl Changing {
    fn read<T>(&self, read: impl FnOnce(&InMemoryMaps) -> T) -> T {
        match self.after.get() {
            0 => {
                if let Some(write) = self.writes.borrow_mut().pop_front() {
                    let steps = vec![Step { object: String::new(), writes: vec![write] }];
                    let plan = Plan { steps, ..Plan::default() };
                    assert_eq!(apply(&mut *self.maps.borrow_mut(), &plan).problems, []);
                }
            }
            left => self.after.set(left - 1),
        }
        read(&self.maps.borrow())
    }
}

impl ReadMaps for Changing {
    fn limits(&self) -> Limits {
        LIMITS
    }
    fn services(&self) -> u32 {
        LIMITS.services
    }
    fn frontends(&self) -> Result<Vec<(FrontendKey, Frontend)>, MapsError> {
        self.read(InMemoryMaps::frontends)
    }
    fn names(&self) -> Result<Vec<(u32, ServiceName)>, MapsError> {
        self.read(InMemoryMaps::names)
    }
    fn frontend(&self, key: FrontendKey) -> Result<Option<Frontend>, MapsError> {
        self.read(|maps| maps.frontend(key))
    }
    fn name(&self, service: u32) -> Result<Option<ServiceName>, MapsError> {
        self.read(|maps| maps.name(service))
    }
    fn gauges(&self) -> Result<Vec<Gauge>, MapsError> {
        self.read(InMemoryMaps::gauges)
    }
    fn row_word(&self, service: u32) -> u64 {
        self.read(|maps| maps.row_word(service))
    }
    fn settings(&self, service: u32) -> Settings {
        self.read(|maps| maps.settings(service))
    }
    fn ranges(&self) -> Result<Vec<RangeEntry>, MapsError> {
        self.read(InMemoryMaps::ranges)
    }
    fn serving(&self) -> Result<Vec<(u32, u32)>, MapsError> {
        self.read(InMemoryMaps::serving)
    }
    fn slot(&self, index: u32) -> Slot {
        self.read(|maps| maps.slot(index))
    }
    fn backend(&self, backend: u32) -> Backend {
        self.read(|maps| maps.backend(backend))
    }
    fn active(&self, backend: u32) -> u32 {
        self.read(|maps| maps.active(backend))
    }
    fn is_suspect(&self, backend: u32) -> bool {
        self.read(|maps| maps.is_suspect(backend))
    }
    fn charges(&self) -> u32 {
        self.read(InMemoryMaps::charges)
    }
    fn charge(&self, index: u32) -> u64 {
        self.read(|maps| maps.charge(index))
    }
    fn record_service(&self, index: u32) -> u32 {
        self.read(|maps| maps.record_service(index))
    }
    fn lifetimes(&self) -> Result<[u64; LIFETIME_WORDS], MapsError> {
        self.read(ReadMaps::lifetimes)
    }

    fn verdict(&self, verdict: Verdict) -> Result<u64, MapsError> {
        self.read(|maps| maps.verdict(verdict))
    }
}

/// Services and the last bytes of their backends.
type Shown = Vec<(String, Vec<u8>)>;

fn wanted(services: &[(&str, &[u8])]) -> Rows {
    let ports = services.iter().map(|(name, backends)| {
        let service = ObjectRef { namespace: "shop".into(), name: (*name).into() };
        let id = PortId { service, port: String::new(), protocol: Protocol::Tcp };
        let details = || Details {
            place: Default::default(),
            terminating: false,
            usable: true,
            serving: true,
            weight: 1,
        };
        let addr = |last| BackendAddr::new(([10, 0, 0, last], 80).into(), Protocol::Tcp);
        let vip = ([10, 96, 0, name.len() as u8], 80).into();
        let frontend = crate::desired::FrontendAddr {
            kind: balancer_common::layout::FrontendKind::ClusterIp,
            addr: vip,
            protocol: Protocol::Tcp,
        };
        let port = DesiredPort {
            number: 80,
            frontends: vec![frontend],
            backends: backends.iter().map(|last| (addr(*last), details())).collect(),
            external: None,
            at_nodes: None,
            outside: None,
            local: false,
            elsewhere: Default::default(),
            options: Default::default(),
            moving: None,
            requests_only: false,
            source_ranges: Vec::new(),
        };
        (id, port)
    });
    let ports: BTreeMap<_, _> = ports.collect();
    rows(&ports)
}

fn shown(maps: &impl ReadMaps) -> Shown {
    let last = |backend: &BackendAddr| match backend.addr().ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(ip) => ip.octets()[15],
    };
    let snapshot = Snapshot::read(maps).unwrap();
    let ports = snapshot.ports.into_iter();
    ports
        .map(|(id, port)| {
            (id.service.name, port.backends.iter().map(|found| last(&found.backend)).collect())
        })
        .collect()
}

/// Backends, slots and identifiers of Service ports are used again as soon as may be, which a
/// program would have been waited for and who lists is not.
#[test]
fn a_listing_is_of_one_moment() {
    let states: [&[(&str, &[u8])]; 7] = [
        &[("web", &[1, 2, 3]), ("a", &[1])],
        &[("web", &[4, 5, 6]), ("a", &[1])],
        &[("web", &[2, 3, 7]), ("a", &[1])],
        &[("a", &[2, 3, 4])],
        &[("a", &[2, 3, 4]), ("shop", &[6])],
        &[("a", &[6]), ("shop", &[2, 3, 4])],
        &[("a", &[5]), ("shop", &[])],
    ];
    let states = states.map(wanted);
    let mut lists = 0;
    for after in 0.. {
        let mut maps = InMemoryMaps::new(LIMITS);
        let mut book = Book::read(&maps).unwrap();
        let none = BTreeSet::new();
        let mut planned = InMemoryMaps::new(LIMITS);
        let mut writes = VecDeque::new();
        let mut possible = BTreeSet::new();
        for (round, wanted) in states.iter().enumerate() {
            let plan = plan(&mut book, wanted, Extent::All(&none), &planned);
            assert_eq!(plan.problems, []);
            for write in plan.steps.into_iter().flat_map(|step| step.writes) {
                let one = vec![Step { object: String::new(), writes: vec![write.clone()] }];
                let one = Plan { steps: one, ..Plan::default() };
                if round == 0 {
                    apply(&mut maps, &one);
                } else {
                    writes.push_back(write);
                }
                apply(&mut planned, &one);
                if round > 0 {
                    possible.insert(shown(&planned));
                }
            }
            possible.insert(shown(&planned));
            book.release(book.epoch());
        }
        let changing = Changing {
            maps: RefCell::new(maps),
            writes: RefCell::new(writes),
            after: Cell::new(after),
        };
        let found = shown(&changing);
        assert!(possible.contains(&found), "after {after} reads: {found:?} of {possible:?}");
        lists += 1;
        if changing.after.get() > 0 {
            break;
        }
    }
    assert!(lists > 40, "{lists} listings");
}
