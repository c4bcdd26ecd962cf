use balancer_common::{
    layout::{Row as MapRow, Slot},
    policy::Policy,
};

use super::{rows::RENEW, *};
use crate::{
    desired::{BackendAddr, PortId},
    maps::{
        Limits, Settings, WriteMaps as _, convert,
        identity::{Family, RowId, Scope},
        in_memory::InMemoryMaps,
    },
    model::{ObjectRef, Protocol},
    peers::{
        name::NodeId,
        node::Node,
        own::{Row, RowBackend},
        wire::Section,
    },
};

const LIMITS: Limits = Limits { services: 4, frontends: 4, backends: 8, slots: 16 };

fn addr(last: u8) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, last], 80).into(), Protocol::Tcp)
}

fn port() -> PortId {
    let service = ObjectRef { namespace: "shop".into(), name: "web".into() };
    PortId { service, port: String::new(), protocol: Protocol::Tcp }
}

/// Row 1 with the first so many backends, of weights 10, 20, ...
fn set_row(maps: &mut InMemoryMaps, len: u32) {
    for id in 1..=len {
        let slot = Slot { backend: id, weight: 10 * id as u16, salt: 0 };
        maps.set_slot(id - 1, slot);
    }
    maps.set_row(1, MapRow { base: 0, len });
}

fn maps() -> InMemoryMaps {
    let mut maps = InMemoryMaps::new(LIMITS);
    for id in 1..=3 {
        let (words, port, protocol) = convert::backend(addr(id as u8));
        maps.put_backend(id, words, port, protocol);
    }
    set_row(&mut maps, 2);
    let policy = Policy::WeightedLeastConnections;
    maps.set_settings(1, Settings { policy, ..Settings::default() });
    let row = RowId { port: port(), family: Family::V4, scope: Scope::Internal };
    maps.put_name(1, &convert::name(&row, 80)).unwrap();
    maps
}

/// What a node says to its only peer.
fn said(node: &mut Node, now: Duration) -> Vec<(BackendAddr, u32)> {
    node.heard(now, NodeId(2));
    let sections = node.due(now).into_values().flat_map(|letter| letter.sections);
    let counts = sections.flat_map(|section| match section {
        Section::Report(report) => report.counts,
        Section::Totals(totals) => totals.counts,
        _ => Vec::new(),
    });
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// Tells a node of rows and counters.
fn tell(counters: &mut Counters<InMemoryMaps>, node: &mut Node, now: Duration) {
    node.change_rows(now, counters.renew(now).unwrap());
    for Counted { backend, active, opened } in counters.look().counted {
        node.observe(now, backend, active, opened);
    }
}

#[test]
fn rows_and_counters_are_those_of_the_maps() {
    let mut counters = Counters::new(maps(), Arc::default());
    let at = Duration::from_secs;
    assert!(counters.may_renew(at(0)));
    let rows = counters.renew(at(0)).unwrap();
    let backend = |id: u8| RowBackend { id: id.into(), addr: addr(id), weight: 10 * u16::from(id) };
    let service = ServiceId::of(&port(), Family::V4);
    let backends = vec![backend(1), backend(2)];
    let row = Row { id: 1, service, weighted: true, backends };
    assert_eq!(rows, [(service, vec![row])].into());
    assert!(!counters.may_renew(Duration::from_millis(199)));

    let mut node = Node::new(NodeId(1));
    node.set_peers(at(0), [NodeId(2)]);
    node.change_rows(at(0), rows);
    tell(&mut counters, &mut node, at(0));
    counters.maps.set_active(2, 3);
    // One that is in no row is nobody's business.
    counters.maps.set_active(3, 9);
    tell(&mut counters, &mut node, at(1));
    said(&mut node, at(1));
    assert_eq!(said(&mut node, at(3)), [(addr(2), 3)]);
    // It leaves its row with connections, which end.
    set_row(&mut counters.maps, 1);
    counters.maps.set_active(2, 1);
    tell(&mut counters, &mut node, at(5));
    assert_eq!(said(&mut node, at(5)), [(addr(2), 1)]);
    // It comes back when all have forgotten it, with a connection of then.
    node.due(at(60));
    set_row(&mut counters.maps, 2);
    tell(&mut counters, &mut node, at(61));
    assert_eq!(said(&mut node, at(61)), [(addr(2), 1)]);
}

#[test]
fn maps_that_can_not_be_read_are_tried_less_and_less_often() {
    let mut counters = Counters::new(maps(), Arc::default());
    let mut now = Duration::ZERO;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        counters.maps.reads_fail_in(0);
        assert!(counters.renew(now).is_err() && counters.has_failed() && !counters.are_known());
        let look = Duration::from_millis(25);
        let looks = (1..).find(|looks| counters.may_renew(now + look * *looks)).unwrap();
        now += look * looks;
        pauses.push((look * looks).as_millis());
    }
    assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
    assert_eq!(counters.renew(now).unwrap().len(), 1);
    assert!(!counters.has_failed() && counters.are_known());
    assert!(counters.may_renew(now + RENEW) && !counters.may_renew(now));
}

#[test]
fn only_what_has_changed_is_read_again() {
    let mut counters = Counters::new(maps(), Arc::default());
    let at = Duration::from_secs;
    let service = ServiceId::of(&port(), Family::V4);
    assert_eq!(counters.renew(at(0)).unwrap().len(), 1);
    assert_eq!(counters.look().counted.len(), 2);
    assert_eq!(counters.renew(at(1)).unwrap(), ServiceRows::new());
    assert_eq!(counters.look().counted.len(), 0);
    // Counters are told again with a row, as who is told may have forgotten its backends.
    set_row(&mut counters.maps, 2);
    assert_eq!(counters.renew(at(2)).unwrap().len(), 1);
    assert_eq!(counters.look().counted.iter().map(|c| c.backend).collect::<Vec<_>>(), [1, 2]);
    // So is a change of settings alone.
    counters.maps.set_settings(1, Settings::default());
    assert!(!counters.renew(at(3)).unwrap()[&service][0].weighted);
    // An empty row is known until its name goes.
    set_row(&mut counters.maps, 0);
    let rows = counters.renew(at(4)).unwrap();
    assert_eq!(rows[&service].iter().map(|row| row.backends.len()).collect::<Vec<_>>(), [0]);
    assert_eq!(counters.renew(at(5)).unwrap(), ServiceRows::new());
    counters.maps.remove_name(1).unwrap();
    assert_eq!(counters.renew(at(6)).unwrap(), [(service, Vec::new())].into());
    assert_eq!(counters.renew(at(7)).unwrap(), ServiceRows::new());
}

/// The programs weigh by these settings, and read the level in that unit.
#[test]
fn the_unit_of_a_row_follows_its_settings() {
    let mut maps = maps();
    let level = Level { floor: 1, span: 1, fresh_ms: 1 };
    let settings = |policy, slow_start, keeps_suspects| Settings {
        policy,
        slow_start,
        keeps_suspects,
        ..Settings::default()
    };
    for (settings, weighted) in [
        (settings(Policy::LeastConnections, 0, true), true),
        (settings(Policy::Random, 30, true), false),
        (settings(Policy::RoundRobin, 30, false), false),
        (settings(Policy::LeastConnections, 0, false), false),
        (settings(Policy::LeastConnections, 30, false), true),
    ] {
        let before = maps.settings(1).weighs();
        maps.set_level(1, level);
        maps.set_settings(1, settings);
        assert_eq!(maps.level(1).is_some(), before == weighted, "{settings:?}");
        let mut counters = Counters::new(maps, Arc::default());
        let rows = counters.renew(Duration::ZERO).unwrap();
        assert!(rows.values().flatten().all(|row| row.weighted == weighted), "{settings:?}");
        assert_eq!(rows.len(), 1);
        maps = counters.maps;
    }
}

#[test]
fn words_are_as_old_as_what_was_said() {
    let mut counters = Counters::new(maps(), Arc::default());
    counters.maps.now_ms = 10_000;
    let level = crate::peers::level::Filling { floor: 255, span: 256 };
    let words =
        Words { others: vec![(1, 7), (2, 0)], levels: vec![(1, level, Duration::from_secs(8))] };
    counters.write(Duration::from_secs(10), &words);
    assert_eq!([1, 2].map(|id| counters.maps.others(id)), [7, 0]);
    let written = counters.maps.level(1).expect("a level");
    // 2 s ago, in units of 2 to the power of 20 nanoseconds.
    assert_eq!((written.floor, written.span, written.fresh_ms), (255, 256, 10_000 - 1_907));
}
