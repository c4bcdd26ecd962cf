use std::collections::VecDeque;

use super::*;
use crate::{
    desired::BackendAddr,
    model::Protocol,
    peers::{level::Filling, own::RowBackend},
};

const WEB: ServiceId = ServiceId(7);

fn at(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

fn addr(id: u32) -> BackendAddr {
    BackendAddr::new(([10, 0, 0, id as u8], 80).into(), Protocol::Tcp)
}

fn row(backends: u32) -> Row {
    let backend = |id| RowBackend { id, addr: addr(id), weight: 1 };
    let backends = (1..=backends).map(backend).collect();
    Row { id: 1, service: WEB, weighted: false, backends }
}

/// Nodes that hear each other within a millisecond, but where a line is cut.
struct Cluster {
    nodes: Vec<Node>,
    on_the_way: VecDeque<(u64, usize, usize, Letter)>,
    cut: BTreeSet<(usize, usize)>,
    now: u64,
    /// By how much the clock of each node is ahead.
    ahead: Vec<u64>,
    said: usize,
}

fn id(node: usize) -> NodeId {
    NodeId::of(&format!("worker-{node}"))
}

impl Cluster {
    fn new(nodes: usize, backends: u32) -> Self {
        let ids: Vec<_> = (0..nodes).map(id).collect();
        let node = |index: usize| {
            let mut node = Node::new(ids[index]);
            node.set_peers(at(0), ids.iter().copied());
            node.set_rows(at(0), vec![row(backends)]);
            for backend in 1..=backends {
                node.observe(at(0), backend, 0, 0);
            }
            node
        };
        let nodes = (0..nodes).map(node).collect();
        let ahead = vec![0; ids.len()];
        Self { nodes, on_the_way: VecDeque::new(), cut: BTreeSet::new(), now: 0, ahead, said: 0 }
    }

    /// The time of a node.
    fn at(&self, node: usize) -> Moment {
        at(self.now + self.ahead[node])
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 1;
            while self.on_the_way.front().is_some_and(|(due, ..)| *due <= self.now) {
                let Some((_, from, to, letter)) = self.on_the_way.pop_front() else { break };
                let now = self.at(to);
                self.nodes[to].heard(now, id(from));
                for section in &letter.sections {
                    self.nodes[to].hear(now, id(from), section);
                }
            }
            for from in 0..self.nodes.len() {
                let now = self.at(from);
                if self.nodes[from].next() > now {
                    continue;
                }
                for (name, letter) in self.nodes[from].due(now) {
                    let Some(to) = (0..self.nodes.len()).find(|node| id(*node) == name) else {
                        continue;
                    };
                    self.said += letter.sections.len();
                    if !self.cut.contains(&(from, to)) {
                        self.on_the_way.push_back((self.now + 1, from, to, letter));
                    }
                }
            }
        }
    }

    fn opens(&mut self, node: usize, backend: u32, active: u32, opened: u64) {
        let now = self.at(node);
        self.nodes[node].observe(now, backend, active, opened);
    }

    fn others(&self, node: usize, backend: u32) -> Option<u64> {
        self.nodes[node].cluster(self.at(node), WEB, &addr(backend), 0)
    }

    fn steward(&self) -> usize {
        let found = steward(WEB, (0..self.nodes.len()).map(id)).unwrap();
        (0..self.nodes.len()).find(|node| id(*node) == found).unwrap()
    }

    /// Cuts a node off, both ways.
    fn stop(&mut self, node: usize) {
        for other in 0..self.nodes.len() {
            self.cut.extend([(node, other), (other, node)]);
        }
    }
}

#[test]
fn every_node_knows_what_all_others_have() {
    let mut cluster = Cluster::new(7, 3);
    cluster.run(100);
    for node in 0..7 {
        cluster.opens(node, 1 + node as u32 % 3, 1 + node as u32, 1);
    }
    cluster.run(3_000);
    // Backend 1 has 1 + 4 + 7, backend 2 has 2 + 5, backend 3 has 3 + 6.
    for node in 0..7 {
        for (backend, all) in [(1, 12), (2, 7), (3, 9)] {
            let own = if 1 + node as u32 % 3 == backend { 1 + node as u64 } else { 0 };
            assert_eq!(cluster.others(node, backend), Some(all - own), "node {node}");
        }
        assert_eq!(cluster.nodes[node].nodes(), 7);
    }
}

#[test]
fn a_change_is_known_at_once_and_then_no_more_often_than_the_gap() {
    let mut cluster = Cluster::new(5, 2);
    cluster.run(3_000);
    let (node, other) = (0, 1);
    cluster.opens(node, 1, 1, 1);
    cluster.run(5);
    assert_eq!(cluster.others(other, 1), Some(1), "two ways");
    cluster.opens(node, 1, 2, 2);
    cluster.run(100);
    assert_eq!(cluster.others(other, 1), Some(1), "it has just been told");
    cluster.run(160);
    assert_eq!(cluster.others(other, 1), Some(2));
    // A second of opens without a pause is told four times a node, and repeated once.
    let before = cluster.said;
    for n in 3..103 {
        cluster.opens(node, 1, n, n.into());
        cluster.run(10);
    }
    let said = cluster.said - before;
    assert!(said <= 5 * 5 + 2 * 5, "{said}");
}

#[test]
fn words_and_levels_follow() {
    let mut cluster = Cluster::new(3, 2);
    cluster.run(100);
    cluster.opens(0, 1, 4, 4);
    cluster.run(3_000);
    let now = at(cluster.now);
    let words = cluster.nodes[1].words(now);
    assert_eq!(words.others, [(1, 4), (2, 0)]);
    // 4 and 0, nobody opens: up to one on the second.
    let [(1, level, told)] = words.levels[..] else { panic!("{words:?}") };
    assert_eq!(level, Filling { floor: 255, span: 256 });
    assert!(told <= now && told + at(1_300) > now, "{told:?} of {now:?}");
    assert_eq!(cluster.nodes[1].words(now), Words::default(), "once");
    // What the node has itself raises its level.
    cluster.opens(1, 2, 6, 6);
    cluster.run(101);
    let words = cluster.nodes[1].words(at(cluster.now));
    assert_eq!(words.levels[0].1, Filling { floor: 5 * 256 - 1, span: 256 });
    assert_eq!(words.others, []);
    // Alone it says nothing.
    let mut alone = Cluster::new(1, 2);
    alone.opens(0, 1, 4, 4);
    alone.run(5_000);
    assert_eq!(alone.nodes[0].words(at(5_000)), Words::default());
}

#[test]
fn a_silent_node_counts_for_ten_seconds() {
    let mut cluster = Cluster::new(4, 2);
    cluster.run(100);
    let steward = cluster.steward();
    let (silent, node) = ((steward + 1) % 4, (steward + 2) % 4);
    cluster.opens(silent, 1, 4, 4);
    cluster.run(3_000);
    cluster.stop(silent);
    cluster.run(8_000);
    assert_eq!(cluster.others(node, 1), Some(4));
    assert_eq!(cluster.nodes[node].nodes(), 3);
    cluster.run(4_000);
    assert_eq!(cluster.others(node, 1), Some(0));
    // Who leaves the Service of the peers may have begun anew: it counts for as long.
    cluster.cut.clear();
    cluster.run(5_000);
    assert_eq!(cluster.others(node, 1), Some(4));
    for node in (0..4).filter(|node| *node != silent) {
        let rest = (0..4).filter(|node| *node != silent).map(id);
        cluster.nodes[node].set_peers(at(cluster.now), rest);
    }
    cluster.run(8_000);
    assert_eq!(cluster.others(node, 1), Some(4));
    cluster.run(4_000);
    assert_eq!(cluster.others(node, 1), Some(0));
}

/// Its EndpointSlice was empty for a moment, or its agent was replaced.
#[test]
fn who_leaves_for_a_moment_is_counted_all_the_time() {
    let mut cluster = Cluster::new(4, 2);
    cluster.run(100);
    let steward = cluster.steward();
    let (away, node) = ((steward + 1) % 4, (steward + 2) % 4);
    cluster.opens(away, 1, 4, 4);
    cluster.run(3_000);
    for members in [0, 4] {
        for node in 0..4 {
            cluster.nodes[node].set_peers(at(cluster.now), (0..members).map(id));
        }
        for _ in 0..20 {
            cluster.run(100);
            assert_eq!(cluster.others(node, 1), Some(4), "{members} members");
        }
    }
}

/// Such as the IPv6 half of a Service that all dial over IPv4.
#[test]
fn a_service_that_nobody_uses_is_known_to_have_nothing() {
    let mut cluster = Cluster::new(3, 2);
    cluster.run(1_000);
    assert_eq!(cluster.others(0, 1), None, "there may be users that were not heard yet");
    cluster.run(3_000);
    assert_eq!((0..3).map(|node| cluster.others(node, 1)).collect::<Vec<_>>(), [Some(0); 3]);
    // Whoever hears nobody knows nothing.
    cluster.stop(0);
    cluster.run(3_100);
    assert_eq!((cluster.others(0, 1), cluster.others(1, 1)), (None, Some(0)));
}

/// The word of the steward of each is right for its own nodes alone.
#[test]
fn a_backend_of_two_services_has_what_the_larger_one_says() {
    const API: ServiceId = ServiceId(8);
    let mut cluster = Cluster::new(3, 2);
    // The third node knows the second backend by the other Service alone.
    let rows = |known: &[ServiceId]| {
        let of = |service: &ServiceId| Row { id: service.0 as u32, service: *service, ..row(2) };
        known.iter().map(of).collect::<Vec<_>>()
    };
    for (node, known) in [&[WEB, API][..], &[WEB, API], &[API]].into_iter().enumerate() {
        cluster.nodes[node].set_rows(at(0), rows(known));
    }
    cluster.run(100);
    cluster.opens(1, 2, 2, 2);
    cluster.opens(2, 2, 5, 5);
    for _ in 0..40 {
        cluster.run(100);
        let words = cluster.nodes[0].words(at(cluster.now));
        let low = words.others.contains(&(2, 2));
        assert!(!low, "{words:?} at {}", cluster.now);
    }
    for service in [WEB, API] {
        let cluster_wide = cluster.nodes[0].cluster(at(cluster.now), service, &addr(2), 0);
        assert_eq!(cluster_wide, Some(7), "{service:?}");
    }
}

#[test]
fn what_is_repeated_seldom_keeps_its_rate() {
    let mut cluster = Cluster::new(3, 250);
    cluster.run(100);
    let steward = cluster.steward();
    let (from, to) = ((steward + 1) % 3, (steward + 2) % 3);
    // With so many peers, though silent ones, totals of that length are repeated seldom.
    cluster.nodes[steward].set_peers(at(cluster.now), (0..500).map(id));
    for backend in 1..=250 {
        cluster.opens(from, backend, 1, 1);
    }
    cluster.run(8_000);
    // Between two repetitions in full a heartbeat says how much is opened.
    for n in 2..100 {
        cluster.opens(from, 1, n, n.into());
        cluster.run(50);
        let told = cluster.nodes[to].known.told(at(cluster.now), WEB).expect("it is known");
        assert!(n < 25 || told.rate > 10_000, "{told:?} after {n}");
    }
}

/// Whether others use it can't be told from what is not said.
#[test]
fn a_steward_that_does_not_know_a_service_leaves_its_totals_unknown() {
    let mut cluster = Cluster::new(2, 2);
    cluster.run(100);
    let steward = cluster.steward();
    let user = 1 - steward;
    cluster.run(4_000);
    let known =
        |cluster: &Cluster, own| cluster.nodes[user].cluster(at(cluster.now), WEB, &addr(1), own);
    assert_eq!(known(&cluster, 0), Some(0), "nobody uses it");
    cluster.nodes[steward].set_rows(at(cluster.now), Vec::new());
    cluster.opens(user, 1, 1, 1);
    cluster.run(4_000);
    assert_eq!(known(&cluster, 1), None);
    cluster.nodes[steward].set_rows(at(cluster.now), vec![row(2)]);
    cluster.run(4_000);
    assert_eq!(known(&cluster, 1), Some(1));
}

/// Neither is found by a pass over all peers each time, and neither comes late for that.
#[test]
fn beats_and_silence_come_when_they_should() {
    let mut cluster = Cluster::new(4, 2);
    cluster.run(3_000);
    for _ in 0..4_000 {
        cluster.run(1);
        let (node, now) = (&cluster.nodes[0], at(cluster.now));
        let beat = node.peers.values().map(|peer| peer.beat_at).min().unwrap();
        assert!(node.beats_at <= beat && node.next() <= beat, "{node:?}");
        let heard = node.heard.iter().filter_map(|id| node.peers[id].heard).min();
        assert!(node.silent_at <= heard.map(|at| at + pace::heard(3)), "{node:?}");
        assert!(node.next() > now, "nothing is due that was not said");
    }
    cluster.cut.extend([(1, 0), (2, 0), (3, 0)]);
    cluster.run(1_900);
    assert_eq!(cluster.nodes[0].nodes(), 4);
    cluster.run(1_200);
    assert_eq!(cluster.nodes[0].nodes(), 1);
}

/// One for each traffic policy of a Service, say. Whoever asks for one must not void the other's question.
#[test]
fn two_rows_of_a_service_port_ask_one_after_the_other() {
    let mut cluster = Cluster::new(2, 2);
    for node in &mut cluster.nodes {
        node.set_rows(at(0), vec![row(2), Row { id: 2, ..row(2) }]);
    }
    cluster.run(3_000);
    let user = 1 - cluster.steward();
    cluster.opens(user, 1, 9, 9);
    cluster.run(1_000);
    let request = |row| Request {
        row,
        settled: Duration::from_secs(3),
        budget: 100,
        want: 2,
        forced: false,
        backends: vec![(1, 1, 9), (2, 1, 0)],
    };
    let ask = |cluster: &mut Cluster, row| {
        let now = at(cluster.now);
        cluster.nodes[user].ask(now, &request(row))
    };
    assert_eq!([1, 2].map(|row| ask(&mut cluster, row)), [Asked::Sent, Asked::Later]);
    cluster.run(10);
    let now = at(cluster.now);
    let permitted = cluster.nodes[user].permitted(now);
    let [Permitted { row: 1, number, ref moves, .. }] = permitted[..] else {
        panic!("{permitted:?}")
    };
    assert_eq!(moves, &[(1, 2, 2)]);
    assert_eq!(ask(&mut cluster, 2), Asked::Later, "what was permitted is being used");
    cluster.nodes[user].settle(now, WEB, number, 0);
    assert_eq!(ask(&mut cluster, 2), Asked::Sent);
    assert_eq!(ask(&mut cluster, 3), Asked::Nobody);
    // An answer that is lost holds nobody up for longer than it would count.
    cluster.stop(user);
    cluster.run(1_000);
    assert_eq!(ask(&mut cluster, 1), Asked::Sent);
    // Nothing of it is kept for ever.
    cluster.run(6_000);
    let moves = &cluster.nodes[user].moves;
    assert!(moves.is_empty(), "{moves:?}");
}

/// It may move alone what others would make room for.
#[test]
fn nothing_moves_while_a_silent_node_is_counted() {
    let mut cluster = Cluster::new(4, 2);
    for node in &mut cluster.nodes {
        node.observe(at(0), 1, 3, 3);
    }
    cluster.run(5_000);
    let steward = cluster.steward();
    let (user, silent) = ((steward + 1) % 4, (steward + 2) % 4);
    let permitted = |cluster: &mut Cluster, forced| {
        let request = Request {
            row: 1,
            settled: Duration::from_secs(3),
            budget: 100,
            want: 1,
            forced,
            backends: vec![(1, 1, 3), (2, 1, 0)],
        };
        assert_eq!(cluster.nodes[user].ask(at(cluster.now), &request), Asked::Sent);
        cluster.run(10);
        let now = at(cluster.now);
        let permitted = cluster.nodes[user].permitted(now);
        let [Permitted { number, ref moves, .. }] = permitted[..] else { panic!("{permitted:?}") };
        cluster.nodes[user].settle(now, WEB, number, moves.len() as u32);
        moves.len()
    };
    assert_eq!(permitted(&mut cluster, false), 1);
    cluster.stop(silent);
    cluster.run(4_000);
    assert_eq!(cluster.others(user, 1), Some(9));
    assert_eq!(permitted(&mut cluster, false), 0, "it is counted and not heard");
    assert_eq!(permitted(&mut cluster, true), 1, "whoever asks by hand wants it now");
    cluster.run(9_000);
    assert_eq!(cluster.others(user, 1), Some(6));
    assert_eq!(permitted(&mut cluster, false), 1);
}

/// A machine that was stopped for an hour goes on; others started at other times.
#[test]
fn clocks_may_differ_and_jump() {
    let mut cluster = Cluster::new(4, 2);
    let steward = cluster.steward();
    let user = (steward + 1) % 4;
    cluster.ahead[user] = 86_400_000;
    cluster.run(1_000);
    cluster.opens(user, 1, 3, 3);
    cluster.run(5_000);
    let all =
        |cluster: &Cluster| -> Vec<_> { (0..4).map(|node| cluster.others(node, 1)).collect() };
    let want: Vec<_> = (0..4).map(|node| Some(if node == user { 0 } else { 3 })).collect();
    assert_eq!(all(&cluster), want);
    for node in [user, steward] {
        cluster.ahead[node] += 3_600_000;
        cluster.run(1);
        assert_eq!(cluster.nodes[node].nodes(), 1, "what it heard is an hour old");
        cluster.run(5_000);
        assert_eq!(all(&cluster), want);
        assert_eq!(cluster.nodes[node].nodes(), 4);
    }
}

/// Which nodes are asked and which one is the steward makes no difference.
#[test]
fn the_steward_says_what_would_move_of_which_node() {
    let mut cluster = Cluster::new(4, 2);
    for node in &mut cluster.nodes {
        node.observe(at(0), 1, 1, 1);
    }
    cluster.run(5_000);
    let request = Request { row: 1, backends: vec![(1, 1, 1), (2, 1, 0)], ..Request::default() };
    for asker in 0..4 {
        for (only, want) in [(false, 2), (true, 1)] {
            let now = at(cluster.now);
            let number = cluster.nodes[asker].survey(now, &request, only).expect("somebody to ask");
            cluster.run(20);
            let found = cluster.nodes[asker].surveyed(number).expect("an answer");
            assert!(found.is_known);
            assert_eq!(found.moves.len(), want, "{found:?}");
            for (node, from, to, count) in found.moves {
                assert_eq!((from, to, count), (1, 2, 1));
                assert!(!only || node == id(asker));
            }
            assert_eq!(cluster.nodes[asker].surveyed(number), None, "it is given once");
        }
    }
}

/// Somebody may dial in the next moment.
#[test]
fn what_others_have_is_written_as_soon_as_it_is_told() {
    let mut cluster = Cluster::new(3, 2);
    cluster.run(100);
    let steward = cluster.steward();
    let (node, other) = ((steward + 1) % 3, (steward + 2) % 3);
    cluster.opens(other, 1, 1, 1);
    cluster.run(3_000);
    cluster.nodes[node].words(at(cluster.now));
    cluster.run(150);
    // It has a connection itself, and with it another level.
    cluster.opens(node, 2, 1, 1);
    assert_eq!(cluster.nodes[node].words(at(cluster.now)).levels.len(), 1);
    cluster.run(260);
    cluster.opens(node, 2, 2, 2);
    assert_eq!(cluster.nodes[node].words(at(cluster.now)).levels.len(), 1);
    cluster.opens(other, 1, 2, 2);
    cluster.run(5);
    let words = cluster.nodes[node].words(at(cluster.now));
    assert_eq!((words.others, words.levels.len()), (vec![(1, 2)], 1));
    // Its own connections alone wait a little.
    cluster.opens(node, 2, 3, 3);
    assert_eq!(cluster.nodes[node].words(at(cluster.now)), Words::default());
}
