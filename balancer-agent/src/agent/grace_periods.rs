//! Waits for running programs beside the loop, which goes on meanwhile.
//!
//! A grace takes some ten milliseconds. What a plan gave up may not be used again before, but nothing
//! else has to wait for it: the next change is written at once, elsewhere.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use crate::{maps::rcu::synchronize, plan::book::Epoch};

/// Who waits.
pub trait GracePeriods {
    /// The plan of this number has been carried out.
    fn ask(&self, epoch: Epoch);
    /// The newest plan after which a grace period has passed.
    fn passed(&self) -> Epoch;
}

/// The thread that waits.
#[derive(Debug)]
pub struct WaitingThread {
    asked: mpsc::Sender<Epoch>,
    passed: Arc<AtomicU64>,
}

impl WaitingThread {
    /// Starts the thread; it ends when this is dropped.
    pub fn start() -> io::Result<Self> {
        let (asked, asks) = mpsc::channel();
        let passed = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&passed);
        thread::Builder::new().name("grace_periods".to_owned()).spawn(move || {
            while let Ok(epoch) = asks.recv() {
                // One grace is enough for all that was given up before it.
                let epoch = asks.try_iter().last().unwrap_or(epoch);
                synchronize();
                told.store(epoch, Ordering::Release);
            }
        })?;
        Ok(Self { asked, passed })
    }
}

impl GracePeriods for WaitingThread {
    fn ask(&self, epoch: Epoch) {
        // The thread is there as long as this is.
        let _ = self.asked.send(epoch);
    }

    fn passed(&self) -> Epoch {
        self.passed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_was_asked_for_passes() {
        let grace_periods = WaitingThread::start().unwrap();
        assert_eq!(grace_periods.passed(), 0);
        let deadline = Instant::now() + Duration::from_secs(10);
        for epoch in [1, 2, 7] {
            grace_periods.ask(epoch);
        }
        while grace_periods.passed() < 7 {
            assert!(Instant::now() < deadline, "only {}", grace_periods.passed());
            thread::yield_now();
        }
    }
}
