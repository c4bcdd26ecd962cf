//! Which pods there are, from change to change.

use balancer_lab::manifests::Service;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::super::stage::endpoint;

/// Pods at most, at least, and at first.
pub(super) const PODS: usize = 6;
pub(super) const FEWEST: usize = 3;
pub(super) const AT_FIRST: usize = 4;

/// Which pods there are.
pub(super) struct Pods {
    rng: StdRng,
    /// Those that are ready.
    pub(super) ready: Vec<bool>,
    /// The one that leaves.
    leaving: Option<usize>,
    /// Whose process is to be ended, and whose is to be started.
    pub(super) gone: Option<usize>,
    pub(super) new: Option<usize>,
}

impl Pods {
    pub(super) fn new() -> Self {
        let ready = (0..PODS).map(|pod| pod < AT_FIRST).collect();
        Self { rng: StdRng::seed_from_u64(1), ready, leaving: None, gone: None, new: None }
    }

    /// One joins or leaves; the one that left is gone.
    pub(super) fn change(&mut self) {
        self.gone = self.leaving.take();
        let ready = self.ready.iter().filter(|ready| **ready).count();
        let joins = ready == FEWEST || (ready < PODS && self.rng.random_bool(0.5));
        let candidates: Vec<_> = (0..PODS).filter(|pod| self.ready[*pod] != joins).collect();
        let pod = candidates[self.rng.random_range(0..candidates.len())];
        self.ready[pod] = joins;
        if joins {
            self.new = Some(pod);
        } else {
            self.leaving = Some(pod);
        }
    }

    pub(super) fn tell(&self, service: &mut Service) {
        let there = (0..PODS).filter(|pod| self.ready[*pod] || self.leaving == Some(*pod));
        service.endpoints = there
            .map(|pod| {
                let mut endpoint = endpoint(pod, self.ready[pod]);
                endpoint.serving = Some(true);
                endpoint.terminating = Some(self.leaving == Some(pod));
                endpoint
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_stay_between_the_bounds_and_leave_before_they_are_gone() {
        let mut pods = Pods::new();
        let mut left = None;
        for _ in 0..500 {
            pods.change();
            assert_eq!(pods.gone.take(), left);
            left = pods.leaving;
            let new = pods.new.take();
            assert_ne!(left.is_some(), new.is_some(), "one joins or leaves");
            assert!(
                new.is_none_or(|pod| pods.ready[pod]) && left.is_none_or(|pod| !pods.ready[pod])
            );
            let ready = pods.ready.iter().filter(|ready| **ready).count();
            assert!((FEWEST..=PODS).contains(&ready), "{:?}", pods.ready);
        }
    }
}
