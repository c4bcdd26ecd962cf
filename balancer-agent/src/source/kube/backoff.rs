//! When to ask again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(200);
/// Known as the longest pause to `kubectl` users: client-go's, too.
const LONGEST: Duration = Duration::from_secs(30);
/// So long without an error, and the next one is the first again.
const FORGIVEN: Duration = Duration::from_secs(60);

/// Growing pauses between failures, each drawn at random from its upper half: the nodes of a
/// cluster must not all come back at once.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// The pause after a failure now; `draw` is from 0 to 1.
    pub fn pause(&mut self, now: Instant, draw: f64) -> Duration {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > FORGIVEN) {
            self.failures = 0;
        }
        self.last = Some(now);
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        full.mul_f64(0.5 + draw / 2.0)
    }

    /// The server answered: the next failure is another one.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_are_forgiven() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            pauses.push(backoff.pause(start, 1.0).as_millis());
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
        assert_eq!(backoff.pause(start, 0.0), LONGEST / 2);
        assert_eq!(backoff.pause(start + FORGIVEN + FIRST, 1.0), FIRST);
        assert_eq!(backoff.pause(start + FORGIVEN + FIRST, 1.0), FIRST * 2);
        backoff.reset();
        assert_eq!(backoff.pause(start + FORGIVEN + FIRST, 1.0), FIRST);
    }
}
