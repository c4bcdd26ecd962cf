//! Maps in which others have written whatever they liked before the agent starts.

use balancer_common::layout::{FrontendKey4, FrontendKey6, RangeKey, ServiceName, Slot};

use super::*;
use crate::{
    maps::{FrontendKey, RangeEntry, convert},
    plan::{audit::Round, entries::Entries, foreign::foreign},
};

/// Identifiers and numbers that are near to what there is, or anywhere.
fn number(rng: &mut StdRng) -> u32 {
    match rng.random_range(0..4) {
        0 => rng.random_range(0..4),
        1 => rng.random_range(0..70),
        2 => u32::MAX - rng.random_range(0..3),
        _ => rng.random(),
    }
}

fn key(rng: &mut StdRng) -> FrontendKey {
    let of_service = convert::frontend(frontend(rng.random_range(1..6)), 0, false).0;
    let (port, protocol, place) = (rng.random(), rng.random(), rng.random_range(0..4));
    match rng.random_range(0..4) {
        0 => FrontendKey::V6(FrontendKey6 { addr: rng.random(), port, protocol, place }),
        1 => FrontendKey::V4(FrontendKey4 { addr: rng.random(), port, protocol, place }),
        2 => FrontendKey::V4(FrontendKey4 { addr: rng.random(), port, protocol: 6, place: 0 }),
        _ => of_service,
    }
}

fn name(rng: &mut StdRng) -> ServiceName {
    let mut name = convert::name(&row_id(["a", "b", "odd"][rng.random_range(0..3)]), 80);
    if rng.random_bool(0.3) {
        name.namespace = rng.random();
        name.name = rng.random();
        name.family = rng.random();
        name.protocol = rng.random();
    }
    name
}

fn range(rng: &mut StdRng) -> RangeEntry {
    let net = ["10.1.2.3/16", "0.0.0.0/0", "fd00::/8"][rng.random_range(0..3)];
    let entry = convert::range(number(rng), net.parse().unwrap());
    match rng.random_range(0..3) {
        0 => entry,
        1 => RangeEntry { bits: rng.random_range(0..161), ..entry },
        _ => RangeEntry {
            bits: rng.random_range(0..161),
            key: RangeKey { service: rng.random(), addr: rng.random() },
        },
    }
}

/// Something anywhere in the maps.
fn write(maps: &mut InMemoryMaps, rng: &mut StdRng) {
    let (id, other) = (number(rng), number(rng));
    let row = Row { base: number(rng), len: number(rng) };
    match rng.random_range(0..9) {
        0 => {
            let kind = [1, 4, 0, 9, 0x301, rng.random()][rng.random_range(0..6)];
            let value = balancer_common::layout::Frontend { service: id, kind };
            let _ = maps.put_frontend(key(rng), value);
        }
        1 => maps.put_name(id, &name(rng)).unwrap(),
        2 => maps.set_row(id, row),
        3 => {
            let (policy, keeps_suspects) = (Policy::ALL[rng.random_range(0..5)], rng.random());
            let settings = Settings {
                policy,
                affinity: other,
                slow_start: id,
                group: other,
                keeps_suspects,
                stays: keeps_suspects,
                outside: None,
            };
            maps.set_settings(id, settings);
        }
        4 => maps.put_range(range(rng)).unwrap(),
        5 => maps.put_serving(id, other).unwrap(),
        6 => {
            let backend = other % balancer_common::layout::MAX_BACKENDS;
            let slot = Slot { backend, weight: rng.random_range(0..3), salt: rng.random() };
            maps.set_slot(id % LIMITS.slots, slot);
        }
        7 => {
            let of_pod = convert::backend(backend(rng.random_range(0..12)));
            let any = (rng.random(), rng.random(), rng.random());
            let (addr, port, protocol) = if rng.random() { of_pod } else { any };
            maps.restore_backend(1 + id % (LIMITS.backends - 1), addr, port, protocol);
        }
        _ => maps.set_active(1 + id % (LIMITS.backends - 1), rng.random_range(0..2)),
    }
}

/// Whatever stands in the maps at the start, the agent starts, and a plan makes them right.
#[test]
fn a_plan_makes_maps_right_that_hold_anything() {
    let mut rng = StdRng::seed_from_u64(23);
    for round in 0..1000 {
        let mut maps = InMemoryMaps::new(LIMITS);
        if rng.random_bool(0.8) {
            settle(&mut maps, &sequences::anything(&mut rng));
        }
        for _ in 0..rng.random_range(0..40) {
            write(&mut maps, &mut rng);
        }
        let wanted = sequences::anything(&mut rng);
        let mut book = Book::read(&maps).unwrap();
        let all = rows(&wanted.ports);
        let mut step = |maps: &mut InMemoryMaps| {
            let plan = plan(&mut book, &all, Extent::All(&BTreeSet::new()), maps);
            assert_eq!(apply(maps, &plan).problems, [], "{round}");
            book.release(book.epoch());
            plan.problems
        };
        let mut problems = step(&mut maps);
        if !problems.is_empty() {
            // What is given up makes room.
            problems = step(&mut maps);
        }
        assert_eq!(problems, [], "{round}");
        let held = Held::read(&maps).unwrap();
        assert_eq!(book.held(), &held, "{round}");
        let left = foreign(&held, &Entries::read(&maps).unwrap(), &maps);
        assert_eq!(left, [], "{round}");
        assert_eq!(Round::default().look(&book, &maps, 1).unwrap(), [], "{round}");
        assert_holds(&maps, &wanted);
    }
}

/// What belongs to no Service goes, and nothing of the Services is touched for that.
#[test]
fn what_is_nobodys_goes_and_services_stay_untouched() {
    let mut rng = StdRng::seed_from_u64(29);
    for _ in 0..300 {
        let mut maps = InMemoryMaps::new(LIMITS);
        let wanted = desired(&[("a", &[1], &[1, 2]), ("b", &[2], &[2, 3])]);
        settle(&mut maps, &wanted);
        let mut odd = frontend(9);
        odd.addr.set_port(rng.random());
        let (key, value) = convert::frontend(odd, number(&mut rng), rng.random());
        let kind = [value.kind, 0, 77][rng.random_range(0..3)];
        maps.put_frontend(key, balancer_common::layout::Frontend { kind, ..value }).unwrap();
        let id = number(&mut rng).max(5);
        maps.put_name(id, &name(&mut rng)).unwrap();
        maps.set_row(id, Row { base: number(&mut rng), len: number(&mut rng) });
        maps.put_serving(number(&mut rng), number(&mut rng).max(60)).unwrap();
        maps.put_range(RangeEntry { bits: 7, ..range(&mut rng) }).unwrap();
        maps.log.clear();
        let plan = settle(&mut maps, &wanted);
        assert_eq!(plan.rows, 0, "{plan:?}");
        for line in &maps.log {
            let is_removed = line.starts_with("no ") || line.ends_with("no more");
            // The two Services have these identifiers.
            let is_theirs = line.ends_with(" 0") || line.ends_with(" 1");
            assert!(is_removed || !is_theirs, "{line}");
        }
        assert_holds(&maps, &wanted);
    }
}

/// Of two rows that share slots one is written anew, elsewhere; the other is not written over.
#[test]
fn rows_that_overlap_are_parted() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let wanted = desired(&[("a", &[1], &[1, 2]), ("b", &[2], &[2, 3]), ("c", &[3], &[4])]);
    settle(&mut maps, &wanted);
    let row = maps.row(0);
    maps.set_row(1, row);
    let plan = settle(&mut maps, &wanted);
    assert_eq!(plan.rows, 1, "{plan:?}");
    assert_eq!(maps.row(0), row);
    assert_holds(&maps, &wanted);
}

/// What a row names that is kept may be anybody's by now.
#[test]
fn a_row_that_stays_and_was_overwritten_leads_nowhere() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("a", &[1], &[1, 2]), ("b", &[2], &[2, 3])]));
    let other = maps.row(0);
    maps.set_row(1, other);
    let unsure = [row_id("a"), row_id("b")].into();
    let plan = plan_all(&maps, &desired(&[]), &unsure);
    assert_eq!(apply(&mut maps, &plan).problems, []);
    assert_eq!((maps.row(0), maps.row(1)), (other, Row::EMPTY));
}

/// The self-test's own entry is no Service's, and stays.
#[test]
fn the_agents_own_frontend_stays() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let (key, value) = convert::self_test(4711);
    maps.put_frontend(key, value).unwrap();
    settle(&mut maps, &desired(&[("a", &[1], &[1])]));
    assert_eq!(maps.frontend(key).unwrap(), Some(value));
}

/// One whose address another tool has altered is forgotten as what it was.
#[test]
fn a_backend_is_forgotten_by_its_identifier() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut book = Book::read(&maps).unwrap();
    let mut step = |maps: &mut InMemoryMaps, backends: &[u8]| {
        let wanted = rows(&desired(&[("a", &[1], backends)]).ports);
        let plan = plan(&mut book, &wanted, Extent::All(&BTreeSet::new()), maps);
        carry_out(maps, &plan);
        book.release(book.epoch());
        book.held().backends.clone()
    };
    let id = step(&mut maps, &[1, 2])[&backend(2)];
    step(&mut maps, &[1]);
    let (addr, port, protocol) = convert::backend(backend(1));
    maps.restore_backend(id, addr, port, protocol);
    let held = step(&mut maps, &[1]);
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [backend(1)]);
    assert_eq!(maps.backend(id).in_use, 0);
}

/// Of two with one address one is nobody's, and goes, but not while connections are charged to it.
#[test]
fn a_backend_that_is_nobodys_goes_once_nothing_is_charged_to_it() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let wanted = desired(&[("a", &[1], &[1])]);
    settle(&mut maps, &wanted);
    let (addr, port, protocol) = convert::backend(backend(1));
    maps.restore_backend(9, addr, port, protocol);
    let mut book = Book::read(&maps).unwrap();
    let wanted = rows(&wanted.ports);
    let all = |book: &mut Book, maps: &mut InMemoryMaps| {
        let plan = plan(book, &wanted, Extent::All(&BTreeSet::new()), maps);
        carry_out(maps, &plan);
        maps.backend(9).in_use == 1
    };
    maps.set_active(9, 1);
    assert!(all(&mut book, &mut maps), "it was charged since it was found");
    maps.set_active(9, 0);
    assert!(!all(&mut book, &mut maps));
    // A program that ran meanwhile may charge it still.
    maps.set_active(9, 1);
    book.release(book.epoch());
    all(&mut book, &mut maps);
    assert_eq!(book.free(), Book::read(&maps).unwrap().free(), "it is in use");
    maps.set_active(9, 0);
    all(&mut book, &mut maps);
    assert_eq!(book.free(), Book::read(&maps).unwrap().free(), "it is free");
}

/// Without a row that is replaced, a plan that leaves a backend without a row still gives something
/// up.
#[test]
fn a_backend_that_serves_no_more_is_given_up() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut book = Book::read(&maps).unwrap();
    let id = PortId { protocol: Protocol::Udp, ..port_id("dns") };
    let udp = BackendAddr::new(([10, 0, 0, 1], 53).into(), Protocol::Udp);
    let mut step = |maps: &mut InMemoryMaps, usable: bool, serving: bool| {
        let details =
            Details { place: Default::default(), terminating: false, usable, serving, weight: 1 };
        let mut port = port(&[1], &[]);
        port.backends = [(udp, details)].into_iter().collect();
        let wanted = Desired { ports: [(id.clone(), port)].into(), ..Desired::default() };
        let plan = plan(&mut book, &rows(&wanted.ports), Extent::All(&BTreeSet::new()), maps);
        carry_out(maps, &plan);
        if plan.gave_up {
            book.release(book.epoch());
        }
        book.has_idle(maps)
    };
    assert!(!step(&mut maps, true, true));
    assert!(!step(&mut maps, false, true), "flows stay with it");
    assert!(step(&mut maps, false, false));
}

/// A book that is read anew goes on where the one before stopped: what an earlier grace period was
/// asked for does not free what is given up now.
#[test]
fn grace_periods_of_an_earlier_book_free_nothing() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut book = Book::read(&maps).unwrap();
    let all = |book: &mut Book, maps: &mut InMemoryMaps, backends: &[u8]| {
        let wanted = rows(&desired(&[("a", &[1], backends)]).ports);
        let plan = plan(book, &wanted, Extent::All(&BTreeSet::new()), maps);
        carry_out(maps, &plan);
    };
    for backends in [&[1][..], &[2], &[3], &[4]] {
        all(&mut book, &mut maps, backends);
    }
    let asked = book.epoch();
    let mut book = Book::read(&maps).unwrap().after(asked);
    assert!(!book.awaits_release());
    all(&mut book, &mut maps, &[5]);
    book.release(asked);
    assert!(book.awaits_release(), "the row that is replaced just now may still be in use");
    book.release(book.epoch());
    assert!(!book.awaits_release());
}
