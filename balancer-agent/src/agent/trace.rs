//! The task that reads what programs tell, for all who want to know.
//!
//! Programs tell nothing while nobody reads. The switch is renewed each second and goes off by
//! itself soon after, so that it outlives neither its last reader nor the agent.

mod known;
mod pods;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    io::unix::AsyncFd,
    sync::watch,
    task::block_in_place,
    time::{MissedTickBehavior, interval},
};

use self::known::KnownHere;
use super::shared::Shared;
use crate::{
    maps::{
        MapsError,
        pinned::{Dropped, Events},
        pins::Pins,
    },
    node::clock,
    observe::trace::{Now, Teller},
};

/// For how long programs go on once nobody renews it: an agent may be held up for a moment.
const SWITCH: Duration = Duration::from_secs(3);
/// How often that is renewed, and what was dropped is told.
const RENEWAL: Duration = Duration::from_secs(1);
/// How often ends that wait are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What passes at least before names or cgroups are read anew because one is not known.
const PAUSE: Duration = Duration::from_millis(100);
/// Events that programs tell at most in about a second. It takes the agent some microseconds for
/// each.
pub const BUDGET: u32 = 5_000;
/// Events that are read in one go, before anything else has its turn.
const BATCH: usize = 512;

/// Reads what programs tell until `stopped` turns true.
pub async fn run(shared: Arc<Shared>, events: Reading, mut stopped: watch::Receiver<bool>) {
    let Reading(mut events) = events;
    // Of an agent that has died.
    events.get_ref().switch_off();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = shared.tracing().changed() => {}
        }
        if shared.tracing().wanted().bits == 0 {
            continue;
        }
        let ended = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => true,
            read = read(&shared, &mut events) => {
                if let Err(error) = read {
                    tracing::error!("what programs tell can't be read: {error}");
                    shared.tracing().end();
                }
                false
            }
        };
        events.get_ref().switch_off();
        if ended {
            break;
        }
    }
    shared.tracing().end();
}

/// The events as a task awaits them.
pub struct Reading(AsyncFd<Events>);

impl Reading {
    /// Opens the maps.
    pub fn open(pins: &Pins) -> Result<Self, MapsError> {
        Events::open(pins)?.awaited().map(Self)
    }
}

/// Reads for as long as somebody wants to know.
async fn read(shared: &Arc<Shared>, events: &mut AsyncFd<Events>) -> io::Result<()> {
    // What was told to somebody else.
    while events.get_mut().take().is_some() {}
    let tracing = shared.tracing();
    let mut known = block_in_place(|| KnownHere::new(Arc::clone(shared)));
    let mut teller = Teller::default();
    let mut before = events.get_ref().dropped();
    let mut renewals = interval(RENEWAL);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // However many events come: each look is at all ends that wait.
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = tracing.changed() => {
                let wanted = tracing.wanted();
                if wanted.bits == 0 {
                    return Ok(());
                }
                events.get_ref().switch_on(wanted.bits, BUDGET, SWITCH);
                tracing.begin(&wanted);
            }
            _ = renewals.tick() => {
                let wanted = tracing.wanted();
                events.get_ref().switch_on(wanted.bits, BUDGET, SWITCH);
                tracing.begin(&wanted);
                let now = events.get_ref().dropped();
                tracing.dropped(Dropped {
                    capped: now.capped.saturating_sub(before.capped),
                    full: now.full.saturating_sub(before.full),
                });
                before = now;
                block_in_place(|| known.refresh());
            }
            ready = events.readable_mut() => {
                let mut ready = ready?;
                let all = block_in_place(|| {
                    (0..BATCH).all(|_| match ready.get_inner_mut().take() {
                        None => false,
                        Some(event) => {
                            if let Some(view) = teller.take(&event, now(), &mut known) {
                                tracing.deliver(&view);
                            }
                            true
                        }
                    })
                });
                if !all {
                    ready.clear_ready();
                }
            }
            _ = looks.tick(), if teller.waits() => {
                for view in teller.due(now(), &mut known) {
                    tracing.deliver(&view);
                }
            }
        }
    }
}

fn now() -> Now {
    Now { monotonic: clock::now(), wall: SystemTime::now() }
}
