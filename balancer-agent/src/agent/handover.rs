//! What the loop that follows changes tells the one that looks at connected UDP sockets.

use std::sync::{Mutex, MutexGuard, PoisonError};

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

    fn lock(&self) -> MutexGuard<'_, Option<Look>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
