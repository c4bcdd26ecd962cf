use std::cell::RefCell;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{model::Protocol, peers::wire::Candidate};

const WEB: ServiceId = ServiceId(7);
const SECOND: Duration = Duration::from_secs(1);

fn addr(backend: usize) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, backend as u8], 80).into(), Protocol::Tcp)
}

/// What nodes have, and a steward that all have told.
struct World {
    now: Moment,
    /// By node and backend.
    held: RefCell<Vec<Vec<u32>>>,
    permits: Permits,
    settled: Duration,
    yields: bool,
    budget: u32,
    number: u32,
    /// The last question of each node whose answer it has used.
    done: BTreeMap<usize, u32>,
}

impl World {
    fn new(held: Vec<Vec<u32>>) -> Self {
        Self {
            now: 1_000 * SECOND,
            held: RefCell::new(held),
            permits: Permits::default(),
            settled: 3 * SECOND,
            yields: false,
            budget: 10_000,
            number: 0,
            done: BTreeMap::new(),
        }
    }

    fn backends(&self) -> usize {
        self.held.borrow()[0].len()
    }

    fn totals(&self) -> Vec<u32> {
        let held = self.held.borrow();
        (0..held[0].len()).map(|at| held.iter().map(|node| node[at]).sum()).collect()
    }

    /// A node asks for all that it has, of these backends.
    fn ask(&mut self, node: usize, seen: &[usize]) -> Vec<Grant> {
        let quiet = self.held.borrow()[node].clone();
        self.number += 1;
        let candidate =
            |at: &usize| Candidate { backend: addr(*at), weight: 1, quiet: quiet[*at] as u16 };
        let ask = Ask {
            service: WEB,
            number: self.number,
            done: self.done.get(&node).copied().unwrap_or_default(),
            nodes: 1,
            settled: self.settled,
            budget: self.budget,
            want: quiet.iter().sum(),
            forced: false,
            shape: shape(seen.iter().map(|at| addr(*at))),
            candidates: seen.iter().map(candidate).collect(),
        };
        let all: Vec<_> = (0..self.backends()).collect();
        let alike = (seen == all).then(|| all.iter().map(|at| (addr(*at), 1)).collect());
        let totals = self.totals();
        let total = |backend: &BackendAddr| {
            let at = (0..totals.len()).find(|at| addr(*at) == *backend);
            at.map_or(0, |at| u64::from(totals[at]))
        };
        let sums = Sums { alike, yields: self.yields, away: 0, total: &total };
        self.permits.answer(self.now, NodeId(node as u64), &ask, &sums).grants
    }

    fn ask_all(&mut self, node: usize) -> Vec<Grant> {
        let all: Vec<_> = (0..self.backends()).collect();
        self.ask(node, &all)
    }

    fn move_all(&mut self, node: usize, grants: &[Grant]) -> u32 {
        for Grant { from, to, count } in grants {
            let mut held = self.held.borrow_mut();
            held[node][usize::from(*from)] -= u32::from(*count);
            held[node][usize::from(*to)] += u32::from(*count);
        }
        self.tell(node, 0);
        grants.iter().map(|grant| u32::from(grant.count)).sum()
    }

    fn tell(&mut self, node: usize, refused: u16) {
        self.done.insert(node, self.number);
        let done = Done { number: self.number, refused };
        self.permits.done(self.now, NodeId(node as u64), WEB, done);
    }
}

fn granted(grants: &[Grant]) -> u32 {
    grants.iter().map(|grant| u32::from(grant.count)).sum()
}

#[test]
fn the_fewest_move_wherever_they_are() {
    let one_of_three = |nodes| vec![vec![1, 0, 0]; nodes];
    let pairs = |nodes| (0..nodes).map(|_| vec![2, 1, 1, 1, 0, 0, 0, 0]).collect::<Vec<_>>();
    for (held, moves) in [
        (one_of_three(20), 13),
        (vec![vec![3, 0, 0]; 7], 14),
        (vec![vec![0, 1, 0]; 500], 333),
        // 40, 20, 20, 20 on the first four of eight.
        (pairs(20), 48),
        (vec![vec![500, 0], vec![0, 0]], 250),
        (vec![vec![7, 0, 0], vec![0, 7, 0], vec![0, 0, 6]], 0),
    ] {
        let before = held.clone();
        let mut world = World::new(held);
        let mut ended = 0;
        for node in 0..before.len() {
            let grants = world.ask_all(node);
            ended += world.move_all(node, &grants);
        }
        let totals = world.totals();
        let spread = totals.iter().max().unwrap() - totals.iter().min().unwrap();
        assert!(spread <= 1, "{totals:?}");
        assert_eq!(ended, moves, "{:?}", before[0]);
        assert_eq!(world.permits.open(WEB), 0);
        // Nothing more, whatever passes.
        for _ in 0..30 {
            world.now += SECOND;
            assert!((0..before.len()).all(|node| world.ask_all(node).is_empty()));
        }
    }
}

/// What was permitted counts as moved before it has.
#[test]
fn nodes_that_ask_at_once_are_not_permitted_the_same() {
    let mut world = World::new(vec![vec![1, 0, 0]; 20]);
    let grants: Vec<_> = (0..20).map(|node| world.ask_all(node)).collect();
    assert_eq!(grants.iter().map(|grants| granted(grants)).sum::<u32>(), 13);
    let to = |at| grants.iter().flatten().filter(|grant| grant.to == at).count();
    assert_eq!([to(0), to(1), to(2)], [0, 7, 6]);
}

/// Each of two nodes takes itself for the steward, and half of the nodes believe each. All report to both.
#[test]
fn two_stewards_end_no_more_than_one_but_for_what_is_on_its_way() {
    let mut most = 0;
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = rng.random_range(2..20);
        let held: Vec<Vec<u32>> =
            (0..nodes).map(|_| vec![rng.random_range(0..5), rng.random_range(0..2), 0]).collect();
        let mut world = World::new(held);
        let totals = world.totals();
        let loads = totals.iter().map(|total| Load { weight: 1, connections: *total });
        let loads: Vec<_> = loads.collect();
        let over = loads.iter().zip(targets(&loads, 0));
        let fewest: u32 = over.map(|(load, goal)| load.connections.saturating_sub(goal)).sum();
        let mut other = Permits::default();
        // Answers that nodes have not carried out: of which steward, for which node and question.
        let mut on_its_way: VecDeque<(usize, usize, u32, Vec<Grant>)> = VecDeque::new();
        let (mut ended, mut unknown) = (0, 0);
        let mut arrives = |world: &mut World, other: &mut Permits, answer| {
            let (_, node, number, grants): (usize, usize, u32, Vec<Grant>) = answer;
            let next = std::mem::replace(&mut world.number, number);
            let moved = world.move_all(node, &grants);
            std::mem::swap(&mut world.permits, other);
            world.tell(node, 0);
            std::mem::swap(&mut world.permits, other);
            world.number = next;
            ended += moved;
        };
        for _ in 0..200 {
            world.now += Duration::from_millis(10);
            let node = rng.random_range(0..nodes);
            if on_its_way.iter().any(|(_, other, ..)| *other == node) || rng.random() {
                if let Some(answer) = on_its_way.pop_front() {
                    arrives(&mut world, &mut other, answer);
                }
                continue;
            }
            let steward = node % 2;
            let is_other = steward == 1;
            if is_other {
                std::mem::swap(&mut world.permits, &mut other);
            }
            let grants = world.ask_all(node);
            if is_other {
                std::mem::swap(&mut world.permits, &mut other);
            }
            let of_other = on_its_way.iter().filter(|(of, ..)| *of != steward);
            let of_other: u32 = of_other.map(|(.., grants)| granted(grants)).sum();
            unknown += of_other.min(granted(&grants));
            on_its_way.push_back((steward, node, world.number, grants));
        }
        for answer in on_its_way {
            arrives(&mut world, &mut other, answer);
        }
        // One of them goes, and the other one makes even what is left.
        world.now += 4 * SECOND;
        for node in 0..nodes {
            let grants = world.ask_all(node);
            ended += world.move_all(node, &grants);
        }
        let totals = world.totals();
        let spread = totals.iter().max().unwrap() - totals.iter().min().unwrap();
        assert!(spread <= 1, "seed {seed}: {totals:?}");
        // What was ended for nothing may have to be made good by another end.
        assert!(ended <= fewest + 2 * unknown, "seed {seed}: {ended}, {fewest} + {unknown}");
        most = most.max(unknown);
    }
    assert!(most > 0, "they never got in each other's way");
}

#[test]
fn what_is_not_used_is_given_to_others() {
    let mut world = World::new(vec![vec![4, 0]; 2]);
    assert_eq!(granted(&world.ask_all(0)), 4);
    assert_eq!(granted(&world.ask_all(1)), 0);
    // It says that it has used none of them.
    world.number = 1;
    world.tell(0, 4);
    world.number = 2;
    assert_eq!(granted(&world.ask_all(1)), 4);
    assert_eq!(granted(&world.ask_all(0)), 0);
    // It has not heard the answer, and asks again.
    assert_eq!(granted(&world.ask_all(1)), 4);
    // It says nothing.
    world.now += FORGOTTEN - Duration::from_millis(1);
    assert_eq!(granted(&world.ask_all(0)), 0);
    world.now += Duration::from_millis(1);
    let grants = world.ask_all(0);
    assert_eq!(granted(&grants), 4);
    assert_eq!(world.move_all(0, &grants), 4);
    assert_eq!(world.totals(), [4, 4]);
}

#[test]
fn a_round_waits_for_backends_not_to_change_or_for_patience() {
    let mut world = World::new(vec![vec![3, 0]; 2]);
    world.settled = SETTLE - Duration::from_millis(1);
    assert_eq!(granted(&world.ask_all(0)), 0);
    world.settled = SETTLE;
    assert_eq!(granted(&world.ask_all(0)), 3);
    // Without a change that anybody knows of.
    let mut world = World::new(vec![vec![3, 0]; 2]);
    world.settled = Duration::MAX;
    for _ in 0..10 {
        assert_eq!(granted(&world.ask_all(0)), 0);
        world.now += SECOND;
    }
    assert_eq!(granted(&world.ask_all(0)), 3);
    // A difference that is small is left.
    let mut world = World::new(vec![vec![3, 1]]);
    world.settled = Duration::MAX;
    for _ in 0..30 {
        world.now += SECOND;
        assert_eq!(granted(&world.ask_all(0)), 0);
    }
}

/// Two Services have the same backends: what is too many is moved by one of them.
#[test]
fn the_second_of_two_services_waits_until_the_first_has_moved() {
    let mut world = World::new(vec![vec![3, 0]; 2]);
    world.yields = true;
    for _ in 3..12 {
        assert_eq!(granted(&world.ask_all(0)), 0);
        world.now += SECOND;
        world.settled += SECOND;
    }
    assert_eq!(granted(&world.ask_all(0)), 3, "it has not: none of these were its own");
}

/// A round ends no more than were too many when it began, whatever happens meanwhile.
#[test]
fn a_round_has_a_quota() {
    let mut world = World::new(vec![vec![4, 0]; 2]);
    let grants = world.ask_all(0);
    assert_eq!(world.move_all(0, &grants), 4);
    world.held.borrow_mut()[1] = vec![7, 0];
    world.now += SECOND;
    world.settled += SECOND;
    assert_eq!(granted(&world.ask_all(1)), 0);
}

#[test]
fn no_minute_sees_more_than_the_budget_of_the_cluster() {
    let mut world = World::new(vec![vec![10, 0]; 4]);
    world.budget = 6;
    let mut moved = 0;
    for second in 0..59 {
        world.now += SECOND;
        let node = second % 4;
        let grants = world.ask_all(node);
        moved += world.move_all(node, &grants);
    }
    assert_eq!(moved, 6);
    world.now += 2 * SECOND;
    let grants = world.ask_all(0);
    assert_eq!(world.move_all(0, &grants), 4, "what this node has left");
}

/// Half of the nodes see all backends, half the first half of them.
#[test]
fn rows_that_differ_come_to_rest() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let backends: usize = rng.random_range(3..9);
        let (all, part): (Vec<_>, Vec<_>) =
            ((0..backends).collect(), (0..backends.div_ceil(2)).collect());
        let nodes: usize = rng.random_range(2..12);
        let seen = |node: usize| if node.is_multiple_of(2) { &all } else { &part };
        let held = (0..nodes).map(|node| {
            let mut held = vec![0; backends];
            for at in seen(node).iter().take(2) {
                held[*at] = rng.random_range(0..5);
            }
            held
        });
        let mut world = World::new(held.collect());
        let mut last = 0;
        for second in 0..400 {
            world.now += SECOND;
            let node = rng.random_range(0..nodes);
            let squares = |totals: &[u32]| totals.iter().map(|count| count * count).sum::<u32>();
            let before = squares(&world.totals());
            let grants = world.ask(node, seen(node));
            if world.move_all(node, &grants) > 0 {
                last = second;
                let is_whole = seen(node).len() == backends;
                assert!(is_whole || squares(&world.totals()) < before, "seed {seed}");
            }
        }
        assert!(last < 300, "seed {seed}: still {:?} at {last}", world.totals());
    }
}

#[test]
fn weights_are_followed() {
    let place = |connections, weight| Place { connections, target: None, weight, quiet: 9 };
    let mut places = [place(8, 1), place(0, 3)];
    assert_eq!(grant(&mut places, 9, 9), [Grant { from: 0, to: 1, count: 6 }]);
    assert_eq!((places[0].connections, places[1].connections), (2, 6));
    let mut places = [place(8, 1), place(0, 0)];
    assert_eq!(grant(&mut places, 9, 9), [], "nothing may go there");
}

/// What no answer has room for is not booked.
#[test]
fn no_more_is_permitted_than_an_answer_says() {
    // As each next one comes from another backend and goes to another one, hardly two are alike.
    let (sources, sinks) = (100, 90);
    let mut world = World::new(vec![[vec![40; sources], vec![0; sinks]].concat()]);
    let grants = world.ask_all(0);
    assert_eq!(grants.len(), GRANTS);
    assert_eq!(world.permits.open(WEB), granted(&grants));
    // The rest has its turn with the next questions.
    let mut moved = world.move_all(0, &grants);
    for _ in 0..40 {
        world.now += SECOND;
        let grants = world.ask_all(0);
        moved += world.move_all(0, &grants);
    }
    assert_eq!(moved, 1_890, "21 for each, and 10 of the fullest keep one more");
    assert!(world.totals().iter().all(|total| (21..=22).contains(total)));
}

/// A question names as many backends as it has room for; the steward knows the weights of the others.
#[test]
fn backends_that_a_question_does_not_name_have_their_weights() {
    let candidate = |at, quiet| Candidate { backend: addr(at), weight: 1, quiet };
    let ask = Ask {
        service: WEB,
        number: 1,
        done: 0,
        nodes: 1,
        settled: 3 * SECOND,
        budget: 100,
        want: 9,
        forced: false,
        shape: 1,
        candidates: vec![candidate(0, 9), candidate(1, 0)],
    };
    let has = |at: usize| [9, 0, 90][at];
    let total = |backend: &BackendAddr| (0..3).find(|at| addr(*at) == *backend).map_or(0, has);
    // 99 over 1, 1 and 18: 5, 5 and 89.
    let alike = Some(vec![(addr(0), 1), (addr(1), 1), (addr(2), 18)]);
    let sums = Sums { alike, yields: false, away: 0, total: &total };
    let answer = Permits::default().answer(1_000 * SECOND, NodeId(1), &ask, &sums);
    assert_eq!(answer.grants, [Grant { from: 0, to: 1, count: 4 }]);
}

/// Their agents are of an older version, or have not seen the annotation yet.
#[test]
fn nodes_that_do_not_ask_keep_what_they_have() {
    let mut world = World::new(vec![vec![1, 0, 0]; 20]);
    let mut ended = 0;
    for _ in 0..60 {
        world.now += SECOND;
        world.settled += SECOND;
        for node in 0..5 {
            let grants = world.ask_all(node);
            ended += world.move_all(node, &grants);
        }
    }
    assert_eq!((ended, world.totals()[0]), (5, 15));
}

#[test]
fn a_budget_of_nothing_permits_nothing() {
    let mut world = World::new(vec![vec![4, 0]; 2]);
    world.budget = 0;
    for _ in 0..60 {
        world.now += SECOND;
        world.settled += SECOND;
        assert_eq!(world.ask_all(0), []);
    }
    world.budget = 1;
    let grants = world.ask_all(0);
    assert_eq!(world.move_all(0, &grants), 1);
}
