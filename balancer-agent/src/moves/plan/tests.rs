mod leaving;
mod moments;

use std::{net::SocketAddr, slice::from_ref, sync::Arc};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{
    maps::Recorded,
    model::Moving,
    moves::{looks::UNSURE, policy::Policy},
    node::tcp_info::{Activity, Turn},
};

const SECOND: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(50);

/// A Service with row 1, and what happens to its connections. Time begins late, so that connections
/// may be old.
struct World {
    input: Input,
    history: History,
    /// How long each connection has been quiet; none while it is busy.
    idle: BTreeMap<u64, Option<Duration>>,
    next: u64,
}

impl World {
    fn new(moving: Moving, usable: &[u32]) -> Self {
        let row = Row {
            policy: Policy::of(Some(&moving), &Moving::default(), true),
            exact: true,
            slow_start: Duration::ZERO,
            usable: usable.iter().map(|id| (*id, 1)).collect(),
            leaving: BTreeMap::new(),
        };
        let input =
            Input { now: 100_000 * SECOND, rows: Arc::new([(1, row)].into()), ..Input::default() };
        Self { input, history: History::default(), idle: BTreeMap::new(), next: 1 }
    }

    fn change(&mut self, change: impl FnOnce(&mut Row)) {
        let mut rows = BTreeMap::clone(&self.input.rows);
        change(rows.get_mut(&1).unwrap());
        self.input.rows = Arc::new(rows);
    }

    fn leave(&mut self, backend: u32, why: Leaving) {
        self.change(|row| row.leaving.extend([(backend, why)]));
    }

    /// Opens connections to a backend, some time ago, quiet ever since.
    fn open(&mut self, backend: u32, count: usize, ago: Duration) {
        for _ in 0..count {
            let word = charge::word(self.next, backend);
            self.input.connections.push(Recorded {
                index: self.next as u32,
                word,
                service: 1,
                tgid: 1,
                netns: 1,
                local: SocketAddr::from(([10, 0, 0, 1], 1)),
                since_ns: (self.input.now - ago).as_nanos() as u64,
            });
            self.idle.insert(word, Some(ago));
            self.next += 1;
        }
        *self.input.opened.entry(backend).or_default() += count as u64;
        self.count();
    }

    fn count(&mut self) {
        let ids: Vec<_> = self.input.rows[&1].usable.keys().copied().collect();
        let active = |id: u32| {
            self.input.connections.iter().filter(|found| backend(found) == id).count() as u32
        };
        self.input.active = ids.into_iter().map(|id| (id, active(id))).collect();
    }

    fn busy(&mut self, which: impl Fn(&Recorded) -> bool) {
        for connection in self.input.connections.iter().filter(|found| which(found)) {
            self.idle.insert(connection.word, None);
        }
    }

    fn later(&mut self, time: Duration) {
        self.input.now += time;
        for idle in self.idle.values_mut().flatten() {
            *idle += time;
        }
    }

    /// What the kernel says of those that are asked about.
    fn answers(&self, demands: &[Demand]) -> BTreeMap<usize, Seen> {
        let answer = |index: usize| {
            let idle = self.idle[&self.input.connections[index].word];
            let time = idle.unwrap_or_default();
            let activity = Activity {
                state: 1,
                unacknowledged: u32::from(idle.is_none()),
                sent: time,
                received: time,
                acknowledged: time,
                ..Activity::default()
            };
            (index, Seen { inode: 1, activity, turn: activity.turn(), untold: false })
        };
        asked(demands).into_iter().map(answer).collect()
    }

    fn plan(&mut self) -> Vec<End> {
        let demands = demands(&self.input, &mut self.history);
        let answers = self.answers(&demands);
        choose(&self.input, &demands, &answers, true, &mut self.history)
    }

    /// When the next pass is due for those that are not quiet yet.
    fn soonest(&mut self) -> Option<Duration> {
        let demands = demands(&self.input, &mut self.history);
        soonest(&demands, &self.answers(&demands))
    }

    /// Plans, and ends what was planned; the sockets stay open until [`World::close`].
    fn pass(&mut self) -> Vec<End> {
        let ends = self.plan();
        for end in &ends {
            self.history.ended(&self.input, end);
        }
        ends
    }

    /// Clients close what was ended.
    fn close(&mut self) -> usize {
        let before = self.input.connections.len();
        let history = &self.history;
        self.input.connections.retain(|found| !history.is_ended(found.word));
        self.count();
        before - self.input.connections.len()
    }

    /// Clients open as many again where there are fewest.
    fn reopen(&mut self, count: usize) {
        for _ in 0..count {
            let least = *self.input.active.iter().min_by_key(|(_, active)| **active).unwrap().0;
            self.open(least, 1, Duration::ZERO);
        }
    }

    fn counts(&self) -> Vec<u32> {
        self.input.active.values().copied().collect()
    }
}

fn reasons(ends: &[End]) -> Vec<(Reason, Way)> {
    ends.iter().map(|end| (end.reason, end.way)).collect()
}

fn time(seconds: u64) -> Option<Duration> {
    Some(SECOND * seconds as u32)
}

#[test]
fn nothing_is_ended_where_nobody_asks_for_it() {
    let mut world = World::new(Moving::default(), &[1, 2]);
    world.open(1, 50, 50_000 * SECOND);
    for _ in 0..100 {
        world.later(SECOND);
        assert_eq!(world.pass(), []);
    }
}

#[test]
fn what_was_ended_is_known_until_it_is_closed() {
    let mut world = World::new(Moving { idle_timeout: time(60), ..Moving::default() }, &[1]);
    world.open(1, 2, 100 * SECOND);
    let ended: Vec<_> = world.pass().iter().map(|end| end.connection).collect();
    assert_eq!(ended.len(), 2);
    let words: BTreeMap<u32, u64> =
        world.input.connections.iter().map(|found| (found.index, found.word)).collect();
    world.history.forget_closed(|index| words[&index]);
    assert_eq!(world.history.all_ended().len(), 2);
    // The place of the first has another socket.
    let first = world.input.connections[0].index;
    let charge = |index| if index == first { charge::word(9, 1) } else { words[&index] };
    world.history.forget_closed(charge);
    assert_eq!(world.history.all_ended().into_keys().collect::<Vec<_>>(), [words[&(first + 1)]]);
}

#[test]
fn the_longest_quiet_move_and_nothing_moves_twice() {
    let mut world = World::new(Moving { rebalance: Some(true), ..Moving::default() }, &[1, 2, 3]);
    world.open(1, 10, 60 * SECOND);
    world.open(1, 10, 5 * SECOND);
    assert_eq!(world.pass(), []);
    world.later(2 * SECOND);
    let ends = world.pass();
    assert_eq!(ends.len(), 13);
    assert_eq!(ends.iter().filter(|end| end.idle == 62 * SECOND).count(), 10);
    assert!(ends.iter().all(|end| end.quiet == QUIET && end.way == Way::Gentle), "{ends:?}");
    // Sockets that are not closed yet, and then connections that are not opened again yet.
    for _ in 0..5 {
        world.later(SECOND);
        assert_eq!(world.pass(), []);
    }
    assert_eq!(world.close(), 13);
    for _ in 0..5 {
        world.later(SECOND);
        assert_eq!(world.pass(), []);
    }
    world.reopen(13);
    assert_eq!(world.counts(), [7, 7, 6]);
    for _ in 0..100 {
        world.later(SECOND);
        assert_eq!(world.pass(), []);
    }
}

/// Whatever happens, moves end: connections come and go, backends too, clients are slow.
#[test]
fn moves_come_to_an_end_whatever_happens() {
    let mut rng = StdRng::seed_from_u64(11);
    for case in 0..200 {
        let mut world =
            World::new(Moving { rebalance: Some(true), ..Moving::default() }, &[1, 2, 3, 4]);
        for backend in 1..=4 {
            world.open(backend, rng.random_range(0..30), SECOND * rng.random_range(0..100));
        }
        let mut ended = 0;
        for step in 0..120 {
            if rng.random_bool(0.1) && step < 60 {
                let id = rng.random_range(1..=4);
                world.change(|row| {
                    if row.usable.len() > 2 && row.usable.contains_key(&id) {
                        row.usable.remove(&id);
                    } else {
                        row.usable.insert(id, 1);
                    }
                });
                world.count();
            }
            world.later(SECOND);
            let total = world.input.connections.len();
            let ends = world.pass();
            assert!(ends.len() <= total, "case {case}, step {step}");
            ended += ends.len();
            if rng.random_bool(0.6) {
                let closed = world.close();
                world.reopen(closed);
            }
        }
        let closed = world.close();
        world.reopen(closed);
        world.later(SECOND);
        assert_eq!(world.pass(), [], "case {case} after {ended}: {:?}", world.counts());
        let counts = world.counts();
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        // Between rounds a backend may have a few more than its share.
        assert!(spread <= 6, "case {case}: {counts:?}");
    }
}

#[test]
fn what_is_quiet_for_long_is_ended_once_it_can_have_been() {
    let mut world = World::new(Moving { idle_timeout: time(60), ..Moving::default() }, &[1]);
    world.open(1, 1, 100 * SECOND);
    world.open(1, 1, 30 * SECOND);
    world.open(1, 1, 100 * SECOND);
    world.busy(|found| charge::cookie_of(found.word) == 3);
    assert_eq!(reasons(&world.pass()), [(Reason::Idle, Way::Gentle)], "one backend is enough");
    // It was busy a moment ago: it need not be asked about for the whole time.
    world.idle.values_mut().for_each(|idle| *idle = idle.or(Some(Duration::ZERO)));
    world.later(29 * SECOND);
    assert_eq!(asked(&demands(&world.input, &mut world.history)).len(), 0);
    world.later(SECOND);
    assert_eq!(world.pass().len(), 1);
    world.later(31 * SECOND);
    assert_eq!(world.pass().len(), 1);
}

#[test]
fn what_is_old_is_ended_at_its_first_quiet_moment_and_reset_where_that_is_allowed() {
    let moving = Moving { max_age: time(60), ..Moving::default() };
    let mut world = World::new(moving, &[1]);
    world.open(1, 2, 50 * SECOND);
    world.busy(|_| true);
    assert_eq!(world.pass(), []);
    world.later(11 * SECOND);
    assert_eq!(world.pass(), [], "they are busy");
    world.idle.values_mut().take(1).for_each(|idle| *idle = Some(SECOND));
    assert_eq!(reasons(&world.pass()), [(Reason::Age, Way::Gentle)]);
    world.later(3_600 * SECOND);
    assert_eq!(world.pass(), [], "nothing is reset unless that is allowed");
    world.change(|row| row.policy.reset_after = time(30));
    // One never was quiet, the other is ended and was not closed.
    assert_eq!(reasons(&world.pass()), [(Reason::Age, Way::Reset), (Reason::Age, Way::Reset)]);
}

/// Those of which nothing tells whose turn it is are told with the time that they wait for.
#[test]
fn what_rests_is_told_with_the_time_that_it_must() {
    let moving = Moving { max_age: time(1), ..Moving::default() };
    let mut world = World::new(moving, &[1]);
    world.open(1, 3, 9 * SECOND);
    let demands = demands(&world.input, &mut world.history);
    let mut answers = world.answers(&demands);
    for (seen, (turn, untold)) in answers.values_mut().zip([
        (Turn::Client, false),
        (Turn::Unknown, true),
        (Turn::Server, false),
    ]) {
        *seen = Seen { turn, untold, ..*seen };
        (seen.activity.sent, seen.activity.received) = (QUIET / 2, QUIET / 2);
    }
    let told = Waiting::from([((1, QUIET), 1), ((1, UNSURE), 1)]);
    assert_eq!(waiting(&demands, &answers), told);
}

#[test]
fn jitter_spreads_what_was_opened_at_once() {
    let moving = Moving { max_age: time(60), max_age_jitter: time(100), ..Moving::default() };
    let mut world = World::new(moving, &[1]);
    world.open(1, 1_000, Duration::ZERO);
    world.later(60 * SECOND);
    let mut each = Vec::new();
    for _ in 0..10 {
        world.later(10 * SECOND);
        each.push(world.pass().len());
    }
    assert_eq!(each.iter().sum::<usize>(), 1_000);
    assert!(each.iter().all(|count| (60..140).contains(count)), "{each:?}");
}

#[test]
fn a_connection_is_ended_for_one_reason() {
    let moving = Moving {
        idle_timeout: time(10),
        max_age: time(10),
        rebalance: Some(true),
        ..Moving::default()
    };
    let mut world = World::new(moving, &[1, 2]);
    world.open(1, 8, 100 * SECOND);
    world.pass();
    let mut world_ends = world.pass();
    world.later(3 * SECOND);
    world_ends.extend(world.pass());
    let cookies: BTreeSet<_> = world_ends.iter().map(|end| end.connection).collect();
    assert_eq!(cookies.len(), world_ends.len());
}

#[test]
fn what_could_not_be_ended_is_left_alone_for_a_while() {
    let mut world = World::new(Moving { max_age: time(10), ..Moving::default() }, &[1]);
    world.open(1, 1, 100 * SECOND);
    let ends = world.plan();
    world.history.failed(&world.input, &ends[0]);
    world.later(SECOND);
    assert_eq!(world.plan(), []);
    world.later(60 * SECOND);
    assert_eq!(world.plan().len(), 1);
}

#[test]
fn the_kernel_is_asked_about_a_bounded_number_in_turns() {
    let mut world = World::new(Moving { max_age: time(10), ..Moving::default() }, &[1]);
    world.open(1, 3 * ASKED, 100 * SECOND);
    world.busy(|_| true);
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let asked = asked(&demands(&world.input, &mut world.history));
        assert_eq!(asked.len(), ASKED);
        seen.extend(asked);
    }
    assert_eq!(seen.len(), 3 * ASKED);
}

/// A steward is asked about those that rest; how soon their clients go on is no matter then.
#[test]
fn what_waits_for_a_permit_is_not_looked_at_all_the_time() {
    let demand = |asks, count| Demand {
        reason: Reason::Rebalance,
        row: 1,
        among: vec![0, 1, 2],
        count,
        asks,
        quiet: QUIET,
        overdue: BTreeSet::new(),
    };
    let quiet = |count| BTreeMap::from([(1, BTreeMap::from([(1, count)]))]);
    let end = End::gentle(0, 1);
    for (demand, ended, quiet, want) in [
        (demand(true, 2), &[][..], quiet(2), false),
        (demand(true, 2), &[], quiet(1), true),
        // There are three.
        (demand(true, 5), &[], quiet(3), false),
        (demand(false, 2), &[end], quiet(0), true),
        (demand(false, 1), &[end], quiet(0), false),
    ] {
        assert_eq!(are_awaited(from_ref(&demand), ended, &quiet), want, "{demand:?} {quiet:?}");
    }
}
