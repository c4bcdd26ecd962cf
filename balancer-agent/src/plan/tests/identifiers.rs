//! What identifiers mean, and until when.

use super::*;

#[test]
fn a_backend_of_two_services_has_one_identifier() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("api", &[2], &[7]), ("web", &[1], &[7])]));
    let held = Held::read(&maps).unwrap();
    assert_eq!(held.rows[&row_id("api")].backends, held.rows[&row_id("web")].backends);
}

#[test]
fn a_removed_backend_keeps_its_identifier_until_its_last_connection_ends() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("web", &[1], &[1, 2])]));
    let id = Held::read(&maps).unwrap().backends[&backend(2)];
    maps.set_active(id, 3);
    let without = desired(&[("web", &[1], &[1])]);
    settle(&mut maps, &without);
    assert_eq!(settle(&mut maps, &without), Plan::default());
    assert_eq!(Held::read(&maps).unwrap().backends.get(&backend(2)), Some(&id));
    // It comes back with its connections counted...
    settle(&mut maps, &desired(&[("web", &[1], &[1, 2])]));
    assert_eq!(maps.active(id), 3);
    // ... and is forgotten once it is gone and the last of them has ended.
    settle(&mut maps, &without);
    maps.set_active(id, 0);
    settle(&mut maps, &without);
    assert_eq!(Held::read(&maps).unwrap().backends.get(&backend(2)), None);
}

/// Nothing else has to change for that.
#[test]
fn a_plan_of_nothing_forgets_a_backend_whose_last_connection_has_ended() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("web", &[1], &[1, 2])]));
    let id = Held::read(&maps).unwrap().backends[&backend(2)];
    maps.set_active(id, 1);
    let mut book = Book::read(&maps).unwrap();
    let without = desired(&[("web", &[1], &[1])]);
    let web = BTreeSet::from([port_id("web")]);
    let left = plan(&mut book, &rows(&without.ports), Extent::Some(&web), &maps);
    carry_out(&mut maps, &left);
    maps.set_active(id, 0);
    assert!(!book.has_idle(&maps), "a program may still be about to raise its counter");
    book.release(book.epoch());
    maps.set_active(id, 1);
    assert!(!book.has_idle(&maps), "a connection is open");
    maps.set_active(id, 0);
    assert!(book.has_idle(&maps));
    let nothing = plan(&mut book, &BTreeMap::new(), Extent::Some(&BTreeSet::new()), &maps);
    assert_eq!(nothing.steps.len(), 1, "{nothing:?}");
    carry_out(&mut maps, &nothing);
    assert!(!book.has_idle(&maps));
    assert_eq!(Held::read(&maps).unwrap().backends.get(&backend(2)), None);
    assert_holds(&maps, &without);
}

#[test]
fn backends_over_udp_that_no_row_names_are_told_from_those_over_tcp() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("web", &[1], &[1, 2])]));
    let mut book = Book::read(&maps).unwrap();
    let without = desired(&[("web", &[1], &[1])]);
    plan(&mut book, &rows(&without.ports), Extent::All(&BTreeSet::new()), &maps);
    let tcp = book.held().backends[&backend(2)];
    assert!(!book.is_named(tcp));
    book.add(BackendAddr::new(backend(2).addr(), Protocol::Udp), tcp + 1);
    assert_eq!(book.unnamed_udp(&maps).collect::<Vec<_>>(), [tcp + 1]);
}

/// An address that nobody was connected to any more may be another pod's by now, whether or not a
/// plan came between.
#[test]
fn a_backend_that_comes_back_without_connections_is_a_new_one() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let with = desired(&[("web", &[1], &[1, 2])]);
    settle(&mut maps, &with);
    settle(&mut maps, &desired(&[("web", &[1], &[1])]));
    let plan = settle(&mut maps, &with);
    let put =
        |write: &Write| matches!(write, Write::PutBackend { backend: b, .. } if *b == backend(2));
    let writes: Vec<_> = plan.steps.iter().flat_map(|step| &step.writes).collect();
    assert!(writes.into_iter().any(put), "{plan:?}");
    assert_holds(&maps, &with);
}

/// What is open to a Service that is gone does not become the next one's.
#[test]
fn an_identifier_waits_for_its_connections() {
    let mut maps = InMemoryMaps::new(Limits { services: 2, ..LIMITS });
    let id = |maps: &InMemoryMaps, name| {
        Held::read(maps).unwrap().rows.get(&row_id(name)).map(|row| row.id)
    };
    settle(&mut maps, &desired(&[("old", &[1], &[1])]));
    let old = id(&maps, "old").unwrap();
    maps.connections = vec![old];
    settle(&mut maps, &desired(&[]));
    settle(&mut maps, &desired(&[("new", &[2], &[1])]));
    assert_ne!(id(&maps, "new"), Some(old));
    // There is no other identifier.
    let both = desired(&[("new", &[2], &[1]), ("next", &[3], &[1])]);
    let plan = settle(&mut maps, &both);
    assert_eq!(plan.problems.len(), 1, "{:?}", plan.problems);
    maps.connections.clear();
    settle(&mut maps, &both);
    assert_eq!(id(&maps, "next"), Some(old));
}

/// The same, where the book is not read anew.
#[test]
fn a_book_looks_again_when_no_identifier_is_left() {
    let mut maps = InMemoryMaps::new(Limits { services: 1, ..LIMITS });
    let mut book = Book::read(&maps).unwrap();
    let mut step = |maps: &mut InMemoryMaps, name: &str| {
        let wanted = rows(&desired(&[(name, &[1], &[1])]).ports);
        let plan = plan(&mut book, &wanted, Extent::All(&BTreeSet::new()), maps);
        carry_out(maps, &plan);
        book.release(book.epoch());
        plan.problems.len()
    };
    assert_eq!(step(&mut maps, "a"), 0);
    maps.connections = vec![0];
    assert_eq!([step(&mut maps, "b"), step(&mut maps, "b")], [1, 1], "the old one is named");
    maps.connections.clear();
    assert_eq!(step(&mut maps, "b"), 0);
}
