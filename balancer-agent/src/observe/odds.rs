//! How likely each backend of a row is to get the next connection. Pure.
//!
//! The row and the counters are copied, and the choice is made again and again as the programs make it
//! (`balancer-ebpf/src/choose.rs`), by the same functions of `balancer_common`.

use balancer_common::{
    choice::{self, Draw, FIRST, NO_KEY, Table, below, pair, sample},
    cluster::{self, Chances, ClusterTable},
    layout::{Band, Counter, MAX_SCAN, PAD_ACTIVE, Slot, ticks},
    policy::Policy,
    suspect::{self, SUSPECT, is_suspect},
    weighted::{self, Best, SlowStart},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Slots that are looked at for all draws together, within the bounds of [`DRAWS`].
const LOOKS: u32 = 4_000_000;
/// Fewest and most draws.
const DRAWS: [u32; 2] = [1_000, 20_000];

/// A backend of a row, as a choice sees it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Candidate {
    /// Its share beside that of others.
    pub weight: u16,
    /// The salt of its slot.
    pub salt: u32,
    /// Its counter: connections of this node with the bit of [`SUSPECT`], and those of others.
    pub counter: Counter,
    /// The tick in which it was added.
    pub since: u32,
    /// Nanoseconds of CLOCK_MONOTONIC from which it may be tried; 0 where it is not suspect.
    pub suspect_until: u64,
}

/// How a backend is chosen, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// The policy.
    pub policy: Policy,
    /// Seconds of the slow start.
    pub slow_start: u32,
    /// True if backends that have just failed are chosen like others.
    pub keeps_suspects: bool,
    /// What round-robin has counted.
    pub cursor: u32,
    /// What is said of the row; none where this node counts alone.
    pub band: Option<Band>,
    /// Now, in nanoseconds of CLOCK_MONOTONIC.
    pub now_ns: u64,
    /// The same in ticks.
    pub now: u32,
}

/// The odds of a row, and what they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Odds {
    /// Chance of each candidate, from 0 to 1.
    pub each: Vec<f64>,
    /// The candidate that was suspect, whose pause is over, and that the next connection tries.
    pub tried: Option<usize>,
}

/// The odds of each candidate, in their order, for the next connection.
pub fn odds(candidates: &[Candidate], rules: &Rules) -> Odds {
    let row = Copied::new(candidates, *rules);
    if let Some(tried) = row.tried(candidates) {
        return Odds { each: certain(candidates.len(), tried), tried: Some(tried) };
    }
    let draws = (LOOKS / row.len.max(1)).clamp(DRAWS[0], DRAWS[1]);
    // The same answer for the same counters: what is shown does not flicker.
    let mut rng = StdRng::seed_from_u64(1);
    let mut wins = vec![0_u32; candidates.len()];
    for _ in 0..draws {
        if let Some(won) = row.choose(&mut rng) {
            wins[won as usize - 1] += 1;
        }
    }
    Odds { each: wins.iter().map(|won| f64::from(*won) / f64::from(draws)).collect(), tried: None }
}

/// The odds where one candidate gets the connection whatever is drawn.
pub fn certain(candidates: usize, one: usize) -> Vec<f64> {
    (0..candidates).map(|at| f64::from(u8::from(at == one))).collect()
}

/// A row whose backends are numbered by their places, from 1 on.
struct Copied {
    len: u32,
    rules: Rules,
    slots: Vec<Slot>,
    counters: Vec<Counter>,
    since: Vec<u32>,
}

impl Copied {
    fn new(candidates: &[Candidate], rules: Rules) -> Self {
        let (mut slots, mut counters, mut since) = (Vec::new(), Vec::new(), Vec::new());
        // The padding.
        counters.push(Counter { active: PAD_ACTIVE, others: 0 });
        since.push(0);
        for (backend, candidate) in (1..).zip(candidates) {
            let Candidate { weight, salt, .. } = *candidate;
            slots.push(Slot { backend, weight, salt });
            counters.push(candidate.counter);
            since.push(candidate.since);
        }
        Self { len: candidates.len() as u32, rules, slots, counters, since }
    }

    /// A suspect candidate whose pause is over: the next connection tries it.
    fn tried(&self, candidates: &[Candidate]) -> Option<usize> {
        if self.rules.keeps_suspects || self.len < 2 {
            return None;
        }
        let is_due = |candidate: &Candidate| {
            is_suspect(candidate.counter.active)
                && candidate.suspect_until != 0
                && candidate.suspect_until <= self.rules.now_ns
        };
        candidates.iter().take(MAX_SCAN as usize).position(is_due)
    }

    fn choose(&self, rng: &mut StdRng) -> Option<u32> {
        let chosen = self.by_policy(rng)?;
        if self.rules.keeps_suspects || self.len < 2 || !is_suspect(self.active(chosen)) {
            return Some(chosen);
        }
        // By a policy that does not look at counters. Instead of a suspect the one with the fewest.
        let instead = self.least(rng)?;
        Some(if is_suspect(self.active(instead)) { chosen } else { instead })
    }

    fn by_policy(&self, rng: &mut StdRng) -> Option<u32> {
        let Rules { policy, slow_start, keeps_suspects: keeps, cursor, .. } = self.rules;
        let mask = if keeps { !SUSPECT } else { u32::MAX };
        match policy {
            Policy::PowerOfTwo => {
                Some(pair(&Masked { row: self, mask }, self.len, || rng.random()))
            }
            Policy::RoundRobin => Some(self.slot(cursor % self.len.max(1)).backend),
            Policy::Random => Some(self.slot(below(rng.random(), self.len)).backend),
            _ if self.len > MAX_SCAN && keeps => {
                let pick = sample(&Masked { row: self, mask }, self.len, || rng.random());
                pick.map(|pick| pick.backend)
            }
            _ if policy.weighs(slow_start, keeps) && self.len <= MAX_SCAN => self.weighed(rng),
            _ => self.least(rng),
        }
    }

    /// The fewest connections: of this node, or where there is a band, of all nodes.
    fn least(&self, rng: &mut StdRng) -> Option<u32> {
        let Some(band) = self.rules.band else {
            if self.len > MAX_SCAN {
                return sample(self, self.len, || rng.random()).map(|pick| pick.backend);
            }
            let draw = Draw::new(rng.random());
            let first = || choice::part::<FIRST, _>(self, self.len, draw, NO_KEY);
            let key = choice::scan::<{ choice::PART }>(self.len, first, |start, best| {
                let part = Part { row: self, start };
                choice::part::<{ choice::PART }, _>(&part, self.len - start, draw, best)
            });
            return draw.winner(key).map(|(index, _)| self.slot(index).backend);
        };
        if self.len > MAX_SCAN {
            return cluster::sample(self, self.len, || rng.random()).map(|pick| pick.backend);
        }
        let chances = Chances::new(rng.random());
        let first = || cluster::part::<FIRST, _>(self, self.len, chances, band, NO_KEY);
        let key = choice::scan::<{ cluster::PART }>(self.len, first, |start, best| {
            let part = Part { row: self, start };
            cluster::part::<{ cluster::PART }, _>(&part, self.len - start, chances, band, best)
        });
        let won = cluster::won(self, key, chances, band)?;
        won.ok().map(|pick| pick.backend)
    }

    fn weighed(&self, rng: &mut StdRng) -> Option<u32> {
        let Rules { slow_start, keeps_suspects, now, band, .. } = self.rules;
        let (chances, clock) =
            (Chances::new(rng.random()), SlowStart { now, window: ticks(slow_start) });
        let mut best = Best::NONE;
        for (index, slot) in (0..).zip(&self.slots) {
            let Counter { active, others } = self.counters[slot.backend as usize];
            let active = if keeps_suspects { suspect::count(active) } else { active };
            let (weight, since) = (u32::from(slot.weight), self.since[slot.backend as usize]);
            let weight = match band {
                None => clock.weigh(active, weight, since),
                Some(band) => {
                    let added = chances.added(slot.salt, band);
                    clock.weigh_all(active, others, weight, since, added, band)
                }
            };
            best = best.with(index, weight, weighted::random_of(*slot, chances.ties()));
        }
        best.winner().map(|(index, _)| self.slot(index).backend)
    }
}

impl Table for Copied {
    fn slot(&self, index: u32) -> Slot {
        self.slots.get(index as usize).copied().unwrap_or(Slot::PAD)
    }

    fn active(&self, backend: u32) -> u32 {
        self.counters[backend as usize].active
    }
}

impl ClusterTable for Copied {
    fn others(&self, backend: u32) -> u32 {
        self.counters[backend as usize].others
    }
}

/// A row from one of its slots on.
struct Part<'a> {
    row: &'a Copied,
    start: u32,
}

impl Table for Part<'_> {
    fn slot(&self, index: u32) -> Slot {
        self.row.slot(self.start + index)
    }

    fn active(&self, backend: u32) -> u32 {
        self.row.active(backend)
    }
}

impl ClusterTable for Part<'_> {
    fn others(&self, backend: u32) -> u32 {
        self.row.others(backend)
    }
}

/// A row of whose counters a mask is looked at.
struct Masked<'a> {
    row: &'a Copied,
    mask: u32,
}

impl Table for Masked<'_> {
    fn slot(&self, index: u32) -> Slot {
        self.row.slot(index)
    }

    fn active(&self, backend: u32) -> u32 {
        self.row.active(backend) & self.mask
    }
}

#[cfg(test)]
mod tests;
