//! Plans one after another, at random.

use super::*;

#[test]
fn any_sequence_of_states_is_reached_and_any_prefix_of_a_plan_is_safe() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut maps = InMemoryMaps::new(LIMITS);
    for round in 0..500 {
        let wanted = anything(&mut rng);
        let mut next = plan_all(&maps, &wanted, &BTreeSet::new());
        if round % 3 == 0 {
            // The agent dies somewhere in the middle; the next one plans anew.
            next.steps.truncate(rng.random_range(0..=next.steps.len()));
            apply(&mut maps, &next);
            let id = Held::read(&maps).unwrap();
            for (_, frontend) in id.frontends.iter() {
                assert!(
                    id.rows.values().any(|row| row.id == frontend.service),
                    "frontend to nowhere"
                );
            }
        }
        settle(&mut maps, &wanted);
        assert_holds(&maps, &wanted);
    }
}

/// Of many changes one write fails: one problem is told, and the plan that follows makes up for it.
#[test]
fn whichever_write_fails_the_next_plan_makes_up_for_it() {
    let mut rng = StdRng::seed_from_u64(13);
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut failed = 0;
    for _ in 0..1000 {
        let wanted = anything(&mut rng);
        let plan = plan_all(&maps, &wanted, &BTreeSet::new());
        maps.fails_in = Some(rng.random_range(0..12));
        let problems = apply(&mut maps, &plan).problems;
        if maps.fails_in.take().is_some() {
            assert_eq!(problems, [], "no write failed");
        } else {
            failed += 1;
            assert_eq!(problems.len(), 1, "{problems:?}");
        }
        settle(&mut maps, &wanted);
        assert_holds(&maps, &wanted);
        maps.log.clear();
    }
    assert!(failed > 300, "only {failed}");
}

/// Any Services.
pub(super) fn anything(rng: &mut StdRng) -> Desired {
    let mut ports = BTreeMap::new();
    for (index, name) in ["a", "b", "c", "d"].iter().enumerate() {
        if rng.random_bool(0.7) {
            let backends: Vec<u8> = (0..12).filter(|_| rng.random_bool(0.4)).collect();
            let mut port = port(&[index as u8 + 1], &backends);
            vary(&mut port, rng);
            ports.insert(port_id(name), port);
        }
    }
    if let Some(port) = ports.values_mut().find(|_| rng.random_bool(0.5)) {
        port.frontends.push(wandering());
    }
    Desired { ports, ..Desired::default() }
}

/// An address that one Service has now and another one then.
fn wandering() -> FrontendAddr {
    FrontendAddr { kind: FrontendKind::ExternalIp, ..frontend(9) }
}

/// Over many plans, all and some of them, graces that come late, and connections that come and go:
/// the book is what the maps hold, and nothing is used again that a program may still use.
#[test]
fn the_book_follows_the_maps_over_any_sequence_of_plans() {
    let limits = Limits { services: 9, frontends: 5, backends: 20, slots: 96 };
    let mut rng = StdRng::seed_from_u64(11);
    let mut maps = InMemoryMaps::new(limits);
    let mut book = Book::read(&maps).unwrap();
    let mut wanted = Desired::default();
    let (mut fitted, mut did_not_fit) = (0, 0);
    // Whether what was wanted last is all in the maps.
    let mut all_fit = true;
    for _ in 0..2000 {
        let some = rng.random_bool(0.7);
        let before = wanted.clone();
        wanted = anything(&mut rng);
        let none = BTreeSet::new();
        let mut differ: BTreeSet<PortId> =
            before.ports.keys().chain(wanted.ports.keys()).cloned().collect();
        if some {
            // Some Services come, go and differ; the others are what they were.
            differ.retain(|_| rng.random_bool(0.5));
            wanted.ports.retain(|id, _| differ.contains(id));
            let others = before.ports.into_iter().filter(|(id, _)| !differ.contains(id));
            for (id, port) in others {
                if port.frontends.contains(&wandering()) {
                    let lose = |port: &mut DesiredPort| {
                        port.frontends.retain(|frontend| *frontend != wandering());
                    };
                    wanted.ports.values_mut().for_each(lose);
                }
                wanted.ports.insert(id, port);
            }
        }
        let mut changed = wanted.ports.clone();
        changed.retain(|id, _| differ.contains(id));
        let extent = if some { Extent::Some(&differ) } else { Extent::All(&none) };
        let in_use: Vec<_> = book.held().rows.values().filter_map(|held| held.row).collect();
        let plan = plan(&mut book, &rows(&changed), extent, &maps);
        for write in plan.steps.iter().flat_map(|step| &step.writes) {
            if let Write::PutSlots { row, .. } = write {
                let overlaps = |old: &&Row| {
                    let end = |row: &Row| row.base + Row::width(row.len);
                    old.len > 0 && row.base < end(old) && old.base < end(row)
                };
                assert_eq!(in_use.iter().find(overlaps), None, "{row:?} is written over");
            }
        }
        assert_eq!(apply(&mut maps, &plan).problems, []);
        assert_eq!(book.held(), &Held::read(&maps).unwrap());
        if plan.problems.is_empty() {
            fitted += 1;
            all_fit |= !some;
            if all_fit {
                assert_holds(&maps, &wanted);
            }
        } else {
            did_not_fit += 1;
            all_fit = false;
        }
        if rng.random_bool(0.5) {
            maps.wait_grace_period();
            book.release(book.epoch());
            book.reclaim(&maps);
            assert_eq!(book.free(), Book::read(&maps).unwrap().free(), "nothing leaks");
        }
        let in_use: Vec<_> = entries::backends(&maps).map(|(id, _)| id).collect();
        for id in in_use {
            maps.set_active(id, rng.random_range(0..2));
        }
    }
    assert!(fitted > 500 && did_not_fit > 20, "{fitted} fitted, {did_not_fit} did not");
}

/// Other addresses, weights, ways of choosing and admissions, at random.
fn vary(port: &mut DesiredPort, rng: &mut StdRng) {
    let balancer = FrontendAddr { kind: FrontendKind::LoadBalancer, ..port.frontends[0] };
    let mut addr = balancer.addr;
    addr.set_port(rng.random_range(8000..8003));
    if rng.random_bool(0.5) {
        port.frontends.push(FrontendAddr { addr, ..balancer });
    }
    for details in port.backends.values_mut() {
        details.weight = rng.random_range(1..3);
    }
    if rng.random_bool(0.3) {
        port.external = Some(port.backends.clone());
    }
    if rng.random_bool(0.5) {
        let policy = Policy::ALL[rng.random_range(0..5)];
        port.options =
            Options { policy, affinity: 10, slow_start: 5, keeps_suspects: true, stays: true };
    }
    let nets = ["10.1.0.0/16", "10.2.0.0/16", "fd00::/8"];
    port.source_ranges =
        nets.iter().filter(|_| rng.random_bool(0.3)).map(|net| net.parse().unwrap()).collect();
}
