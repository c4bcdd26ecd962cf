//! What the loop that follows changes tells the one that looks at connected UDP sockets.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::maps::Connected;

/// What the loop that follows changes hands over: always the last that it saw.
#[derive(Debug, Default)]
pub struct Handover {
    seen: Mutex<Option<Look>>,
    wake: Notify,
}

/// Connected UDP sockets at one moment, by their charges.
#[derive(Debug, Default)]
pub struct Look {
    /// All of them.
    pub connected: Vec<Connected>,
    /// Those whose backend does not serve what they dialled.
    pub left: Vec<Connected>,
}

impl Handover {
    /// Takes what was seen. What was seen before and not looked at yet is in it, if it is still so.
    pub fn give(&self, look: Look) {
        *self.lock() = Some(look);
        self.wake.notify_one();
    }

    /// Waits until something was given. Cancel-safe.
    pub async fn given(&self) {
        self.wake.notified().await;
    }

    /// What was given last, once.
    pub fn take(&self) -> Option<Look> {
        self.lock().take()
    }

    /// Those of these sockets that were to be ended at an earlier look, and are still by what was
    /// given since: a backend may serve again.
    pub fn still_left(&self, left: &[Connected]) -> Vec<Connected> {
        let still: Option<BTreeSet<Connected>> =
            self.lock().as_ref().map(|look| look.left.iter().copied().collect());
        let is_left =
            |found: &&Connected| still.as_ref().is_none_or(|still| still.contains(*found));
        left.iter().filter(is_left).copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Look>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_serves_again_is_not_ended() {
        let socket = |index| Connected { netns: 1, index, word: 7, service: 3 };
        let handover = Handover::default();
        handover.give(Look { connected: Vec::new(), left: vec![socket(1), socket(2)] });
        let taken = handover.take().unwrap().left;
        assert_eq!(handover.still_left(&taken), taken, "nothing was given since");
        handover.give(Look { connected: Vec::new(), left: vec![socket(2), socket(3)] });
        assert_eq!(handover.still_left(&taken), [socket(2)]);
    }
}
