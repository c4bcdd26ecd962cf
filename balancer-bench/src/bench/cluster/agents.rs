//! Nodes whose agents tell each other their counts: the agent's own functions, in simulated time.

use std::{collections::HashMap, net::Ipv4Addr, ops::Range, rc::Rc, time::Duration};

use balancer_agent::{
    desired::BackendAddr,
    model::Protocol,
    peers::{
        name::{NodeId, ServiceId},
        node::{Letter, Node},
        own::{Row, RowBackend},
        seal::OVERHEAD,
        wire::{Hello, Section, pack},
    },
};
use rand::{Rng as _, rngs::StdRng};

use super::{kernel::Kernel, way::Way, world::World};

/// The steps of time.
const TICK: Duration = Duration::from_millis(5);
/// An agent looks at its counters once in so many of them.
const LOOK: u64 = 5;
/// It speaks at each look for so long after something was new, which is longer than it may wait by
/// itself, and else once in so many looks, for its heartbeats.
const BUSY: Duration = Duration::from_millis(300);
const IDLE: u64 = 8;
/// How many of them a datagram is on its way, at most.
const MOST_UNDERWAY: usize = 3;
/// The Service port that everybody dials.
const SERVICE: ServiceId = ServiceId(1);
/// Its row.
const ROW: u32 = 1;

/// A node: its agent and its maps.
struct Host {
    agent: Node,
    kernel: Kernel,
    /// Connections that it opened to each backend so far.
    opened: Vec<u64>,
    /// Backends whose counters have changed since the agent looked.
    changed: Vec<usize>,
    /// Until when it speaks at each look.
    busy_until: Duration,
}

/// What is on its way: from whom, to whom.
type Underway = (usize, usize, Letter);

/// What a node has sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) datagrams: u64,
    /// With the headers of IPv4 and UDP.
    pub(super) bytes: u64,
}

/// All nodes.
pub(super) struct Agents {
    rng: StdRng,
    names: Vec<NodeId>,
    numbers: HashMap<NodeId, usize>,
    hosts: Vec<Host>,
    /// What arrives at the ticks to come, in turns.
    underway: [Vec<Underway>; MOST_UNDERWAY + 1],
    ticks: u64,
    are_running: bool,
    /// When what is sent is counted.
    counted: Range<Duration>,
    sent: Vec<Sent>,
}

impl Agents {
    pub(super) fn new(world: &World, rng: StdRng) -> Self {
        let names: Vec<NodeId> =
            (0..world.nodes()).map(|node| NodeId::of(&format!("node-{node}"))).collect();
        let host = |name: &NodeId| {
            let mut agent = Node::new(*name);
            agent.set_peers(Duration::ZERO, names.iter().copied());
            let kernel = Kernel::new(world.backends());
            Host {
                agent,
                kernel,
                opened: vec![0; world.backends()],
                changed: Vec::new(),
                busy_until: BUSY,
            }
        };
        let mut agents = Self {
            rng,
            hosts: names.iter().map(host).collect(),
            numbers: names.iter().copied().zip(0..).collect(),
            names,
            underway: Default::default(),
            ticks: 0,
            are_running: true,
            counted: Duration::ZERO..Duration::ZERO,
            sent: vec![Sent::default(); world.nodes()],
        };
        agents.rows_changed(world, Duration::ZERO);
        for host in &mut agents.hosts {
            for backend in 0..world.backends() {
                host.agent.observe(Duration::ZERO, Kernel::identifier(backend), 0, 0);
            }
            host.agent.counted();
        }
        agents
    }

    /// Has what is sent within a time counted.
    pub(super) fn count_sent(&mut self, within: Range<Duration>) {
        self.counted = within;
    }

    /// What each node has sent.
    pub(super) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Hands over what has arrived.
    fn deliver(&mut self, now: Duration) {
        let turn = self.ticks as usize % self.underway.len();
        for (from, to, letter) in std::mem::take(&mut self.underway[turn]) {
            let (from, host) = (self.names[from], &mut self.hosts[to]);
            host.agent.heard(now, from);
            for section in &letter.sections {
                host.agent.hear(now, from, section);
                if matches!(section, Section::Report(_)) {
                    host.busy_until = now + BUSY;
                }
            }
        }
    }

    /// An agent looks at its counters and speaks.
    fn look(&mut self, world: &World, node: usize, now: Duration) {
        let host = &mut self.hosts[node];
        let own = world.own(node);
        if !host.changed.is_empty() {
            host.busy_until = now + BUSY;
        }
        let is_turn = (self.ticks / LOOK + node as u64).is_multiple_of(IDLE);
        if now > host.busy_until && !is_turn {
            return;
        }
        for backend in std::mem::take(&mut host.changed) {
            let identifier = Kernel::identifier(backend);
            host.agent.observe(now, identifier, own[backend], host.opened[backend]);
        }
        for (to, letter) in host.agent.due(now) {
            let Some(to) = self.numbers.get(&to) else { continue };
            if self.counted.contains(&now) {
                self.sent[node].add(&letter);
            }
            let arrives = self.ticks as usize + self.rng.random_range(1..=MOST_UNDERWAY);
            let turn = arrives % self.underway.len();
            self.underway[turn].push((node, *to, letter));
        }
    }
}

impl Sent {
    /// Counts the datagrams of what is said to one peer, each with what it takes to believe it.
    fn add(&mut self, letter: &Letter) {
        const HEADERS: usize = 20 + 8;
        let hello = Section::Hello(Hello::default());
        let sections: Vec<Section> = [hello].into_iter().chain(letter.sections.clone()).collect();
        for datagram in pack(&sections) {
            self.datagrams += 1;
            self.bytes += (HEADERS + OVERHEAD + datagram.len()) as u64;
        }
    }
}

impl Way for Agents {
    fn choose(&mut self, _world: &World, node: usize, now: Duration) -> usize {
        let Host { agent, kernel, .. } = &mut self.hosts[node];
        if self.are_running {
            // Written each time something is heard; all that counts is what stands there now.
            let words = agent.words(now);
            for (identifier, connections) in words.others {
                kernel.set_others(identifier, connections);
            }
            for (_, level, told) in words.levels {
                kernel.set_level(level.floor, level.span, told);
            }
        }
        kernel.choose(now, &mut self.rng)
    }

    fn changed(&mut self, world: &World, node: usize, backend: usize, is_new: bool) {
        let host = &mut self.hosts[node];
        host.kernel.set_active(backend, world.own(node)[backend]);
        host.opened[backend] += u64::from(is_new);
        host.changed.push(backend);
    }

    fn rows_changed(&mut self, world: &World, now: Duration) {
        for (node, host) in self.hosts.iter_mut().enumerate() {
            host.kernel.set_row(world.row(node), &mut self.rng);
            host.agent.set_rows(now, vec![row(world.row(node))]);
        }
    }

    fn end_agents(&mut self) {
        self.are_running = false;
    }

    fn due(&self) -> Option<Duration> {
        self.are_running.then(|| TICK * (self.ticks + 1) as u32)
    }

    fn run(&mut self, world: &World, now: Duration) {
        self.ticks += 1;
        self.deliver(now);
        let first = self.ticks % LOOK;
        for node in (first as usize..self.hosts.len()).step_by(LOOK as usize) {
            self.look(world, node, now);
        }
    }
}

/// A row as an agent has it.
fn row(backends: &Rc<[usize]>) -> Row {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let backend = |backend: &usize| {
        let id = Kernel::identifier(*backend);
        let addr = BackendAddr::new((Ipv4Addr::from(first + id), 8080).into(), Protocol::Tcp);
        RowBackend { id, addr, weight: 1 }
    };
    let backends = backends.iter().map(backend).collect();
    Row { id: ROW, service: SERVICE, weighted: false, backends }
}
