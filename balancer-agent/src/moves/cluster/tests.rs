use std::sync::Mutex;

use balancer_common::charge;

use super::*;
use crate::{
    maps::{Limits, Recorded, in_memory::InMemoryMaps},
    model::Moving,
    moves::{input::End, plan, policy::Policy},
};

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: Limits = Limits { services: 4, frontends: 4, backends: 8, slots: 16 };
const ROW: u32 = 1;

/// Says what it is told to say.
#[derive(Default)]
struct Fake {
    alone: bool,
    others: Option<BTreeMap<u32, u32>>,
    asked: Vec<Request>,
    /// What becomes of a question; it is sent where this is none.
    result: Option<Asked>,
    answers: Vec<Permitted>,
}

impl Authority for Mutex<Fake> {
    fn nodes(&self) -> usize {
        if self.lock().unwrap().alone { 1 } else { 2 }
    }

    fn others(&self, _row: u32) -> Option<BTreeMap<u32, u32>> {
        self.lock().unwrap().others.clone()
    }

    fn ask(&self, request: &Request) -> Asked {
        let mut fake = self.lock().unwrap();
        fake.asked.push(request.clone());
        fake.result.unwrap_or(Asked::Sent)
    }

    fn permitted(&self) -> Vec<Permitted> {
        std::mem::take(&mut self.lock().unwrap().answers)
    }
}

/// A node with a row of two backends.
struct World {
    maps: InMemoryMaps,
    fake: Arc<Mutex<Fake>>,
    cluster: Cluster,
    history: History,
    input: Input,
    ended: BTreeMap<u32, u32>,
}

impl World {
    /// So many connections of this node and of others to each backend.
    fn new(own: [u32; 2], others: [u32; 2]) -> Self {
        let moving = Moving { rebalance: Some(true), ..Moving::default() };
        let row = Row {
            policy: Policy::of(Some(&moving), &Moving::default(), true),
            exact: true,
            slow_start: Duration::ZERO,
            usable: [(1, 1), (2, 1)].into(),
            leaving: BTreeMap::new(),
        };
        let mut input = Input {
            now: 1_000 * SECOND,
            rows: Arc::new([(ROW, row)].into()),
            active: [(1, own[0]), (2, own[1])].into(),
            ..Input::default()
        };
        for (backend, count) in [(1, own[0]), (2, own[1])] {
            for _ in 0..count {
                let index = input.connections.len() as u32;
                input.connections.push(Recorded {
                    index,
                    word: charge::word(u64::from(index) + 1, backend),
                    service: ROW,
                    tgid: index,
                    netns: 1,
                    local: ([10, 0, 0, 1], 1).into(),
                    since_ns: 1,
                });
            }
        }
        let others = Some([(1, others[0]), (2, others[1])].into());
        let fake = Arc::new(Mutex::new(Fake { others, ..Fake::default() }));
        let mut cluster = Cluster::default();
        cluster.obey(Arc::clone(&fake) as _);
        let maps = InMemoryMaps::new(LIMITS);
        let (history, ended) = (History::default(), BTreeMap::new());
        Self { maps, fake, cluster, history, input, ended }
    }

    /// A pass in which all connections are quiet. Gives how many were ended, by backend.
    fn pass(&mut self) -> BTreeMap<u32, u32> {
        self.cluster.refresh(self.input.now, &self.maps);
        self.input.governed = self.cluster.govern(&self.input, &self.maps, &BTreeSet::new());
        let mut quiet: BTreeMap<u32, BTreeMap<u32, u32>> = BTreeMap::new();
        let mut ended = BTreeMap::new();
        for demand in plan::demands(&self.input, &mut self.history) {
            for index in demand.among.iter().take(demand.count) {
                let connection = self.input.connections[*index];
                let from = charge::backend_of(connection.word);
                if demand.asks {
                    *quiet.entry(ROW).or_default().entry(from).or_default() += 1;
                    continue;
                }
                let to = self.cluster.seat(ROW, from, &self.maps);
                let falls = matches!(self.input.governed[&ROW].mode, Mode::Falls { .. });
                if to.is_none() && !falls {
                    continue;
                }
                self.history.ended(&self.input, &End::gentle(*index, ROW));
                *ended.entry(from).or_default() += 1;
                match to {
                    Some(to) => self.cluster.seated(self.input.now, ROW, to),
                    None => self.cluster.fell(self.input.now, ROW, from),
                }
            }
        }
        self.cluster.ask(&self.input, &self.history, &quiet);
        self.input.now += SECOND;
        for (from, count) in &ended {
            *self.ended.entry(*from).or_default() += count;
        }
        ended
    }

    fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.fake.lock().unwrap().asked)
    }

    fn answer(&self, moves: &[(u32, u32, u32)], age: Duration) {
        let (service, moves) = (ServiceId(7), moves.to_vec());
        let permitted = Permitted { service, number: 5, row: ROW, age, moves };
        self.fake.lock().unwrap().answers.push(permitted);
    }
}

#[test]
fn nothing_is_ended_without_a_permit() {
    let mut world = World::new([1, 0], [19, 0]);
    assert_eq!((world.pass().len(), world.asked().len()), (0, 0), "backends may have changed");
    for _ in 0..3 {
        assert_eq!(world.pass().len(), 0);
    }
    let asked = world.asked();
    assert_eq!(asked.len(), 2, "each second");
    assert_eq!((asked[0].want, asked[0].row), (1, ROW));
    assert_eq!(asked[0].backends, [(1, 1, 1), (2, 1, 0)]);
    assert_eq!(asked[0].settled, Duration::MAX, "no change was seen");
    world.answer(&[(1, 2, 1)], Duration::ZERO);
    assert_eq!(world.pass(), [(1, 1)].into());
    assert_eq!(world.maps.seats(ROW), [(2, 1)].into());
    assert_eq!(world.cluster.settled(), [(ServiceId(7), (5, 0))].into());
    // Nobody comes back.
    world.input.now += SEAT;
    world.pass();
    assert!(world.maps.seats(ROW).is_empty() && world.cluster.rows_with_seats().is_empty());
}

#[test]
fn a_permit_that_is_too_old_is_refused() {
    let mut world = World::new([3, 0], [3, 0]);
    world.pass();
    world.answer(&[(1, 2, 3)], VALID);
    world.input.now += 2 * SECOND;
    assert_eq!(world.pass().len(), 0);
    assert_eq!(world.cluster.settled(), [(ServiceId(7), (5, 3))].into());
    // So is one for connections that there are not.
    world.answer(&[(2, 1, 2)], Duration::ZERO);
    assert_eq!(world.pass().len(), 0);
    world.pass();
    assert_eq!(world.cluster.settled(), [(ServiceId(7), (5, 2))].into());
    assert_eq!(world.maps.seats(ROW), BTreeMap::new());
}

#[test]
fn what_was_moved_is_not_moved_again_before_half_a_minute() {
    let mut world = World::new([1, 0], [9, 0]);
    for _ in 0..3 {
        world.pass();
    }
    world.answer(&[(1, 2, 1)], Duration::ZERO);
    assert_eq!(world.pass(), [(1, 1)].into());
    let moved = &mut world.input.connections[0];
    moved.word = charge::word(99, 2);
    moved.since_ns = world.input.now.as_nanos() as u64;
    world.input.active = [(1, 0), (2, 1)].into();
    world.fake.lock().unwrap().others = Some([(1, 0), (2, 9)].into());
    world.asked();
    for _ in 0..28 {
        assert_eq!((world.pass().len(), world.asked().len()), (0, 0));
    }
    world.pass();
    world.pass();
    assert!(!world.asked().is_empty());
}

/// A node that no steward answers waits, then ends a part of its share.
#[test]
fn without_a_steward_little_moves_and_late() {
    let mut world = World::new([20, 0], [20, 0]);
    let ends: Vec<_> = (0..19).map(|_| world.pass().values().sum::<u32>()).collect();
    let first = ends.iter().position(|count| *count > 0);
    assert!(first.is_some_and(|second| (13..16).contains(&second)), "{ends:?}");
    // Seven tenths of its half of 20, and then nothing for a while.
    let begun = &ends[first.unwrap_or_default()..];
    assert_eq!(begun[..3], [7, 0, 0], "{ends:?}");
    // It answers again.
    world.asked();
    world.answer(&[], Duration::ZERO);
    world.pass();
    world.pass();
    assert!(world.asked().last().is_some_and(|request| request.want > 0));
}

/// Whatever its policy says, and whether this node has anything to move.
#[test]
fn what_somebody_asks_for_is_asked_for_at_once() {
    let mut world = World::new([0, 1], [19, 0]);
    let mut rows = BTreeMap::clone(&world.input.rows);
    rows.get_mut(&ROW).unwrap().policy.rebalance = false;
    world.input.rows = Arc::new(rows);
    world.pass();
    assert!(world.input.governed.is_empty());
    world.cluster.force(ROW, world.input.now);
    world.pass();
    let asked = world.asked();
    assert!(asked.len() == 1 && asked[0].forced && asked[0].want == 0, "{asked:?}");
    world.input.now += FORCED;
    world.pass();
    assert!(!world.cluster.is_forced(ROW));
}

#[test]
fn a_node_alone_decides_alone() {
    let mut world = World::new([4, 0], [0, 0]);
    world.fake.lock().unwrap().alone = true;
    world.pass();
    assert!(world.input.governed.is_empty());
}

/// A question has room for some of a long row: the steward needs both ends of it.
#[test]
fn the_fullest_and_the_emptiest_come_first() {
    let of = |backend, weight, quiet| Wanted { candidate: (backend, weight, quiet), count: 0 };
    // By connections, the fewest first. The third one gets nothing, and all have connections but the fourth.
    let wants =
        [of(1, 1, 1), of(2, 1, 1), of(3, 0, 2), of(4, 1, 0), of(5, 1, 5), of(6, 1, 6), of(7, 0, 0)];
    let order: Vec<_> = in_order(&wants).into_iter().map(|(backend, ..)| backend).collect();
    assert_eq!(order, [6, 1, 5, 2, 3, 4, 7]);
}

/// Another row of its Service port is asked about, which says nothing of the steward.
#[test]
fn a_question_that_has_to_wait_is_not_one_without_an_answer() {
    let mut world = World::new([20, 0], [20, 0]);
    world.fake.lock().unwrap().result = Some(Asked::Later);
    for _ in 0..30 {
        assert_eq!(world.pass().len(), 0);
    }
    assert_eq!(world.asked().len(), 28, "at each pass");
    // Where there is nobody, the node does without.
    world.fake.lock().unwrap().result = Some(Asked::Nobody);
    let ends: Vec<_> = (0..16).map(|_| world.pass().values().sum::<u32>()).collect();
    assert!(ends[..12].iter().all(|count| *count == 0) && ends.iter().sum::<u32>() > 0, "{ends:?}");
}

/// Nobody has told yet what others have; it is not for this node alone to move its connections.
#[test]
fn a_row_of_which_nothing_was_told_is_still_that_of_all_nodes() {
    let world = World::new([4, 0], [0, 0]);
    world.fake.lock().unwrap().others = None;
    let authority = world.cluster.authority().unwrap();
    let look = look(authority, &[ROW].into(), &world.input, &world.maps);
    assert_eq!(look[&ROW].others, BTreeMap::new());
}

#[test]
fn a_row_without_connections_is_forgotten() {
    let mut world = World::new([20, 0], [20, 0]);
    for _ in 0..20 {
        world.pass();
    }
    assert!(world.cluster.rows[&ROW].falls_at.is_some());
    world.input.connections.clear();
    for _ in 0..11 {
        world.pass();
    }
    assert!(world.cluster.rows.is_empty(), "{:?}", world.cluster.rows);
}
