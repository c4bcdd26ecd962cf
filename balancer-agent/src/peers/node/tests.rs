use std::collections::VecDeque;

use super::*;
use crate::{
    desired::BackendAddr,
    model::Protocol,
    peers::{level::Level, own::RowBackend},
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
        Self { nodes, on_the_way: VecDeque::new(), cut: BTreeSet::new(), now: 0, said: 0 }
    }

    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 1;
            while self.on_the_way.front().is_some_and(|(due, ..)| *due <= self.now) {
                let Some((_, from, to, letter)) = self.on_the_way.pop_front() else { break };
                self.nodes[to].heard(at(self.now), id(from));
                for section in &letter.sections {
                    self.nodes[to].hear(at(self.now), id(from), section);
                }
            }
            for from in 0..self.nodes.len() {
                if self.nodes[from].next() > at(self.now) {
                    continue;
                }
                for (name, letter) in self.nodes[from].due(at(self.now)) {
                    let to = (0..self.nodes.len()).find(|node| id(*node) == name).unwrap();
                    self.said += letter.sections.len();
                    if !self.cut.contains(&(from, to)) {
                        self.on_the_way.push_back((self.now + 1, from, to, letter));
                    }
                }
            }
        }
    }

    fn opens(&mut self, node: usize, backend: u32, active: u32, opened: u64) {
        self.nodes[node].observe(at(self.now), backend, active, opened);
    }

    fn others(&self, node: usize, backend: u32) -> Option<u64> {
        self.nodes[node].cluster(at(self.now), WEB, &addr(backend), 0)
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
    assert_eq!(level, Level { floor: 255, span: 256 });
    assert!(told <= now && told + at(1_300) > now, "{told:?} of {now:?}");
    assert_eq!(cluster.nodes[1].words(now), Words::default(), "once");
    // What the node has itself raises its level.
    cluster.opens(1, 2, 6, 6);
    cluster.run(101);
    let words = cluster.nodes[1].words(at(cluster.now));
    assert_eq!(words.levels[0].1, Level { floor: 5 * 256 - 1, span: 256 });
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
    // Who leaves the Service of the peers counts nothing at once.
    cluster.cut.clear();
    cluster.run(5_000);
    assert_eq!(cluster.others(node, 1), Some(4));
    for node in (0..4).filter(|node| *node != silent) {
        let rest = (0..4).filter(|node| *node != silent).map(id);
        cluster.nodes[node].set_peers(at(cluster.now), rest);
    }
    cluster.stop(silent);
    cluster.run(300);
    assert_eq!(cluster.others(node, 1), Some(0));
}

#[test]
fn a_steward_that_hears_nobody_counts_its_own_after_three_seconds() {
    let mut cluster = Cluster::new(3, 2);
    cluster.run(100);
    let steward = cluster.steward();
    let other = (steward + 1) % 3;
    cluster.opens(other, 1, 5, 5);
    cluster.run(3_000);
    assert_eq!(cluster.others(steward, 1), Some(5));
    cluster.stop(steward);
    cluster.run(2_000);
    assert_eq!(cluster.others(steward, 1), Some(5), "its peers may be heard again");
    cluster.run(1_100);
    assert_eq!(cluster.others(steward, 1), None);
}

#[test]
fn another_node_takes_over_from_a_steward_that_is_silent() {
    let mut cluster = Cluster::new(5, 2);
    cluster.run(100);
    let steward = cluster.steward();
    for node in (0..5).filter(|node| *node != steward) {
        cluster.opens(node, 1, 1, 1);
    }
    cluster.run(3_000);
    cluster.stop(steward);
    let node = (steward + 1) % 5;
    let mut wrong = 0;
    let mut silent = 0;
    for _ in 0..100 {
        cluster.run(100);
        match cluster.others(node, 1) {
            None => silent += 1,
            Some(others) => wrong += u32::from(others != 3),
        }
    }
    assert_eq!(wrong, 0, "what a steward does not know yet misleads nobody");
    assert!(silent <= 15, "nothing was known for {silent} tenths of a second");
    assert_eq!(cluster.others(node, 1), Some(3));
}

#[test]
fn a_line_that_is_cut_leaves_all_others_as_they_are() {
    let mut cluster = Cluster::new(5, 2);
    cluster.run(100);
    let steward = cluster.steward();
    let (lost, node) = ((steward + 1) % 5, (steward + 2) % 5);
    cluster.opens(lost, 1, 4, 4);
    cluster.opens(node, 2, 2, 2);
    cluster.run(3_000);
    cluster.cut.extend([(lost, steward), (steward, lost)]);
    cluster.run(20_000);
    assert_eq!(cluster.others(node, 1), Some(0), "nobody tells the steward");
    let other = (steward + 3) % 5;
    assert_eq!(cluster.others(other, 2), Some(2));
}

#[test]
fn connections_of_what_left_are_poured_over_the_rest() {
    let mut cluster = Cluster::new(3, 2);
    cluster.run(100);
    // Backend 1 has 2 here and 3 on another node, and goes.
    cluster.opens(0, 1, 2, 2);
    cluster.opens(1, 1, 3, 3);
    cluster.run(3_000);
    for node in 0..3 {
        let mut row = row(2);
        row.backends.remove(0);
        let now = at(cluster.now);
        cluster.nodes[node].set_rows(now, vec![row]);
    }
    let words = cluster.nodes[0].words(at(cluster.now));
    let [(1, level, _)] = words.levels[..] else { panic!("{words:?}") };
    assert_eq!(level, Level { floor: 5 * 256 - 1, span: 5 * 256 }, "5 over one that has none");
    // They have come back.
    cluster.opens(0, 1, 0, 2);
    cluster.opens(0, 2, 2, 2);
    cluster.opens(1, 1, 0, 3);
    cluster.opens(1, 2, 3, 3);
    cluster.run(3_000);
    let words = cluster.nodes[0].words(at(cluster.now));
    assert_eq!(words.levels[0].1, Level { floor: 6 * 256 - 1, span: 256 });
}
