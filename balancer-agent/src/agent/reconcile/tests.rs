use std::cell::{Cell, RefCell};

use super::{super::outside::unloaded, *};
use crate::{
    kernel::KernelError,
    maps::in_memory::InMemoryMaps,
    model::{EndpointSlice, Service},
    plan::held::Held,
    pods::Resolved,
    testing::services::{LIMITS, endpoint_slice, service},
};

/// What was told.
#[derive(Default)]
struct Told {
    problems: RefCell<Vec<Problem>>,
    complete: Cell<bool>,
    changes: Cell<usize>,
    mended: Cell<u64>,
    synced: RefCell<Vec<(u64, u64, bool)>>,
    drained: RefCell<BTreeMap<SocketAddr, Drained>>,
    left_out: RefCell<BTreeSet<SocketAddr>>,
    happened: RefCell<Vec<String>>,
}

impl Audience for Told {
    fn know(&self, _: &Desired) {}
    fn wait(&self, problems: &[Problem], _: &[Kind]) {
        self.problems.replace(problems.to_vec());
    }
    fn changed(&self, _: bool, _: bool) {
        self.changes.set(self.changes.get() + 1);
    }
    fn settle(&self, problems: Vec<Problem>, complete: bool) {
        self.problems.replace(problems);
        self.complete.set(complete);
    }
    fn written(&self, _: &[std::time::SystemTime]) {}
    fn synced(&self, sync: &Synced) {
        self.synced.borrow_mut().push((sync.services, sync.endpoints, sync.complete));
    }
    fn happened(&self, events: Vec<Event>) {
        let text = |event: Event| format!("{}: {}", event.object, event.message);
        self.happened.borrow_mut().extend(events.into_iter().map(text));
    }
    fn put_back(&self, _: &'static str, entries: u64) {
        self.mended.set(self.mended.get() + entries);
    }
    fn look(&self, _: Look) {}
    fn drained(&self) -> BTreeMap<SocketAddr, Drained> {
        self.drained.borrow().clone()
    }
    fn left_out(&self, backends: BTreeSet<SocketAddr>) {
        self.left_out.replace(backends);
    }
}

/// Grace periods that pass when a test says so.
#[derive(Default)]
struct Asked {
    asked: RefCell<Vec<Epoch>>,
    passed: Cell<Epoch>,
}

impl GracePeriods for Asked {
    fn ask(&self, epoch: Epoch) {
        self.asked.borrow_mut().push(epoch);
    }
    fn passed(&self) -> Epoch {
        self.passed.get()
    }
}

type InMemory = Reconciler<InMemoryMaps, Asked>;

fn start(maps: InMemoryMaps) -> InMemory {
    let pods = Pods::found_by(|_| Ok(Resolved::default()));
    Reconciler::new(maps, Asked::default(), NodePorts::default(), pods).unwrap()
}

/// Services of one address each, and the last bytes of their endpoints.
fn state(services: &[(u8, &[u8])]) -> State {
    let of = |(vip, endpoints): &(u8, &[u8])| {
        let service = service(*vip);
        let slice = endpoint_slice(*vip, endpoints);
        (service, slice)
    };
    let (services, slices): (Vec<Service>, Vec<EndpointSlice>) = services.iter().map(of).unzip();
    State {
        services: services.into_iter().map(|service| (service.id.clone(), service)).collect(),
        slices: slices.into_iter().collect(),
        ..State::default()
    }
}

/// The same, of which only the endpoints of one Service are new.
fn change(services: &[(u8, &[u8])], vip: u8) -> State {
    let endpoints = [service(vip).id].into();
    let changes = Changes::Some(Parts { endpoints, ..Parts::default() });
    State { changes, ..state(services) }
}

/// What the maps hold of each Service: the last byte of its address, and those of its backends.
fn balanced(reconciler: &InMemory) -> BTreeMap<u8, Vec<u8>> {
    let last = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => addr.ip().octets()[3],
        SocketAddr::V6(_) => panic!("{addr}"),
    };
    let held = Held::read(&reconciler.maps).unwrap();
    let backends: BTreeMap<u32, u8> =
        held.backends.iter().map(|(backend, id)| (*id, last(backend.addr()))).collect();
    let led = held.frontends.iter().map(|(frontend, leads)| {
        let row = held.rows.values().find(|row| row.id == leads.service).unwrap();
        let mut found: Vec<_> = row.backends.iter().map(|(id, _)| backends[id]).collect();
        found.sort_unstable();
        (last(frontend.addr), found)
    });
    led.collect()
}

/// Time has come to try again.
fn retry(reconciler: &mut InMemory, told: &Told) {
    assert!(reconciler.retry_at.is_some());
    reconciler.again(told);
}

fn agrees(reconciler: &InMemory) -> bool {
    let book = reconciler.book.as_ref();
    book.is_some_and(|book| *book.held() == Held::read(&reconciler.maps).unwrap())
}

const BEFORE: [(u8, &[u8]); 3] = [(1, &[1, 2]), (2, &[3]), (3, &[4])];
const AFTER: [(u8, &[u8]); 3] = [(1, &[1, 5]), (4, &[3, 6]), (3, &[])];

#[test]
fn what_has_changed_is_told_for_later() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    reconciler.reconcile(&state(&BEFORE), &told);
    assert_eq!(told.happened.take(), ["agent: 3 Service ports are there"], "not each of them");
    reconciler.reconcile(&change(&[(1, &[1, 5]), (2, &[3]), (3, &[4])], 1), &told);
    let endpoints = "port 80/TCP: gone 10.0.0.2:80; ready 10.0.0.5:80; now 2 endpoints";
    assert_eq!(told.happened.take(), [format!("Service shop/s1: {endpoints}")]);
    reconciler.reconcile(&state(&AFTER), &told);
    let none = "port 80/TCP: gone 10.0.0.4:80; now no endpoint: clients are refused";
    assert_eq!(
        told.happened.take(),
        [
            format!("Service shop/s3: {none}"),
            "Service shop/s4: port 80/TCP: balanced, 2 endpoints".to_owned(),
            "Service shop/s2: port 80/TCP: no longer balanced".to_owned(),
        ]
    );
    let problem = |message: &str| Problem {
        object: "API server https://api".into(),
        field: String::new(),
        message: message.into(),
    };
    reconciler.wait(&[problem("does not serve: refused")], &[], &told);
    reconciler.wait(&[problem("does not serve: end of file")], &[], &told);
    reconciler.wait(&[], &[], &told);
    let away = "API server https://api: does not serve: refused";
    assert_eq!(told.happened.take(), [away, "API server https://api: mended"]);
}

#[test]
fn whichever_write_fails_it_is_told_and_tried_again() {
    let mut failures = 0;
    loop {
        let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
        reconciler.reconcile(&state(&BEFORE), &told);
        assert!(told.complete.get() && agrees(&reconciler));
        reconciler.maps.fails_in = Some(failures);
        reconciler.reconcile(&state(&AFTER), &told);
        if reconciler.maps.fails_in.take().is_some() {
            assert_eq!(
                balanced(&reconciler),
                [(1, vec![1, 5]), (3, vec![]), (4, vec![3, 6])].into()
            );
            break;
        }
        failures += 1;
        assert!(!told.complete.get(), "{failures}");
        assert_eq!(told.problems.borrow().len(), 1, "{failures}");
        retry(&mut reconciler, &told);
        assert!(told.complete.get() && agrees(&reconciler), "{failures}");
        assert_eq!(*told.problems.borrow(), [], "{failures}");
        assert_eq!(reconciler.retry_at, None, "{failures}");
        assert_eq!(balanced(&reconciler), [(1, vec![1, 5]), (3, vec![]), (4, vec![3, 6])].into());
    }
    assert!(failures >= 4, "only {failures} writes");
}

#[test]
fn programs_for_packets_that_are_refused_stay_a_problem_and_all_else_is_balanced() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    let refused = std::io::Error::from_raw_os_error(libc::EPERM);
    let error = KernelError::Pin { path: "links/outside_in".into(), source: refused };
    reconciler.lack_outside(unloaded(&error));
    for services in [&BEFORE, &AFTER] {
        reconciler.reconcile(&state(services), &told);
        assert!(told.complete.get() && agrees(&reconciler));
        let problems: Vec<_> = told.problems.borrow().iter().map(Problem::to_string).collect();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("traffic from outside: links/outside_in: "),
            "{problems:?}"
        );
    }
}

/// Where an address leads to no Service but its own.
fn leads_right(reconciler: &InMemory) -> bool {
    let held = Held::read(&reconciler.maps).unwrap();
    held.frontends.iter().all(|(frontend, leads)| {
        let own = format!("s{}", frontend.addr.ip().to_string().rsplit('.').next().unwrap());
        let led = held.rows.iter().find(|(_, row)| row.id == leads.service);
        led.is_none_or(|(id, _)| id.port.service.name == own)
    })
}

/// What a failed write has left in use is given to nobody else.
#[test]
fn after_a_failed_write_nothing_makes_room_before_the_maps_are_read() {
    // What is wanted next fits once what goes has made room.
    let limits = crate::maps::Limits { services: 3, slots: 24, ..LIMITS };
    for failures in 0.. {
        let (mut reconciler, told) = (start(InMemoryMaps::new(limits)), Told::default());
        reconciler.reconcile(&state(&BEFORE), &told);
        reconciler.maps.fails_in = Some(failures);
        reconciler.maps.log.clear();
        reconciler.reconcile(&state(&AFTER), &told);
        let waited = reconciler.maps.log.iter().any(|line| line == "grace");
        if reconciler.maps.fails_in.take().is_some() {
            assert!(waited && told.complete.get(), "the limits are not reached");
            assert!(failures >= 4, "only {failures} writes");
            return;
        }
        assert!(leads_right(&reconciler), "{failures}");
        retry(&mut reconciler, &told);
        assert!(told.complete.get() && agrees(&reconciler), "{failures}");
        assert!(leads_right(&reconciler), "{failures}");
    }
}

/// A write to it fails, so that there is no book to compare with.
#[test]
fn a_frozen_map_is_named_where_writing_to_it_fails() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    reconciler.reconcile(&state(&BEFORE), &told);
    reconciler.maps.frozen.insert("FRONTENDS4");
    reconciler.reconcile(&state(&AFTER), &told);
    assert!(reconciler.book.is_none());
    reconciler.audit(&told);
    let is_named = |told: &Told| {
        let is_frozen = |problem: &Problem| problem.message.starts_with("is frozen: ");
        told.problems.borrow().iter().any(is_frozen)
    };
    assert!(is_named(&told), "{:?}", told.problems);
    reconciler.maps.frozen.clear();
    reconciler.audit(&told);
    assert!(!is_named(&told), "{:?}", told.problems);
    retry(&mut reconciler, &told);
    assert!(told.complete.get() && agrees(&reconciler));
}

#[test]
fn where_the_maps_can_not_be_read_they_stay_and_are_read_again() {
    for nth in 0..4 {
        let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
        reconciler.reconcile(&state(&BEFORE), &told);
        let before = balanced(&reconciler);
        // Without a book they have to be read.
        reconciler.book = None;
        reconciler.maps.reads_fail_in(nth);
        reconciler.reconcile(&state(&AFTER), &told);
        assert!(!told.complete.get(), "{nth}");
        assert!(told.problems.borrow()[0].message.ends_with("they stay as they are"), "{nth}");
        assert_eq!(balanced(&reconciler), before, "{nth}");
        retry(&mut reconciler, &told);
        assert!(told.complete.get() && agrees(&reconciler), "{nth}");
        assert_eq!(balanced(&reconciler).len(), 3);
    }
}

#[test]
fn after_a_failed_write_changes_wait_until_it_is_tried_again() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    reconciler.reconcile(&state(&BEFORE), &told);
    reconciler.maps.broken = true;
    reconciler.reconcile(&state(&AFTER), &told);
    reconciler.maps.broken = false;
    let at = reconciler.retry_at;
    reconciler.maps.log.clear();
    for last in 7..20 {
        let endpoints = [1, last];
        let services = [(1, &endpoints[..]), AFTER[1], AFTER[2]];
        reconciler.reconcile(&change(&services, 1), &told);
    }
    assert_eq!(reconciler.maps.log, [""; 0], "everything would be read and written each time");
    assert_eq!(reconciler.retry_at, at, "it comes when it was to come");
    assert!(!told.complete.get());
    retry(&mut reconciler, &told);
    assert_eq!(balanced(&reconciler)[&1], [1, 19], "the last of them counts");
}

/// What a grace period was asked for before a write failed frees nothing that is given up
/// afterwards.
#[test]
fn plans_are_numbered_on_when_the_maps_are_read_again() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    for last in 1..6 {
        let endpoints = [last];
        reconciler.reconcile(&state(&[(1, &endpoints)]), &told);
    }
    reconciler.maps.broken = true;
    reconciler.reconcile(&state(&[(2, &[7])]), &told);
    reconciler.maps.broken = false;
    retry(&mut reconciler, &told);
    reconciler.reconcile(&state(&[(2, &[8])]), &told);
    let asked = reconciler.grace_periods.asked.take();
    assert!(asked.is_sorted_by(|a, b| a < b), "{asked:?}");
    let (last, before) = asked.split_last().unwrap();
    reconciler.grace_periods.passed.set(*before.last().unwrap());
    reconciler.sweep(&told);
    assert!(reconciler.book.as_ref().unwrap().awaits_release());
    reconciler.grace_periods.passed.set(*last);
    reconciler.sweep(&told);
    assert!(!reconciler.book.as_ref().unwrap().awaits_release());
}

/// Maps that nothing can be written to are read once, and not for each part of what is wanted.
#[test]
fn filling_stops_where_a_write_fails() {
    let limits = crate::maps::Limits { services: 4096, frontends: 8192, ..LIMITS };
    let (mut reconciler, told) = (start(InMemoryMaps::new(limits)), Told::default());
    let names: Vec<_> = (0..2000).map(|n| format!("s{n}")).collect();
    let mut wanted = state(&[]);
    for (nth, name) in (0_u32..).zip(&names) {
        let mut service = service(1);
        service.id.name.clone_from(name);
        service.cluster_ips = vec![std::net::Ipv4Addr::from(0x0a60_0000 + nth).into()];
        wanted.services.insert(service.id.clone(), service);
    }
    reconciler.maps.broken = true;
    reconciler.maps.log.clear();
    reconciler.reconcile(&wanted, &told);
    let graces = reconciler.maps.log.iter().filter(|line| *line == "grace").count();
    assert_eq!(graces, 0, "each part would read the maps anew");
    assert!(!told.complete.get());
    reconciler.maps.broken = false;
    retry(&mut reconciler, &told);
    assert!(told.complete.get() && agrees(&reconciler));
    assert_eq!(balanced(&reconciler).len(), 256, "by the last byte");
}

#[test]
fn what_an_earlier_agent_left_stays_until_it_is_seen() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    reconciler.reconcile(&state(&BEFORE), &told);
    let mut next = start(reconciler.maps);
    let lacking = |services| State { missing: true, ..state(services) };
    next.reconcile(&lacking(&[(1, &[9])]), &told);
    let left: BTreeMap<u8, Vec<u8>> = [(1, vec![9]), (2, vec![3]), (3, vec![4])].into();
    assert_eq!(balanced(&next), left);
    next.reconcile(&state(&[(1, &[9])]), &told);
    assert_eq!(balanced(&next), [(1, vec![9])].into());
}

#[test]
fn backends_that_are_drained_by_hand_get_nothing_new() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    reconciler.reconcile(&state(&BEFORE), &told);
    let drained = Drained { since: Instant::now(), over: Duration::from_secs(1) };
    told.drained.borrow_mut().insert("10.0.0.2:80".parse().unwrap(), drained);
    // A change of something else need not bring the drain to the rows of all Services.
    let none = Parts::default();
    reconciler.reconcile(&State { changes: Changes::Some(none), ..state(&BEFORE) }, &told);
    assert!(told.left_out.borrow().is_empty());
    reconciler.redo(&told);
    assert_eq!(balanced(&reconciler)[&1], [1]);
    assert!(told.left_out.borrow().iter().eq(told.drained.borrow().keys()));
    told.drained.borrow_mut().clear();
    reconciler.redo(&told);
    assert!(told.left_out.borrow().is_empty());
    assert_eq!(balanced(&reconciler)[&1], [1, 2]);
}

#[test]
fn what_others_remove_is_put_back_and_counted() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    reconciler.audit(&told);
    assert_eq!(told.mended.get(), 0, "what should be there is not known yet");
    reconciler.reconcile(&state(&BEFORE), &told);
    let before = balanced(&reconciler);
    reconciler.audit(&told);
    let frontends = reconciler.maps.frontends().unwrap();
    for (key, _) in frontends {
        reconciler.maps.remove_frontend(key).unwrap();
    }
    reconciler.audit(&told);
    assert_eq!(told.mended.get(), 3);
    assert_eq!(balanced(&reconciler), before);
}

#[test]
fn what_was_brought_to_the_maps_is_counted() {
    let (mut reconciler, told) = (start(InMemoryMaps::new(LIMITS)), Told::default());
    reconciler.reconcile(&state(&BEFORE), &told);
    reconciler.reconcile(&change(&[(1, &[7]), (2, &[3]), (3, &[4])], 1), &told);
    reconciler.maps.broken = true;
    reconciler.reconcile(&state(&AFTER), &told);
    reconciler.maps.broken = false;
    retry(&mut reconciler, &told);
    let want = [(3, 3, true), (0, 1, true), (3, 3, false), (0, 0, true)];
    assert_eq!(told.synced.take(), want);
}
