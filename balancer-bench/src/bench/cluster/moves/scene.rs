//! All nodes, clients and time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap},
    ops::RangeInclusive,
    time::Duration,
};

use balancer_agent::{
    balance::{Load, excess},
    peers::{name::NodeId, steward::steward},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::mover::{Mover, WEB, node};

const LOOK: Duration = Duration::from_millis(25);
const PASS: Duration = Duration::from_secs(1);
/// What passes at least between two passes.
const LEAST: Duration = Duration::from_millis(100);
/// When backends change: the agents know each other by then.
const CHANGE: Duration = Duration::from_secs(6);
/// From when until when the first node may be blocked.
const BLOCKED: Duration = Duration::from_secs(4);
const LIFTED: Duration = Duration::from_secs(14);
/// By when all must be at rest, and for how long nothing more may move then.
const REST: Duration = Duration::from_secs(24);
const RESTS: Duration = Duration::from_secs(60);
/// The same where there are many nodes: what they say to each other takes the time of who waits for it.
const RESTS_OF_MANY: Duration = Duration::from_secs(4);
const MANY: usize = 100;
/// How long what was moved is not moved again.
const COOL: Duration = Duration::from_secs(30);

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    /// Of 100 datagrams.
    pub(super) lost: u32,
    /// Of 100 clients, which come back 3 to 8 s late.
    pub(super) slow: u32,
    /// The steward's agent ends when the first connections have.
    pub(super) steward_dies: bool,
    /// The first node hears nobody and is not heard from before the change to some seconds after it.
    pub(super) blocked: bool,
    /// The last backend leaves a second after the first connections have been ended.
    pub(super) leaves: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// The fewest that must be ended.
    pub(super) fewest: usize,
    /// Connections that were ended by the mover.
    pub(super) ends: usize,
    /// Those of clients one of whose connections had been ended within half a minute.
    pub(super) twice: usize,
    /// Those that were ended when all should have been at rest.
    pub(super) late: usize,
    /// Most minus least, at the end.
    pub(super) spread: usize,
    /// How long after the change the connections were even, none away.
    pub(super) even: Option<Duration>,
}

impl Faults {
    pub(super) const NONE: Self =
        Self { lost: 0, slow: 0, steward_dies: false, blocked: false, leaves: false };
}

enum Event {
    Look(usize),
    Pass(usize),
    Arrives(usize, Vec<u8>),
    Returns(usize, u32),
    Row(usize, Vec<usize>),
    Leaves(usize),
}

/// A cluster whose backends become more.
pub(super) struct Scene {
    rng: StdRng,
    nodes: Vec<Mover>,
    dead: BTreeSet<usize>,
    numbers: HashMap<NodeId, usize>,
    agenda: BinaryHeap<Reverse<(Duration, usize)>>,
    events: HashMap<usize, Event>,
    count: usize,
    faults: Faults,
    usable: Vec<usize>,
    clients: usize,
    fewest: usize,
    ended: Vec<(Duration, u32)>,
    late: usize,
    even: Option<Duration>,
    gone: Option<usize>,
}

impl Scene {
    pub(super) fn new(
        seed: u64,
        nodes: usize,
        each: RangeInclusive<u32>,
        before: usize,
        after: usize,
        faults: Faults,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let movers = (0..nodes).map(|index| Mover::new(index, nodes, after, &mut rng)).collect();
        let mut scene = Self {
            nodes: movers,
            dead: BTreeSet::new(),
            numbers: (0..nodes).map(|index| (node(index), index)).collect(),
            agenda: BinaryHeap::new(),
            events: HashMap::new(),
            count: 0,
            faults,
            usable: (0..after).collect(),
            clients: 0,
            fewest: 0,
            ended: Vec::new(),
            late: 0,
            even: None,
            gone: None,
            rng,
        };
        for index in 0..nodes {
            scene.nodes[index].set_row(Duration::ZERO, &(0..before).collect::<Vec<_>>());
            for _ in 0..scene.rng.random_range(each.clone()) {
                let client = scene.clients;
                scene.nodes[index].place(Duration::ZERO, client as u32, client % before);
                scene.clients += 1;
            }
            let (look, pass) = (scene.rng.random_range(0.0..1.0), scene.rng.random_range(0.0..1.0));
            scene.plan(LOOK.mul_f64(look), Event::Look(index));
            scene.plan(PASS.mul_f64(pass), Event::Pass(index));
            let all = scene.usable.clone();
            let heard = Duration::from_millis(scene.rng.random_range(0..100));
            scene.plan(CHANGE + heard, Event::Row(index, all));
        }
        let load = |connections: usize| Load { weight: 1, connections: connections as u32 };
        let loads: Vec<_> = scene.totals().into_iter().map(load).collect();
        scene.fewest = excess(&loads, 0).iter().sum::<u32>() as usize;
        scene
    }

    pub(super) fn run(&mut self) -> Outcome {
        let end = REST + if self.nodes.len() > MANY { RESTS_OF_MANY } else { RESTS };
        while let Some(Reverse((now, number))) = self.agenda.pop() {
            if now >= end {
                break;
            }
            if let Some(event) = self.events.remove(&number) {
                self.happens(now, event);
            }
        }
        let totals = self.totals();
        let mut last: BTreeMap<u32, Duration> = BTreeMap::new();
        let mut twice = 0;
        for (at, client) in &self.ended {
            let before = last.insert(*client, *at);
            twice += usize::from(before.is_some_and(|before| before + COOL > *at));
        }
        let (most, least) = (totals.iter().max(), totals.iter().min());
        let spread = most.zip(least).map_or(0, |(most, least)| most - least);
        let (ends, late, even) = (self.ended.len(), self.late, self.even);
        Outcome { fewest: self.fewest, ends, twice, late, spread, even }
    }

    fn totals(&self) -> Vec<usize> {
        let own: Vec<_> = self.nodes.iter().map(Mover::own).collect();
        self.usable.iter().map(|at| own.iter().map(|own| own[*at]).sum()).collect()
    }

    fn plan(&mut self, when: Duration, event: Event) {
        self.agenda.push(Reverse((when, self.count)));
        self.events.insert(self.count, event);
        self.count += 1;
    }

    fn send(&mut self, now: Duration, from: usize, sent: Vec<(NodeId, Vec<u8>)>) {
        for (to, datagram) in sent {
            let to = self.numbers[&to];
            let after = Duration::from_micros(self.rng.random_range(100..10_000));
            let is_lost = self.rng.random_range(0..100) < self.faults.lost;
            let is_blocked =
                self.faults.blocked && (from == 0 || to == 0) && (BLOCKED..LIFTED).contains(&now);
            if !is_lost && !is_blocked && !self.dead.contains(&from) && !self.dead.contains(&to) {
                self.plan(now + after, Event::Arrives(to, datagram));
            }
        }
    }

    fn happens(&mut self, now: Duration, event: Event) {
        match event {
            Event::Look(index) if !self.dead.contains(&index) => {
                let sent = self.nodes[index].look(now);
                self.send(now, index, sent);
                self.plan(now + LOOK, Event::Look(index));
                self.early(now, index);
            }
            Event::Arrives(index, datagram) if !self.dead.contains(&index) => {
                let sent = self.nodes[index].receive(now, datagram);
                self.send(now, index, sent);
                self.early(now, index);
            }
            Event::Pass(index) if !self.dead.contains(&index) => {
                self.pass(now, index);
                self.plan(now + PASS, Event::Pass(index));
            }
            Event::Look(_) | Event::Arrives(..) | Event::Pass(_) => {}
            Event::Returns(index, client) => {
                self.nodes[index].open(now, client, &mut self.rng);
                let totals = self.totals();
                let all: usize = totals.iter().sum();
                let (most, least) = (totals.iter().max(), totals.iter().min());
                if all == self.clients
                    && most.zip(least).is_some_and(|(most, least)| most - least < 2)
                {
                    self.even.get_or_insert(now.saturating_sub(CHANGE));
                }
            }
            Event::Row(index, usable) => {
                if !self.dead.contains(&index) {
                    self.nodes[index].set_row(now, &usable);
                }
            }
            Event::Leaves(backend) => {
                self.usable.retain(|at| *at != backend);
                for index in 0..self.nodes.len() {
                    let heard = Duration::from_millis(self.rng.random_range(0..100));
                    self.plan(now + heard, Event::Row(index, self.usable.clone()));
                    for client in self.nodes[index].leave(backend) {
                        let back = heard + Duration::from_millis(self.rng.random_range(20..320));
                        self.plan(now + back, Event::Returns(index, client));
                    }
                }
            }
        }
    }

    /// What was permitted is carried out as soon as passes may be.
    fn early(&mut self, now: Duration, index: usize) {
        if self.nodes[index].is_permitted() && self.nodes[index].passed + LEAST <= now {
            self.pass(now, index);
        }
    }

    /// True for a node that may hear no other one, or has heard none some seconds ago.
    fn may_be_alone(&self, index: usize) -> bool {
        let is_cut = |node: usize| self.faults.blocked && node == 0;
        let is_heard = |node: &usize| !self.dead.contains(node) && !is_cut(*node);
        let others = (0..self.nodes.len()).filter(|node| *node != index).filter(is_heard).count();
        is_cut(index) || others == 0
    }

    fn pass(&mut self, now: Duration, index: usize) {
        let ended = self.nodes[index].pass(now);
        for (client, permitted) in ended {
            assert!(
                permitted || self.may_be_alone(index),
                "an end without a permit at {now:?} on node {index}"
            );
            self.ended.push((now, client));
            self.late += usize::from(now >= REST);
            let is_slow = self.rng.random_range(0..100) < self.faults.slow;
            let millis = if is_slow {
                self.rng.random_range(3_000..8_000)
            } else {
                self.rng.random_range(20..320)
            };
            self.plan(now + Duration::from_millis(millis), Event::Returns(index, client));
            if self.faults.steward_dies && self.dead.is_empty() {
                let stewards = steward(WEB, (0..self.nodes.len()).map(node));
                self.dead.extend(stewards.map(|found| self.numbers[&found]));
            }
            if self.faults.leaves && self.gone.is_none() {
                let last = self.usable.len() - 1;
                self.gone = Some(last);
                self.plan(now + Duration::from_secs(1), Event::Leaves(last));
            }
        }
    }
}
