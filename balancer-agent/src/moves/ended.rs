//! Connections that were ended and that neither side has closed yet, for those who list connections.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// So many are remembered before those that were closed are looked for.
const FEW: usize = 1_024;

/// Since when which connections are ended, by the words of their charges. Some of them may be closed.
#[derive(Debug)]
pub struct Ended(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    since: HashMap<u64, Duration>,
    /// With more than these, those that were closed are looked for.
    most: usize,
}

impl Default for Ended {
    fn default() -> Self {
        Self(Mutex::new(Inner { since: HashMap::new(), most: FEW }))
    }
}

impl Ended {
    /// Takes connections that were ended. `open` gives all that are open.
    pub fn add(
        &self,
        now: Duration,
        words: impl Iterator<Item = u64>,
        open: impl FnOnce() -> HashSet<u64>,
    ) {
        let mut inner = self.lock();
        inner.since.extend(words.map(|word| (word, now)));
        if inner.since.len() > inner.most {
            let open = open();
            inner.since.retain(|word, _| open.contains(word));
            inner.most = FEW.max(inner.since.len() * 2);
        }
    }

    /// All of them.
    pub fn since(&self) -> HashMap<u64, Duration> {
        self.lock().since.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_is_forgotten_before_there_are_many() {
        let ended = Ended::default();
        let mut asked = 0;
        for word in 0..10_000 {
            ended.add(Duration::from_secs(word), [word].into_iter(), || {
                asked += 1;
                // The last few are open.
                (word - 9..=word).collect()
            });
            let since = ended.since();
            assert_eq!(since.get(&word), Some(&Duration::from_secs(word)));
            assert!(since.len() <= FEW, "{}", since.len());
        }
        assert_eq!(asked, 9);
    }
}
