//! How many connections a node would like to end, where it knows what all nodes have. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    balance::{Load, is_uneven, targets},
    moves::{
        history::History,
        input::{Governed, Input, Mode, Row},
        rebalance,
    },
};

/// What part of what it has too many a node ends at a time that does without a steward.
const PART: f64 = 0.7;
/// By how much more is asked for than the share of this node of what is too many: others may ask for less.
const MORE: f64 = 1.5;

/// A backend, and how many of its connections should be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its identifier, its weight or 0 where nothing may go, and how many connections could be ended.
    pub candidate: (u32, u16, u32),
    /// How many are wanted of these.
    pub count: u32,
}

/// What is wanted of each backend of a row, those with the fewest connections first. `ending` are those of
/// each backend that were ended and are open still, `quiet` those that could be ended; none where that is not
/// known: then all of this node's could.
pub fn wanted(
    input: &Input,
    id: u32,
    row: &Row,
    governed: &Governed,
    ending: &BTreeMap<u32, u32>,
    quiet: Option<&BTreeMap<u32, u32>>,
) -> Vec<Wanted> {
    let own = own(input, id, governed, ending);
    let places = row.usable.iter().map(|(backend, weight)| {
        let mine = own.get(backend).copied().unwrap_or_default();
        let others = governed.others.get(backend).copied().unwrap_or_default();
        let barred = input.suspects.contains(backend) || input.neglected.contains(backend);
        let weight = if barred { 0 } else { (*weight).max(1) };
        let seats = governed.seats.get(backend).copied().unwrap_or_default();
        (*backend, weight, mine.saturating_sub(seats), u64::from(mine) + u64::from(others))
    });
    let mut places: Vec<_> = places.collect();
    let share = |a: &(u32, u16, u32, u64), b: &(u32, u16, u32, u64)| {
        (a.3 * u64::from(b.1.max(1))).cmp(&(b.3 * u64::from(a.1.max(1))))
    };
    places.sort_by(share);
    let open = places.iter().filter(|(_, weight, ..)| *weight > 0);
    let total: u64 = open.clone().map(|(.., all)| *all).sum();
    let weights: u64 = open.clone().map(|(_, weight, ..)| u64::from(*weight)).sum();
    let least = open.clone().next().copied();
    let of = |(backend, weight, mine, all): &(u32, u16, u32, u64)| {
        let quiet = quiet.map_or(*mine, |quiet| quiet.get(backend).copied().unwrap_or_default());
        let candidate = (*backend, *weight, quiet);
        let helps = least.is_some_and(|(_, lowest, _, fewest)| {
            *weight > 0 && all * u64::from(lowest) > (fewest + 1) * u64::from(*weight)
        });
        if !helps || quiet == 0 {
            return Wanted { candidate, count: 0 };
        }
        let mean = total as f64 * f64::from(*weight) / weights.max(1) as f64;
        let part = MORE * (*all as f64 - mean) * f64::from(quiet) / *all as f64;
        Wanted { candidate, count: (part.ceil().max(1.0) as u32).min(quiet) }
    };
    places.iter().map(of).collect()
}

/// The candidates of a question, which may have no room for all of them: by turns the fullest of those with
/// connections that may be ended and the emptiest that may get some, and last what is neither.
pub fn in_order(wants: &[Wanted]) -> Vec<(u32, u16, u32)> {
    let all = || wants.iter().map(|wanted| wanted.candidate);
    let mut sources = all().rev().filter(|(.., quiet)| *quiet > 0);
    let mut sinks = all().filter(|(_, weight, _)| *weight > 0);
    let mut order = Vec::with_capacity(wants.len());
    let mut named = BTreeSet::new();
    loop {
        let pair = [sources.next(), sinks.next()];
        if pair == [None; 2] {
            break;
        }
        order.extend(pair.into_iter().flatten().filter(|(backend, ..)| named.insert(*backend)));
    }
    order.extend(all().filter(|(backend, ..)| named.insert(*backend)));
    order
}

/// How many connections of each backend are to be ended now, and whether only to ask for it. `ending` is as
/// for [`wanted`].
pub fn demanded(
    input: &Input,
    id: u32,
    row: &Row,
    governed: &Governed,
    ending: &BTreeMap<u32, u32>,
    history: &mut History,
) -> (BTreeMap<u32, u32>, bool) {
    let Some(known) = history.rows.get_mut(&id) else { return Default::default() };
    rebalance::follow(input.now, row, known);
    if !governed.forced && !rebalance::is_settled(input.now, row, known) {
        return Default::default();
    }
    // Should this node be alone once, it waits as for any unevenness.
    known.rest();
    match &governed.mode {
        Mode::Waits => Default::default(),
        Mode::Permitted(from) => (from.clone(), false),
        Mode::Asks => {
            let all = wanted(input, id, row, governed, ending, None);
            let wanted = all.iter().filter(|wanted| wanted.count > 0);
            (wanted.map(|wanted| (wanted.candidate.0, wanted.count)).collect(), true)
        }
        Mode::Falls { held, .. } => {
            let own = own(input, id, governed, ending);
            (without(input, row, governed, &own, history.away(id), held), false)
        }
    }
}

/// The share of this node of what is too many, as far as it knows, where nobody permits anything: a part of
/// it, with a fraction as the chance of one more.
fn without(
    input: &Input,
    row: &Row,
    governed: &Governed,
    own: &BTreeMap<u32, u32>,
    away: u32,
    held: &BTreeSet<u32>,
) -> BTreeMap<u32, u32> {
    let usable = row.usable.iter().filter(|(backend, _)| !input.suspects.contains(backend));
    let load = |(backend, weight): (&u32, &u16)| {
        let others = governed.others.get(backend).copied().unwrap_or_default();
        let mine = own.get(backend).copied().unwrap_or_default();
        (
            *backend,
            mine,
            Load { weight: (*weight).max(1), connections: mine.saturating_add(others) },
        )
    };
    let all: Vec<_> = usable.map(load).collect();
    let loads: Vec<_> = all.iter().map(|(.., load)| *load).collect();
    let targets = targets(&loads, away);
    if !is_uneven(&loads, &targets) {
        return BTreeMap::new();
    }
    let share = |((backend, mine, load), target): (&(u32, u32, Load), u32)| {
        let surplus = load.connections.saturating_sub(target);
        let part =
            PART * f64::from(surplus) * f64::from(*mine) / f64::from(load.connections.max(1));
        let count =
            part as u32 + u32::from(chance(input.now.as_nanos() as u64, *backend) < part.fract());
        (*backend, count.min(*mine))
    };
    let shares = all.iter().zip(targets).map(share);
    shares.filter(|(backend, count)| *count > 0 && !held.contains(backend)).collect()
}

/// From 0 to 1, another for each moment and backend.
fn chance(moment: u64, backend: u32) -> f64 {
    let spread = (moment ^ u64::from(backend)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    spread as f64 / f64::from(u32::MAX)
}

/// What this node has and keeps seats for, without what is ended and not closed yet.
fn own(
    input: &Input,
    id: u32,
    governed: &Governed,
    ending: &BTreeMap<u32, u32>,
) -> BTreeMap<u32, u32> {
    let of = |backend: &u32| {
        let active = input.active.get(backend).copied().unwrap_or_default();
        let ending = ending.get(backend).copied().unwrap_or_default();
        let seats = governed.seats.get(backend).copied().unwrap_or_default();
        (*backend, active.saturating_sub(ending).saturating_add(seats))
    };
    input.rows.get(&id).map_or_else(BTreeMap::new, |row| row.usable.keys().map(of).collect())
}
