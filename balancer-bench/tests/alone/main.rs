//! Tests that load both processors of a small machine for as long as they run: one after another,
//! and not beside those of `node`.

mod cluster;
mod crash;
mod soak;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits until no other test runs here.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
