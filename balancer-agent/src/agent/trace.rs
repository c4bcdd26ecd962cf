//! Who reads what programs tell, and the task that reads it for them all.
//!
//! Programs tell nothing while nobody reads. The switch is renewed each second and goes off by itself soon
//! after, so that it outlives neither its last reader nor the agent. Readers share one task, which waits for
//! none of them: each has a queue, and what finds it full is counted.

mod known;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use balancer_common::layout::Told;
use tokio::{
    io::unix::AsyncFd,
    sync::{Notify, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::known::KnownHere;
use super::shared::Shared;
use crate::{
    answer::AnswerError,
    api::Lines,
    maps::{
        MapsError,
        pinned::{Dropped, Events},
        pins::Pins,
    },
    node::clock,
    observe::trace::{Now, Teller},
    view::{DroppedView, TraceQuestion, TraceView},
};

/// For how long programs go on once nobody renews it: an agent may be held up for a moment.
const SWITCH: Duration = Duration::from_secs(3);
/// How often that is renewed, and what was dropped is told.
const RENEWAL: Duration = Duration::from_secs(1);
/// How often ends that wait are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Events that programs tell at most in about a second. It takes the agent some microseconds for each.
pub const BUDGET: u32 = 5_000;
/// Events that are read in one go, before anything else has its turn.
const BATCH: usize = 512;
/// Lines that wait for a reader at most.
const QUEUE: usize = 4_096;
/// Who may read at the same time.
const READERS: usize = 16;

/// Who reads.
#[derive(Default)]
pub struct Tracing {
    readers: Mutex<Readers>,
    /// Wakes the task: there are other readers.
    changed: Notify,
}

#[derive(Default)]
struct Readers {
    next: u64,
    all: Vec<Reader>,
}

struct Reader {
    number: u64,
    question: TraceQuestion,
    lines: mpsc::Sender<TraceView>,
    /// True once it knows that things are told.
    begun: bool,
    /// What it was not told since the last line that says so.
    dropped: DroppedView,
}

/// What one reader is told; it is forgotten with this.
pub struct Subscription {
    number: u64,
    tracing: Arc<Tracing>,
    lines: mpsc::Receiver<TraceView>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.tracing.lock().all.retain(|reader| reader.number != self.number);
        self.tracing.changed.notify_one();
    }
}

impl Lines for Subscription {
    type Line = TraceView;

    async fn next(&mut self) -> Option<TraceView> {
        self.lines.recv().await
    }
}

impl Tracing {
    /// Tells a reader what it asks for from now on.
    pub fn subscribe(
        self: &Arc<Self>,
        question: TraceQuestion,
    ) -> Result<Subscription, AnswerError> {
        let mut readers = self.lock();
        if readers.all.len() >= READERS {
            return Err(AnswerError::TooManyReaders { most: READERS });
        }
        let (sender, lines) = mpsc::channel(QUEUE);
        let number = readers.next;
        readers.next += 1;
        let dropped = DroppedView::default();
        readers.all.push(Reader { number, question, lines: sender, begun: false, dropped });
        drop(readers);
        self.changed.notify_one();
        Ok(Subscription { number, tracing: Arc::clone(self), lines })
    }

    /// What programs are to tell: a bit for each kind. 0 where nobody reads.
    fn wanted(&self) -> u32 {
        self.lock().all.iter().map(|reader| wanted(&reader.question)).fold(0, |all, one| all | one)
    }

    /// Tells those who have come that things are told.
    fn begin(&self) {
        for reader in self.lock().all.iter_mut().filter(|reader| !reader.begun) {
            reader.begun = reader.lines.try_send(TraceView::Begun).is_ok();
        }
    }

    /// Hands a line to everybody who has asked for it, and waits for nobody.
    fn deliver(&self, view: &TraceView) {
        for reader in &mut self.lock().all {
            if reader.question.takes(view) {
                reader.give(view.clone());
            }
        }
    }

    /// Tells everybody what programs could not tell, and what they have missed themselves.
    fn dropped(&self, dropped: Dropped) {
        for reader in &mut self.lock().all {
            reader.dropped.capped += dropped.capped;
            reader.dropped.full += dropped.full;
            reader.tell_dropped();
        }
    }

    /// Ends what everybody is told.
    fn end(&self) {
        self.lock().all.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn give(&mut self, view: TraceView) {
        self.tell_dropped();
        if self.lines.try_send(view).is_err() {
            self.dropped.behind += 1;
        }
    }

    fn tell_dropped(&mut self) {
        if self.dropped.total() > 0 && self.lines.try_send(TraceView::Dropped(self.dropped)).is_ok()
        {
            self.dropped = DroppedView::default();
        }
    }
}

/// What programs must tell for a question.
fn wanted(question: &TraceQuestion) -> u32 {
    let refusals = Told::Refusal.bit();
    let ends = Told::End.bit() | Told::State.bit();
    match question.verdict.as_deref() {
        Some("balanced") => Told::Choice.bit(),
        Some("not-service") => Told::NoService.bit(),
        Some(_) => refusals,
        // Choices tell whose an end is.
        None => Told::Choice.bit() | refusals | ends,
    }
}

/// Reads what programs tell until `stopped` turns true.
pub async fn run(shared: Arc<Shared>, events: Reading, mut stopped: watch::Receiver<bool>) {
    let Reading(mut events) = events;
    // Of an agent that has died.
    events.get_ref().switch_off();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            () = shared.tracing().changed.notified() => {}
        }
        if shared.tracing().wanted() == 0 {
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
    let mut known = KnownHere::new(Arc::clone(shared));
    let mut teller = Teller::default();
    let mut before = events.get_ref().dropped();
    let mut renewals = interval(RENEWAL);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let look = Instant::now() + LOOK;
        tokio::select! {
            () = tracing.changed.notified() => {
                let wanted = tracing.wanted();
                if wanted == 0 {
                    return Ok(());
                }
                events.get_ref().switch_on(wanted, BUDGET, SWITCH);
                tracing.begin();
            }
            _ = renewals.tick() => {
                events.get_ref().switch_on(tracing.wanted(), BUDGET, SWITCH);
                tracing.begin();
                let now = events.get_ref().dropped();
                tracing.dropped(Dropped {
                    capped: now.capped.saturating_sub(before.capped),
                    full: now.full.saturating_sub(before.full),
                });
                before = now;
                known.refresh();
            }
            ready = events.readable_mut() => {
                let mut ready = ready?;
                let all = tokio::task::block_in_place(|| {
                    (0..BATCH).all(|_| match ready.get_inner_mut().take() {
                        None => false,
                        Some(event) => {
                            for view in teller.take(&event, now(), &mut known) {
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
            () = sleep_until(look), if teller.waits() => {}
        }
        for view in teller.due(now(), &mut known) {
            tracing.deliver(&view);
        }
    }
}

fn now() -> Now {
    Now { monotonic: clock::now(), wall: SystemTime::now() }
}

#[cfg(test)]
mod tests;
