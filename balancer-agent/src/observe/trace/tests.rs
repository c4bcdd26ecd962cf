use std::time::UNIX_EPOCH;

use balancer_common::{layout::mapped, suspect::SUSPECT};

use super::*;
use crate::view::{DroppedView, TraceQuestion};

const fn ip(last: u8) -> [u32; 4] {
    mapped(u32::from_ne_bytes([10, 0, 0, last]))
}

/// A Service, a backend, a pod; and what the agent has ended.
#[derive(Default)]
struct Fixed {
    ended: Option<(Reason, bool)>,
    /// How often it was asked for that.
    asked: usize,
}

fn pod() -> ObjectRef {
    ObjectRef { namespace: "shop".into(), name: "frontend".into() }
}

impl Known for Fixed {
    fn service(&mut self, id: u32) -> Option<(ObjectRef, PortView)> {
        let name = ObjectRef { namespace: "shop".into(), name: "cart".into() };
        let port = PortView { name: "http".into(), number: 80, protocol: Protocol::Tcp };
        (id == 7).then_some((name, port))
    }

    fn backend(&mut self, id: u32) -> Option<SocketAddr> {
        (id == 3).then_some(SocketAddr::from(([10, 0, 0, 3], 8080)))
    }

    fn pod_of_cgroup(&mut self, cgroup: u64) -> Option<ObjectRef> {
        (cgroup == 11).then(pod)
    }

    fn pod_of_address(&mut self, address: IpAddr) -> Option<ObjectRef> {
        (address == IpAddr::from([10, 0, 0, 9])).then(pod)
    }

    fn command(&mut self, pid: u32) -> Option<String> {
        (pid == 42).then(|| "curl".to_owned())
    }

    fn ended(&mut self, _: u64) -> Option<(Reason, bool)> {
        self.asked += 1;
        self.ended
    }
}

fn now(millis: u64) -> Now {
    let monotonic = Duration::from_millis(millis);
    Now { monotonic, wall: UNIX_EPOCH + Duration::from_secs(1_700_000_000) + monotonic }
}

/// A connection to the Service is led to the backend, which had 2; so had another one of 4.
fn chosen() -> TraceEvent {
    let mut comm = [0; 16];
    comm[..4].copy_from_slice(b"curl");
    TraceEvent {
        at: 1_000_000,
        cookie: 5,
        cgroup: 11,
        addr: ip(1),
        port: 80_u16.to_be(),
        protocol: 6,
        service: 7,
        backend: 3,
        tgid: 42,
        active: 2,
        least: 2 << CLUSTER_FRACTION,
        tied: 2,
        usable: 4,
        len: 4,
        comm,
        ..TraceEvent::default()
    }
}

fn ended(by: EndedBy, states: [u8; 2]) -> TraceEvent {
    let [from_state, to_state] = states;
    TraceEvent {
        at: 2_000_000,
        cookie: 5,
        // The cookie and the backend.
        word: 1 << 63 | 5 << 18 | 3,
        age: 3_500_000_000,
        acked: 1_001,
        received: 2_000,
        local: ip(9),
        local_port: 40_000_u16.to_be(),
        kind: Told::End as u8,
        how: by as u8,
        from_state,
        to_state,
        comm: [0; 16],
        cgroup: 0,
        active: 0,
        ..chosen()
    }
}

fn follows(states: [u8; 2]) -> TraceEvent {
    let [from_state, to_state] = states;
    let kind = Told::State as u8;
    TraceEvent {
        kind,
        cookie: 5,
        acked: 501,
        received: 700,
        from_state,
        to_state,
        ..Default::default()
    }
}

fn dialled(event: &TraceEvent) -> DialledView {
    match Teller::default().take(event, now(1), &mut Fixed::default()) {
        Some(TraceView::Dialled(view)) => view,
        other => panic!("{other:?}"),
    }
}

/// What is shown of an end once nothing more is waited for, and whether it was waited for.
fn end_of(events: &[TraceEvent], known: &mut Fixed) -> (EndedView, bool) {
    let mut teller = Teller::default();
    let mut views = Vec::new();
    for event in events {
        views.extend(teller.take(event, now(2), known));
    }
    let waited = views.is_empty();
    views.extend(teller.due(now(2_000), known));
    assert!(!teller.waits());
    match views.as_slice() {
        [TraceView::Ended(view)] => (view.clone(), waited),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_choice_names_everything_that_its_numbers_mean() {
    let view = dialled(&chosen());
    let PartiesView { time, pod: from, pid, command, dialled, .. } = &view.parties;
    assert_eq!(time, "2023-11-14T22:13:20.001000Z");
    assert_eq!((from.as_ref(), *pid, command.as_deref()), (Some(&pod()), Some(42), Some("curl")));
    assert_eq!((dialled.address, dialled.port), ([10, 0, 0, 1].into(), 80));
    assert_eq!(view.parties.service.as_deref(), Some("cart"));
    assert_eq!(view.parties.backend, Some(SocketAddr::from(([10, 0, 0, 3], 8080)).into()));
    assert_eq!((view.verdict.as_str(), &view.errno), ("balanced", &None));
    let choice = view.choice.expect("a choice");
    let numbers = (choice.active, choice.least, choice.tied, choice.usable, choice.backends);
    assert_eq!(numbers, (Some(2), Some(2), Some(2), Some(4), Some(4)));
    assert_eq!(choice.cluster_active, None);
}

#[test]
fn the_reason_of_a_choice_follows_from_its_numbers() {
    let others = |others| TraceEvent { flags: OF_ALL_NODES, others, ..chosen() };
    let policy = |policy: Policy| TraceEvent { policy: policy as u8, ..chosen() };
    for (event, want) in [
        (chosen(), "tie"),
        (TraceEvent { tied: 1, ..chosen() }, "least"),
        (TraceEvent { len: 1, usable: 1, tied: 1, ..chosen() }, "only-one"),
        // Another connection came between.
        (TraceEvent { active: 3, ..chosen() }, "changed"),
        (TraceEvent { active: 1, tied: 3, ..chosen() }, "least"),
        (others(0), "tie"),
        (others(1 << CLUSTER_FRACTION), "spread"),
        (TraceEvent { usable: 0, tied: 0, least: 0, len: 2_000, ..chosen() }, "sampled"),
        (TraceEvent { how: How::Trial as u8, ..chosen() }, "trial"),
        (TraceEvent { how: How::Seat as u8, ..chosen() }, "seat"),
        (TraceEvent { how: How::Affinity as u8, ..chosen() }, "affinity"),
        (TraceEvent { len: 0, usable: 0, ..chosen() }, "datagram"),
        (policy(Policy::Random), "random"),
        (policy(Policy::RoundRobin), "round-robin"),
        (policy(Policy::WeightedLeastConnections), "weighted"),
    ] {
        assert_eq!(dialled(&event).choice.expect("a choice").why, want, "{event:?}");
    }
    const { assert!(SUSPECT > u32::MAX >> CLUSTER_FRACTION, "no count has the bit of suspects") };
}

#[test]
fn refusals_have_their_errno_and_no_choice() {
    let refused = |verdict: Verdict, kind: Told| TraceEvent {
        kind: kind as u8,
        verdict: verdict as u8,
        backend: PAD_BACKEND,
        ..chosen()
    };
    for (verdict, errno, backend) in [
        (Verdict::NoEndpoint, Some("ECONNREFUSED"), PAD_BACKEND),
        (Verdict::SourceDenied, Some("EHOSTUNREACH"), PAD_BACKEND),
        (Verdict::OptedOut, None, PAD_BACKEND),
        // One was chosen before that was found.
        (Verdict::TooManyConnections, None, 3),
        (Verdict::Inconsistent, None, 3),
    ] {
        let view = dialled(&TraceEvent { backend, ..refused(verdict, Told::Refusal) });
        assert_eq!((view.verdict.as_str(), view.errno.as_deref()), (verdict.name(), errno));
        assert_eq!((view.choice, view.parties.backend), (None, None));
        assert_eq!(view.parties.service.as_deref(), Some("cart"));
    }
    let view = dialled(&refused(Verdict::NotService, Told::NoService));
    assert_eq!((view.parties.service, view.errno), (None, None));
}

#[test]
fn an_end_is_told_with_what_follows_it() {
    let release = ended(EndedBy::Release, [0; 2]);
    let tcp = |states| ended(EndedBy::Tcp, states);
    let refused = TraceEvent { flags: ANSWERED, ..tcp([2, 7]) };
    for (events, reason, errno, bytes) in [
        (&[release, follows([1, 4])][..], "client-closed", None, Some((500, 700))),
        (&[release, follows([8, 9])], "server-closed", None, Some((500, 699))),
        (&[release, follows([1, 7])], "client-reset", None, Some((500, 700))),
        (&[release, follows([2, 7])], "client-gave-up", None, None),
        (&[release], "closed", None, None),
        (&[refused], "refused", Some("ECONNREFUSED"), None),
        (&[tcp([2, 7])], "timed-out", Some("ETIMEDOUT"), None),
        (
            &[TraceEvent { age: 1_000_000, ..tcp([2, 7]) }],
            "unreachable",
            Some("EHOSTUNREACH"),
            None,
        ),
        (&[tcp([1, 7])], "reset", None, Some((1_000, 2_000))),
        (&[ended(EndedBy::Reconnect, [0; 2])], "reconnected", None, None),
    ] {
        let (view, _) = end_of(events, &mut Fixed::default());
        assert_eq!((view.reason.as_str(), view.errno.as_deref()), (reason, errno), "{events:?}");
        assert_eq!(view.bytes_sent.zip(view.bytes_received), bytes, "{reason}");
    }
}

#[test]
fn an_end_waits_only_for_what_may_come() {
    let release = ended(EndedBy::Release, [0; 2]);
    for (events, waited) in [
        (&[release][..], true),
        (&[release, follows([1, 4])], false),
        // It was shut before: by its program, or by the agent.
        (&[release, follows([5, 7])], true),
        (&[ended(EndedBy::Tcp, [1, 7])], true),
        (&[ended(EndedBy::Tcp, [2, 7])], false),
        (&[ended(EndedBy::Reconnect, [0; 2])], false),
        (&[TraceEvent { protocol: 17, ..release }], false),
    ] {
        assert_eq!(end_of(events, &mut Fixed::default()).1, waited, "{events:?}");
    }
    // The agent has said that it was it.
    let mut known = Fixed { ended: Some((Reason::Rebalance, true)), ..Fixed::default() };
    let (view, waited) = end_of(&[release, follows([5, 7])], &mut known);
    assert_eq!((view.reason.as_str(), view.permitted, waited), ("rebalance", true, false));
    let (view, _) = end_of(&[ended(EndedBy::Tcp, [1, 7])], &mut known);
    assert_eq!((view.reason.as_str(), view.errno), ("rebalance", None), "no fault of the client's");
}

#[test]
fn what_comes_is_judged_without_the_ends_that_wait() {
    let (mut teller, mut known) = (Teller::default(), Fixed::default());
    for cookie in 0..1_000 {
        let end = TraceEvent { cookie, ..ended(EndedBy::Release, [0; 2]) };
        assert_eq!(teller.take(&end, now(2), &mut known), None);
    }
    assert_eq!(known.asked, 1_000, "each is judged once");
    let closed = teller.take(&TraceEvent { cookie: 500, ..follows([1, 4]) }, now(2), &mut known);
    assert!(matches!(closed, Some(TraceView::Ended(_))), "{closed:?}");
    assert_eq!((known.asked, teller.ends.len()), (1_001, 999));
    assert_eq!(teller.due(now(2_000), &mut known).len(), 999);
}

#[test]
fn an_end_tells_whose_it_was() {
    // By its address, and the process that is there still.
    let (view, _) = end_of(&[ended(EndedBy::Release, [0; 2])], &mut Fixed::default());
    assert_eq!(view.parties.pod, Some(pod()));
    assert_eq!((view.parties.pid, view.parties.command.as_deref()), (Some(42), Some("curl")));
    assert_eq!((view.age_ms, view.client.map(|end| end.port)), (Some(3_500), Some(40_000)));
    // By its choice: of UDP no record names anybody.
    let gone = TraceEvent {
        tgid: 0,
        protocol: 17,
        local_port: 0,
        age: 0,
        ..ended(EndedBy::Release, [0; 2])
    };
    let mut teller = Teller::default();
    let mut known = Fixed::default();
    teller.take(&TraceEvent { protocol: 17, ..chosen() }, now(1), &mut known);
    let Some(TraceView::Ended(view)) = teller.take(&gone, now(2), &mut known) else {
        panic!("an end of UDP waits for nothing")
    };
    assert_eq!((view.parties.pid, view.parties.pod.clone()), (Some(42), Some(pod())));
    assert_eq!((view.age_ms, view.client), (None, None));
    assert!(teller.clients.is_empty(), "a cookie has no second socket");
}

#[test]
fn what_is_remembered_is_bounded() {
    let (mut teller, mut known) = (Teller::default(), Fixed::default());
    let most = REMEMBERED.get() as u64;
    let mut dials =
        |cookie| drop(teller.take(&TraceEvent { cookie, ..chosen() }, now(1), &mut known));
    // 0 dials twice: its last choice counts.
    (0..most).chain([0]).chain(most..2 * most - 1).for_each(&mut dials);
    assert_eq!(teller.clients.len(), REMEMBERED.get());
    assert!(teller.clients.contains(&0), "it has dialled later than those before it");
    assert!(!teller.clients.contains(&(most - 1)), "the oldest is forgotten first");
    assert!(teller.clients.contains(&most), "and only that");
}

#[test]
fn short_connections_push_out_none_that_is_open() {
    let (mut teller, mut known) = (Teller::default(), Fixed::default());
    teller.take(&TraceEvent { cookie: 0, ..chosen() }, now(1), &mut known);
    let end = ended(EndedBy::Reconnect, [0; 2]);
    for cookie in 1..2 * REMEMBERED.get() as u64 {
        teller.take(&TraceEvent { cookie, ..chosen() }, now(1), &mut known);
        let word = 1 << 63 | cookie << 18 | 3;
        teller.take(&TraceEvent { cookie, word, ..end }, now(2), &mut known);
    }
    assert_eq!(teller.clients.len(), 1);
    assert!(teller.clients.contains(&0), "it is open still");
}

#[test]
fn questions_take_what_they_ask_for() {
    let choice = TraceView::Dialled(dialled(&chosen()));
    let refused = TraceEvent {
        kind: Told::Refusal as u8,
        verdict: Verdict::NoEndpoint as u8,
        backend: PAD_BACKEND,
        cgroup: 0,
        ..chosen()
    };
    let refused = TraceView::Dialled(dialled(&refused));
    let elsewhere =
        TraceEvent { kind: Told::NoService as u8, verdict: Verdict::NotService as u8, ..chosen() };
    let elsewhere = TraceView::Dialled(dialled(&elsewhere));
    let (reset, _) = end_of(&[ended(EndedBy::Tcp, [1, 7])], &mut Fixed::default());
    let (closed, _) =
        end_of(&[ended(EndedBy::Release, [0; 2]), follows([1, 4])], &mut Fixed::default());
    let (reset, closed) = (TraceView::Ended(reset), TraceView::Ended(closed));
    let dropped = TraceView::Dropped(DroppedView { capped: 1, ..DroppedView::default() });
    let all = [&choice, &refused, &elsewhere, &reset, &closed, &dropped];
    let text = |text: &str| Some(text.to_owned());
    let any = TraceQuestion::default;
    for (question, want) in [
        (any(), [true, true, false, true, true, true]),
        (TraceQuestion { errors: true, ..any() }, [false, true, false, true, false, true]),
        (
            TraceQuestion { verdict: text("no-endpoint"), ..any() },
            [false, true, false, false, false, true],
        ),
        (
            TraceQuestion { verdict: text("not-service"), ..any() },
            [false, false, true, false, false, true],
        ),
        (
            TraceQuestion {
                backend: Some([10, 0, 0, 3].into()),
                backend_port: Some(8080),
                ..any()
            },
            [true, false, false, true, true, true],
        ),
        (
            TraceQuestion { backend_port: Some(1), ..any() },
            [false, false, false, false, false, true],
        ),
        (
            TraceQuestion { namespace: text("shop"), service: text("cart"), ..any() },
            [true, true, false, true, true, true],
        ),
        (
            TraceQuestion { service: text("api"), ..any() },
            [false, false, false, false, false, true],
        ),
        (
            TraceQuestion { pod: text("frontend"), pod_namespace: text("shop"), ..any() },
            [true, false, false, true, true, true],
        ),
    ] {
        assert_eq!(all.map(|view| question.takes(view)), want, "{question:?}");
    }
}
