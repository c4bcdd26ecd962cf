//! The choice with the connections of other nodes, as if the agent had heard of them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use crate::common::{Connection, Connections, VIP, Web, address, await_shown, dial};
use balancer_agent::{
    config::Capacities,
    maps::{ClusterCounts as _, ReadMaps as _, pinned::PinnedMaps, pins::Pins},
};
use balancer_common::layout::{FRESH_MS, Level};
use balancer_lab::{
    Agent, Lab,
    manifests::{Manifests, Service},
};
use serde_json::json;

fn vip() -> SocketAddr {
    (VIP, 80).into()
}

/// The maps, and a Service in them.
struct Told {
    maps: PinnedMaps,
    service: u32,
    /// Its backends, in the order of their addresses.
    backends: Vec<u32>,
}

impl Told {
    fn of(lab: &Lab, name: &str) -> Self {
        let pins = Pins::new(&lab.bpffs().join("balancer"));
        let maps = PinnedMaps::open(&pins, Capacities::MAX).expect("maps");
        let names = maps.names().expect("names");
        let is_it = |held: &[u8]| held.starts_with(name.as_bytes()) && held[name.len()] == 0;
        let (service, _) = names.iter().find(|(_, held)| is_it(&held.name)).expect("a Service");
        let row = maps.row(*service);
        let mut backends: Vec<_> = (0..row.len).map(|n| maps.slot(row.base + n).backend).collect();
        backends.sort_by_key(|id| u32::from_be(maps.backend(*id).addr[3]));
        Self { service: *service, backends, maps }
    }

    /// Says what the other nodes have to each backend.
    fn others(&self, others: &[u32]) {
        for (backend, connections) in self.backends.iter().zip(others) {
            self.maps.set_others(*backend, *connections);
            assert_eq!(self.maps.others(*backend), *connections);
        }
    }

    /// Says, so many milliseconds ago, from which estimate on backends are taken, and how many
    /// connections more are taken above it.
    fn level(&self, least: u32, above: u32, scale: u32, age_ms: u32) {
        let fresh_ms = self.maps.now_ms() - age_ms;
        let floor = (least + above) * scale - 1;
        let level = Level { floor, span: above * scale, fresh_ms };
        self.maps.set_level(self.service, level);
        assert_eq!(self.maps.level(self.service), Some(level));
    }

    /// Where nobody else opens connections.
    fn quiet(&self, least: u32) {
        self.level(least, 1, 256, 0);
    }

    fn active(&self) -> Vec<u32> {
        self.backends.iter().map(|id| self.maps.active(*id)).collect()
    }

    fn opened(&self) -> Vec<u64> {
        self.backends.iter().map(|id| self.maps.backend(*id).opened).collect()
    }
}

fn open(web: &Web, count: usize) -> Connections {
    Connections::open(web.client.place(), vip(), count).opened(vip())
}

#[test]
fn connections_even_out_what_all_nodes_have() {
    let web = Web::start("others", 3);
    let told = Told::of(&web.lab, "web");
    told.others(&[5, 3, 0]);
    told.quiet(0);
    let first = open(&web, 3);
    assert_eq!(told.active(), [0, 0, 3]);
    told.quiet(3);
    let more = Connections::open_at_once(web.client.place(), vip(), 4).opened(vip());
    assert_eq!(told.active(), [0, 2, 5], "5 each");
    assert_eq!(web.counts(), [0, 2, 5]);
    drop((first, more));
}

/// What a row may be long: around the steps, the first slots and the parts in which it is read.
const LENGTHS: [usize; 16] = [1, 2, 3, 4, 5, 8, 13, 15, 16, 17, 20, 143, 144, 145, 1000, 1024];

/// Others have 0, 1 or 2 to each backend of a row: as many sockets as that lacks to 2 even it out. The
/// programs look at every slot, whether it is taken or none is, and at nothing behind the row. UDP, since
/// nobody needs to answer.
#[test]
fn every_backend_of_a_row_is_looked_at() {
    let lab = Lab::create("others-row").expect("a lab; the tests need root, iproute2, and cgroup2");
    let client = lab.pod("client", address(200)).expect("pod");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    for (number, length) in (1..).zip(LENGTHS) {
        let backend = |n: usize| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 245, 0, 1)) + n as u32);
        let port = 8000 + u16::from(number);
        let vip = [10, 96, 9, number];
        // A port of its own: Services that share a backend share its counter.
        let service =
            Service::new(&format!("of-{length}"), vip, 80, port, (0..length).map(backend));
        manifests.write(&service.udp()).expect("written");
    }
    let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");
    for (number, length) in (1..).zip(LENGTHS) {
        let told = Told::of(&lab, &format!("of-{length}"));
        let others: Vec<u32> = (0..length).map(|n| (n * n / 3 % 3) as u32).collect();
        let lacking: Vec<u32> = others.iter().map(|others| 2 - others).collect();
        let sum = lacking.iter().sum::<u32>() as usize;
        told.others(&others);
        told.quiet(0);
        let vip = (Ipv4Addr::new(10, 96, 9, number), 80);
        let mut many = Connections::start_many(client.place(), vip, sum, true);
        many.opened(sum);
        assert_eq!(told.active(), lacking, "{length} backends");
    }
    drop(agent);
}

#[test]
fn rows_too_long_to_be_scanned_are_sampled_with_what_all_have() {
    let lab =
        Lab::create("others-long").expect("a lab; the tests need root, iproute2, and cgroup2");
    let client = lab.pod("client", address(200)).expect("pod");
    let manifests = Manifests::create(lab.state_dir().join("manifests")).expect("manifests");
    let backend = |n: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 245, 0, 1)) + n);
    let service = Service::new("long", VIP, 80, 8000, (0..1200).map(backend));
    manifests.write(&service.udp()).expect("written");
    let agent = Agent::start(&lab, manifests.dir(), &[]).expect("agent");
    let told = Told::of(&lab, "long");
    // Four of five have 50.
    let others: Vec<u32> = (0..1200).map(|n| if n % 5 == 0 { 0 } else { 50 }).collect();
    told.others(&others);
    told.quiet(0);
    let mut many = Connections::start_many(client.place(), vip(), 500, true);
    many.opened(500);
    let active = told.active();
    let to_them: u32 = active.iter().step_by(5).sum();
    // None of 16 is one of them in 2.8% of the choices: 14 of 500, and 40 never.
    assert!(to_them > 460, "{to_them} of {}", active.iter().sum::<u32>());
    drop(agent);
}

#[test]
fn a_backend_gets_one_of_four_where_it_lacks_half_of_what_another_does() {
    let web = Web::start("others-chance", 2);
    let told = Told::of(&web.lab, "web");
    told.others(&[4, 0]);
    for _ in 0..300 {
        // One that is not held: both are even here.
        told.level(0, 8, 256, 0);
        drop(open(&web, 1));
    }
    let first = told.opened()[0];
    // Taken in half of the choices, and then it wins half of the ties; four standard deviations.
    assert!((45..=105).contains(&first), "{first} of 300, not 75");
}

#[test]
fn what_is_older_than_three_seconds_counts_nothing() {
    let web = Web::start("others-old", 2);
    let told = Told::of(&web.lab, "web");
    told.others(&[1000, 0]);
    told.level(0, 1, 256, FRESH_MS + 1);
    let first = open(&web, 4);
    assert_eq!(told.active(), [2, 2]);
    told.quiet(0);
    let more = open(&web, 4);
    assert_eq!(told.active(), [2, 6]);
    drop((first, more));
}

#[test]
fn an_agent_that_is_killed_leaves_the_choice_of_this_node_after_three_seconds() {
    let mut web = Web::start("others-killed", 2);
    let told = Told::of(&web.lab, "web");
    let _held = open(&web, 2);
    assert_eq!(told.active(), [1, 1]);
    told.others(&[10_000, 0]);
    told.quiet(0);
    let written = Instant::now();
    web.agent.kill().expect("killed");
    let before = told.opened()[0];
    let mut last = written.elapsed();
    let ended = loop {
        let began = written.elapsed();
        assert!(dial(web.client.place(), vip())["error"].is_null());
        if told.opened()[0] > before {
            break written.elapsed();
        }
        last = began;
        assert!(last < Duration::from_secs(5), "still led by words that nobody writes");
    };
    assert!(ended > Duration::from_millis(2900), "after {ended:?}: they were still fresh");
    // Dice with equal counts: what they led last was not long ago.
    assert!(last < Duration::from_millis(4000), "{last:?}");
}

#[test]
fn services_that_share_pods_share_their_words_and_not_their_level() {
    let web = Web::start("others-shared", 2);
    let other = Ipv4Addr::new(10, 96, 0, 11);
    let shared = web.backends.iter().map(balancer_lab::Pod::ip);
    web.manifests.write(&Service::new("more", other, 80, 8080, shared)).expect("written");
    await_shown(&web.agent, |all| all.iter().any(|service| service["name"] == "more"));
    let (told, more) = (Told::of(&web.lab, "web"), Told::of(&web.lab, "more"));
    assert_eq!(told.backends, more.backends);
    told.others(&[6, 0]);
    told.quiet(0);
    let other = SocketAddr::from((other, 80));
    let open_other = |count| Connections::open(web.client.place(), other, count).opened(other);
    let first = open_other(2);
    assert_eq!(told.active(), [1, 1], "nothing is said of its level");
    let second = open(&web, 2);
    assert_eq!(told.active(), [1, 3], "one knows");
    more.quiet(3);
    let third = open_other(4);
    assert_eq!(told.active(), [1, 7], "both know, and each what the other opened");
    drop((first, second, third));
}

#[test]
fn weights_share_what_all_nodes_have() {
    let mut web = Web::start("others-weights", 2);
    let rules = format!("address/{}=1,address/{}=3", address(1), address(2));
    web.change(
        |service| {
            service
                .annotated("balancer-agent/policy", "weighted-least-connections")
                .annotated("balancer-agent/weights", &rules)
        },
        |shown| shown["backends"][1]["weight"] == json!(3),
    );
    let told = Told::of(&web.lab, "web");
    told.others(&[4, 0]);
    // The least alone: what has nothing.
    told.level(0, 1, 1, 0);
    let held = open(&web, 12);
    assert_eq!(told.active(), [0, 12], "4 for 1, and 12 for 3");
    told.level(4 << 12, 1, 1, 0);
    let more = open(&web, 8);
    assert_eq!(told.active(), [2, 18], "6 for 1, and 18 for 3");
    drop((held, more));
}

#[test]
fn a_suspect_loses_however_little_all_nodes_have() {
    let mut web = Web::start("others-suspect", 2);
    let told = Told::of(&web.lab, "web");
    web.servers.pop();
    told.others(&[1000, 0]);
    let started = Instant::now();
    while !told.maps.is_suspect(told.backends[1]) {
        assert!(started.elapsed() < Duration::from_secs(5), "it refuses");
        told.quiet(0);
        dial(web.client.place(), vip());
    }
    let mut answered = 0;
    for _ in 0..20 {
        told.quiet(0);
        let tried = Connection::open_with(web.client.place(), vip(), &["--timeout-ms", "500"]);
        answered += u32::from(tried.said["error"].is_null());
    }
    // One at a time tries it, after each pause.
    assert!(answered >= 16, "{answered} of 20");
}
