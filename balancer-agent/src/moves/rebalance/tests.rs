use super::*;
use crate::{model::Moving, moves::policy::Policy};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    now: Duration,
    row: Row,
    loads: BTreeMap<u32, u32>,
    suspects: BTreeSet<u32>,
    neglected: BTreeSet<u32>,
    history: RowHistory,
}

impl Bench {
    /// Backends from 1 on, with so many connections.
    fn new(loads: &[u32]) -> Self {
        let mut bench = Self {
            now: 1_000 * SECOND,
            row: Row {
                policy: Policy::of(
                    Some(&Moving { rebalance: Some(true), ..Moving::default() }),
                    &Moving::default(),
                    true,
                ),
                exact: true,
                slow_start: Duration::ZERO,
                usable: BTreeMap::new(),
                leaving: BTreeMap::new(),
            },
            loads: BTreeMap::new(),
            suspects: BTreeSet::new(),
            neglected: BTreeSet::new(),
            history: RowHistory::default(),
        };
        bench.set(loads);
        bench
    }

    fn set(&mut self, loads: &[u32]) {
        self.loads = (1..).zip(loads.iter().copied()).collect();
        self.row.usable = self.loads.keys().map(|id| (*id, 1)).collect();
    }

    /// Some time later, how many move from each backend.
    fn after(&mut self, time: Duration) -> Vec<usize> {
        self.now += time;
        let (loads, suspects, neglected) = (&self.loads, &self.suspects, &self.neglected);
        let usable = Usable { loads, suspects, neglected };
        let moves = moves(self.now, &self.row, usable, &mut self.history);
        self.loads.keys().map(|id| moves.get(id).copied().unwrap_or(0)).collect()
    }

    fn spend(&mut self, count: u32) {
        self.history.moved.extend((0..count).map(|_| self.now));
        if let Round::Moving(left) = &mut self.history.round {
            *left -= count;
        }
    }
}

/// A backend that does not answer is new, and what was moved there comes back.
#[test]
fn a_round_that_was_refused_where_it_moved_is_over() {
    let mut bench = Bench::new(&[6, 6]);
    bench.after(SECOND);
    bench.set(&[6, 6, 0]);
    bench.after(SECOND);
    assert_eq!(bench.after(2 * SECOND), [2, 2, 0]);
    bench.spend(1);
    bench.set(&[5, 6, 0]);
    bench.suspects = BTreeSet::from([3]);
    for _ in 0..60 {
        assert_eq!(bench.after(SECOND), [0, 0, 0]);
    }
    // It answers: that is seen as long as any other unevenness before something moves.
    bench.suspects.clear();
    bench.set(&[6, 6, 0]);
    assert_eq!(bench.after(SECOND), [0, 0, 0]);
    assert_eq!(bench.after(10 * SECOND), [2, 2, 0]);
}

/// One that has been suspect for long does not stand in the way of the others.
#[test]
fn others_are_balanced_beside_a_suspect() {
    let mut bench = Bench::new(&[9, 0, 0]);
    bench.suspects = BTreeSet::from([3]);
    bench.after(SECOND);
    assert_eq!(bench.after(2 * SECOND), [4, 0, 0]);
    assert_eq!(bench.after(SECOND), [4, 0, 0], "the round goes on");
    bench.set(&[9, 0]);
    bench.suspects = BTreeSet::from([2]);
    for _ in 0..60 {
        assert_eq!(bench.after(SECOND), [0, 0], "one alone has nobody to share with");
    }
}

/// Whose Service opens no connection of itself gets one to show whether it answers.
#[test]
fn one_connection_at_a_time_tries_a_backend_that_is_neglected() {
    let mut bench = Bench::new(&[6, 6, 0]);
    bench.suspects = BTreeSet::from([3]);
    for _ in 0..60 {
        assert_eq!(bench.after(SECOND), [0, 0, 0]);
    }
    (bench.neglected, bench.suspects) = (BTreeSet::from([3]), BTreeSet::new());
    assert_eq!(bench.after(SECOND), [0, 0, 0], "as long as any other unevenness");
    assert_eq!(bench.after(10 * SECOND).iter().sum::<usize>(), 1);
    bench.spend(1);
    bench.history.away.push_back(bench.now);
    bench.set(&[5, 6, 0]);
    assert_eq!(bench.after(SECOND), [0, 0, 0], "it is about to be opened again");
    // It was refused, and went elsewhere.
    bench.history.away.clear();
    (bench.neglected, bench.suspects) = (BTreeSet::new(), BTreeSet::from([3]));
    bench.set(&[6, 6, 0]);
    for _ in 0..60 {
        assert_eq!(bench.after(SECOND), [0, 0, 0]);
    }
    // The next one finds it.
    (bench.neglected, bench.suspects) = (BTreeSet::from([3]), BTreeSet::new());
    bench.after(SECOND);
    assert_eq!(bench.after(10 * SECOND).iter().sum::<usize>(), 1);
    bench.spend(1);
    bench.history.away.clear();
    bench.set(&[5, 6, 1]);
    bench.neglected.clear();
    assert_eq!(bench.after(SECOND), [1, 2, 0], "the round goes on");
}

#[test]
fn moves_begin_when_backends_have_settled() {
    let mut bench = Bench::new(&[20, 0, 0]);
    assert_eq!(bench.after(SECOND), [0, 0, 0], "seen for the first time");
    assert_eq!(bench.after(SECOND), [0, 0, 0]);
    assert_eq!(bench.after(SECOND), [13, 0, 0]);
    // It goes on while some were busy, and ends when they are even.
    bench.spend(10);
    bench.set(&[10, 5, 5]);
    assert_eq!(bench.after(SECOND), [3, 0, 0]);
    bench.set(&[7, 7, 6]);
    assert_eq!(bench.after(SECOND), [0, 0, 0]);
    assert_eq!(bench.history.round, Round::Rest);
}

#[test]
fn nothing_moves_while_backends_come_and_go() {
    let mut bench = Bench::new(&[20, 0]);
    for step in 0..50 {
        bench.set(if step % 2 == 0 { &[20, 0] } else { &[20, 0, 0] });
        assert!(bench.after(SECOND).iter().all(|count| *count == 0), "step {step}");
    }
    bench.after(SECOND);
    assert_eq!(bench.after(SECOND), [13, 0, 0]);
}

#[test]
fn a_few_more_than_their_share_stay_and_many_move_after_a_while() {
    let mut bench = Bench::new(&[7, 7, 6]);
    for _ in 0..5 {
        assert_eq!(bench.after(SECOND), [0, 0, 0]);
    }
    // One more than its share: connections come and go.
    bench.set(&[8, 6, 6]);
    for _ in 0..60 {
        assert_eq!(bench.after(SECOND), [0, 0, 0]);
    }
    bench.set(&[12, 4, 4]);
    for _ in 0..10 {
        assert_eq!(bench.after(SECOND), [0, 0, 0]);
    }
    assert_eq!(bench.after(SECOND), [5, 0, 0]);
    // A short excess is forgotten.
    bench.set(&[7, 7, 6]);
    bench.after(SECOND);
    for step in 0..40 {
        bench.set(if step % 8 == 7 { &[7, 7, 6] } else { &[12, 4, 4] });
        assert_eq!(bench.after(SECOND), [0, 0, 0], "step {step}");
    }
}

#[test]
fn the_budget_bounds_a_minute() {
    let mut bench = Bench::new(&[300, 0, 0]);
    bench.row.policy.budget = 60;
    bench.after(SECOND);
    let mut seconds = Vec::new();
    for _ in 0..240 {
        // Fewer than are allowed: not all are quiet.
        let count = (bench.after(SECOND)[0] as u32).min(7);
        bench.spend(count);
        seconds.push(count);
        let moved: u32 = seconds.iter().sum();
        bench.set(&[300 - moved, moved / 2, moved - moved / 2]);
    }
    let minutes = seconds.windows(60).map(|minute| minute.iter().sum::<u32>());
    assert_eq!(minutes.max(), Some(60));
    assert_eq!(seconds.iter().sum::<u32>(), 200, "and the next minute goes on");
}

#[test]
fn a_slow_start_is_waited_for() {
    let mut bench = Bench::new(&[20, 0, 0]);
    bench.row.slow_start = 30 * SECOND;
    for _ in 0..30 {
        assert_eq!(bench.after(SECOND), [0, 0, 0]);
    }
    assert_eq!(bench.after(SECOND), [13, 0, 0]);
}

#[test]
fn nothing_moves_without_gain() {
    let rests = |bench: &mut Bench| (0..60).all(|_| bench.after(SECOND).iter().all(|n| *n == 0));
    let mut off = Bench::new(&[20, 0]);
    off.row.policy.rebalance = false;
    assert!(rests(&mut off));
    let mut inexact = Bench::new(&[20, 0]);
    inexact.row.exact = false;
    assert!(rests(&mut inexact));
    assert!(rests(&mut Bench::new(&[20])), "there is nowhere to go");
    let long: Vec<u32> = (0..=MAX_SCAN).map(|n| if n == 0 { 5_000 } else { 0 }).collect();
    assert!(rests(&mut Bench::new(&long)), "what is ended would come back anywhere");
    let mut forced = Bench::new(&[20, 0]);
    forced.row.policy.rebalance = false;
    forced.history.forced = Some(forced.now + 60 * SECOND);
    forced.history.round = Round::Moving(u32::MAX);
    forced.row.policy.budget = 1;
    assert_eq!(forced.after(SECOND), [10, 0], "somebody asked for it");
    assert_eq!(forced.after(60 * SECOND), [0, 0], "and not for ever");
}
