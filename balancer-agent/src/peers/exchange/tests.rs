use std::{
    collections::HashMap,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::*;
use crate::{
    desired::BackendAddr,
    model::Protocol,
    peers::{
        name::ServiceId,
        own::{Row, RowBackend},
        seal::tests::sealed_as,
    },
};

const KEY: &str = "3Zt1mXo2v0bqv5rM8nQ5kq0yQvB2m0x3o1S9c7wTgkE=";
const OTHER: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const ONE: NodeId = NodeId(0x1111_2222_3333_4444);
const TWO: NodeId = NodeId(0x5555_6666_7777_8888);
const WEB: ServiceId = ServiceId(7);

fn keys(text: &str) -> Keys {
    Keys::parse(text, Path::new("/k")).unwrap()
}

fn at(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn addr(id: u8) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, id], 80).into(), Protocol::Tcp)
}

fn row() -> Row {
    let backend = |id: u8| RowBackend { id: id.into(), addr: addr(id), weight: 1 };
    Row { id: 1, service: WEB, weighted: false, backends: vec![backend(1), backend(2)] }
}

fn exchange(me: NodeId, key: &str, seed: u64) -> Exchange {
    let mut state = seed;
    let draw = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    };
    let mut exchange = Exchange::new(me, keys(key), Box::new(draw));
    exchange.set_peers(at(0), &[ONE, TWO]);
    exchange.node_mut().set_rows(at(0), vec![row()]);
    exchange
}

/// Two nodes and the wire between them.
struct Pair {
    nodes: [(NodeId, Exchange); 2],
    /// Everything that was ever sent, and to whom.
    recorded: Vec<(NodeId, Vec<u8>)>,
    now: u64,
}

impl Pair {
    fn new(one: &str, two: &str) -> Self {
        let nodes = [(ONE, exchange(ONE, one, 1)), (TWO, exchange(TWO, two, 2))];
        Self { nodes, recorded: Vec::new(), now: 0 }
    }

    /// Lets time pass, in steps of a look at the counters.
    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 25;
            for from in 0..2 {
                for (to, mut datagram) in self.nodes[from].1.due(at(self.now)) {
                    self.recorded.push((to, datagram.clone()));
                    let now = at(self.now);
                    // Not all are believed, which is what some tests are about.
                    let _ = self.get(to).receive(now, &mut datagram);
                }
            }
        }
    }

    fn get(&mut self, id: NodeId) -> &mut Exchange {
        let found = self.nodes.iter_mut().find(|(node, _)| *node == id);
        &mut found.expect("one of the two").1
    }

    fn observe(&mut self, id: NodeId, backend: u32, active: u32) {
        let now = at(self.now);
        self.get(id).node_mut().observe(now, backend, active, active.into());
    }

    fn cluster(&mut self, id: NodeId, backend: u8) -> Option<u64> {
        let now = at(self.now);
        self.get(id).node().cluster(now, WEB, &addr(backend), 0)
    }

    fn rejected(&mut self, id: NodeId, why: Rejected) -> u64 {
        self.get(id).rejected().find(|(found, _)| *found == why).map_or(0, |(_, count)| count)
    }
}

#[test]
fn two_nodes_learn_what_the_other_has() {
    let mut pair = Pair::new(KEY, KEY);
    pair.observe(ONE, 1, 3);
    pair.observe(TWO, 2, 5);
    pair.run(2_000);
    assert_eq!((pair.cluster(ONE, 1), pair.cluster(ONE, 2)), (Some(0), Some(5)));
    assert_eq!((pair.cluster(TWO, 1), pair.cluster(TWO, 2)), (Some(3), Some(0)));
    // A change after some quiet is known at once.
    pair.observe(ONE, 1, 4);
    pair.run(100);
    assert_eq!(pair.cluster(TWO, 1), Some(4));
    pair.observe(TWO, 2, 0);
    pair.run(100);
    assert_eq!(pair.cluster(ONE, 2), Some(0));
    assert!(pair.recorded.iter().all(|(_, datagram)| datagram.len() <= 1_200));
}

#[test]
fn who_has_another_key_hears_nothing_and_is_not_believed() {
    let mut pair = Pair::new(KEY, OTHER);
    pair.observe(ONE, 1, 3);
    pair.run(5_000);
    assert_eq!(pair.cluster(TWO, 1), None);
    let forged = pair.rejected(TWO, Rejected::Forged);
    assert!((4..=7).contains(&forged), "{forged}: a heartbeat a second, and no answers");
    assert_eq!(pair.get(TWO).node().nodes(), 1);
}

#[test]
fn keys_are_changed_without_a_gap() {
    let mut pair = Pair::new(KEY, KEY);
    pair.observe(ONE, 1, 3);
    pair.run(2_000);
    let both = format!("{KEY}\n{OTHER}");
    let new = format!("{OTHER}\n{KEY}");
    for text in [&both, &new, OTHER] {
        for id in [ONE, TWO] {
            pair.get(id).set_keys(keys(text));
            for _ in 0..20 {
                pair.run(100);
                assert_eq!(pair.cluster(TWO, 1), Some(3), "{text} at {id:?}");
            }
        }
    }
}

#[test]
fn what_was_recorded_has_no_effect_also_after_restarts() {
    let mut pair = Pair::new(KEY, KEY);
    pair.observe(ONE, 1, 3);
    pair.run(3_000);
    pair.observe(ONE, 1, 9);
    pair.run(2_000);
    let replay = |pair: &mut Pair, recorded: &[(NodeId, Vec<u8>)]| {
        for (to, datagram) in recorded {
            let now = at(pair.now);
            let result = pair.get(*to).receive(now, &mut datagram.clone());
            assert!(
                matches!(result, Err(Rejected::Replayed | Rejected::Unproven)),
                "{result:?} for one of {}",
                recorded.len()
            );
        }
    };
    let recorded = pair.recorded.clone();
    replay(&mut pair, &recorded);
    assert_eq!(pair.cluster(TWO, 1), Some(9));
    // The receiver starts anew and knows nothing: neither before nor after it believes the sender.
    pair.nodes[1].1 = exchange(TWO, KEY, 77);
    replay(&mut pair, &recorded);
    assert_eq!(pair.cluster(TWO, 1), None);
    pair.run(2_000);
    assert_eq!(pair.cluster(TWO, 1), Some(9));
    replay(&mut pair, &recorded);
    // The sender starts anew, whose old sessions were believed once.
    pair.nodes[0].1 = exchange(ONE, KEY, 78);
    pair.observe(ONE, 1, 4);
    replay(&mut pair, &recorded);
    pair.run(2_000);
    let recorded = pair.recorded.clone();
    replay(&mut pair, &recorded);
    assert_eq!(pair.cluster(TWO, 1), Some(4));
}

/// Whichever of the two is the steward, and whether the other one has anything left or nothing at
/// all.
#[test]
fn what_ended_while_an_agent_was_down_is_known_soon_and_nothing_else_is_forgotten() {
    for (restarts, hears) in [(ONE, TWO), (TWO, ONE)] {
        for left in [3, 0] {
            let mut pair = Pair::new(KEY, KEY);
            pair.observe(restarts, 1, 3);
            pair.observe(restarts, 2, 5);
            pair.run(3_000);
            let index = usize::from(restarts == TWO);
            pair.nodes[index].1 = exchange(restarts, KEY, 78);
            // Of a Service port that nobody uses nothing is said: each node counts alone.
            let known = |pair: &mut Pair| [1, 2].map(|id| pair.cluster(hears, id).unwrap_or(0));
            // It is heard before it has read its counters.
            pair.run(900);
            assert_eq!(known(&mut pair), [3, 5], "{restarts:?} {left}");
            pair.observe(restarts, 1, left);
            pair.observe(restarts, 2, 0);
            pair.get(restarts).node_mut().counted();
            for _ in 0..30 {
                let now = known(&mut pair);
                assert!(now[0] >= left.into(), "{restarts:?} {left}: {now:?}");
                pair.run(100);
            }
            assert_eq!(known(&mut pair), [left.into(), 0], "{restarts:?} {left}");
        }
    }
}

#[test]
fn reflections_and_strangers_are_told_apart() {
    let mut pair = Pair::new(KEY, KEY);
    pair.run(1_500);
    let (to, datagram) = pair.recorded[0].clone();
    let other = if to == ONE { TWO } else { ONE };
    let now = at(pair.now);
    assert_eq!(pair.get(other).receive(now, &mut datagram.clone()), Err(Rejected::Reflected));
    let three = NodeId(3);
    let mut stranger = Exchange::new(three, keys(KEY), Box::new(|| 5));
    stranger.set_peers(now, &[ONE, three]);
    let (_, datagram) = stranger.due(now).remove(0);
    assert_eq!(pair.get(ONE).receive(now, &mut datagram.clone()), Err(Rejected::Stranger));
    assert_eq!(pair.get(TWO).receive(now, &mut datagram.clone()), Err(Rejected::Misdirected));
}

/// Two agents say that they are one node, and the Service of the peers leads to the first.
#[test]
fn a_second_agent_of_a_node_takes_nothing_over() {
    let mut pair = Pair::new(KEY, KEY);
    pair.observe(ONE, 1, 3);
    pair.run(2_000);
    let mut second = exchange(ONE, KEY, 99);
    second.node_mut().observe(at(0), 1, 50, 50);
    for _ in 0..400 {
        pair.run(25);
        let now = at(pair.now);
        for (to, mut datagram) in second.due(now) {
            assert_eq!(pair.get(to).receive(now, &mut datagram), Err(Rejected::Unproven));
        }
    }
    assert_eq!(pair.cluster(TWO, 1), Some(3));
    assert_eq!((pair.get(TWO).node().nodes(), second.node().nodes()), (2, 1));
    // The first one is gone, and the Service leads to the second.
    pair.nodes[0].1 = second;
    pair.run(5_000);
    assert_eq!(pair.cluster(TWO, 1), Some(50));
}

#[test]
fn another_major_version_is_named() {
    let mut pair = Pair::new(KEY, KEY);
    pair.run(1_000);
    let now = at(pair.now);
    // Whoever has no key says nothing that is shown.
    let (_, mut forged) = pair.recorded.iter().find(|(to, _)| *to == TWO).unwrap().clone();
    (forged[0], forged[20]) = (2, 77);
    assert_eq!(pair.get(TWO).receive(now, &mut forged), Err(Rejected::Forged));
    assert_eq!(pair.get(TWO).shown(now)[&ONE].version, None);
    let mut datagram = sealed_as(2, &keys(KEY), ONE, TWO);
    assert_eq!(pair.get(TWO).receive(now, &mut datagram), Err(Rejected::Version));
    let shown = pair.get(TWO).shown(now)[&ONE];
    assert_eq!((shown.version, shown.rejected > 1), (Some(2), true));
    pair.run(1_500);
    let now = at(pair.now);
    assert_eq!(pair.get(TWO).shown(now)[&ONE].version, None, "it is mended");
}

#[test]
fn an_answer_to_a_recorded_greeting_is_one_datagram_at_most() {
    let mut pair = Pair::new(KEY, KEY);
    pair.run(3_000);
    let recorded = pair.recorded.clone();
    pair.nodes[1].1 = exchange(TWO, KEY, 77);
    let said = |two: &mut Exchange, from: u64, replays: bool| -> usize {
        let looks = (0..1_000).step_by(25).map(|ms| {
            let now = at(from + ms);
            let addressed = recorded.iter().filter(|(to, _)| replays && *to == TWO);
            for (_, datagram) in addressed {
                assert!(two.receive(now, &mut datagram.clone()).is_err());
            }
            let said = two.due(now).len();
            assert!(said <= 1, "{said} datagrams to one peer at once");
            said
        });
        looks.sum()
    };
    let now = pair.now;
    let quiet = said(&mut exchange(TWO, KEY, 77), now, false);
    assert!((1..=2).contains(&quiet), "{quiet} heartbeats");
    // A recorded greeting is answered; a thousand are no more often than each 250 ms.
    let two = pair.get(TWO);
    let flooded = said(two, now, true);
    assert!((quiet + 2..=quiet + 5).contains(&flooded), "{flooded} beside {quiet} heartbeats");
}

/// Nodes of one cluster that all have a row of one Service.
struct Mesh {
    ids: Vec<NodeId>,
    all: Vec<Exchange>,
    backends: u32,
    opened: u32,
    /// What the first node has taken.
    spent: Duration,
}

impl Mesh {
    fn new(nodes: u64, backends: u32) -> Self {
        let ids: Vec<_> = (0..nodes).map(|n| NodeId::of(&format!("worker-{n}"))).collect();
        let backend = |id: u32| RowBackend {
            id,
            addr: BackendAddr::new((Ipv4Addr::from(0x0a00_0000 + id), 80).into(), Protocol::Tcp),
            weight: 1,
        };
        let rows = (1..=backends).map(backend).collect();
        let row = Row { id: 1, service: WEB, weighted: false, backends: rows };
        let one = |(id, seed): (&NodeId, u64)| {
            let mut exchange = exchange(*id, KEY, seed);
            exchange.set_peers(at(0), &ids);
            exchange.node_mut().set_rows(at(0), vec![row.clone()]);
            for id in 1..=backends {
                exchange.node_mut().observe(at(0), id, 1, 0);
            }
            exchange
        };
        let all = ids.iter().zip(1..).map(one).collect();
        Self { ids, all, backends, opened: 0, spent: Duration::ZERO }
    }

    /// Lets time pass, in steps of a look at the counters. Each node opens so many connections a
    /// second.
    fn run(&mut self, from: u64, to: u64, opens: u32) {
        let index: HashMap<_, _> = self.ids.iter().copied().zip(0..).collect();
        for ms in (from..to).step_by(25) {
            let looks = 40 / opens.clamp(1, 40);
            if opens > 0 && ((ms / 25) as u32).is_multiple_of(looks) {
                self.opened += 1;
                for (exchange, n) in self.all.iter_mut().zip(0..) {
                    let id = 1 + (self.opened + n) % self.backends;
                    let opened = self.opened;
                    exchange.node_mut().observe(at(ms), id, 1 + opened, opened.into());
                }
            }
            for from in 0..self.all.len() {
                let start = Instant::now();
                let datagrams = self.all[from].due(at(ms));
                let _ = self.all[from].node_mut().words(at(ms));
                self.spent += if from == 0 { start.elapsed() } else { Duration::ZERO };
                for (to, mut datagram) in datagrams {
                    let to: usize = index[&to];
                    let start = Instant::now();
                    let _ = self.all[to].receive(at(ms), &mut datagram);
                    self.spent += if to == 0 { start.elapsed() } else { Duration::ZERO };
                }
            }
        }
    }

    /// Bytes that were sent, with the headers of IPv4 and UDP, and datagrams.
    fn sent(&self) -> (u64, u64) {
        let traffic = self.all.iter().map(Exchange::traffic);
        traffic.fold((0, 0), |(bytes, datagrams), traffic| {
            (bytes + traffic.sent_bytes + 28 * traffic.sent, datagrams + traffic.sent)
        })
    }
}

/// Bytes a second that a node of so many sends and receives on average.
fn traffic(nodes: u64, backends: u32, opens: u32) -> u64 {
    let mut mesh = Mesh::new(nodes, backends);
    mesh.run(0, 3_000, opens);
    let before = mesh.sent().0;
    mesh.run(3_000, 7_000, opens);
    2 * (mesh.sent().0 - before) / 4 / nodes
}

/// What the first node of so many computes, beside the kernel's part for its datagrams.
#[test]
#[ignore = "measures, and asserts nothing that a busy machine could break"]
fn cost_of_peers() {
    for (nodes, backends, opens) in [(50, 20, 0), (50, 20, 13), (500, 100, 0), (500, 100, 1)] {
        let mut mesh = Mesh::new(nodes, backends);
        mesh.run(0, 3_000, opens);
        let before = mesh.sent().1;
        mesh.spent = Duration::ZERO;
        mesh.run(3_000, 8_000, opens);
        let percent = mesh.spent.as_secs_f64() / 5.0 * 100.0;
        let datagrams = 2 * (mesh.sent().1 - before) / 5 / nodes;
        println!(
            "{nodes} nodes, {backends} backends, {opens} opens/s: {percent:.2}% of a processor, \
             {datagrams} datagrams/s in and out"
        );
    }
}

#[test]
fn what_is_said_is_little() {
    for (nodes, backends, opens, most) in [(7, 5, 0, 1_700), (7, 5, 4, 6_500), (50, 20, 0, 11_000)]
    {
        let bytes = traffic(nodes, backends, opens);
        println!("{nodes} nodes, {backends} backends, {opens} opens/s: {bytes} B/s in and out");
        assert!(bytes <= most, "{bytes} B/s of {nodes} nodes with {opens} opens a second");
    }
}

/// The same over sockets of the loopback.
#[test]
fn two_nodes_talk_over_udp() {
    let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
    let addresses: Vec<_> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
    let mut nodes = [exchange(ONE, KEY, 1), exchange(TWO, KEY, 2)];
    let start = Instant::now();
    nodes[0].node_mut().observe(at(0), 1, 3, 3);
    let deadline = Duration::from_secs(20);
    let mut buffer = [0; 2_048];
    loop {
        let now = start.elapsed();
        for (index, socket) in sockets.iter().enumerate() {
            while let Ok(length) = socket.recv(&mut buffer) {
                let _ = nodes[index].receive(now, &mut buffer[..length]);
            }
            for (to, datagram) in nodes[index].due(now) {
                let to = addresses[usize::from(to == TWO)];
                socket.send_to(&datagram, to).unwrap();
            }
        }
        if nodes[1].node().cluster(now, WEB, &addr(1), 0) == Some(3) {
            break;
        }
        assert!(now < deadline, "nothing is known: {:?}", nodes[1].shown(now));
        let next = nodes.iter().map(Exchange::next).min().unwrap();
        std::thread::sleep(next.saturating_sub(start.elapsed()).min(at(5)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_datagram_is_too_bad_to_receive(
        random in proptest::collection::vec(any::<u8>(), 0..1_400),
        at_byte in 0_usize..1_200,
        with in 1_u8..,
        cut in 0_usize..1_200,
        which in any::<proptest::sample::Index>(),
    ) {
        let mut pair = Pair::new(KEY, KEY);
        pair.observe(ONE, 1, 3);
        pair.run(2_000);
        let now = at(pair.now);
        prop_assert!(pair.get(TWO).receive(now, &mut random.clone()).is_err());
        let (to, datagram) = which.get(&pair.recorded).clone();
        let mut mutated = datagram.clone();
        if let Some(byte) = mutated.get_mut(at_byte) {
            *byte ^= with;
        }
        prop_assert!(pair.get(to).receive(now, &mut mutated).is_err());
        let mut cut_off = datagram;
        cut_off.truncate(cut);
        prop_assert!(pair.get(to).receive(now, &mut cut_off).is_err());
        prop_assert_eq!(pair.cluster(TWO, 1), Some(3));
        pair.observe(ONE, 1, 4);
        pair.run(300);
        prop_assert_eq!(pair.cluster(TWO, 1), Some(4));
    }
}
