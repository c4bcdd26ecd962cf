//! What is remembered from one plan to the next, so that nothing is ended twice and nothing flaps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{
    input::{End, Input, Mode, backend},
    looks::{Looks, Seen},
};
use crate::{balance::MINUTE, maps::Recorded, model::Reason, node::sockets::tcp::Found};

/// How long what was ended is waited for to be opened again. A pool opens connections as it needs
/// them; what has not come back by then is taken for closed for good.
const RETURN: Duration = Duration::from_secs(30);
/// How long what was opened by a process one of whose connections was moved is not moved again.
const COOL: Duration = Duration::from_secs(30);
/// How long a connection that could not be ended is left alone.
const PAUSE: Duration = Duration::from_secs(30);
/// How long moves that somebody asked for are tried where connections are busy.
const FORCED: Duration = Duration::from_secs(60);
/// By how much the coarse clock of records may be behind.
const TICK: Duration = Duration::from_millis(10);

/// Everything that is remembered.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Connections that were ended and whose programs have not closed them yet, by the words of their
    /// charges.
    ended: HashMap<u64, Ended>,
    /// When a connection can have been quiet for long enough at the earliest, by the word of its
    /// charge.
    idle_at: HashMap<u64, Duration>,
    /// Connections that could not be ended, and until when they are left alone.
    paused: HashMap<u64, Duration>,
    /// What was seen of connections that were candidates.
    looks: Looks,
    /// Rows by identifier.
    pub(super) rows: BTreeMap<u32, RowHistory>,
    /// Processes whose connections were moved not long ago: when, and the row.
    moved: VecDeque<(Duration, u32, u32)>,
    /// Counts plans, so that what is too much for one takes turns.
    pub(super) turn: usize,
}

/// A connection that was ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    /// Index of its charge.
    index: u32,
    ending: Ending,
}

/// When and why a connection was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When, by the clock of the records.
    pub since: Duration,
    /// Why.
    pub reason: Reason,
    /// True where the steward of its Service port has permitted it.
    pub permitted: bool,
}

/// What is remembered of a row.
#[derive(Clone, Debug, Default)]
pub struct RowHistory {
    /// The usable backends, when they changed last, and how far the moves after that have come.
    pub(super) members: Vec<(u32, u16)>,
    pub(super) changed: Duration,
    /// False where they were seen for the first time then, and may have been so for long.
    pub(super) is_change_known: bool,
    pub(super) round: Round,
    /// Those of them that were suspect at the last look.
    pub(super) suspects: BTreeSet<u32>,
    /// Since when connections have been shared out unevenly, while nothing is done about it.
    pub(super) uneven: Option<Duration>,
    /// When connections were moved for the sake of balance within the last minute, oldest first.
    pub(super) moved: VecDeque<Duration>,
    /// When connections were ended that have not been opened again, oldest first.
    pub(super) away: VecDeque<Duration>,
    /// Connections ever opened, at the last look.
    opened: Option<u64>,
    /// Backends that drain.
    pub(super) drains: BTreeMap<u32, DrainHistory>,
    /// Backends that are gone, and since when.
    pub(super) gone: BTreeMap<u32, Duration>,
    /// Moves were asked for, whatever the policy says: until when they are tried.
    pub(super) forced: Option<Duration>,
}

/// How far moves for the sake of balance have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Round {
    /// Backends have changed; waits until that is over.
    #[default]
    Settling,
    /// So many more may be moved.
    Moving(u32),
    /// Nothing to do, until backends change or connections are uneven for long.
    Rest,
}

/// A backend that drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainHistory {
    /// Since when.
    pub since: Duration,
    /// How many connections it had then.
    pub initial: usize,
    /// How many were ended.
    pub ended: usize,
}

impl History {
    /// Forgets connections that were ended and are closed now, whoever asks for moves still. `charge`
    /// gives the word of a charge by its index.
    pub fn forget_closed(&mut self, charge: impl Fn(u32) -> u64) {
        self.ended.retain(|word, ended| charge(ended.index) == *word);
    }

    /// Which connections are ended, by the words of their charges.
    pub fn all_ended(&self) -> HashMap<u64, Ending> {
        self.ended.iter().map(|(word, ended)| (*word, ended.ending)).collect()
    }

    /// The same without what only spares passes a look at connections that nobody asks about.
    pub fn as_shown(&self) -> Self {
        Self {
            ended: self.ended.clone(),
            idle_at: HashMap::new(),
            paused: self.paused.clone(),
            looks: self.looks.clone(),
            rows: self.rows.clone(),
            moved: self.moved.clone(),
            turn: self.turn,
        }
    }

    /// Forgets what is remembered for as long as there are candidates.
    pub fn forget_looks(&mut self) {
        self.looks = Looks::default();
    }

    /// Forgets what is over, and learns what was opened.
    pub fn refresh(&mut self, input: &Input) {
        self.turn = self.turn.wrapping_add(1);
        if !(self.idle_at.is_empty() && self.paused.is_empty()) {
            let open: HashSet<u64> = input.connections.iter().map(|found| found.word).collect();
            self.idle_at.retain(|word, _| open.contains(word));
            self.paused.retain(|word, _| open.contains(word));
        }
        self.looks.forget(input.now);
        while self.moved.front().is_some_and(|(at, ..)| *at + COOL <= input.now) {
            self.moved.pop_front();
        }
        let live: BTreeSet<u32> = input.connections.iter().map(|found| found.service).collect();
        self.rows.retain(|id, row| live.contains(id) || row.forced.is_some());
        for (id, row) in live.iter().filter_map(|id| Some((*id, input.rows.get(id)?))) {
            let known = self.rows.entry(id).or_default();
            let opened = row.usable.keys().filter_map(|id| input.opened.get(id)).sum();
            known.learn(input.now, opened);
            known.moved.retain(|at| input.now.saturating_sub(*at) < MINUTE);
        }
    }

    /// Takes a look at a connection.
    pub fn look(&mut self, now: Duration, word: u64, found: &Found) -> Seen {
        self.looks.look(now, word, found)
    }

    /// Nothing tells whose turn it is on a connection.
    pub fn untold(&mut self, input: &Input, end: &End) {
        self.looks.untold(input.connections[end.connection].word);
    }

    /// True for a connection that was ended and is open still.
    pub fn is_ended(&self, word: u64) -> bool {
        self.ended.contains_key(&word)
    }

    /// When a connection was ended that is open still.
    pub fn ended_at(&self, word: u64) -> Option<Duration> {
        self.ended.get(&word).map(|ended| ended.ending.since)
    }

    /// Connections that were ended and are open still, by backend.
    pub fn ending(&self, input: &Input) -> BTreeMap<u32, u32> {
        let mut ending = BTreeMap::new();
        if !self.ended.is_empty() {
            for connection in input.connections.iter().filter(|c| self.is_ended(c.word)) {
                *ending.entry(backend(connection)).or_default() += 1;
            }
        }
        ending
    }

    /// True for a connection that may be one that was moved not long ago: it was opened since by a process
    /// one of whose connections was.
    pub fn is_moved(&self, row: u32, connection: &Recorded) -> bool {
        let since = Duration::from_nanos(connection.since_ns);
        let is_of = |(at, of, process): &(Duration, u32, u32)| {
            *of == row && *process == connection.tgid && *at <= since + TICK
        };
        self.moved.iter().any(is_of)
    }

    /// How long the backends of a row have not changed; the longest time where no change was seen.
    pub fn settled(&self, now: Duration, row: u32) -> Duration {
        let row = self.rows.get(&row).filter(|row| row.is_change_known);
        row.map_or(Duration::MAX, |row| now.saturating_sub(row.changed))
    }

    /// How many more connections of a row may be moved in this minute.
    pub fn budget_left(&self, now: Duration, row: u32, budget: u32) -> u32 {
        let recent = |at: &&Duration| now.saturating_sub(**at) < MINUTE;
        let moved = self.rows.get(&row).map_or(0, |row| row.moved.iter().filter(recent).count());
        budget.saturating_sub(u32::try_from(moved).unwrap_or(u32::MAX))
    }

    /// Connections that were ended and may be open still: index and word of their charges.
    pub fn ended_charges(&self) -> Vec<(u32, u64)> {
        self.ended.iter().map(|(word, ended)| (ended.index, *word)).collect()
    }

    /// When a connection can have been quiet for long enough at the earliest.
    pub fn idle_at(&self, word: u64) -> Duration {
        self.idle_at.get(&word).copied().unwrap_or_default()
    }

    /// A connection can't have been quiet for long enough before that time.
    pub fn not_idle_before(&mut self, word: u64, at: Duration) {
        self.idle_at.insert(word, at);
    }

    /// True for a connection that is left alone for now, since it could not be ended.
    pub fn is_paused(&self, now: Duration, word: u64) -> bool {
        self.paused.get(&word).is_some_and(|until| now < *until)
    }

    /// A connection was ended.
    pub fn ended(&mut self, input: &Input, end: &End) {
        let connection = &input.connections[end.connection];
        // Where a seat is kept, it stands for the connection.
        let mode = input.governed.get(&end.row).map(|governed| &governed.mode);
        let is_seated = end.reason == Reason::Rebalance && matches!(mode, Some(Mode::Permitted(_)));
        let ending = Ending { since: input.now, reason: end.reason, permitted: is_seated };
        self.ended.insert(connection.word, Ended { index: connection.index, ending });
        let Some(row) = self.rows.get_mut(&end.row) else { return };
        if end.reason != Reason::Idle && !is_seated {
            row.away.push_back(input.now);
        }
        match end.reason {
            Reason::Drain => {
                if let Some(drain) = row.drains.get_mut(&backend(connection)) {
                    drain.ended += 1;
                }
            }
            Reason::Rebalance => {
                self.moved.push_back((input.now, end.row, connection.tgid));
                row.moved.push_back(input.now);
                if let Round::Moving(left) = &mut row.round {
                    *left = left.saturating_sub(1);
                }
            }
            Reason::Stale | Reason::Idle | Reason::Age => {}
        }
    }

    /// A connection can't be ended for now.
    pub fn failed(&mut self, input: &Input, end: &End) {
        self.pause(input.now, input.connections[end.connection].word);
    }

    /// A connection is left alone for a while.
    pub fn pause(&mut self, now: Duration, word: u64) {
        self.paused.insert(word, now + PAUSE);
    }

    /// Connections of a row that were ended and are about to be opened again.
    pub fn away(&self, row: u32) -> u32 {
        self.rows.get(&row).map_or(0, RowHistory::away)
    }

    /// The connections of a row are to be moved now, whatever its policy and budget say.
    pub fn force(&mut self, now: Duration, row: u32) {
        let row = self.rows.entry(row).or_default();
        row.forced = Some(now + FORCED);
        row.round = Round::Moving(u32::MAX);
    }

    /// True if the connections of a row are moved because somebody asked for it.
    pub fn is_forced(&self, row: u32) -> bool {
        self.rows.get(&row).is_some_and(|row| row.forced.is_some())
    }
}

impl RowHistory {
    /// Connections that were ended and are about to be opened again.
    pub fn away(&self) -> u32 {
        self.away.len() as u32
    }

    /// No round goes on, nor is one awaited.
    pub(super) fn rest(&mut self) {
        (self.round, self.uneven) = (Round::Rest, None);
    }

    fn learn(&mut self, now: Duration, opened: u64) {
        // Where backends leave, what was opened to them leaves the sum.
        let new = self.opened.map_or(0, |before| opened.saturating_sub(before));
        self.opened = Some(opened);
        let back = usize::try_from(new).unwrap_or(usize::MAX).min(self.away.len());
        self.away.drain(..back);
        while self.away.front().is_some_and(|ended| now.saturating_sub(*ended) > RETURN) {
            self.away.pop_front();
        }
    }
}
