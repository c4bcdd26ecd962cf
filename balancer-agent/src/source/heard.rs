//! When a source was last heard.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::node::clock;

/// When the API server last sent an event, a bookmark or a list. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicU64>);

impl Heard {
    /// It is heard now.
    pub fn now(&self) {
        self.0.store((clock::now().as_millis() as u64).max(1), Relaxed);
    }

    /// For how long it was not heard; none where it never was.
    pub fn silent(&self) -> Option<Duration> {
        let at = self.0.load(Relaxed);
        (at != 0).then(|| clock::now().saturating_sub(Duration::from_millis(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_heard_is_not_silent() {
        let heard = Heard::default();
        assert_eq!(heard.silent(), None);
        heard.clone().now();
        assert!(heard.silent().is_some_and(|silent| silent < Duration::from_secs(60)));
    }
}
