//! All nodes, and time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use balancer_agent::peers::name::NodeId;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    course::{CHECK, Step, course},
    host::{Host, Said},
    network::Network,
    truth::{BACKENDS, NODES, SERVICES, node},
};

/// How often an agent looks at its counters.
const LOOK: Duration = Duration::from_millis(25);

/// What must never be, and is.
pub(crate) struct Broken(pub(crate) String);

/// What is to come.
enum Event {
    Step(Step),
    Look(usize),
    Arrives(usize, Vec<u8>),
}

/// A cluster.
pub(crate) struct World {
    rng: StdRng,
    hosts: Vec<Host>,
    numbers: HashMap<NodeId, usize>,
    network: Network,
    /// Moment, and number among all events.
    agenda: BinaryHeap<Reverse<(Duration, usize)>>,
    events: HashMap<usize, Event>,
    count: usize,
    digest: DefaultHasher,
    tells: bool,
}

impl World {
    /// Everything that will happen follows from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            hosts: (0..NODES).map(Host::new).collect(),
            numbers: (0..NODES).map(|index| (node(index), index)).collect(),
            network: Network::default(),
            agenda: BinaryHeap::new(),
            events: HashMap::new(),
            count: 0,
            digest: DefaultHasher::new(),
            tells: false,
        };
        for (when, step) in course(&mut world.rng) {
            world.plan(when, Event::Step(step));
        }
        for index in 0..NODES {
            let phase = LOOK.mul_f64(world.rng.random());
            world.plan(phase, Event::Look(index));
            world.hosts[index].start(Duration::ZERO, &mut world.rng);
        }
        world
    }

    /// The same, which tells of every step.
    pub(crate) fn telling(seed: u64) -> Self {
        Self { tells: true, ..Self::new(seed) }
    }

    /// What all datagrams and steps come to.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Lets everything happen, and compares what nodes know with what is true.
    pub(crate) fn run(&mut self) -> Result<(), Broken> {
        while let Some(Reverse((now, number))) = self.agenda.pop() {
            if now >= CHECK {
                break;
            }
            let Some(event) = self.events.remove(&number) else { continue };
            self.happens(now, event).map_err(|what| Broken(format!("at {now:?}: {what}")))?;
        }
        self.compare(CHECK)
    }

    fn plan(&mut self, when: Duration, event: Event) {
        self.agenda.push(Reverse((when, self.count)));
        self.events.insert(self.count, event);
        self.count += 1;
    }

    fn happens(&mut self, now: Duration, event: Event) -> Result<(), String> {
        match event {
            Event::Look(index) => {
                let said = self.hosts[index].look(now);
                self.say(now, index, said)?;
                self.plan(now + LOOK, Event::Look(index));
            }
            Event::Arrives(index, datagram) => {
                let said = self.hosts[index].receive(now, datagram);
                self.say(now, index, said)?;
            }
            Event::Step(step) => {
                if self.tells {
                    println!("{now:?}: {step:?}");
                }
                self.step(now, step);
            }
        }
        Ok(())
    }

    /// No node may take the others to have more than they ever had.
    fn say(&mut self, now: Duration, from: usize, said: Said) -> Result<(), String> {
        for (backend, others) in said.others {
            let all = self.hosts.iter().enumerate().filter(|(index, _)| *index != from);
            let most: u32 = all.map(|(_, host)| host.most[backend]).sum();
            if others > most {
                return Err(format!(
                    "node {from} takes the others to have {others} connections to backend \
                     {backend}, and they never had more than {most}"
                ));
            }
        }
        for (to, datagram) in said.datagrams {
            let Some(to) = self.numbers.get(&to).copied() else { continue };
            (now, from, to, datagram.len()).hash(&mut self.digest);
            for after in self.network.carry(from, to, &mut self.rng) {
                self.plan(now + after, Event::Arrives(to, datagram.clone()));
            }
        }
        Ok(())
    }

    fn step(&mut self, now: Duration, step: Step) {
        match step {
            Step::Opens(node, backend) => self.hosts[node].opens(backend),
            Step::Closes(node, backend) => {
                let (active, _) = &mut self.hosts[node].counters[backend];
                *active = active.saturating_sub(1);
            }
            Step::Lossy(percent) => self.network.lossy = percent,
            Step::Twice(percent) => self.network.twice = percent,
            Step::Late(percent) => self.network.late = percent,
            Step::Cut(from, to) => self.network.cut(from, to),
            Step::Mend(from, to) => self.network.mend(from, to),
            Step::Crashes(node) => self.hosts[node].end(),
            Step::Restarts(node) | Step::Comes(node) => {
                self.hosts[node].start(now, &mut self.rng);
            }
            Step::Freezes(node) => self.hosts[node].set_frozen(true),
            Step::Thaws(node) => self.hosts[node].set_frozen(false),
            Step::Jumps(node, millis) => self.hosts[node].jump(Duration::from_millis(millis)),
            Step::Peers(node, peers) => self.hosts[node].set_peers(now, peers),
            Step::Leaves(node) => self.hosts[node].wipe(),
            Step::Rows(node, shape) => self.hosts[node].set_rows(now, shape),
            Step::Keys(node, keys) => self.hosts[node].set_keys(keys),
        }
    }

    fn compare(&self, now: Duration) -> Result<(), Broken> {
        for (index, host) in self.hosts.iter().enumerate() {
            for (service, backend) in
                (0..SERVICES.len()).flat_map(|of| (0..BACKENDS).map(move |backend| (of, backend)))
            {
                if !host.has(service, backend) {
                    continue;
                }
                let all: u64 =
                    self.hosts.iter().map(|host| u64::from(host.counters[backend].0)).sum();
                let knows = host.knows(now, service, backend);
                // Of a Service that nobody uses nothing is said, and each node counts alone.
                if knows.unwrap_or_else(|| host.counters[backend].0.into()) != all {
                    return Err(Broken(format!(
                        "node {index} takes backend {backend} of Service {service} to have \
                         {knows:?} connections, and it has {all}"
                    )));
                }
            }
        }
        Ok(())
    }
}
