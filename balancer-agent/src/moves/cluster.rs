//! What moves for the sake of balance where there are other nodes: nothing without a permit of the steward
//! of the Service port, which knows what all of them have. Each permit says where the connection goes; a
//! seat is kept for it there before it is ended.

mod carry;
mod wants;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use balancer_common::layout::MAX_SCAN;

pub use self::{
    carry::Carried,
    wants::{Wanted, demanded, in_order, wanted},
};
use super::{
    history::History,
    input::{Governed, Input, Mode, Row},
};
use crate::{
    maps::KeepSeats,
    peers::{
        name::ServiceId,
        node::{Asked, Permitted, Request},
        permits::VALID,
    },
};

/// How long a seat is kept for a connection that was ended.
const SEAT: Duration = Duration::from_secs(10);
/// Least time between two questions about a row: a pass, with what it may be too early.
const INTERVAL: Duration = Duration::from_millis(900);
/// Questions without an answer after which this node takes its steward for gone.
const UNANSWERED: u32 = 3;
/// How long nothing moves then, before it does without.
const HOLD: Duration = Duration::from_secs(10);
/// How long moves that somebody has asked for are tried where connections are busy.
const FORCED: Duration = Duration::from_secs(60);
/// How long nothing more moves from a backend that something was moved from without a permit.
const PAUSE: Duration = Duration::from_secs(3);

/// Who permits what, and knows what other nodes have.
pub trait Authority: Send + Sync {
    /// Nodes that are heard, this one among them. Where there is no other, it decides alone.
    fn nodes(&self) -> usize;
    /// Connections of all other nodes to the backends of a row, by identifier; none where it was not told.
    fn others(&self, row: u32) -> Option<BTreeMap<u32, u32>>;
    /// Asks for permits. The answer comes later.
    fn ask(&self, request: &Request) -> Asked;
    /// What was answered since this was asked last.
    fn permitted(&self) -> Vec<Permitted>;
}

/// What was asked and permitted, by row.
#[derive(Default)]
pub struct Cluster {
    authority: Option<Arc<dyn Authority>>,
    rows: BTreeMap<u32, RowState>,
    /// Answers that were carried out or refused, by Service port, for those who report it.
    settled: BTreeMap<ServiceId, (u32, u32)>,
}

#[derive(Debug, Default)]
struct RowState {
    permits: Option<Permits>,
    /// When it was asked what is not answered yet, and when it was asked last.
    waits: Option<Duration>,
    asked: Option<Duration>,
    unanswered: u32,
    /// Until when somebody wants its connections to move, whatever the policy says.
    forced: Option<Duration>,
    /// From when on this node does without a steward.
    falls_at: Option<Duration>,
    /// Backends from which nothing more moves before a moment.
    held: BTreeMap<u32, Duration>,
    /// Seats that were kept: where, and until when.
    seats: Vec<(u32, Duration)>,
}

#[derive(Debug)]
struct Permits {
    service: ServiceId,
    number: u32,
    until: Duration,
    /// By the backend where a connection is and the one where it goes.
    left: BTreeMap<(u32, u32), u32>,
}

impl Permits {
    fn left(&self) -> u32 {
        self.left.values().sum()
    }
}

impl Cluster {
    /// Does nothing any more without that permits it.
    pub fn obey(&mut self, authority: Arc<dyn Authority>) {
        self.authority = Some(authority);
    }

    /// Takes what was answered, and gives up what is too old.
    pub fn refresh(&mut self, now: Duration, maps: &impl KeepSeats) {
        let permitted = self.authority.as_ref().map_or_else(Vec::new, |all| all.permitted());
        for Permitted { service, number, row, age, moves } in permitted {
            let state = self.rows.entry(row).or_default();
            (state.waits, state.unanswered, state.falls_at) = (None, 0, None);
            if moves.is_empty() {
                continue;
            }
            if let Some(before) = state.permits.take() {
                self.settled.insert(before.service, (before.number, before.left()));
            }
            let mut left: BTreeMap<(u32, u32), u32> = BTreeMap::new();
            for (from, to, count) in moves {
                *left.entry((from, to)).or_default() += count;
            }
            let until = now + VALID.saturating_sub(age);
            state.permits = Some(Permits { service, number, until, left });
        }
        for (row, state) in &mut self.rows {
            if let Some(permits) = state.permits.take_if(|permits| permits.until <= now) {
                self.settled.insert(permits.service, (permits.number, permits.left()));
                // That is to be said first.
                state.asked = Some(now);
            }
            if state.waits.is_some_and(|at| at + VALID <= now) {
                state.miss(now);
            }
            state.forced = state.forced.filter(|until| *until > now);
            state.held.retain(|_, until| *until > now);
            state.take_back(*row, now, maps);
        }
        let live = |state: &RowState| {
            state.permits.is_some()
                || state.forced.is_some()
                || !state.seats.is_empty()
                || state.asked.is_some_and(|at| at + HOLD > now)
        };
        self.rows.retain(|_, state| live(state));
    }

    /// What there is to know of the rows whose connections the steward moves, save those whose connections
    /// somebody has asked this node alone to move.
    pub fn govern(
        &mut self,
        input: &Input,
        maps: &impl KeepSeats,
        alone: &BTreeSet<u32>,
    ) -> BTreeMap<u32, Governed> {
        let Some(authority) = self.authority.clone().filter(|all| all.nodes() > 1) else {
            return BTreeMap::new();
        };
        let live = input.connections.iter().map(|found| found.service);
        let forced = self.rows.iter().filter(|(_, state)| state.forced.is_some());
        let live: BTreeSet<u32> = live.chain(forced.map(|(id, _)| *id)).collect();
        let rows = live.iter().filter_map(|id| Some((*id, input.rows.get(id)?)));
        let rows = rows.filter(|(id, row)| {
            is_movable(row) && (row.policy.rebalance || self.is_forced(*id)) && !alone.contains(id)
        });
        let rows: Vec<_> = rows.map(|(id, _)| id).collect();
        let govern = |id: u32| {
            let others = authority.others(id);
            let state = self.rows.entry(id).or_default();
            let mode = state.mode(input.now, others.is_some());
            let (others, seats) = (others.unwrap_or_default(), maps.seats(id));
            (id, Governed { others, seats, mode, forced: state.forced.is_some() })
        };
        rows.into_iter().map(govern).collect()
    }

    /// Who permits what, if anybody.
    pub const fn authority(&self) -> Option<&Arc<dyn Authority>> {
        self.authority.as_ref()
    }

    /// The connections of a row are to move now, on all nodes, whatever was changed and when.
    pub fn force(&mut self, row: u32, now: Duration) {
        let state = self.rows.entry(row).or_default();
        (state.forced, state.asked) = (Some(now + FORCED), None);
    }

    /// True for a row whose connections somebody wants to move, on all nodes.
    pub fn is_forced(&self, row: u32) -> bool {
        self.rows.get(&row).is_some_and(|state| state.forced.is_some())
    }

    /// Asks for permits where connections could be ended: by row and backend so many.
    pub fn ask(
        &mut self,
        input: &Input,
        history: &History,
        quiet: &BTreeMap<u32, BTreeMap<u32, u32>>,
    ) {
        let Some(authority) = &self.authority else { return };
        if input.governed.is_empty() {
            return;
        }
        let (ending, none) = (history.ending(input), BTreeMap::new());
        // Rows of one Service port take turns: those that had to wait come first.
        let asked = |id: &u32| self.rows.get(id).and_then(|state| state.asked);
        let mut turns: Vec<_> = input.governed.iter().collect();
        turns.sort_by_key(|(id, _)| asked(id));
        for (id, governed) in turns {
            let Some(row) = input.rows.get(id) else { continue };
            let quiet = match &governed.mode {
                // That it is forced is said, whether this node has anything to move or not.
                Mode::Asks => quiet.get(id).or_else(|| governed.forced.then_some(&none)),
                // Whether somebody answers again.
                Mode::Falls { asks: true, .. } => Some(&none),
                _ => None,
            };
            let Some(quiet) = quiet else { continue };
            let wants = wanted(input, *id, row, governed, &ending, Some(quiet));
            let want: u32 = wants.iter().map(|wanted| wanted.count).sum();
            let left = history.budget_left(input.now, *id, row.policy.budget);
            let want = if governed.forced { want } else { want.min(left) };
            if want == 0 && !quiet.is_empty() {
                continue;
            }
            let request = Request {
                row: *id,
                settled: history.settled(input.now, *id),
                budget: row.policy.budget,
                want,
                forced: governed.forced,
                backends: in_order(&wants),
            };
            let asked = authority.ask(&request);
            let state = self.rows.entry(*id).or_default();
            match asked {
                Asked::Sent => (state.asked, state.waits) = (Some(input.now), Some(input.now)),
                Asked::Later => {}
                Asked::Nobody => {
                    state.asked = Some(input.now);
                    state.miss(input.now);
                }
            }
        }
    }

    /// Keeps a seat for a connection that is about to be ended; gives its backend. None where that was not
    /// permitted, or there is no room for a seat.
    fn seat(&mut self, row: u32, from: u32, maps: &impl KeepSeats) -> Option<u32> {
        let permits = self.rows.get_mut(&row)?.permits.as_mut()?;
        let of =
            permits.left.iter_mut().filter(|((source, _), left)| *source == from && **left > 0);
        for ((_, to), left) in of {
            if maps.add_seats(row, *to, 1) {
                *left -= 1;
                return Some(*to);
            }
        }
        None
    }

    /// The connection was ended, and its seat waits for it.
    fn seated(&mut self, now: Duration, row: u32, to: u32) {
        if let Some(state) = self.rows.get_mut(&row) {
            state.seats.push((to, now + SEAT));
        }
    }

    /// The connection was not ended: the permit may be used for another.
    fn unseat(&mut self, row: u32, from: u32, to: u32, maps: &impl KeepSeats) {
        maps.take_back_seats(row, to, 1);
        let permits = self.rows.get_mut(&row).and_then(|state| state.permits.as_mut());
        if let Some(permits) = permits {
            *permits.left.entry((from, to)).or_default() += 1;
        }
    }

    /// A connection was ended without a permit.
    fn fell(&mut self, now: Duration, row: u32, from: u32) {
        if let Some(state) = self.rows.get_mut(&row) {
            state.held.insert(from, now + PAUSE);
        }
    }

    /// Answers that were carried out or refused since this was asked last.
    pub fn settled(&mut self) -> BTreeMap<ServiceId, (u32, u32)> {
        for state in self.rows.values_mut() {
            if let Some(permits) = state.permits.take_if(|permits| permits.left() == 0) {
                self.settled.insert(permits.service, (permits.number, 0));
            }
        }
        std::mem::take(&mut self.settled)
    }

    /// Rows that may have seats.
    pub fn rows_with_seats(&self) -> BTreeSet<u32> {
        let rows = self.rows.iter().filter(|(_, state)| !state.seats.is_empty());
        rows.map(|(id, _)| *id).collect()
    }

    /// After which time a seat or a permit is too old.
    pub fn next(&self, now: Duration) -> Option<Duration> {
        let permits = self.rows.values().filter_map(|state| Some(state.permits.as_ref()?.until));
        let seats =
            self.rows.values().flat_map(|state| state.seats.iter().map(|(_, until)| *until));
        permits.chain(seats).min().map(|until| until.saturating_sub(now))
    }
}

impl RowState {
    /// A question was not answered.
    fn miss(&mut self, now: Duration) {
        self.waits = None;
        self.unanswered += 1;
        if self.unanswered >= UNANSWERED {
            self.falls_at.get_or_insert(now + HOLD);
        }
    }

    fn mode(&mut self, now: Duration, is_told: bool) -> Mode {
        if let Some(permits) = &self.permits {
            let mut by: BTreeMap<u32, u32> = BTreeMap::new();
            for ((from, _), left) in permits.left.iter().filter(|(_, left)| **left > 0) {
                *by.entry(*from).or_default() += left;
            }
            return Mode::Permitted(by);
        }
        let asks = self.waits.is_none() && self.asked.is_none_or(|at| at + INTERVAL <= now);
        if asks && !is_told {
            self.asked = Some(now);
            self.miss(now);
        }
        if self.falls_at.is_some_and(|at| at <= now) {
            return Mode::Falls { asks, held: self.held.keys().copied().collect() };
        }
        if asks && is_told { Mode::Asks } else { Mode::Waits }
    }

    /// Takes back seats that nobody has taken for too long. The oldest are taken first.
    fn take_back(&mut self, row: u32, now: Duration, maps: &impl KeepSeats) {
        if self.seats.is_empty() {
            return;
        }
        let kept = maps.seats(row);
        let young = |backend: u32, seats: &[(u32, Duration)]| {
            seats.iter().filter(|(at, until)| *at == backend && *until > now).count() as u32
        };
        for (backend, count) in &kept {
            let old = count.saturating_sub(young(*backend, &self.seats));
            if old > 0 {
                maps.take_back_seats(row, *backend, old);
            }
        }
        // Those that were taken need not be looked at again; this also says that there are none.
        self.seats.retain(|(backend, until)| *until > now && kept.contains_key(backend));
        if self.seats.is_empty() {
            maps.take_back_seats(row, 0, 0);
        }
    }
}

/// What there is to know of these rows, for who wants to see it.
pub fn look(
    authority: &Arc<dyn Authority>,
    rows: &BTreeSet<u32>,
    input: &Input,
    maps: &impl KeepSeats,
) -> BTreeMap<u32, Governed> {
    let found = rows.iter().filter_map(|id| Some((*id, input.rows.get(id)?)));
    let look = |(id, _): (u32, &Row)| {
        // A row of which nothing was told yet moves with all nodes, too.
        let (others, seats) = (authority.others(id).unwrap_or_default(), maps.seats(id));
        (id, Governed { others, seats, mode: Mode::Waits, forced: false })
    };
    found.filter(|(_, row)| is_movable(row)).map(look).collect()
}

/// What a steward is asked to see what would move of a row.
pub fn survey(input: &Input, id: u32, history: &History) -> Option<Request> {
    let (row, governed) = (input.rows.get(&id)?, input.governed.get(&id)?);
    let wants = wanted(input, id, row, governed, &history.ending(input), None);
    let settled = history.settled(input.now, id);
    let (budget, backends) = (row.policy.budget, in_order(&wants));
    Some(Request { row: id, settled, budget, want: 0, forced: false, backends })
}

/// True for a row whose connections may move by permits: what is ended goes where a seat is kept for it.
fn is_movable(row: &Row) -> bool {
    row.exact && row.usable.len() > 1 && row.usable.len() <= MAX_SCAN as usize
}

#[cfg(test)]
mod tests;
