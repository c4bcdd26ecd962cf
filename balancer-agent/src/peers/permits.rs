//! Which connections of the cluster may be ended for the sake of balance, and where each goes: the work of
//! the steward of a Service port, which knows the totals. Neither sockets nor clocks.
//!
//! A node asks, and is told for each connection from which backend and to which one. What was permitted
//! counts as moved from then on, until the node has said that it is in its counts, or for 2 s: then it is
//! taken for not used. So no two nodes are permitted the same move, and nothing has to be waited for.
//!
//! A round of moves begins 2 s after backends have changed, or when connections have been uneven for
//! 10 s; its quota are those that are too many then.

mod survey;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use ring::digest::{Context, SHA256};

use super::{
    Moment,
    name::{NodeId, ServiceId},
    wire::{Answer, Ask, Done, GRANTS, Grant},
};
use crate::{
    balance::{Load, MINUTE, PATIENCE, SETTLE, is_uneven, targets},
    desired::BackendAddr,
};

/// How long after it has asked a node uses what it was permitted.
pub const VALID: Duration = Duration::from_secs(1);
/// After which time what was permitted is taken for not used: twice as long, so that no node uses it still.
pub const FORGOTTEN: Duration = Duration::from_secs(2);
/// How long a change of backends is a reason to begin a round, for a steward that has not begun one since.
const RECENT: Duration = Duration::from_secs(60);
/// How long nobody must have asked before what is remembered of it is forgotten.
const KEPT: Duration = Duration::from_secs(120);
/// Sets of backends of one Service port that are told apart; nodes may see other parts of it.
const SHAPES: usize = 64;
/// Connections that are permitted at a time.
const MOST: u32 = 4_096;

/// A hash of a set of backends.
pub fn shape(backends: impl IntoIterator<Item = BackendAddr>) -> u64 {
    let mut sorted: Vec<_> = backends.into_iter().collect();
    sorted.sort_unstable();
    let mut context = Context::new(&SHA256);
    for backend in sorted {
        context.update(format!("{backend}\n").as_bytes());
    }
    context.finish().as_ref().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// A backend, as a steward sees it when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its connections from all nodes, with what was permitted taken for done.
    pub connections: u32,
    /// How many it should have, where all nodes may use all backends; none where this node's row is
    /// another than the steward's.
    pub target: Option<u32>,
    /// Its share beside that of others; 0 where nothing may go.
    pub weight: u16,
    /// Connections that the node that asks could end there.
    pub quiet: u32,
}

/// What a node may end that would end so many, of a round that has so many left. Where rows are alike, a
/// backend above its target gives to the one that lacks most. Where they are not, the fullest of this row
/// gives to its emptiest as long as that makes both more alike: the sum of squares falls with each, so that
/// nodes with other rows can't send connections around in circles. No more pairs than one answer has room for.
pub fn grant(places: &mut [Place], want: u32, quota: u32) -> Vec<Grant> {
    let mut grants: BTreeMap<(u16, u16), u16> = BTreeMap::new();
    for _ in 0..want.min(quota).min(MOST) {
        let over = |place: &Place| {
            let target = i64::from(place.target.unwrap_or_default());
            i64::from(place.connections) - target
        };
        let indices = 0..places.len();
        let from = indices.clone().filter(|index| places[*index].quiet > 0);
        let Some(from) = from.max_by(|a, b| fuller(&places[*a], &places[*b], over)) else { break };
        let to = indices.filter(|index| places[*index].weight > 0 && *index != from);
        let Some(to) = to.min_by(|a, b| fuller(&places[*a], &places[*b], over)) else { break };
        let pair = (from as u16, to as u16);
        let has_room = grants.len() < GRANTS || grants.contains_key(&pair);
        let (source, sink) = (places[from], places[to]);
        let helps = if source.target.is_some() {
            over(&source) > 0 && over(&sink) < 0
        } else {
            u64::from(source.connections) * u64::from(sink.weight)
                > (u64::from(sink.connections) + 1) * u64::from(source.weight.max(1))
        };
        if !helps || !has_room {
            break;
        }
        places[from].connections -= 1;
        places[from].quiet -= 1;
        places[to].connections += 1;
        *grants.entry(pair).or_default() += 1;
    }
    let grant = |((from, to), count)| Grant { from, to, count };
    grants.into_iter().map(grant).collect()
}

/// Compares two places by what they have too many, or by connections for their weight.
fn fuller(a: &Place, b: &Place, over: impl Fn(&Place) -> i64) -> std::cmp::Ordering {
    if a.target.is_some() {
        return over(a).cmp(&over(b));
    }
    let share =
        |of: &Place, other: &Place| u64::from(of.connections) * u64::from(other.weight.max(1));
    share(a, b).cmp(&share(b, a))
}

/// What a steward knows of a Service port beside what it was asked.
pub struct Sums<'a> {
    /// The backends of its own row and their weights, where that has the shape that was asked with.
    pub alike: Option<Vec<(BackendAddr, u16)>>,
    /// True where one of them belongs to another Service port as well that moves its connections first.
    pub yields: bool,
    /// Connections that are about to come back from elsewhere.
    pub away: u32,
    /// What all nodes have reported of a backend.
    pub total: &'a dyn Fn(&BackendAddr) -> u64,
}

/// What was permitted, and when the next may be.
#[derive(Debug, Default)]
pub struct Permits {
    books: HashMap<ServiceId, Book>,
}

#[derive(Debug, Default)]
struct Book {
    turns: BTreeMap<u64, Turn>,
    /// What nodes have not said to be in their counts, oldest first.
    open: BTreeMap<NodeId, VecDeque<Open>>,
    /// When connections were permitted to move within the last minute, oldest first.
    granted: VecDeque<Moment>,
    asked: Moment,
}

/// How far the moves of a set of backends have come.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// So many more may be moved in this round; none where there is none.
    left: Option<u32>,
    /// When the last round began that followed on a change of backends.
    began: Option<Moment>,
    /// Since when connections have been uneven, while nothing is done about it.
    uneven: Option<Moment>,
    asked: Moment,
}

/// What the backends of a row have too many.
#[derive(Clone, Copy, Debug, Default)]
struct Excess {
    total: u32,
    /// True if one has more than its share by more than one and a tenth of it.
    is_uneven: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    number: u32,
    shape: u64,
    from: BackendAddr,
    to: BackendAddr,
    count: u32,
    at: Moment,
}

impl Permits {
    /// Answers a node.
    pub fn answer(&mut self, now: Moment, node: NodeId, ask: &Ask, sums: &Sums<'_>) -> Answer {
        let book = self.books.entry(ask.service).or_default();
        book.asked = now;
        book.forget(now);
        book.void(node, ask);
        let grants = book.grant(now, node, ask, sums);
        Answer { service: ask.service, number: ask.number, grants }
    }

    /// A node has reported counts that include what it did of what it was permitted.
    pub fn done(&mut self, now: Moment, node: NodeId, service: ServiceId, done: Done) {
        let Some(book) = self.books.get_mut(&service) else { return };
        let Some(open) = book.open.get_mut(&node) else { return };
        let is_done = |open: &Open| (done.number.wrapping_sub(open.number) as i32) >= 0;
        let closed: Vec<_> = open.iter().copied().filter(is_done).collect();
        open.retain(|open| !is_done(open));
        let mut refused = u32::from(done.refused);
        for open in closed.iter().filter(|open| open.number == done.number) {
            let back = refused.min(open.count);
            book.give_back(open.shape, back);
            refused -= back;
        }
        book.forget(now);
    }

    /// A node is heard that was not: after a recent change of backends a round may begin once more, for what
    /// that node has.
    pub fn renew(&mut self) {
        let turns = self.books.values_mut().flat_map(|book| book.turns.values_mut());
        turns.for_each(|turn| turn.began = None);
    }

    /// Forgets what is too old.
    pub fn forget(&mut self, now: Moment) {
        self.books.retain(|_, book| {
            book.forget(now);
            book.asked + KEPT > now
        });
    }

    /// What a node was permitted and has not said to be in its counts, and how many of each.
    #[cfg(test)]
    fn open(&self, service: ServiceId) -> u32 {
        let open = self.books.get(&service).into_iter().flat_map(|book| book.open.values());
        open.flatten().map(|open| open.count).sum()
    }
}

impl Book {
    fn grant(&mut self, now: Moment, node: NodeId, ask: &Ask, sums: &Sums<'_>) -> Vec<Grant> {
        let (mut places, excess) = self.places(ask, sums);
        if !self.begins(now, ask, excess, sums.yields) {
            return Vec::new();
        }
        let spent = u32::try_from(self.granted.len()).unwrap_or(u32::MAX);
        let budget = if ask.forced { u32::MAX } else { ask.budget.saturating_sub(spent) };
        let Some(left) = self.turns.get(&ask.shape).and_then(|turn| turn.left) else {
            return Vec::new();
        };
        let grants = grant(&mut places, ask.want.min(budget), left);
        let mut granted = 0;
        for Grant { from, to, count } in &grants {
            let backend = |index: u16| ask.candidates[usize::from(index)].backend;
            let count = u32::from(*count);
            granted += count;
            let (number, shape, at) = (ask.number, ask.shape, now);
            let open = Open { number, shape, from: backend(*from), to: backend(*to), count, at };
            self.open.entry(node).or_default().push_back(open);
        }
        self.granted.extend((0..granted).map(|_| now));
        if let Some(turn) = self.turns.get_mut(&ask.shape) {
            turn.left = Some(left - granted);
        }
        grants
    }

    /// The candidates, and what all backends have too many.
    fn places(&self, ask: &Ask, sums: &Sums<'_>) -> (Vec<Place>, Excess) {
        let mut moved: HashMap<BackendAddr, i64> = HashMap::new();
        for open in self.open.values().flatten() {
            *moved.entry(open.to).or_default() += i64::from(open.count);
            *moved.entry(open.from).or_default() -= i64::from(open.count);
        }
        let connections = |backend: &BackendAddr| {
            let moved = moved.get(backend).copied().unwrap_or_default();
            let total = i64::try_from((sums.total)(backend)).unwrap_or(i64::MAX);
            u32::try_from(total.saturating_add(moved).max(0)).unwrap_or(u32::MAX)
        };
        let named = ask.candidates.iter().map(|found| (found.backend, found.weight));
        let weights: HashMap<_, _> = match &sums.alike {
            // Who asks may know that nothing goes to one that it names. For others the question has no room.
            Some(all) => {
                let named: HashMap<_, _> = named.collect();
                let weight = |(backend, own): &(BackendAddr, u16)| {
                    (*backend, named.get(backend).copied().unwrap_or(*own))
                };
                all.iter().map(weight).collect()
            }
            None => named.collect(),
        };
        let mut usable: Vec<_> = weights.into_iter().filter(|(_, weight)| *weight > 0).collect();
        usable.sort_unstable();
        let load = |(backend, weight): &(BackendAddr, u16)| Load {
            weight: *weight,
            connections: connections(backend),
        };
        let loads: Vec<_> = usable.iter().map(load).collect();
        let goals = targets(&loads, sums.away);
        let surplus =
            loads.iter().zip(&goals).map(|(load, goal)| load.connections.saturating_sub(*goal));
        let excess = Excess { total: surplus.sum(), is_uneven: is_uneven(&loads, &goals) };
        let usable = usable.into_iter().map(|(backend, _)| backend);
        let goals: HashMap<_, _> = usable.zip(goals).collect();
        let places = ask.candidates.iter().map(|candidate| {
            let goal = goals.get(&candidate.backend).copied();
            Place {
                connections: connections(&candidate.backend),
                target: goal.filter(|_| sums.alike.is_some()),
                weight: candidate.weight,
                // Nothing is ended at one that gets nothing.
                quiet: if candidate.weight == 0 { 0 } else { candidate.quiet.into() },
            }
        });
        // One that is in no set of targets has none; compared with others it must not win.
        let places = places.map(|place| match (sums.alike.is_some(), place.target) {
            (true, None) => Place { target: Some(place.connections), weight: 0, quiet: 0, ..place },
            _ => place,
        });
        (places.collect(), excess)
    }

    /// True while a round goes on; begins and ends it.
    fn begins(&mut self, now: Moment, ask: &Ask, excess: Excess, yields: bool) -> bool {
        // What both Service ports have too many is moved once.
        let wait = if yields { PATIENCE } else { Duration::ZERO };
        let Excess { total, is_uneven } = excess;
        let is_open = self.open.values().flatten().any(|open| open.shape == ask.shape);
        if self.turns.len() >= SHAPES && !self.turns.contains_key(&ask.shape) {
            return false;
        }
        let turn = self.turns.entry(ask.shape).or_default();
        let asked = std::mem::replace(&mut turn.asked, now);
        if total == 0 {
            turn.uneven = None;
            if !is_open {
                turn.left = None;
            }
            return false;
        }
        if ask.forced && turn.left.is_none() {
            (turn.left, turn.uneven) = (Some(total), None);
            return true;
        }
        let changed = now.checked_sub(ask.settled).unwrap_or_default();
        let is_new = ask.settled < RECENT && turn.began.is_none_or(|began| began < changed);
        if is_new {
            let is_settled = ask.settled >= SETTLE + wait;
            (turn.left, turn.uneven) = (is_settled.then_some(total), None);
            if is_settled {
                turn.began = Some(now);
            }
            return is_settled;
        }
        match turn.left {
            Some(0) if is_open => return false,
            Some(0) => turn.left = None,
            Some(_) => return true,
            None => {}
        }
        // Of what nobody has asked about for long, nobody knows how long it has been so.
        let goes_on = asked + 2 * SETTLE > now;
        if !is_uneven {
            turn.uneven = None;
            return false;
        }
        let since = *turn.uneven.filter(|_| goes_on).get_or_insert(now);
        turn.uneven = Some(since);
        if now.saturating_sub(since) < PATIENCE + wait || ask.settled < SETTLE {
            return false;
        }
        (turn.left, turn.uneven) = (Some(total), None);
        true
    }

    fn forget(&mut self, now: Moment) {
        let mut over = Vec::new();
        for open in self.open.values_mut() {
            while let Some(first) = open.front().copied().filter(|open| open.at + FORGOTTEN <= now)
            {
                open.pop_front();
                over.push(first);
            }
        }
        for open in over {
            self.give_back(open.shape, open.count);
        }
        self.open.retain(|_, open| !open.is_empty());
        while self.granted.front().is_some_and(|at| *at + MINUTE <= now) {
            self.granted.pop_front();
        }
        self.turns.retain(|_, turn| turn.asked + KEPT > now);
    }

    /// What a node was permitted and has not heard of is not used.
    fn void(&mut self, node: NodeId, ask: &Ask) {
        let is_after = |one: u32, other: u32| (one.wrapping_sub(other) as i32) > 0;
        let is_void =
            |open: &Open| is_after(open.number, ask.done) && is_after(ask.number, open.number);
        let Some(open) = self.open.get_mut(&node) else { return };
        let void: Vec<_> = open.iter().copied().filter(is_void).collect();
        open.retain(|open| !is_void(open));
        for open in void {
            self.give_back(open.shape, open.count);
        }
    }

    /// So many were permitted and not used.
    fn give_back(&mut self, shape: u64, count: u32) {
        let left = self.granted.len().saturating_sub(count as usize);
        self.granted.truncate(left);
        if let Some(left) = self.turns.get_mut(&shape).and_then(|turn| turn.left.as_mut()) {
            *left += count;
        }
    }
}

#[cfg(test)]
mod tests;
