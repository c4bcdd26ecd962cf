//! Who reads what programs tell. Each has a queue; what finds it full is counted, and nobody is
//! waited for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use balancer_common::layout::Told;
use tokio::sync::{Notify, mpsc};

use crate::{
    answer::AnswerError,
    api::Lines,
    maps::pinned::Dropped,
    view::{DroppedView, TraceQuestion, TraceView},
};

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

/// What programs are to tell.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A bit for each kind. 0 where nobody reads.
    pub bits: u32,
    /// Readers that do not know yet that things are told.
    new: Vec<u64>,
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

    /// What programs are to tell now.
    pub fn wanted(&self) -> Wanted {
        let readers = self.lock();
        let bits = readers.all.iter().map(|reader| wanted(&reader.question));
        let new = readers.all.iter().filter(|reader| !reader.begun).map(|reader| reader.number);
        Wanted { bits: bits.fold(0, |all, one| all | one), new: new.collect() }
    }

    /// Programs tell what was wanted: tells those who were new then. Who came later may want more.
    pub fn begin(&self, wanted: &Wanted) {
        let is_new = |reader: &&mut Reader| wanted.new.contains(&reader.number);
        for reader in self.lock().all.iter_mut().filter(is_new) {
            reader.begun = reader.lines.try_send(TraceView::Begun).is_ok();
        }
    }

    /// Hands a line to everybody who has asked for it, and waits for nobody.
    pub fn deliver(&self, view: &TraceView) {
        for reader in &mut self.lock().all {
            if reader.question.takes(view) {
                reader.give(view.clone());
            }
        }
    }

    /// Tells everybody what programs could not tell, and what they have missed themselves.
    pub fn dropped(&self, dropped: Dropped) {
        for reader in &mut self.lock().all {
            reader.dropped.capped += dropped.capped;
            reader.dropped.full += dropped.full;
            reader.tell_dropped();
        }
    }

    /// Waits until there are other readers. Cancel-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends what everybody is told.
    pub fn end(&self) {
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

#[cfg(test)]
mod tests;
