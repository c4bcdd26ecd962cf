//! What others change in the maps is found and put back.

use balancer_common::layout::{PAD_BACKEND, Slot};

use super::*;
use crate::{
    maps::convert,
    plan::{audit::Round, foreign::Finding},
};

/// Looks at everything, and puts it back.
fn put_back(maps: &mut InMemoryMaps, book: &Book) -> Vec<Finding> {
    let findings = Round::default().look(book, maps, 1).unwrap();
    for finding in &findings {
        assert_eq!(apply(maps, &finding.plan()).problems, []);
    }
    findings
}

fn sample() -> Desired {
    let mut wanted = desired(&[("api", &[2], &[2, 3]), ("web", &[1], &[1, 2, 4])]);
    let web = wanted.ports.get_mut(&port_id("web")).unwrap();
    web.frontends[0].kind = FrontendKind::LoadBalancer;
    web.source_ranges = vec!["10.1.0.0/16".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    wanted
}

type Edit = fn(&mut InMemoryMaps, &Held);

/// What was changed, of which map something is found, and of which object.
const EDITS: [(&str, Edit, &[&str], &str); 13] = [
    ("nothing", |_, _| {}, &[], ""),
    ("a frontend is removed", |maps, held| remove(maps, held, 0), &["FRONTENDS4"], "10.96.0.2:80"),
    (
        "a frontend leads elsewhere",
        |maps, held| {
            let (frontend, leads) = held.frontends.iter().next().unwrap();
            let (key, value) = convert::frontend(*frontend, leads.service + 1, false);
            maps.put_frontend(key, value).unwrap();
        },
        &["FRONTENDS4"],
        "10.96.0.2:80",
    ),
    (
        "a frontend comes",
        |maps, _| {
            let (key, value) = convert::frontend(frontend(77), 0, false);
            maps.put_frontend(key, value).unwrap();
        },
        &["FRONTENDS4"],
        "10.96.0.77:80",
    ),
    ("a name is removed", |maps, _| maps.remove_name(0).unwrap(), &["NAMES"], "shop/api"),
    (
        "a name comes",
        |maps, _| maps.put_name(9, &convert::name(&row_id("odd"), 80)).unwrap(),
        &["NAMES"],
        "identifier 9",
    ),
    ("a row is unlinked", |maps, _| maps.set_row(1, Row::EMPTY), &["SERVICES"], "shop/web"),
    (
        "a row is that of another",
        |maps, held| maps.set_row(1, held.rows[&row_id("api")].row.unwrap()),
        &["SERVICES"],
        "shop/web",
    ),
    (
        "settings differ",
        |maps, _| maps.set_settings(0, Settings { affinity: 7, ..Settings::default() }),
        &["SERVICES"],
        "shop/api",
    ),
    (
        "a slot is another",
        |maps, held| {
            let row = held.rows[&row_id("web")].row.unwrap();
            maps.set_slot(row.base, Slot { backend: 9, weight: 1, salt: 0 });
        },
        &["SLOTS"],
        "shop/web",
    ),
    (
        "padding is a backend",
        |maps, held| {
            let row = held.rows[&row_id("web")].row.unwrap();
            assert_eq!(maps.slot(row.base + row.len).backend, PAD_BACKEND);
            maps.set_slot(row.base + row.len, Slot { backend: 1, weight: 1, salt: 0 });
        },
        &["SLOTS"],
        "shop/web",
    ),
    (
        "a backend is another",
        |maps, held| {
            let id = held.backends[&backend(2)];
            maps.restore_backend(id, [1, 2, 3, 4], 5, 6);
        },
        &["BACKENDS"],
        "10.0.0.2:80",
    ),
    (
        "ranges come and go",
        |maps, _| {
            maps.remove_range(convert::range(1, "10.1.0.0/16".parse().unwrap())).unwrap();
            maps.put_range(convert::range(0, "10.2.0.0/16".parse().unwrap())).unwrap();
        },
        &["RANGES", "RANGES"],
        "10.2.0.0/16",
    ),
];

fn remove(maps: &mut InMemoryMaps, held: &Held, nth: usize) {
    let (frontend, _) = held.frontends.iter().nth(nth).unwrap();
    maps.remove_frontend(convert::frontend(*frontend, 0, false).0).unwrap();
}

#[test]
fn what_others_change_is_named_and_put_back() {
    for (what, edit, found_in, object) in EDITS {
        let mut maps = InMemoryMaps::new(LIMITS);
        settle(&mut maps, &sample());
        let id = Held::read(&maps).unwrap().backends[&backend(2)];
        maps.set_active(id, 5);
        let book = Book::read(&maps).unwrap();
        edit(&mut maps, book.held());
        let findings = put_back(&mut maps, &book);
        let maps_found: Vec<_> = findings.iter().map(|finding| finding.map).collect();
        assert_eq!(maps_found, found_in, "{what}: {findings:?}");
        if let Some(first) = findings.first() {
            assert!(first.object.contains(object), "{what}: {findings:?}");
        }
        assert_eq!(book.held(), &Held::read(&maps).unwrap(), "{what}");
        assert_eq!(maps.active(id), 5, "{what}: what is counted stays");
        assert_eq!(put_back(&mut maps, &book), [], "{what}: once is enough");
    }
}

/// However long a round is, each thing is looked at once.
#[test]
fn a_round_in_parts_finds_what_one_look_finds() {
    for looks in [1, 2, 3, 7, 60] {
        let mut maps = InMemoryMaps::new(LIMITS);
        settle(&mut maps, &sample());
        let book = Book::read(&maps).unwrap();
        for nth in [0, 0] {
            let held = Held::read(&maps).unwrap();
            remove(&mut maps, &held, nth);
        }
        maps.remove_name(0).unwrap();
        maps.put_name(9, &convert::name(&row_id("odd"), 80)).unwrap();
        maps.set_row(1, Row::EMPTY);
        let mut round = Round::default();
        let mut found = Vec::new();
        for _ in 0..looks {
            found.extend(round.look(&book, &maps, looks).unwrap());
        }
        let mut found: Vec<_> = found.iter().map(|finding| finding.map).collect();
        found.sort_unstable();
        assert_eq!(found, ["FRONTENDS4", "FRONTENDS4", "NAMES", "NAMES", "SERVICES"], "{looks}");
    }
}
