//! What is desired: the reconciler makes it, and everybody else reads it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::desired::Desired;

/// What is desired, for the one who makes it.
#[derive(Debug, Default)]
pub struct Known(Reader);

/// What is desired, for those who read it. Clones read the same.
#[derive(Clone, Debug, Default)]
pub struct Reader(Arc<RwLock<Desired>>);

impl Known {
    /// For those who read it.
    pub fn reader(&self) -> Reader {
        self.0.clone()
    }

    /// Changes it; those who read it wait meanwhile.
    pub fn change(&mut self) -> RwLockWriteGuard<'_, Desired> {
        self.0.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads it. Whoever makes it is the only one who could be waited for.
    pub fn read(&self) -> RwLockReadGuard<'_, Desired> {
        self.0.read()
    }
}

impl Reader {
    /// Reads it. A change waits for as long as this is held, so that nothing that blocks may be done.
    pub fn read(&self) -> RwLockReadGuard<'_, Desired> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
