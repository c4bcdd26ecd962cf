//! The mover of a node: what decides is the agent's; sockets and clients are not real.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use balancer_agent::{
    maps::{KeepSeats as _, Recorded, in_memory::InMemoryMaps},
    model::Moving,
    moves::{
        cluster::{Authority, Cluster},
        corrections::Corrections,
        history::History,
        input::{End, Input, Mode, Row},
        looks::Seen,
        plan,
        policy::Policy,
    },
    node::tcp_info::Activity,
    peers::{
        exchange::Exchange,
        node::{Asked, Permitted, Request},
        permits::VALID,
    },
};
use balancer_common::charge;
use rand::{Rng as _, rngs::StdRng};

use super::truth::{BACKENDS, SERVICES, Shape, identifier};

/// How many connections of a Service may be moved in a minute.
pub(crate) const BUDGET: u32 = 30;
/// Of 100 connections, how many are busy at a look.
const BUSY: u32 = 20;
/// How long what was moved is not moved again.
const COOL: Duration = Duration::from_secs(30);

/// A connection of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) client: u32,
    pub(crate) service: usize,
    pub(crate) backend: usize,
    /// By the clock of the kernel, which does not jump.
    pub(crate) since: Duration,
}

/// A connection that was ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) connection: Connection,
    /// The backend where a seat is kept for it; none where it was ended without a permit.
    pub(crate) to: Option<usize>,
    /// Whether the node heard others then.
    pub(crate) alone: bool,
}

/// What is known to agent and mover.
pub(crate) struct Link(Mutex<Inner>);

pub(crate) struct Inner {
    pub(crate) exchange: Exchange,
    now: Duration,
    /// When each row was asked about last.
    asked: BTreeMap<u32, Duration>,
    /// What was permitted and not used yet, by row, and when it was asked for.
    permitted: BTreeMap<u32, (Duration, u32)>,
}

impl Link {
    pub(crate) fn new(exchange: Exchange) -> Self {
        let (asked, permitted) = (BTreeMap::new(), BTreeMap::new());
        Self(Mutex::new(Inner { exchange, now: Duration::ZERO, asked, permitted }))
    }

    pub(crate) fn at(&self, clock: Duration) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.now = clock;
        inner
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authority for Link {
    fn nodes(&self) -> usize {
        self.lock().exchange.node().nodes()
    }

    fn others(&self, row: u32) -> Option<BTreeMap<u32, u32>> {
        let inner = self.lock();
        inner.exchange.node().others_of(inner.now, row)
    }

    fn ask(&self, request: &Request) -> Asked {
        let mut inner = self.lock();
        let now = inner.now;
        let asked = inner.exchange.node_mut().ask(now, request);
        if asked == Asked::Sent {
            inner.asked.insert(request.row, now);
        }
        asked
    }

    fn permitted(&self) -> Vec<Permitted> {
        let mut inner = self.lock();
        let now = inner.now;
        let permitted = inner.exchange.node_mut().permitted(now);
        for found in permitted.iter().filter(|found| !found.moves.is_empty()) {
            let count = found.moves.iter().map(|(.., count)| count).sum();
            let asked = inner.asked.get(&found.row).copied().unwrap_or_default();
            inner.permitted.insert(found.row, (asked, count));
        }
        permitted
    }
}

/// What decides on a node. It ends with its agent.
pub(crate) struct Mover {
    link: Arc<Link>,
    cluster: Cluster,
    history: History,
    pub(crate) corrections: Corrections,
    /// When clients were moved last.
    moved: BTreeMap<u32, Duration>,
}

impl Mover {
    pub(crate) fn new(link: &Arc<Link>, maps: &InMemoryMaps) -> Self {
        maps.forget_all_seats();
        let mut cluster = Cluster::default();
        cluster.obey(Arc::clone(link) as _);
        Self {
            link: Arc::clone(link),
            cluster,
            history: History::default(),
            corrections: Corrections::default(),
            moved: BTreeMap::new(),
        }
    }

    /// A pass. What it ends leaves `connections`.
    pub(crate) fn pass(
        &mut self,
        clock: Duration,
        node: &Node<'_>,
        connections: &mut Vec<Connection>,
        rng: &mut StdRng,
    ) -> Result<Vec<Ended>, String> {
        drop(self.link.at(clock));
        // Clients close what was ended at once.
        self.history.forget_closed(|_| 0);
        self.cluster.refresh(clock, node.maps);
        let mut input = node.input(clock, connections);
        input.governed = self.cluster.govern(&input, node.maps, &BTreeSet::new());
        let demands = plan::demands(&input, &mut self.history);
        let answers = plan::asked(&demands).into_iter();
        let answers = answers.map(|index| (index, seen(rng.random_range(0..100) < BUSY)));
        let answers = answers.collect();
        let ends = plan::choose(&input, &demands, &answers, true, &mut self.history);
        let quiet = plan::quiet(&input, &demands, &answers, &ends);
        let before: Vec<_> = (0..SERVICES.len()).map(|of| node.maps.seats(1 + of as u32)).collect();
        let history = &mut self.history;
        let end = |ends: &[End]| {
            ends.iter().for_each(|end| history.ended(&input, end));
            ends.to_vec()
        };
        let carried = self.cluster.carry_out(&input, ends, node.maps, &self.corrections, end);
        self.cluster.ask(&input, &self.history, &quiet);
        let permitted: BTreeSet<_> = carried.permitted.iter().map(|end| end.connection).collect();
        let mut seats = self.new_seats(&before, node);
        let mut all = Vec::new();
        let mut indices = Vec::new();
        for End { connection: index, row, .. } in &carried.ended {
            let connection = connections[*index];
            let to = permitted.contains(index).then(|| seats.get_mut(row)?.pop()).flatten();
            let is_governed = input.governed.get(row);
            let is_permitted = permitted.contains(index);
            if is_permitted {
                self.use_permit(clock, *row)?;
            } else if let Some(governed) = is_governed
                && !matches!(governed.mode, Mode::Falls { .. })
            {
                return Err(format!("an end without a permit: {:?}", governed.mode));
            }
            let before = self.moved.insert(connection.client, clock);
            if is_governed.is_some() && before.is_some_and(|before| before + COOL > clock) {
                return Err(format!("client {} is moved twice", connection.client));
            }
            all.push(Ended { connection, to, alone: is_governed.is_none() });
            indices.push(*index);
        }
        indices.sort_unstable();
        for index in indices.into_iter().rev() {
            connections.remove(index);
        }
        let (seated, settled) = (self.cluster.rows_with_seats(), self.cluster.settled());
        self.corrections.finish(Vec::new(), seated, settled);
        Ok(all)
    }

    /// A permit is as old as the question, and there are no more than were given.
    fn use_permit(&self, clock: Duration, row: u32) -> Result<(), String> {
        let mut inner = self.link.lock();
        match inner.permitted.get_mut(&row) {
            Some((asked, left)) if *left > 0 && clock < *asked + VALID => {
                *left -= 1;
                Ok(())
            }
            found => Err(format!("an end at {clock:?} by a permit of {found:?}")),
        }
    }

    /// The backends at which seats were added, by row.
    fn new_seats(
        &self,
        before: &[BTreeMap<u32, u32>],
        node: &Node<'_>,
    ) -> BTreeMap<u32, Vec<usize>> {
        let of = |(row, before): (u32, &BTreeMap<u32, u32>)| {
            let added = node.maps.seats(row).into_iter().flat_map(|(id, count)| {
                let more = count.saturating_sub(before.get(&id).copied().unwrap_or_default());
                (0..more).map(move |_| id)
            });
            (row, added.map(|id| super::truth::backend(node.index, id)).collect())
        };
        (1..).zip(before).map(of).collect()
    }

    /// True if something was permitted that is not used yet.
    pub(crate) fn is_permitted(&self) -> bool {
        self.link.lock().exchange.node().is_permitted()
    }
}

/// What a node's kernel and desired state say.
pub(crate) struct Node<'a> {
    pub(crate) index: usize,
    pub(crate) maps: &'a InMemoryMaps,
    pub(crate) shape: Shape,
    pub(crate) opened: [u64; BACKENDS],
    /// True where its agent has not seen yet that connections are to be moved.
    pub(crate) is_off: bool,
    /// What the clock of the agent said when it was started, and when that was.
    pub(crate) ahead: Duration,
    pub(crate) started: Duration,
}

impl Node<'_> {
    fn input(&self, clock: Duration, connections: &[Connection]) -> Input {
        let rebalance = Some(!self.is_off);
        let moving = Moving { rebalance, rebalance_budget: Some(BUDGET), ..Moving::default() };
        let policy = Policy::of(Some(&moving), &Moving::default(), true);
        let id = |backend: usize| identifier(self.index, backend);
        let row = |bits: u8| Row {
            policy,
            exact: true,
            slow_start: Duration::ZERO,
            usable: (0..BACKENDS)
                .filter(|at| bits & (1 << at) != 0)
                .map(|at| (id(at), 1))
                .collect(),
            leaving: BTreeMap::new(),
        };
        let rows = self.shape.iter().enumerate().filter(|(_, bits)| **bits != 0);
        let rows: BTreeMap<u32, Row> = rows.map(|(of, bits)| (1 + of as u32, row(*bits))).collect();
        let record = |(index, found): (usize, &Connection)| {
            let since = self.ahead + found.since.saturating_sub(self.started);
            Recorded {
                index: index as u32,
                word: charge::word(
                    u64::from(found.client) << 16 | found.since.as_millis() as u64 & 0xffff,
                    id(found.backend),
                ),
                service: 1 + found.service as u32,
                tgid: found.client,
                netns: 1,
                local: ([10, 0, 1, 1], 1).into(),
                since_ns: since.as_nanos() as u64,
            }
        };
        let active = |at: usize| connections.iter().filter(|found| found.backend == at).count();
        Input {
            now: clock,
            rows: Arc::new(rows),
            connections: connections.iter().enumerate().map(record).collect(),
            active: (0..BACKENDS).map(|at| (id(at), active(at) as u32)).collect(),
            opened: (0..BACKENDS).map(|at| (id(at), self.opened[at])).collect(),
            ..Input::default()
        }
    }
}

/// What the kernel says of a connection that has rested for long, or is used.
fn seen(is_busy: bool) -> Seen {
    let ago = if is_busy { Duration::ZERO } else { Duration::from_secs(3_600) };
    let unacknowledged = u32::from(is_busy);
    let activity = Activity {
        state: 1,
        unacknowledged,
        sent: ago,
        received: ago,
        acknowledged: ago,
        ..Activity::default()
    };
    Seen { inode: 1, activity, turn: activity.turn(), untold: false }
}
