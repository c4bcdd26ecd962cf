use super::*;
use crate::model::Protocol;

const WEB: ServiceId = ServiceId(1);
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);

fn at(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn addr(id: u8) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, id], 80).into(), Protocol::Tcp)
}

fn report(round: u8, opened: u32, counts: &[(u8, u32)]) -> Report {
    let counts = counts.iter().map(|(id, count)| (addr(*id), *count)).collect();
    Report { service: WEB, round, opened, all: None, done: None, counts }
}

/// How long ends are named.
const NAMED: Duration = Duration::from_secs(3);

fn totals(ledger: &mut Ledger, ms: u64, to: NodeId, all: bool) -> Vec<(u8, u32)> {
    let totals = ledger.totals(at(ms), WEB, to, 3, all.then_some(NAMED));
    let id = |backend: &BackendAddr| match backend.addr().ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(ip) => panic!("{ip}"),
    };
    totals.map_or(Vec::new(), |t| t.counts.iter().map(|(b, n)| (id(b), *n)).collect())
}

#[test]
fn each_node_is_told_what_the_others_have() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(0, 0, &[(1, 4), (2, 1)]));
    ledger.report(at(0), TWO, &report(0, 0, &[(2, 5)]));
    assert_eq!(totals(&mut ledger, 0, ONE, true), [(1, 0), (2, 5)]);
    assert_eq!(totals(&mut ledger, 0, TWO, true), [(1, 4), (2, 1)]);
    assert_eq!(totals(&mut ledger, 0, THREE, true), [(1, 4), (2, 6)]);
    assert_eq!(ledger.reported(), [(ONE, 5), (TWO, 5)].into());
}

#[test]
fn a_change_is_told_to_all_but_the_one_who_made_it() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(0, 0, &[(1, 4), (2, 1)]));
    ledger.report(at(0), TWO, &report(0, 0, &[(2, 5)]));
    assert_eq!(ledger.dirty(), [WEB]);
    ledger.told(Some(at(0)), WEB);
    assert_eq!((ledger.dirty(), ledger.told_at(WEB)), (vec![], Some(at(0))));
    ledger.report(at(10), ONE, &report(0, 0, &[(2, 2)]));
    assert_eq!(totals(&mut ledger, 10, ONE, false), []);
    assert_eq!(totals(&mut ledger, 10, THREE, false), [(2, 7)]);
    // Another node changes the same one after that, then the first again: it has news of the
    // second.
    ledger.report(at(20), TWO, &report(0, 0, &[(2, 6)]));
    ledger.report(at(30), ONE, &report(0, 0, &[(2, 3)]));
    assert_eq!(totals(&mut ledger, 30, ONE, false), [(2, 6)]);
    assert_eq!(totals(&mut ledger, 30, TWO, false), [(2, 3)]);
    ledger.told(None, WEB);
    ledger.report(at(40), ONE, &report(0, 0, &[(2, 3)]));
    assert_eq!(ledger.dirty(), [], "the same again is no change");
    assert_eq!(ledger.told_at(WEB), Some(at(0)));
}

#[test]
fn what_is_not_named_for_some_rounds_is_gone() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(254, 0, &[(1, 4), (2, 1)]));
    for (round, want) in [(255, 4), (0, 4), (1, 4), (2, 4), (3, 0)] {
        ledger.report(at(1), ONE, &report(round, 0, &[(2, 1)]));
        ledger.forget(at(1), |_| NAMED);
        assert_eq!(totals(&mut ledger, 1, TWO, true), [(1, want), (2, 1)], "round {round}");
    }
    assert!(!is_over(3, 2), "late");
}

#[test]
fn a_node_that_has_begun_anew_numbers_its_rounds_anew() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(100, 900, &[(1, 4), (2, 1)]));
    ledger.restarted(ONE);
    for (round, want) in [(1, 4), (4, 4), (5, 0)] {
        ledger.report(at(1_000), ONE, &report(round, 0, &[(2, 1)]));
        ledger.forget(at(1_000), |_| NAMED);
        assert_eq!(totals(&mut ledger, 1_000, TWO, true), [(1, want), (2, 1)], "round {round}");
    }
    assert_eq!(ledger.rate(at(1_000), WEB, TWO), 0);
}

#[test]
fn a_silent_node_counts_for_ten_seconds_and_then_not_at_all() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(0, 0, &[(1, 4)]));
    ledger.report(at(5_000), TWO, &report(0, 0, &[(1, 2)]));
    ledger.forget(at(9_999), |_| NAMED);
    assert_eq!(totals(&mut ledger, 9_999, THREE, true), [(1, 6)]);
    ledger.forget(at(10_000), |_| NAMED);
    assert_eq!(totals(&mut ledger, 10_000, THREE, true), [(1, 2)]);
    assert!(!ledger.uses(WEB, ONE) && ledger.uses(WEB, TWO));
    ledger.forget(at(15_000), |_| NAMED);
    assert_eq!(
        totals(&mut ledger, 15_000, THREE, true),
        [(1, 0)],
        "for a while, so that all hear it"
    );
    ledger.told(Some(at(15_000)), WEB);
    assert_eq!(totals(&mut ledger, 17_999, THREE, true), [(1, 0)]);
    assert_eq!(totals(&mut ledger, 18_000, THREE, true), []);
    ledger.forget(at(18_000), |_| NAMED);
    assert_eq!((ledger.services().count(), ledger.kept.len()), (0, 0));
}

#[test]
fn the_rate_is_that_of_the_other_nodes_in_the_last_second() {
    let mut ledger = Ledger::default();
    let rate = |ledger: &mut Ledger, ms, to| ledger.rate(at(ms), WEB, to);
    ledger.report(at(0), ONE, &report(0, u32::MAX, &[(1, 1)]));
    assert_eq!(rate(&mut ledger, 0, TWO), 0, "nothing is known of what was before");
    for quarter in 1..=8 {
        ledger.report(at(quarter * 250), ONE, &report(0, quarter as u32 * 3 - 1, &[(1, 1)]));
    }
    assert_eq!(rate(&mut ledger, 2_000, TWO), 12_000);
    assert_eq!(rate(&mut ledger, 2_000, ONE), 0);
    ledger.report(at(3_000), ONE, &report(0, 23, &[(1, 1)]));
    assert_eq!(rate(&mut ledger, 3_000, TWO), 0);
}

#[test]
fn what_a_whole_round_does_not_name_is_gone() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(3, 0, &[(1, 4), (2, 1)]));
    ledger.report(at(0), TWO, &report(0, 0, &[(2, 5)]));
    ledger.report(at(1_000), ONE, &report(4, 0, &[(1, 4)]));
    assert_eq!(totals(&mut ledger, 1_000, THREE, true), [(1, 4), (2, 6)]);
    ledger.forget_unnamed(at(1_000), ONE, WEB);
    assert_eq!(totals(&mut ledger, 1_000, THREE, true), [(1, 4), (2, 5)]);
    // Its rounds begin anew with it, where they may be the same.
    ledger.restarted(ONE);
    ledger.report(at(2_000), ONE, &report(4, 0, &[(2, 3)]));
    assert_eq!(totals(&mut ledger, 2_000, THREE, true), [(1, 4), (2, 8)]);
    ledger.forget_unnamed(at(2_000), ONE, WEB);
    assert_eq!(totals(&mut ledger, 2_000, THREE, true), [(1, 0), (2, 8)]);
    assert_eq!(ledger.reported(), [(ONE, 3), (TWO, 5)].into());
    // Of WEB it has reported something since it began anew, of nothing else.
    ledger.forget_earlier(at(2_000), ONE);
    assert_eq!(ledger.reported(), [(ONE, 3), (TWO, 5)].into());
    ledger.restarted(ONE);
    ledger.forget_earlier(at(2_000), ONE);
    assert_eq!(totals(&mut ledger, 2_000, THREE, true), [(1, 0), (2, 5)]);
    assert!(!ledger.uses(WEB, ONE) && ledger.uses(WEB, TWO));
    ledger.forget(at(12_000), |_| NAMED);
    ledger.forget(at(15_000), |_| NAMED);
    assert_eq!((ledger.services().count(), ledger.kept.len()), (0, 0));
}

#[test]
fn a_node_that_lies_is_bounded() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(0, 0, &[(1, u32::MAX)]));
    assert_eq!(totals(&mut ledger, 0, TWO, true), [(1, charge::MAX_CHARGES)]);
    for service in 0..300 {
        let name = |n: u32| {
            let addr = std::net::Ipv4Addr::from(n);
            (BackendAddr::new((addr, 80).into(), Protocol::Tcp), 1)
        };
        let counts = (0..1_000).map(name).collect();
        let service = ServiceId(service);
        let report = Report { service, round: 0, opened: 0, all: None, done: None, counts };
        ledger.report(at(0), ONE, &report);
    }
    let named =
        |ledger: &Ledger| ledger.accounts.values().map(|account| account.sums.len()).sum::<usize>();
    assert_eq!(named(&ledger), MOST);
    // It names others each time, and none of the ones before: these are kept for a while.
    for second in 1..6 {
        let name = |n: u32| {
            let addr = std::net::Ipv4Addr::from(second << 24 | n);
            (BackendAddr::new((addr, 80).into(), Protocol::Tcp), 1)
        };
        let (now, round) = (at(u64::from(second) * 500), second as u8 * pace::ROUNDS);
        for service in 0..300 {
            let counts = (0..1_000).map(name).collect();
            let report = Report {
                service: ServiceId(service),
                round,
                opened: 0,
                all: None,
                done: None,
                counts,
            };
            ledger.report(now, ONE, &report);
        }
        ledger.forget(now, |_| pace::SILENT);
        assert!(named(&ledger) <= 2 * MOST, "{} after {second}", named(&ledger));
    }
    ledger.forget(at(30_000), |_| NAMED);
    ledger.forget(at(40_000), |_| NAMED);
    assert_eq!((named(&ledger), ledger.kept.len()), (0, 0));
}

#[test]
fn a_steward_that_begins_anew_has_told_nothing() {
    let mut ledger = Ledger::default();
    ledger.report(at(0), ONE, &report(0, 0, &[(1, 4)]));
    ledger.told(Some(at(0)), WEB);
    assert_eq!(totals(&mut ledger, 0, TWO, false), []);
    ledger.begin(WEB);
    assert_eq!((ledger.dirty(), ledger.told_at(WEB)), (vec![WEB], None));
    assert_eq!(totals(&mut ledger, 0, TWO, false), [(1, 4)]);
}

/// What is repeated less often is so by what it takes, which for IPv6 is twice as much.
#[test]
fn totals_take_what_their_family_does() {
    let mut ledger = Ledger::default();
    let ipv6 = |n: u16| {
        let addr = std::net::Ipv6Addr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]);
        (BackendAddr::new((addr, 80).into(), Protocol::Tcp), 1)
    };
    let counts = (0..100).map(ipv6).collect();
    let other =
        Report { service: ServiceId(2), round: 0, opened: 0, all: None, done: None, counts };
    ledger.report(at(0), ONE, &other);
    let ipv4: Vec<_> = (0..100).map(|id| (id, 1)).collect();
    ledger.report(at(0), ONE, &report(0, 0, &ipv4));
    assert_eq!(ledger.bytes(ServiceId(2)) - ledger.bytes(WEB), 100 * 12);
    assert_eq!(ledger.bytes(ServiceId(3)), 0);
}
