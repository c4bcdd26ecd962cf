//! A node: its connections, its agent, and the part of the mover that decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use balancer_agent::{
    desired::BackendAddr,
    maps::{KeepSeats as _, Limits, Recorded, in_memory::InMemoryMaps},
    model::{Moving, Protocol},
    moves::{
        cluster::{Authority, Cluster},
        corrections::Corrections,
        history::History,
        input::{End, Input, Row},
        looks::Seen,
        plan,
        policy::Policy,
    },
    node::tcp_info::Activity,
    peers::{
        exchange::Exchange,
        key::Keys,
        name::{NodeId, ServiceId},
        node::{Asked, Permitted, Request},
        own,
    },
};
use balancer_common::charge;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

const KEY: &str = "3Zt1mXo2v0bqv5rM8nQ5kq0yQvB2m0x3o1S9c7wTgkE=";
const ROW: u32 = 1;
pub(super) const WEB: ServiceId = ServiceId(7);

pub(super) fn node(index: usize) -> NodeId {
    NodeId::of(&format!("worker-{index}"))
}

fn addr(backend: usize) -> BackendAddr {
    let ip = Ipv4Addr::new(10, 0, 0, 1 + backend as u8);
    BackendAddr::new((ip, 80).into(), Protocol::Tcp)
}

/// An agent and its clock, for the mover.
struct Link(Mutex<(Exchange, Duration)>);

impl Link {
    fn at(&self, now: Duration) -> MutexGuard<'_, (Exchange, Duration)> {
        let mut inner = self.now();
        inner.1 = now;
        inner
    }

    fn now(&self) -> MutexGuard<'_, (Exchange, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authority for Link {
    fn nodes(&self) -> usize {
        self.now().0.node().nodes()
    }

    fn others(&self, row: u32) -> Option<BTreeMap<u32, u32>> {
        let inner = self.now();
        inner.0.node().others_of(inner.1, row)
    }

    fn ask(&self, request: &Request) -> Asked {
        let mut inner = self.now();
        let now = inner.1;
        inner.0.node_mut().ask(now, request)
    }

    fn permitted(&self) -> Vec<Permitted> {
        let mut inner = self.now();
        let now = inner.1;
        inner.0.node_mut().permitted(now)
    }
}

/// A connection of a client.
#[derive(Clone, Copy)]
struct Connection {
    client: u32,
    backend: usize,
    since: Duration,
}

/// A node.
pub(super) struct Mover {
    link: Arc<Link>,
    maps: InMemoryMaps,
    cluster: Cluster,
    history: History,
    corrections: Corrections,
    usable: Vec<usize>,
    connections: Vec<Connection>,
    opened: BTreeMap<usize, u64>,
    backends: usize,
    pub(super) passed: Duration,
}

impl Mover {
    pub(super) fn new(index: usize, nodes: usize, backends: usize, rng: &mut StdRng) -> Self {
        let mut draws = StdRng::seed_from_u64(rng.random());
        let keys = Keys::parse(KEY, Path::new("key")).expect("a key");
        let mut exchange = Exchange::new(node(index), keys, Box::new(move || draws.random()));
        let all: Vec<_> = (0..nodes).map(node).collect();
        exchange.set_peers(Duration::ZERO, &all);
        let link = Arc::new(Link(Mutex::new((exchange, Duration::ZERO))));
        let mut cluster = Cluster::default();
        cluster.obey(Arc::clone(&link) as _);
        let limits = Limits { services: 4, frontends: 4, backends: 64, slots: 64 };
        Self {
            link,
            maps: InMemoryMaps::new(limits),
            cluster,
            history: History::default(),
            corrections: Corrections::default(),
            usable: Vec::new(),
            connections: Vec::new(),
            opened: BTreeMap::new(),
            backends,
            passed: Duration::ZERO,
        }
    }

    pub(super) fn set_row(&mut self, now: Duration, usable: &[usize]) {
        self.usable = usable.to_vec();
        let backend =
            |at: &usize| own::RowBackend { id: 1 + *at as u32, addr: addr(*at), weight: 1 };
        let backends = usable.iter().map(backend).collect();
        let row = own::Row { id: ROW, service: WEB, weighted: false, backends };
        self.link.at(now).0.node_mut().set_rows(now, vec![row]);
    }

    /// Opens a connection of a client: at a seat, or where it sees the fewest. Gives the backend.
    pub(super) fn open(&mut self, now: Duration, client: u32, rng: &mut StdRng) -> usize {
        let seats = self.maps.seats(ROW);
        let seat = seats.keys().map(|id| *id as usize - 1).find(|at| self.usable.contains(at));
        let backend = match seat {
            Some(seat) => {
                self.maps.take_back_seats(ROW, 1 + seat as u32, 1);
                seat
            }
            None => {
                let others = self.link.at(now).0.node().others_of(now, ROW).unwrap_or_default();
                let seen = |at: &usize| {
                    let others = others.get(&(1 + *at as u32)).copied().unwrap_or_default();
                    (u32::from(self.own()[*at] as u16) + others, rng.random::<u32>())
                };
                self.usable.iter().copied().min_by_key(seen).expect("a backend")
            }
        };
        self.place(now, client, backend);
        backend
    }

    pub(super) fn place(&mut self, now: Duration, client: u32, backend: usize) {
        self.connections.push(Connection { client, backend, since: now });
        *self.opened.entry(backend).or_default() += 1;
    }

    /// Connections to each backend.
    pub(super) fn own(&self) -> Vec<usize> {
        let of = |at| self.connections.iter().filter(|found| found.backend == at).count();
        (0..self.backends).map(of).collect()
    }

    /// Ends what leads to a backend, and gives the clients.
    pub(super) fn leave(&mut self, backend: usize) -> Vec<u32> {
        let gone = self.connections.extract_if(.., |found| found.backend == backend);
        gone.map(|found| found.client).collect()
    }

    /// The agent looks at the counters.
    pub(super) fn look(&mut self, now: Duration) -> Vec<(NodeId, Vec<u8>)> {
        let corrected = self.corrections.look(&self.maps);
        let own = self.own();
        let mut inner = self.link.at(now);
        let agent = inner.0.node_mut();
        for (at, count) in own.into_iter().enumerate() {
            let id = 1 + at as u32;
            let by = corrected.by.get(&id).copied().unwrap_or_default();
            let active = u32::try_from(count as i64 + by).expect("no count is below 0");
            agent.observe(now, id, active, self.opened.get(&at).copied().unwrap_or_default());
        }
        for (service, (number, refused)) in corrected.settled {
            agent.settle(now, service, number, refused);
        }
        Self::speak(&mut inner.0, now)
    }

    pub(super) fn receive(
        &mut self,
        now: Duration,
        mut datagram: Vec<u8>,
    ) -> Vec<(NodeId, Vec<u8>)> {
        let mut inner = self.link.at(now);
        // Why it is not believed is counted.
        let _ = inner.0.receive(now, &mut datagram);
        Self::speak(&mut inner.0, now)
    }

    /// True if something was permitted.
    pub(super) fn is_permitted(&self) -> bool {
        self.link.now().0.node().is_permitted()
    }

    fn speak(exchange: &mut Exchange, now: Duration) -> Vec<(NodeId, Vec<u8>)> {
        exchange.node_mut().words(now);
        if exchange.next() <= now { exchange.due(now) } else { Vec::new() }
    }

    /// A pass of the mover, with all connections at rest. Gives the clients whose connections were ended, and
    /// whether that was permitted.
    pub(super) fn pass(&mut self, now: Duration) -> Vec<(u32, bool)> {
        self.passed = now;
        drop(self.link.at(now));
        // Clients close what was ended at once.
        self.history.forget_closed(|_| 0);
        self.cluster.refresh(now, &self.maps);
        let mut input = self.input(now);
        input.governed = self.cluster.govern(&input, &self.maps, &BTreeSet::new());
        let demands = plan::demands(&input, &mut self.history);
        let rests = plan::asked(&demands).into_iter().map(|index| (index, at_rest()));
        let rests = rests.collect();
        let ends = plan::choose(&input, &demands, &rests, true, &mut self.history);
        let quiet = plan::quiet(&input, &demands, &rests, &ends);
        let history = &mut self.history;
        let end = |ends: &[End]| {
            ends.iter().for_each(|end| history.ended(&input, end));
            ends.to_vec()
        };
        let carried = self.cluster.carry_out(&input, ends, &self.maps, &self.corrections, end);
        self.cluster.ask(&input, &self.history, &quiet);
        let permitted: BTreeSet<_> = carried.permitted.iter().map(|end| end.connection).collect();
        let ended: BTreeSet<_> = carried.ended.iter().map(|end| end.connection).collect();
        let mut clients = Vec::new();
        for index in ended.into_iter().rev() {
            let client = self.connections.remove(index).client;
            clients.push((client, permitted.contains(&index)));
        }
        let seated = self.cluster.rows_with_seats();
        self.corrections.finish(Vec::new(), seated, self.cluster.settled());
        clients
    }

    fn input(&self, now: Duration) -> Input {
        let moving =
            Moving { rebalance: Some(true), rebalance_budget: Some(10_000), ..Moving::default() };
        let row = Row {
            policy: Policy::of(Some(&moving), &Moving::default(), true),
            exact: true,
            slow_start: Duration::ZERO,
            usable: self.usable.iter().map(|at| (1 + *at as u32, 1)).collect(),
            leaving: BTreeMap::new(),
        };
        let record = |(index, found): (usize, &Connection)| Recorded {
            index: index as u32,
            word: charge::word(
                u64::from(found.client) << 16 | found.since.as_millis() as u64 & 0xffff,
                1 + found.backend as u32,
            ),
            service: ROW,
            tgid: found.client,
            netns: 1,
            local: ([10, 0, 1, 1], 1).into(),
            since_ns: found.since.as_nanos() as u64,
        };
        let own = self.own();
        Input {
            now,
            rows: Arc::new([(ROW, row)].into()),
            connections: self.connections.iter().enumerate().map(record).collect(),
            active: self.usable.iter().map(|at| (1 + *at as u32, own[*at] as u32)).collect(),
            opened: self.opened.iter().map(|(at, count)| (1 + *at as u32, *count)).collect(),
            ..Input::default()
        }
    }
}

/// A connection that has rested for long.
fn at_rest() -> Seen {
    let long = Duration::from_secs(3_600);
    let activity = Activity {
        state: 1,
        sent: long,
        received: long,
        acknowledged: long,
        ..Activity::default()
    };
    Seen { inode: 1, activity, turn: activity.turn(), untold: false }
}
