use balancer_common::layout::{Row, Slot};

use super::*;
use crate::{
    desired::{BackendAddr, Desired, FrontendAddr, PortId, backends::Details},
    maps::{RangeEntry, Settings, convert, in_memory::InMemoryMaps},
    model::Protocol,
    plan::{Extent, held::Held, plan, rows::rows},
    testing::{
        logged,
        services::{LIMITS, backend, desired, frontend, port, port_id, row_id},
    },
};

/// The maps, what they should hold, and an audit of them.
struct Scene {
    maps: InMemoryMaps,
    book: Book,
    pods: Resolved,
    audit: Audit,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let mut maps = InMemoryMaps::new(LIMITS);
        let pods = Resolved {
            opted_out: [(7, 2)].into(),
            clients: [(1, vec![[10, 0, 0, 9].into()])].into(),
            ..Resolved::default()
        };
        assert_eq!(apply::pods(&mut maps, &pods).1, []);
        let mut book = Book::read(&maps).unwrap();
        // What serves without being usable has been usable before.
        write(&mut book, &mut maps, &wanted(true));
        write(&mut book, &mut maps, &wanted(false));
        Self { maps, book, pods, audit: Audit::default(), now: Instant::now() }
    }

    /// A look, a second after the one before.
    fn look(&mut self) -> Mended {
        self.now += INTERVAL;
        self.audit.look(&self.book, Some(&self.pods), &mut self.maps, self.now)
    }

    /// Looks until all was looked at; what was put back meanwhile.
    fn round(&mut self) -> Mended {
        let mut mended = Mended::new();
        for _ in 0..LOOKS {
            for (map, entries) in self.look() {
                *mended.entry(map).or_default() += entries;
            }
        }
        mended
    }

    fn problems(&self) -> Vec<String> {
        self.audit.problems().map(|problem| problem.to_string()).collect()
    }

    fn remove(&mut self, vip: u8) {
        self.maps.remove_frontend(convert::frontend(frontend(vip), 0, false).0).unwrap();
    }

    #[track_caller]
    fn assert_right(&self) {
        assert_eq!(self.book.held(), &Held::read(&self.maps).unwrap());
    }
}

/// `both` says whether both backends of the Service of UDP are usable, or one serves alone.
fn wanted(both: bool) -> Desired {
    let mut wanted = desired(&[("api", &[2], &[2, 3]), ("web", &[1], &[1, 2, 4])]);
    let web = wanted.ports.get_mut(&port_id("web")).unwrap();
    web.source_ranges = vec!["10.1.0.0/16".parse().unwrap()];
    // The identifiers of those before stay as they are.
    let mut six = port(&[], &[]);
    six.frontends.push(frontend6(1));
    wanted.ports.insert(port_id("web6"), six);
    let mut dns = port(&[9], &[]);
    dns.frontends[0].protocol = Protocol::Udp;
    let serves = |(last, usable)| {
        let addr = BackendAddr::new(backend(last).addr(), Protocol::Udp);
        let place = Default::default();
        (addr, Details { place, terminating: false, usable, serving: true, weight: 1 })
    };
    dns.backends = [(1, true), (5, both)].into_iter().map(serves).collect();
    wanted.ports.insert(PortId { protocol: Protocol::Udp, ..port_id("xdns") }, dns);
    wanted
}

fn write(book: &mut Book, maps: &mut InMemoryMaps, wanted: &Desired) {
    let plan = plan(book, &rows(&wanted.ports), Extent::All(&BTreeSet::new()), maps);
    assert_eq!(apply::apply(maps, &plan).problems, []);
}

type Edit = fn(&mut InMemoryMaps, &Held);

/// Each map, and what another tool does to it: takes away, alters, adds.
const EDITS: [(&str, [Edit; 3]); 10] = [
    (
        "FRONTENDS4",
        [
            |maps, _| {
                maps.remove_frontend(convert::frontend(frontend(1), 0, false).0).unwrap();
            },
            |maps, _| put(maps, 1, 9),
            |maps, _| put(maps, 77, 0),
        ],
    ),
    (
        "FRONTENDS6",
        [
            |maps, _| {
                maps.remove_frontend(convert::frontend(frontend6(1), 0, false).0).unwrap();
            },
            |maps, _| put6(maps, 1, 0),
            |maps, _| put6(maps, 77, 2),
        ],
    ),
    (
        "NAMES",
        [
            |maps, _| maps.remove_name(0).unwrap(),
            |maps, _| maps.put_name(0, &convert::name(&row_id("odd"), 80)).unwrap(),
            |maps, _| maps.put_name(9, &convert::name(&row_id("odd"), 80)).unwrap(),
        ],
    ),
    (
        "SERVICES",
        [
            |maps, _| maps.set_row(1, Row::EMPTY),
            |maps, held| maps.set_row(1, held.rows[&row_id("api")].row.unwrap()),
            |maps, _| maps.set_settings(1, Settings { slow_start: 7, ..Settings::default() }),
        ],
    ),
    (
        "SLOTS",
        [
            |maps, held| maps.set_slot(first_slot(held), Slot::PAD),
            |maps, held| alter(maps, held, 1),
            |maps, held| {
                let row = held.rows[&row_id("api")].row.unwrap();
                maps.set_slot(row.base + row.len, Slot { backend: 3, weight: 1, salt: 1 });
            },
        ],
    ),
    (
        "BACKENDS",
        [
            |maps, held| maps.remove_backend(held.backends[&backend(2)]),
            |maps, held| maps.restore_backend(held.backends[&backend(2)], [1; 4], 80, 6),
            |maps, held| maps.restore_backend(held.backends[&backend(2)], [0; 4], 0, 0),
        ],
    ),
    (
        "RANGES",
        [
            |maps, _| maps.remove_range(range(1, "10.1.0.0/16")).unwrap(),
            |maps, _| maps.put_range(range(1, "10.0.0.0/8")).unwrap(),
            |maps, _| maps.put_range(RangeEntry { bits: 0, ..range(9, "10.0.0.0/8") }).unwrap(),
        ],
    ),
    (
        "SERVING",
        [
            |maps, held| {
                let row = held.rows.values().find(|row| !row.serving.is_empty()).unwrap();
                maps.remove_serving(row.id, row.serving[0]).unwrap();
            },
            |maps, _| maps.put_serving(9, 1).unwrap(),
            |maps, _| maps.put_serving(u32::MAX, u32::MAX).unwrap(),
        ],
    ),
    (
        "OPTED_OUT",
        [
            |maps, _| drop(maps.set_opted_out(&BTreeMap::new())),
            |maps, _| drop(maps.set_opted_out(&[(7, 3)].into())),
            |maps, _| drop(maps.set_opted_out(&[(7, 2), (8, 2)].into())),
        ],
    ),
    (
        "CLIENTS",
        [
            |maps, _| drop(maps.set_clients(&BTreeMap::new())),
            |maps, _| drop(maps.set_clients(&[(1, Vec::new())].into())),
            |maps, _| {
                drop(maps.set_clients(&[(1, vec![[10, 0, 0, 9].into()]), (2, vec![])].into()));
            },
        ],
    ),
];

fn range(service: u32, range: &str) -> RangeEntry {
    convert::range(service, range.parse().unwrap())
}

fn put(maps: &mut InMemoryMaps, vip: u8, service: u32) {
    let (key, value) = convert::frontend(frontend(vip), service, false);
    maps.put_frontend(key, value).unwrap();
}

fn frontend6(last: u16) -> FrontendAddr {
    FrontendAddr { addr: ([0xfd00, 0, 0, 0, 0, 0, 0, last], 80).into(), ..frontend(1) }
}

fn put6(maps: &mut InMemoryMaps, vip: u16, service: u32) {
    let (key, value) = convert::frontend(frontend6(vip), service, false);
    maps.put_frontend(key, value).unwrap();
}

fn first_slot(held: &Held) -> u32 {
    held.rows[&row_id("api")].row.unwrap().base
}

fn alter(maps: &mut InMemoryMaps, held: &Held, by: u32) {
    let base = first_slot(held);
    let slot = maps.slot(base);
    maps.set_slot(base, Slot { backend: slot.backend + by, ..slot });
}

#[test]
fn what_others_do_to_any_map_is_put_back_counted_and_named() {
    for (map, edits) in EDITS {
        for (nth, edit) in edits.into_iter().enumerate() {
            let mut scene = Scene::new();
            assert_eq!(scene.round(), Mended::new(), "nothing is wrong");
            edit(&mut scene.maps, scene.book.held());
            let mut mended = Mended::new();
            let told = logged(|| mended = scene.round());
            assert_eq!(mended, [(map, 1)].into(), "{map} {nth}");
            let line = format!(" WARN changed by somebody else: put back map=\"{map}\" entries=1");
            assert!(told.starts_with(&line), "{map} {nth}: {told}");
            scene.assert_right();
            assert_eq!(scene.round(), Mended::new(), "{map} {nth}: once is enough");
        }
    }
}

#[test]
fn entries_that_come_or_go_are_found_at_the_next_look() {
    let mut scene = Scene::new();
    scene.look();
    scene.remove(1);
    assert_eq!(scene.look(), [("FRONTENDS4", 1)].into());
    scene.assert_right();
    // What was put back is no change of somebody else: only a part is looked at again.
    let settings = Settings { affinity: 7, ..Settings::default() };
    scene.maps.set_settings(scene.book.held().rows[&row_id("api")].id, settings);
    assert_eq!(scene.look(), Mended::new());
    assert_eq!(scene.round(), [("SERVICES", 1)].into());
}

#[test]
fn what_plans_write_is_no_change_of_somebody_else() {
    let mut scene = Scene::new();
    scene.look();
    write(&mut scene.book, &mut scene.maps, &desired(&[("new", &[5], &[1])]));
    assert_eq!(scene.round(), Mended::new());
    scene.assert_right();
}

/// Until it succeeds, and without a word of success before.
#[test]
fn what_can_not_be_put_back_is_told_and_tried_again() {
    let mut scene = Scene::new();
    scene.look();
    scene.remove(1);
    scene.maps.broken = true;
    let told = logged(|| assert_eq!(scene.look(), Mended::new()));
    assert_eq!(told, "", "it is not put back");
    let problems = scene.problems();
    assert!(problems[0].starts_with("map FRONTENDS4: 10.96.0.1:80 over TCP: "), "{problems:?}");
    for _ in 0..12 {
        assert_eq!(scene.look(), Mended::new());
        assert_eq!(scene.problems(), problems, "it stays until it is mended");
    }
    scene.maps.broken = false;
    let looks = (1..).find(|_| scene.look() == [("FRONTENDS4", 1)].into());
    assert!(looks.is_some_and(|looks| looks <= 5), "{looks:?} looks");
    assert_eq!(scene.problems(), [""; 0]);
    scene.assert_right();
    assert_eq!(scene.round(), Mended::new());
}

/// One that fails hides none of the others, whichever it is.
#[test]
fn whichever_write_fails_the_others_are_put_back_at_once() {
    for nth in 0..4 {
        let mut scene = Scene::new();
        scene.look();
        scene.remove(1);
        scene.remove(2);
        scene.maps.remove_name(0).unwrap();
        scene.maps.put_serving(3, 3).unwrap();
        scene.maps.fails_in = Some(nth);
        assert_eq!(scene.look().values().sum::<u64>(), 3, "{nth}");
        assert_eq!(scene.problems().len(), 1, "{nth}");
        let mended: u64 = (0..AGAIN.as_secs()).flat_map(|_| scene.look().into_values()).sum();
        assert_eq!(mended, 1, "{nth}");
        assert_eq!(scene.problems(), [""; 0], "{nth}");
        scene.assert_right();
    }
}

/// Nothing is said to be wrong of what could not be read, and nothing is lost.
#[test]
fn whichever_read_fails_it_is_told_and_all_is_looked_at_again() {
    for nth in 0.. {
        let mut scene = Scene::new();
        scene.look();
        scene.remove(1);
        scene.maps.reads_fail_in(nth);
        let mut mended: u64 = scene.look().values().sum();
        if !scene.maps.all_reads_succeed() {
            assert!(nth > 12, "only {nth} reads");
            assert_eq!((mended, scene.problems().len()), (1, 0));
            return;
        }
        let problems = scene.problems();
        assert_eq!(problems.len(), 1, "{nth}");
        assert!(problems[0].ends_with("whether it holds what it should can't be told"), "{nth}");
        mended += (0..AGAIN.as_secs()).flat_map(|_| scene.look().into_values()).sum::<u64>();
        assert_eq!(mended, 1, "{nth}");
        assert_eq!(scene.problems(), [""; 0], "{nth}");
        scene.assert_right();
    }
}

#[test]
fn a_frozen_map_is_told_while_it_is_and_the_others_are_looked_at() {
    let mut scene = Scene::new();
    scene.maps.frozen.insert("NAMES");
    scene.look();
    assert_eq!(scene.problems().len(), 1);
    assert!(scene.problems()[0].starts_with("map NAMES: is frozen: "), "{:?}", scene.problems());
    scene.maps.set_row(1, Row::EMPTY);
    assert_eq!(scene.round(), [("SERVICES", 1)].into());
    scene.maps.frozen.clear();
    scene.look();
    assert_eq!(scene.problems(), [""; 0]);
}
