use proptest::prelude::*;

use super::*;
use crate::peers::name::NodeId;

fn backend(text: &str, protocol: Protocol) -> BackendAddr {
    BackendAddr::new(text.parse().unwrap(), protocol)
}

fn many(number: u32, ipv6: bool) -> Vec<(BackendAddr, u32)> {
    let addr = |n| {
        if ipv6 { format!("[fd00::{n:x}]:80") } else { format!("10.0.{}.{}:80", n / 256, n % 256) }
    };
    (0..number).map(|n| (backend(&addr(n), Protocol::Tcp), n * 1_000)).collect()
}

fn unpack(datagrams: &[Vec<u8>]) -> Vec<Section> {
    datagrams.iter().flat_map(|bytes| read(bytes).unwrap()).collect()
}

fn ask(backends: &[(BackendAddr, u32)]) -> Ask {
    let candidate = |(backend, _): &_| Candidate { backend: *backend, weight: 100, quiet: 2 };
    Ask {
        service: ServiceId(6),
        number: 9,
        done: 8,
        nodes: 20,
        settled: std::time::Duration::from_millis(2_500),
        budget: 60,
        want: 3,
        forced: true,
        shape: 77,
        candidates: backends.iter().map(candidate).collect(),
    }
}

fn drain(id: u64) -> Drain {
    let ip: IpAddr =
        if id.is_multiple_of(2) { "fd00::1".parse().unwrap() } else { "10.0.0.1".parse().unwrap() };
    let [over, age] = [30_000, 1_250].map(std::time::Duration::from_millis);
    Drain { id, backend: (ip, 80).into(), over, age }
}

#[test]
fn drains_are_said_in_as_many_sections_as_it_takes() {
    let all = Drains { drains: (0..300).map(drain).collect(), over: (0..300).collect() };
    let datagrams = pack(&[Section::Drains(all.clone())]);
    assert!(datagrams.len() > 1 && datagrams.iter().all(|bytes| bytes.len() <= MOST));
    let mut found = Drains::default();
    for section in unpack(&datagrams) {
        let Section::Drains(part) = section else { panic!("{section:?}") };
        found.drains.extend(part.drains);
        found.over.extend(part.over);
    }
    assert_eq!(found, all);
}

#[test]
fn a_plan_is_sent_in_as_many_parts_as_it_takes() {
    let planned = |count| Planned { node: NodeId(7), grant: Grant { from: 0, to: 1, count } };
    for (moves, parts) in [(0, 1), (1, 1), (80, 1), (200, 3), (60_000, 16)] {
        let all: Vec<_> = (0..moves).map(planned).collect();
        let plans = Plan::of(ServiceId(6), 9, &all);
        assert_eq!(plans.len(), parts, "{moves}");
        let sections: Vec<_> = plans.into_iter().map(Section::Plan).collect();
        assert_eq!(unpack(&pack(&sections)), sections);
        let told = sections.iter().map(|section| match section {
            Section::Plan(plan) => plan.moves.len(),
            _ => 0,
        });
        assert_eq!(told.sum::<usize>(), all.len().min(16 * 81));
    }
}

#[test]
fn sections_survive_the_way() {
    let udp =
        [(backend("10.0.0.1:53", Protocol::Udp), 3), (backend("10.0.0.2:53", Protocol::Udp), 0)];
    let ipv6 = [(backend("[fd00::1]:80", Protocol::Tcp), u32::MAX)];
    let sections = [
        Section::Hello(Hello { challenge: 1, echo: u64::MAX, reports: Some(2) }),
        Section::Report(Report {
            service: ServiceId(9),
            round: 255,
            opened: 7,
            all: Some(2),
            done: Some(Done { number: u32::MAX, refused: 3 }),
            counts: udp.into(),
        }),
        Section::Report(Report {
            service: ServiceId(8),
            round: 0,
            opened: 0,
            all: None,
            done: None,
            counts: Vec::new(),
        }),
        Section::Totals(Totals {
            service: ServiceId(7),
            round: 1,
            nodes: 2_000,
            rate: 1_500,
            all: Some(1),
            counts: ipv6.into(),
        }),
        Section::Ask(ask(&ipv6)),
        Section::Answer(Answer {
            service: ServiceId(6),
            number: 9,
            grants: vec![Grant { from: 0, to: 3, count: 2 }],
        }),
        Section::Answer(Answer { service: ServiceId(6), number: 9, grants: Vec::new() }),
        Section::Survey(Survey { ask: ask(&ipv6), only: true }),
        Section::Plan(Plan {
            service: ServiceId(6),
            number: 9,
            part: 1,
            parts: 2,
            moves: vec![Planned {
                node: NodeId(u64::MAX),
                grant: Grant { from: 0, to: 3, count: 2 },
            }],
        }),
        Section::Drains(Drains { drains: vec![drain(1), drain(2)], over: Vec::new() }),
        Section::Drains(Drains { drains: Vec::new(), over: vec![7, u64::MAX] }),
        Section::Left(vec![Left { id: 1, open: 5, ended: 4, busy: 3, resting: 2, refused: true }]),
    ];
    let datagrams = pack(&sections);
    assert_eq!(datagrams.len(), 1);
    assert_eq!(unpack(&datagrams), sections);
    assert_eq!(pack(&[]), [Vec::<u8>::new()], "nothing is something to send");
}

#[test]
fn what_does_not_fit_is_divided() {
    for ipv6 in [false, true] {
        let counts = many(1_000, ipv6);
        let totals = |counts: &[(BackendAddr, u32)]| {
            let counts = counts.to_vec();
            Section::Totals(Totals {
                service: ServiceId(7),
                round: 1,
                nodes: 2,
                rate: 3,
                all: Some(counts.len() as u16),
                counts,
            })
        };
        let hello = Section::Hello(Hello::default());
        let datagrams = pack(&[hello.clone(), totals(&counts), totals(&counts[..3])]);
        assert!(datagrams.iter().all(|bytes| bytes.len() <= MOST));
        let least = bytes_of(1_000, ipv6) / MOST;
        assert!((least..=least + 2).contains(&datagrams.len()), "{}", datagrams.len());
        let sections = unpack(&datagrams);
        let mut found = Vec::new();
        for section in &sections[1..sections.len() - 1] {
            let Section::Totals(part) = section else { panic!("{section:?}") };
            assert_eq!((part.nodes, part.rate), (2, 3));
            found.extend(part.counts.clone());
        }
        assert_eq!(found, counts);
        assert_eq!(sections[0], hello);
        assert_eq!(sections.last(), Some(&totals(&counts[..3])));
    }
}

/// docs/cluster.md has these numbers.
#[test]
fn sections_are_as_long_as_is_said() {
    let length = |section| pack(&[section]).concat().len();
    let report = |done, ipv6, number| {
        let (service, counts) = (ServiceId(9), many(number, ipv6));
        Section::Report(Report { service, round: 1, opened: 7, all: None, done, counts })
    };
    let totals = |number| {
        let (service, counts) = (ServiceId(9), many(number, false));
        Section::Totals(Totals { service, round: 1, nodes: 2, rate: 3, all: None, counts })
    };
    assert_eq!(length(Section::Hello(Hello::default())), 21);
    assert_eq!([0, 1].map(|number| length(report(None, false, number))), [22, 32]);
    assert_eq!(length(report(Some(Done::default()), true, 1)), 22 + 6 + 22);
    assert_eq!([0, 1].map(|number| length(totals(number))), [24, 34]);
    let candidates = |ipv6, number| {
        let candidate = |(backend, _)| Candidate { backend, weight: 1, quiet: 1 };
        let candidates = many(number, ipv6).into_iter().map(candidate).collect();
        Section::Ask(Ask {
            service: ServiceId(9),
            number: 1,
            done: 0,
            nodes: 1,
            settled: std::time::Duration::ZERO,
            budget: 1,
            want: 1,
            forced: false,
            shape: 1,
            candidates,
        })
    };
    for (ipv6, each, most) in [(false, 10, 110), (true, 22, 50)] {
        assert_eq!([1, most, most + 1].map(|number| length(candidates(ipv6, number))), {
            let all = 46 + most as usize * each;
            [46 + each, all, all]
        });
    }
    let answer = |number| {
        let grants = vec![Grant { from: 0, to: 1, count: 1 }; number];
        Section::Answer(Answer { service: ServiceId(9), number: 1, grants })
    };
    assert_eq!(
        [0, 189, 190].map(|number| length(answer(number))),
        [17, 17 + 189 * 6, 17 + 189 * 6]
    );
}

#[test]
fn what_a_later_version_adds_is_skipped() {
    let report = Report {
        service: ServiceId(9),
        round: 1,
        opened: 7,
        all: None,
        done: None,
        counts: many(2, false),
    };
    let [known] = pack(&[Section::Report(report.clone())]).try_into().unwrap();
    // A kind of its own before, and a field more in the section.
    let mut bytes = vec![77, 0, 2, 1, 1];
    bytes.extend(&known);
    bytes.extend([5, 5, 5]);
    let length = known.len() - 3 + 3;
    bytes[6..8].copy_from_slice(&(length as u16).to_be_bytes());
    assert_eq!(read(&bytes), Ok(vec![Section::Report(report)]));
}

/// Agents whose totals end with their counts say of no word that it is all.
#[test]
fn fields_that_are_missing_say_nothing() {
    for all in [None, Some(0), Some(2), Some(u16::MAX - 1)] {
        let totals = Totals {
            service: ServiceId(9),
            round: 1,
            nodes: 2,
            rate: 3,
            all,
            counts: many(2, false),
        };
        let [mut bytes] = pack(&[Section::Totals(totals.clone())]).try_into().unwrap();
        assert_eq!(read(&bytes), Ok(vec![Section::Totals(totals.clone())]));
        bytes.truncate(bytes.len() - 2);
        let length = bytes.len() - 3;
        bytes[1..3].copy_from_slice(&(length as u16).to_be_bytes());
        assert_eq!(read(&bytes), Ok(vec![Section::Totals(Totals { all: None, ..totals })]));
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_bad_to_read(bytes in proptest::collection::vec(any::<u8>(), 0..1_300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn mutated_sections_are_read_within_bounds(
        number in 0_u32..200,
        ipv6: bool,
        at in proptest::collection::vec((0_usize..1_200, any::<u8>()), 0..4),
        cut in 0_usize..1_200,
    ) {
        let (service, counts) = (ServiceId(9), many(number, ipv6));
        let report = Report { service, round: 1, opened: 7, all: None, done: None, counts };
        for mut bytes in pack(&[Section::Hello(Hello::default()), Section::Report(report)]) {
            for (at, byte) in &at {
                if let Some(found) = bytes.get_mut(*at) {
                    *found = *byte;
                }
            }
            bytes.truncate(cut);
            let sections = read(&bytes).unwrap_or_default();
            let counts = sections.iter().map(|section| match section {
                Section::Hello(_) => 0,
                Section::Ask(ask) => ask.candidates.len(),
                Section::Survey(survey) => survey.ask.candidates.len(),
                Section::Answer(_) | Section::Plan(_) => 0,
                Section::Drains(_) | Section::Left(_) => 0,
                Section::Report(Report { counts, .. })
                | Section::Totals(Totals { counts, .. }) => counts.len(),
            });
            prop_assert!(counts.sum::<usize>() * 10 <= bytes.len());
        }
    }
}
