use super::*;
use crate::model::Protocol;

const WEB: ServiceId = ServiceId(1);
const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

fn at(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn addr(id: u8) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, id], 80).into(), Protocol::Tcp)
}

fn totals(nodes: u16, round: u8, counts: &[(u8, u32)]) -> Totals {
    let counts: Vec<_> = counts.iter().map(|(id, count)| (addr(*id), *count)).collect();
    let all = Some(counts.len() as u16);
    Totals { service: WEB, round, nodes, rate: 0, all, counts }
}

fn others(known: &Known, ms: u64, id: u8) -> Option<u32> {
    known.told(at(ms), WEB).map(|told| told.others(&addr(id)))
}

#[test]
fn what_was_told_counts_for_three_seconds() {
    let mut known = Known::default();
    known.take(at(0), ONE, &totals(2, 0, &[(1, 4)]), 2);
    assert_eq!(others(&known, 2_999, 1), Some(4));
    assert_eq!(others(&known, 0, 2), Some(0));
    assert_eq!(others(&known, 3_000, 1), None);
    assert_eq!(known.news(), [WEB].into());
    assert_eq!(known.news(), [].into());
    // Whatever has changed, the rest is as it was.
    let changed = |round| Totals { all: None, ..totals(2, round, &[]) };
    known.take(at(2_000), ONE, &changed(1), 2);
    known.forget(at(2_000), |_| true);
    assert_eq!(others(&known, 4_000, 1), Some(4));
    assert_eq!(known.age(at(2_500)), Some(at(500)));
    for round in 2..6 {
        known.take(at(3_000), ONE, &changed(round), 2);
    }
    known.news();
    known.forget(at(3_000), |_| true);
    assert_eq!(known.news(), [WEB].into());
    assert_eq!(others(&known, 4_000, 1), Some(0));
}

#[test]
fn a_steward_that_hears_fewer_changes_nothing_while_the_old_word_counts() {
    let mut known = Known::default();
    known.take(at(0), ONE, &totals(7, 0, &[(1, 4)]), 7);
    known.take(at(1_000), ONE, &totals(2, 0, &[(1, 1)]), 7);
    assert_eq!(others(&known, 1_000, 1), Some(4));
    // Nobody says more until it is too old: this is what there is.
    known.take(at(3_000), ONE, &totals(2, 0, &[(1, 1)]), 7);
    assert_eq!(others(&known, 3_000, 1), Some(1));
    known.take(at(3_500), ONE, &totals(2, 0, &[(1, 2)]), 7);
    assert_eq!(others(&known, 3_500, 1), Some(2));
    // A node is gone for all.
    known.take(at(4_000), ONE, &totals(7, 0, &[(1, 9)]), 7);
    known.take(at(4_100), ONE, &totals(6, 0, &[(1, 8)]), 6);
    assert_eq!(others(&known, 4_100, 1), Some(8));
}

#[test]
fn another_steward_numbers_its_rounds_by_itself() {
    let mut known = Known::default();
    known.take(at(0), ONE, &totals(2, 100, &[(1, 4), (2, 1)]), 2);
    // It may not have heard of all nodes when it tells its first.
    for (round, want) in [(7, 4), (8, 0)] {
        known.take(at(100), TWO, &totals(2, round, &[(2, 1)]), 2);
        assert_eq!(others(&known, 100, 1), Some(want), "round {round}");
    }
    known.restarted(TWO);
    for (round, want) in [(60, 1), (61, 0)] {
        known.take(at(100), TWO, &totals(2, round, &[]), 2);
        assert_eq!(others(&known, 100, 2), Some(want), "round {round}");
    }
    assert_eq!(known.backends, 0);
}

/// What was named of a round of one steward is no part of the same round of another.
#[test]
fn two_parts_of_two_stewards_are_not_taken_for_all() {
    let part = |counts| Totals { all: Some(2), ..totals(2, 5, counts) };
    for begins_anew in [false, true] {
        let mut known = Known::default();
        known.take(at(0), ONE, &part(&[(1, 4)]), 2);
        let from = if begins_anew { ONE } else { TWO };
        if begins_anew {
            known.restarted(ONE);
        }
        known.take(at(10), from, &part(&[(2, 7)]), 2);
        assert_eq!(others(&known, 10, 1), None);
        known.take(at(20), from, &part(&[(1, 3)]), 2);
        assert_eq!([1, 2].map(|id| others(&known, 20, id)), [Some(3), Some(7)]);
    }
}

#[test]
fn the_interval_is_learned() {
    let mut known = Known::default();
    for word in 0..20 {
        known.take(at(word * 250), ONE, &totals(2, 0, &[]), 2);
        known.take(at(word * 250), ONE, &totals(2, 0, &[]), 2);
    }
    let interval = known.told(at(19 * 250), WEB).unwrap().interval;
    assert!(interval < at(260), "{interval:?}");
}

#[test]
fn a_part_is_not_taken_for_all() {
    let mut known = Known::default();
    // Only what has changed; and a heartbeat that repeats nothing.
    let changed = |round, counts| Totals { all: None, ..totals(2, round, counts) };
    known.take(at(0), ONE, &changed(1, &[(1, 4)]), 2);
    known.take(at(0), ONE, &changed(1, &[]), 2);
    assert_eq!((others(&known, 0, 1), known.age(at(0))), (None, None));
    // The first of two datagrams, the second one of which is lost.
    let part = |round, counts| Totals { all: Some(2), ..totals(2, round, counts) };
    known.take(at(10), ONE, &part(2, &[(1, 4)]), 2);
    assert_eq!(others(&known, 10, 1), None);
    known.take(at(20), ONE, &part(3, &[(1, 5)]), 2);
    assert_eq!(others(&known, 20, 1), None);
    known.take(at(20), ONE, &part(3, &[(2, 7)]), 2);
    assert_eq!([1, 2].map(|id| others(&known, 20, id)), [Some(5), Some(7)]);
    // From then on what is repeated later counts on.
    known.take(at(2_000), ONE, &changed(3, &[(1, 6)]), 2);
    known.take(at(4_000), ONE, &changed(3, &[]), 2);
    assert_eq!([1, 2].map(|id| others(&known, 4_000, id)), [Some(6), Some(7)]);
    // Not where nothing was heard for so long that it did not count.
    known.take(at(7_000), ONE, &changed(3, &[(1, 8)]), 2);
    assert_eq!(others(&known, 7_000, 1), None);
    known.take(at(7_100), ONE, &totals(2, 4, &[(1, 8)]), 2);
    assert_eq!(others(&known, 7_100, 1), Some(8));
}

#[test]
fn a_steward_that_lies_is_bounded() {
    let mut known = Known::default();
    for word in 0..300_u32 {
        let name = |n| {
            let addr = std::net::Ipv4Addr::from(word * 1_000 + n);
            (BackendAddr::new((addr, 80).into(), Protocol::Tcp), 1)
        };
        let counts = (0..1_000).map(name).collect();
        let totals =
            Totals { service: ServiceId(u64::from(word) % 3), counts, ..totals(2, 1, &[]) };
        known.take(at(0), ONE, &totals, 2);
    }
    let backends = known.services.values().map(|told| told.counts.len()).sum::<usize>();
    assert_eq!((backends, known.backends), (MOST, MOST));
    known.forget(at(1), |service| service != ServiceId(1));
    let backends = known.services.values().map(|told| told.counts.len()).sum::<usize>();
    assert_eq!(known.backends, backends);
    known.forget(at(10_000), |_| true);
    assert_eq!(known.backends, 0);
}
