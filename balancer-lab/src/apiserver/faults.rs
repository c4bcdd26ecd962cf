//! What goes wrong on command.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Faults to come; none at first.
#[derive(Debug, Default)]
pub struct Faults {
    delay_ms: AtomicU64,
    cuts: AtomicU32,
    garbage: AtomicU32,
    failures: Mutex<Vec<u16>>,
    failed_writes: Mutex<Vec<u16>>,
}

impl Faults {
    /// Every answer and every event of a watch comes so much later, until told otherwise.
    pub fn slow(&self, delay: Duration) {
        self.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// The next lists or events, as many, end in the middle of an object, and their connections
    /// with them.
    pub fn cut(&self, count: u32) {
        self.cuts.fetch_add(count, Ordering::Relaxed);
    }

    /// The next lists or events, as many, are replaced by something that is no JSON.
    pub fn garbage(&self, count: u32) {
        self.garbage.fetch_add(count, Ordering::Relaxed);
    }

    /// The next requests, as many, are answered with this HTTP status.
    pub fn fail(&self, code: u16, count: usize) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.extend(std::iter::repeat_n(code, count));
    }

    /// The next requests that create something, as many, are answered with this HTTP status.
    pub fn fail_writes(&self, code: u16, count: usize) {
        let mut failures = self.failed_writes.lock().unwrap_or_else(PoisonError::into_inner);
        failures.extend(std::iter::repeat_n(code, count));
    }

    /// Waits as long as answers are to be late.
    pub async fn pause(&self) {
        let delay = self.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
    }

    /// Whether this text is to be cut.
    pub fn is_cut(&self) -> bool {
        take(&self.cuts)
    }

    /// Whether this text is to be replaced.
    pub fn is_garbage(&self) -> bool {
        take(&self.garbage)
    }

    /// The status this request is to fail with.
    pub fn failure(&self, creates: bool) -> Option<u16> {
        let write = || self.failed_writes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        creates.then(write).flatten().or_else(|| self.any_failure())
    }

    fn any_failure(&self) -> Option<u16> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

fn take(count: &AtomicU32) -> bool {
    let one_less = |left: u32| left.checked_sub(1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
}
