mod audits;
mod corrupt;
mod identifiers;
mod sequences;

use std::collections::{BTreeMap, BTreeSet};

use balancer_common::{layout::FrontendKind, policy::Policy};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    book::Book,
    entries,
    held::Held,
    leading::{HeldFrontend, Leading},
    rows::rows,
    *,
};
use crate::{
    apply::apply,
    desired::{Desired, DesiredPort, Elsewhere, Options, PortId, backends::Details},
    maps::{Limits, ReadMaps as _, WriteMaps as _, identity::Scope, in_memory::InMemoryMaps},
    model::Protocol,
    testing::services::{LIMITS, backend, desired, frontend, port, port_id, row_id},
};

/// Plans everything anew.
fn plan_all(maps: &InMemoryMaps, desired: &Desired, unsure: &BTreeSet<RowId>) -> Plan {
    let mut book = Book::read(maps).unwrap();
    plan(&mut book, &rows(&desired.ports), Extent::All(unsure), maps)
}

/// Carries a plan out as the agent does.
fn carry_out(maps: &mut InMemoryMaps, plan: &Plan) {
    assert_eq!(apply(maps, plan).problems, []);
    if plan.gave_up {
        maps.wait_grace_period();
    }
}

/// Plans and carries it out, and checks that the book is what the maps hold.
fn settle(maps: &mut InMemoryMaps, desired: &Desired) -> Plan {
    let mut book = Book::read(maps).unwrap();
    let wanted = rows(&desired.ports);
    let plan = plan(&mut book, &wanted, Extent::All(&BTreeSet::new()), maps);
    carry_out(maps, &plan);
    assert_eq!(book.held(), &Held::read(maps).unwrap());
    plan
}

fn assert_holds(maps: &InMemoryMaps, desired: &Desired) {
    let held = Held::read(maps).unwrap();
    let wanted_rows = rows(&desired.ports);
    let rows = &wanted_rows;
    let mut frontends = Leading::default();
    for (id, row) in rows {
        for frontend in &row.frontends {
            let (service, restricted) = (held.rows[id].id, row.restricts(frontend));
            frontends.insert(*frontend, HeldFrontend { service, restricted });
        }
    }
    assert_eq!(held.frontends, frontends);
    assert_eq!(held.rows.len(), rows.len());
    for (id, row) in rows {
        let mut wanted: Vec<_> =
            row.backends.iter().map(|(b, weight)| (held.backends[b], *weight)).collect();
        wanted.sort_unstable();
        assert_eq!(held.rows[id].backends, wanted, "{id}");
        assert_eq!(held.rows[id].ranges, row.ranges, "{id}");
        let Settings { policy, affinity, slow_start, keeps_suspects, stays, .. } =
            held.rows[id].settings;
        assert_eq!(
            Options { policy, affinity, slow_start, keeps_suspects, stays },
            row.options,
            "{id}"
        );
    }
}

#[test]
fn a_new_service_is_written_backends_first_and_frontend_last() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("web", &[1], &[1, 2])]));
    let expected = [
        "backend 1",
        "backend 2",
        "name of service 0",
        "row of service 0",
        "frontend of service 0",
    ];
    assert_eq!(maps.log, expected);
}

#[test]
fn the_same_again_writes_nothing() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let wanted = desired(&[("web", &[1], &[1, 2]), ("api", &[2], &[2, 3])]);
    settle(&mut maps, &wanted);
    assert_eq!(settle(&mut maps, &wanted), Plan::default());
}

#[test]
fn a_change_touches_only_its_service() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("api", &[2], &[2, 3]), ("web", &[1], &[1, 2])]));
    maps.log.clear();
    settle(&mut maps, &desired(&[("api", &[2], &[2, 3]), ("web", &[1], &[1, 2, 4])]));
    assert_eq!(maps.log, ["backend 4", "row of service 1", "grace"]);
}

/// Whoever compares with the new row must find already what serves beside it, and must no longer
/// find what does not.
#[test]
fn what_serves_on_is_told_before_the_row_that_lacks_it() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let udp = |last: u8| BackendAddr::new(([10, 0, 0, last], 53).into(), Protocol::Udp);
    let id = PortId { protocol: Protocol::Udp, ..port_id("dns") };
    let mut log = |usable: bool, serving: bool| {
        let mut port = port(&[1], &[]);
        let details = |usable, serving| Details {
            place: Default::default(),
            terminating: false,
            usable,
            serving,
            weight: 1,
        };
        let backends = [(udp(1), details(usable, serving)), (udp(2), details(true, true))];
        port.backends = backends.into_iter().collect();
        let ports = [(id.clone(), port)].into_iter().collect();
        maps.log.clear();
        settle(&mut maps, &Desired { ports, ..Desired::default() });
        maps.log.retain(|line| line.contains("serves") || line.contains("row"));
        maps.log.join(", ")
    };
    assert_eq!(log(true, true), "row of service 0");
    assert_eq!(log(false, true), "backend 1 serves service 0, row of service 0");
    assert_eq!(log(true, true), "row of service 0, backend 1 serves service 0 no more");
    log(false, true);
    assert_eq!(log(false, false), "backend 1 serves service 0 no more, row of service 0");
}

/// The same where only the Service ports that are wanted are looked at.
fn settle_parts(maps: &mut InMemoryMaps, desired: &Desired) {
    let mut book = Book::read(maps).unwrap();
    let ports = desired.ports.keys().cloned().collect();
    let plan = plan(&mut book, &rows(&desired.ports), Extent::Some(&ports), maps);
    carry_out(maps, &plan);
    assert_eq!(book.held(), &Held::read(maps).unwrap());
}

/// Flows of UDP sockets follow their record as long as the word of the row is the same.
#[test]
fn a_service_port_of_udp_that_loses_an_address_has_another_word() {
    let changed = |protocol, parts: bool| {
        let mut maps = InMemoryMaps::new(LIMITS);
        let mut words = |addresses: [(&str, &[u8]); 2]| {
            let ports = addresses.map(|(name, vips)| {
                let mut port = port(vips, &[1]);
                port.frontends.iter_mut().for_each(|frontend| frontend.protocol = protocol);
                (PortId { protocol, ..port_id(name) }, port)
            });
            let wanted = Desired { ports: ports.into(), ..Desired::default() };
            if parts {
                settle_parts(&mut maps, &wanted);
            } else {
                settle(&mut maps, &wanted);
            }
            [0, 1].map(|service| maps.row_word(service))
        };
        let [a, b] = words([("a", &[1, 2, 3]), ("b", &[4])]);
        let taken = words([("a", &[1, 2]), ("b", &[3, 4])]);
        let gone = words([("a", &[1]), ("b", &[3, 4])]);
        assert_eq!(words([("a", &[1]), ("b", &[3, 4])]), gone);
        (taken[0] != a, gone[0] != taken[0], gone[1] != b)
    };
    for parts in [false, true] {
        assert_eq!(changed(Protocol::Tcp, parts), (false, false, false));
        assert_eq!(changed(Protocol::Udp, parts), (true, true, false));
    }
}

#[test]
fn each_family_of_a_service_port_has_a_row_of_its_own() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut wanted = desired(&[("web", &[1], &[1, 2])]);
    let web = wanted.ports.get_mut(&port_id("web")).unwrap();
    let details = web.backends.get(&backend(1)).unwrap().clone();
    let kind = FrontendKind::ClusterIp;
    let [vip, pod] = ["[fd00::1]:80", "[fd00::2]:80"].map(|addr| addr.parse().unwrap());
    web.frontends.push(FrontendAddr { kind, addr: vip, protocol: Protocol::Tcp });
    let others = web.backends.iter().map(|(backend, details)| (*backend, details.clone()));
    let pod = BackendAddr::new(pod, Protocol::Tcp);
    web.backends = others.chain([(pod, details)]).collect::<Vec<_>>().into_iter().collect();
    settle(&mut maps, &wanted);
    assert_holds(&maps, &wanted);
    let held = Held::read(&maps).unwrap();
    let lens: Vec<_> =
        held.rows.iter().map(|(id, row)| (id.to_string(), row.row.unwrap().len)).collect();
    let expected = [("shop/web (TCP) over IPv4", 2), ("shop/web (TCP) over IPv6", 1)]
        .map(|(id, len)| (id.to_owned(), len));
    assert_eq!(lens, expected);
    // One family may go without the other.
    let ipv4 = desired(&[("web", &[1], &[1, 2])]);
    maps.log.clear();
    settle(&mut maps, &ipv4);
    assert_eq!(
        maps.log,
        ["no frontend of service 1", "row of service 1", "no name of service 1", "grace"]
    );
    assert_holds(&maps, &ipv4);
}

#[test]
fn what_is_unsure_stays_as_it_is() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let before = desired(&[("gone", &[1], &[1]), ("empty", &[2], &[2]), ("web", &[3], &[3])]);
    settle(&mut maps, &before);
    let unsure = BTreeSet::from([row_id("gone"), row_id("empty")]);
    let after = desired(&[("empty", &[2], &[]), ("web", &[3], &[3, 4])]);
    let plan = plan_all(&maps, &after, &unsure);
    assert_eq!(apply(&mut maps, &plan).problems, []);
    assert_holds(
        &maps,
        &desired(&[("gone", &[1], &[1]), ("empty", &[2], &[2]), ("web", &[3], &[3, 4])]),
    );
}

#[test]
fn an_address_that_moves_is_never_missing() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("old", &[1], &[1])]));
    maps.log.clear();
    settle(&mut maps, &desired(&[("new", &[1], &[2])]));
    assert!(!maps.log.iter().any(|line| line.starts_with("no frontend")), "{:?}", maps.log);
    assert_holds(&maps, &desired(&[("new", &[1], &[2])]));
}

#[test]
fn a_replaced_row_is_not_written_over_in_the_same_plan() {
    let mut maps = InMemoryMaps::new(LIMITS);
    settle(&mut maps, &desired(&[("web", &[1], &[1, 2])]));
    let before = Held::read(&maps).unwrap().rows[&row_id("web")].row.unwrap();
    settle(&mut maps, &desired(&[("web", &[1], &[1, 3])]));
    let after = Held::read(&maps).unwrap().rows[&row_id("web")].row.unwrap();
    assert_ne!(before.base, after.base);
}

#[test]
fn what_does_not_fit_is_named_and_nothing_else_is_touched() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let big: Vec<u8> = (10..100).collect();
    settle(&mut maps, &desired(&[("api", &[2], &[2]), ("web", &[1], &[1])]));
    maps.log.clear();
    let wanted = desired(&[("api", &[2], &[2]), ("big", &[3], &big), ("web", &[1], &[1])]);
    let plan = settle(&mut maps, &wanted);
    assert_eq!(maps.log, [] as [&str; 0]);
    assert_eq!(plan.problems.len(), 1);
    let told = plan.problems[0].to_string();
    assert!(told.contains("shop/big") && told.contains("--max-backends"), "{told}");
}

#[test]
fn a_failing_map_leaves_the_rest_and_is_tried_again() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let wanted = desired(&[("web", &[1], &[1])]);
    maps.broken = true;
    let first = plan_all(&maps, &wanted, &BTreeSet::new());
    assert_eq!(apply(&mut maps, &first).problems.len(), 1);
    maps.broken = false;
    settle(&mut maps, &wanted);
    assert_holds(&maps, &wanted);
}

#[test]
fn rows_of_a_port_share_one_memory_of_clients() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut wanted = desired(&[("web", &[1], &[1, 2])]);
    for port in wanted.ports.values_mut() {
        let external = FrontendAddr { kind: FrontendKind::ExternalIp, ..frontend(9) };
        port.frontends.push(external);
        port.external = Some(port.backends.clone());
        port.options.affinity = 60;
    }
    settle(&mut maps, &wanted);
    let held = Held::read(&maps).unwrap();
    let (internal, external) = (
        &held.rows[&row_id("web")],
        &held.rows[&RowId { scope: Scope::External, ..row_id("web") }],
    );
    assert_ne!(internal.id, external.id);
    assert_eq!((internal.settings.group, external.settings.group), (internal.id, internal.id));
    assert_eq!(settle(&mut maps, &wanted), Plan::default());
}

#[test]
fn ranges_of_the_other_family_admit_nobody() {
    let mut wanted = desired(&[("web", &[1], &[1])]);
    for port in wanted.ports.values_mut() {
        port.frontends[0].kind = FrontendKind::LoadBalancer;
        port.source_ranges = vec!["fd00::/8".parse().unwrap()];
    }
    let rows = rows(&wanted.ports);
    let row = &rows[&row_id("web")];
    assert!(row.restricts(&row.frontends[0]));
    assert_eq!(row.ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0.0.0.0/32"]);
}

#[test]
fn why_a_row_is_empty_is_part_of_it() {
    let mut maps = InMemoryMaps::new(LIMITS);
    let mut wanted = desired(&[("web", &[1], &[])]);
    let row = |maps: &InMemoryMaps| {
        Held::read(maps).unwrap().rows.into_values().next().and_then(|held| held.row)
    };
    settle(&mut maps, &wanted);
    assert_eq!(row(&maps), Some(Row::EMPTY));
    wanted.ports.values_mut().for_each(|port| port.local = true);
    assert_eq!(settle(&mut maps, &wanted), Plan::default(), "there is none anywhere");
    let elsewhere = |ipv4, ipv6| Elsewhere { ipv4, ipv6 };
    wanted.ports.values_mut().for_each(|port| port.elsewhere = elsewhere(false, true));
    assert_eq!(settle(&mut maps, &wanted), Plan::default(), "that is of the other family");
    wanted.ports.values_mut().for_each(|port| port.elsewhere = elsewhere(true, false));
    settle(&mut maps, &wanted);
    assert_eq!(row(&maps), Some(Row::NOT_LOCAL));
    assert_eq!(settle(&mut maps, &wanted), Plan::default());
}
