extern crate std;

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::{collections::HashMap, thread, vec::Vec};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

struct Host(Vec<AtomicU64>, [u64; KEY_WORDS as usize]);

impl Host {
    fn new() -> Self {
        Self::with(StdRng::seed_from_u64(7).random())
    }
    fn with(key: [u64; KEY_WORDS as usize]) -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect(), key)
    }
    fn used(&self) -> usize {
        self.0.iter().filter(|w| is_charge(w.load(SeqCst))).count()
    }
    /// True if every word is 0, headers included.
    fn is_clean(&self) -> bool {
        self.0.iter().all(|w| w.load(SeqCst) == 0)
    }
}

impl Words for Host {
    fn load(&self, index: u32) -> u64 {
        self.0[index as usize].load(SeqCst)
    }
    fn key(&self, which: u32) -> u64 {
        self.1[which as usize]
    }
    fn swap(&self, index: u32, old: u64, new: u64) -> bool {
        self.0[index as usize].compare_exchange(old, new, SeqCst, SeqCst).is_ok()
    }
    fn increment(&self, index: u32) {
        self.0[index as usize].fetch_add(1, SeqCst);
    }
    fn decrement(&self, index: u32) {
        self.0[index as usize].fetch_sub(1, SeqCst);
    }
}

#[test]
fn a_charge_is_found_until_it_is_ended_once() {
    let host = Host::new();
    assert_eq!(find(&host, 42), None);
    let charge = insert(&host, 42, 7).expect("empty table");
    assert_eq!(find(&host, 42), Some(charge));
    assert_eq!(charge.backend(), 7);
    assert_eq!(cookie_of(charge.word), 42);
    assert!(end(&host, charge));
    assert!(!end(&host, charge), "a second end must not lower the counter again");
    assert_eq!(find(&host, 42), None);
}

#[test]
fn a_charge_takes_the_place_that_was_likely() {
    let host = Host::new();
    // As many of one home as it has room for, of which one is ended in between.
    let home = places(host.1, 4)[0];
    let cookies: Vec<u64> =
        (0..).filter(|cookie| places(host.1, *cookie)[0] == home).take(8).collect();
    for cookie in &cookies[..6] {
        let place = likely(&host, *cookie);
        assert_eq!(insert(&host, *cookie, 1).expect("room").index, place);
    }
    assert!(end(&host, find(&host, cookies[2]).expect("charged")));
    assert_eq!(likely(&host, cookies[6]), home + 3);
    assert_eq!(insert(&host, cookies[6], 1).expect("room").index, home + 3);
    assert_eq!(insert(&host, cookies[2], 1).expect("room").index, home + BUCKET - 1);
    // It is full: what is fetched is another's, and the charge goes elsewhere.
    assert_eq!(likely(&host, cookies[7]), home + BUCKET - 1);
}

#[test]
fn an_old_charge_never_ends_the_next_one_in_its_place() {
    let host = Host::new();
    let old = insert(&host, 42, 7).expect("empty table");
    assert!(end(&host, old));
    // The same socket connects again: same bucket, same word index, another backend.
    let new = insert(&host, 42, 8).expect("empty table");
    assert_eq!(new.index, old.index);
    assert!(!end(&host, old));
    assert_eq!(find(&host, 42), Some(new));
}

/// Opens sockets with the given cookies, finds and ends each, and says how many were refused.
fn fill(cookies: &[u64]) -> usize {
    let host = Host::new();
    let mut charged = HashMap::new();
    for cookie in cookies {
        if let Some(charge) = insert(&host, *cookie, 3) {
            assert!(charged.insert(*cookie, charge).is_none());
        }
    }
    assert_eq!(host.used(), charged.len());
    for cookie in cookies {
        assert_eq!(find(&host, *cookie), charged.get(cookie).copied(), "{cookie}");
    }
    for charge in charged.values() {
        assert!(end(&host, *charge));
    }
    assert!(host.is_clean(), "headers count what has spilled and nothing else");
    cookies.len() - charged.len()
}

#[test]
fn the_table_holds_a_burst() {
    assert_eq!(fill(&(1..=250_000).collect::<Vec<_>>()), 0);
}

/// The usual case: those that live long are a random part of all that were ever opened.
#[test]
fn the_table_holds_a_random_part_of_all_sockets() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut cookies: Vec<u64> = (0..200_000).map(|_| rng.random_range(1..1 << 40)).collect();
    cookies.sort_unstable();
    cookies.dedup();
    assert_eq!(fill(&cookies), 0);
}

/// What lives long is often opened at once, and what else is opened meanwhile moves the cookies
/// of the next burst to wherever it wants.
#[test]
fn the_table_holds_bursts_that_share_their_homes() {
    let wrap = u64::from(WORDS / BUCKET) << HOME_SHIFT;
    for parts in [2, 4, 8] {
        let burst = |part: u64| part * wrap..part * wrap + 200_000 / parts;
        let refused = fill(&(0..parts).flat_map(burst).collect::<Vec<_>>());
        assert!(refused < 40, "{parts} bursts: {refused}");
    }
}

#[test]
fn a_full_table_refuses_and_loses_nothing() {
    let cookies: Vec<_> = (1..=u64::from(WORDS)).collect();
    let refused = fill(&cookies);
    assert!(refused >= (WORDS - MAX_CHARGES) as usize, "{refused}");
    assert!(refused < 2 * (WORDS - MAX_CHARGES) as usize, "{refused}");
}

/// Every bucket is the home of as many sockets of a burst as any other, whatever the key is.
#[test]
fn a_run_of_cookies_fills_every_home_alike() {
    let host = Host::new();
    let run = u64::from(WORDS / BUCKET) << HOME_SHIFT;
    for first in [0, run, 77 * run] {
        let mut homes = HashMap::new();
        for cookie in first..first + run {
            *homes.entry(places(host.1, cookie)[0]).or_insert(0) += 1;
        }
        assert_eq!(homes.len(), (WORDS / BUCKET) as usize);
        assert!(homes.values().all(|sockets| *sockets == 1 << HOME_SHIFT));
    }
}

/// Sockets of an attacker who knows all cookies and the code: those that fill every place of the
/// targets, were `guess` the key.
fn chosen(guess: &Host, targets: &[u64], from: u64) -> Vec<u64> {
    let needed = targets.iter().flat_map(|target| places(guess.1, *target));
    let mut free: HashMap<u32, u32> = needed.map(|bucket| (bucket, BUCKET - 1)).collect();
    let mut left: u32 = free.values().sum();
    let mut held = Vec::new();
    let mut cookies = from..;
    while left > 0 {
        let cookie = cookies.next().expect("cookies");
        if let Some(free) = free.get_mut(&places(guess.1, cookie)[0]).filter(|free| **free > 0) {
            *free -= 1;
            left -= 1;
            held.push(cookie);
        }
    }
    held
}

/// How many of the targets find no room beside the sockets that are held.
fn refused(host: &Host, held: &[u64], targets: &[u64]) -> usize {
    for cookie in held {
        insert(host, *cookie, 1);
    }
    let refused = targets.iter().filter(|cookie| insert(host, **cookie, 2).is_none()).count();
    for place in &host.0 {
        place.store(0, SeqCst);
    }
    refused
}

#[test]
fn sockets_chosen_by_their_cookies_take_no_room_of_neighbours() {
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..8 {
        let first = rng.random_range(1..1 << 30);
        let targets: Vec<u64> = (first..first + 200).collect();
        let guess = Host::with(rng.random());
        let held = chosen(&guess, &targets, first + 200);
        assert!(held.len() > 8_000 && held.len() < 10_000, "{}", held.len());
        assert_eq!(refused(&guess, &held, &targets), 200, "who knows the key refuses all");
        assert_eq!(refused(&Host::with(rng.random()), &held, &targets), 0);
    }
}

/// What is left to an attacker: to hold most of the table.
#[test]
fn a_table_is_nearly_full_before_it_refuses() {
    let mut rng = StdRng::seed_from_u64(3);
    let host = Host::new();
    let mut found = Vec::new();
    for percent in [60, 70, 80, 90] {
        let held: Vec<u64> = (0..u64::from(MAX_CHARGES) * percent / 100)
            .map(|_| rng.random_range(1..1 << 40))
            .collect();
        let targets: Vec<u64> = (1 << 41..(1 << 41) + 10_000).collect();
        found.push(refused(&host, &held, &targets));
    }
    std::println!("of 10,000 sockets beside a table filled by 60, 70, 80, 90%: {found:?}");
    assert_eq!(found[0], 0, "{found:?}");
    assert!(found[1] < 20, "{found:?}");
}

/// Datagrams of one socket from several processors: whoever finds another charge beside its own
/// takes its own back.
#[test]
fn racing_inserts_leave_at_most_one_charge() {
    let host = Host::new();
    let mut kept = 0;
    for cookie in 1..2000u64 {
        thread::scope(|scope| {
            for backend in 0..2 {
                let host = &host;
                scope.spawn(move || {
                    let own = publish(host, claim(host, cookie, backend).expect("room"));
                    if find_but(host, cookie, own.index).is_some() {
                        end(host, own);
                    }
                });
            }
        });
        let Some(charge) = find(&host, cookie) else { continue };
        assert_eq!(find_but(&host, cookie, charge.index), None);
        assert!(end(&host, charge));
        kept += 1;
    }
    assert!(host.is_clean());
    assert!(kept > 1000, "most races leave one: {kept}");
}

#[test]
fn a_claim_is_nobodys_charge_until_it_is_published() {
    let host = Host::new();
    let claim = claim(&host, 42, 7).expect("empty table");
    assert!(!is_charge(claim.word));
    assert_eq!(find(&host, 42), None);
    // Its place is taken, and another charge of the same socket stands beside it.
    let other = insert(&host, 42, 8).expect("room");
    assert_ne!(other.index, claim.index);
    assert!(end(&host, other));
    let charge = publish(&host, claim);
    assert_eq!(charge, Charge { index: claim.index, word: word(42, 7) });
    assert_eq!(find(&host, 42), Some(charge));
    assert!(end(&host, charge));
    assert!(host.is_clean());
}

#[test]
fn the_place_of_a_charge_that_was_withdrawn_is_nobodys() {
    let host = Host::new();
    let charge = insert(&host, 42, 7).expect("empty table");
    assert!(withdraw(&host, charge));
    assert!(!withdraw(&host, charge) && !end(&host, charge), "once");
    assert_eq!(find(&host, 42), None);
    let other = insert(&host, 42, 7).expect("room");
    assert_ne!(other.index, charge.index);
    assert!(end(&host, other));
    assert!(end(&host, Charge { word: claimed(42, 7), ..charge }));
    assert!(host.is_clean());
}

/// Whoever finds a charge finds the record that was written for it, although another thread ends
/// the charges of the same sockets and gives their places to others.
#[test]
fn a_record_is_of_the_charge_beside_it() {
    let host = Host::new();
    let records: Vec<AtomicU64> = (0..MAX_CHARGES).map(|_| AtomicU64::new(0)).collect();
    // All of one home: they take each other's places.
    let cookies = 4..8u64;
    let charge_and_end = |backend: u32| {
        for _ in 0..5_000 {
            for cookie in cookies.clone() {
                let Some(claim) = claim(&host, cookie, backend) else { continue };
                records[claim.record() as usize].store(claim.word | USED, SeqCst);
                publish(&host, claim);
                if let Some(found) = find(&host, cookie) {
                    let record = records[found.record() as usize].load(SeqCst);
                    let stands = host.load(found.index) == found.word;
                    assert!(!stands || record == found.word, "{record:x} of {found:x?}");
                    end(&host, found);
                }
            }
        }
    };
    thread::scope(|scope| {
        for backend in 0..2 {
            scope.spawn(move || charge_and_end(backend));
        }
    });
    for cookie in cookies.clone() {
        while let Some(left) = find(&host, cookie) {
            assert!(end(&host, left));
        }
    }
    assert!(host.is_clean());
}

#[test]
fn racing_ends_lower_once() {
    let host = Host::new();
    for cookie in 1..2000u64 {
        let charge = insert(&host, cookie, 5).expect("room");
        let ended: u32 = thread::scope(|scope| {
            let racers: Vec<_> =
                (0..2).map(|_| scope.spawn(|| u32::from(end(&host, charge)))).collect();
            racers.into_iter().map(|r| r.join().expect("no panic")).sum()
        });
        assert_eq!(ended, 1);
    }
}
