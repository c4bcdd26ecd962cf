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
    course::{CHECK, Step, course, course_of_moves},
    host::{Host, Said},
    moves::Moves,
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
    /// A client of a node dials a Service.
    Dials(usize, u32, usize),
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
    /// What came of moves, where connections move.
    moves: Option<Moves>,
}

impl World {
    /// Everything that will happen follows from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, false)
    }

    /// The same, with connections that move.
    pub(crate) fn with_moves(seed: u64) -> Self {
        Self::of(seed, true)
    }

    fn of(seed: u64, moves: bool) -> Self {
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
            moves: None,
        };
        let steps = if moves { course_of_moves(&mut world.rng) } else { course(&mut world.rng) };
        world.moves = moves.then(|| Moves::new(steps.iter().any(|(_, step)| step.is_fault())));
        for (when, step) in steps {
            world.plan(when, Event::Step(step));
        }
        world.hosts.iter_mut().filter(|_| moves).for_each(Host::set_moves);
        for index in 0..NODES {
            let phase = LOOK.mul_f64(world.rng.random());
            world.plan(phase, Event::Look(index));
            world.hosts[index].start(Duration::ZERO, &mut world.rng);
        }
        world
    }

    /// The same, which tells of every step.
    pub(crate) fn telling(self) -> Self {
        Self { tells: true, ..self }
    }

    /// What all datagrams and steps come to.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// Lets everything happen, and compares what nodes know with what is true.
    pub(crate) fn run(&mut self) -> Result<(), Broken> {
        while let Some(Reverse((now, number))) = self.agenda.pop() {
            if now >= CHECK && self.moves.as_ref().is_none_or(|moves| moves.is_over(now)) {
                return self.compare(now);
            }
            let Some(event) = self.events.remove(&number) else { continue };
            self.happens(now, event).map_err(|what| Broken(format!("at {now:?}: {what}")))?;
        }
        self.compare(CHECK)
    }

    /// How many connections were ended, and how many of those for nothing.
    pub(crate) fn moved(&self) -> (usize, usize) {
        self.moves.as_ref().map_or((0, 0), Moves::moved)
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
                self.pass(now, index)?;
            }
            Event::Arrives(index, datagram) => {
                let said = self.hosts[index].receive(now, datagram);
                self.say(now, index, said)?;
            }
            Event::Dials(node, client, service) => self.dial(now, node, client, service),
            Event::Step(step) => {
                if self.tells {
                    println!("{now:?}: {step:?}");
                }
                if let Some(moves) = &mut self.moves {
                    moves.changed(now);
                }
                self.step(now, step);
            }
        }
        Ok(())
    }

    /// The mover of a node ends connections, if it is time: their clients come back.
    fn pass(&mut self, now: Duration, index: usize) -> Result<(), String> {
        let ended = self.hosts[index].pass(now, &mut self.rng);
        let ended = ended.map_err(|what| format!("node {index}: {what}"))?;
        let Some(moves) = self.moves.as_mut().filter(|_| !ended.is_empty()) else { return Ok(()) };
        let mut totals: [u32; BACKENDS] =
            std::array::from_fn(|at| self.hosts.iter().map(|host| host.has_at(at)).sum());
        // Who is cut off from others makes even what it knows of.
        if self.network.is_cut() {
            moves.changed(now);
        }
        // As it was before them.
        for found in &ended {
            totals[found.connection.backend] += 1;
            found.to.into_iter().for_each(|to| totals[to] -= 1);
        }
        for found in ended {
            if self.tells {
                println!("{now:?}: node {index} ends {found:?} of {totals:?}");
            }
            moves.ended(now, &found, &mut totals)?;
            (now, index, found.connection.client).hash(&mut self.digest);
            let is_slow = self.rng.random_range(0..10) == 0;
            let range = if is_slow { 3_000..8_000 } else { 20..320 };
            let after = Duration::from_millis(self.rng.random_range(range));
            let (client, service) = (found.connection.client, found.connection.service);
            let number = self.count;
            self.agenda.push(Reverse((now + after, number)));
            self.events.insert(number, Event::Dials(index, client, service));
            self.count += 1;
        }
        Ok(())
    }

    fn dial(&mut self, now: Duration, node: usize, client: u32, service: usize) {
        let before: u32 = (0..BACKENDS).map(|at| self.hosts[node].has_at(at)).sum();
        if !self.hosts[node].dial(now, client, service, &mut self.rng) {
            // It tries again.
            self.plan(now + Duration::from_millis(500), Event::Dials(node, client, service));
        }
        let after: u32 = (0..BACKENDS).map(|at| self.hosts[node].has_at(at)).sum();
        if let Some(moves) = self.moves.as_mut().filter(|_| before != after) {
            moves.changed(now);
        }
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
            Step::Opens(node, backend) if self.moves.is_some() => {
                let of = (0..SERVICES.len()).filter(|of| SERVICES[*of].contains(&backend));
                let of = of.max_by_key(|_| self.rng.random::<u32>()).unwrap_or(0);
                self.count += 1;
                self.dial(now, node, self.count as u32, of);
            }
            Step::Opens(node, backend) => self.hosts[node].opens(backend),
            Step::Holds(node, service, backend) => {
                self.count += 1;
                self.hosts[node].connects(now, self.count as u32, service, backend);
            }
            Step::Off(node, is_off) => self.hosts[node].set_off(is_off),
            Step::Closes(node, backend) => self.hosts[node].closes(backend),
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
                let all: u64 = self.hosts.iter().map(|host| u64::from(host.has_at(backend))).sum();
                let knows = host.knows(now, service, backend);
                // Of a Service that nobody uses nothing is said, and each node counts alone.
                if knows.unwrap_or_else(|| host.has_at(backend).into()) != all {
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
