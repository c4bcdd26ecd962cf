//! A worker, from outside.

use balancer_lab::{Place, error::Result, lines::Lines};

use super::wire::{Order, Report};
use crate::itself;

/// A worker in a pod.
#[derive(Debug)]
pub(super) struct Remote(Lines);

impl Remote {
    /// Starts `balancer-bench soak-worker`.
    pub(super) fn start(place: &Place, seed: u64, slots: usize) -> Result<Self> {
        let mut command = itself::command(place)?;
        command.args(["soak-worker", "--seed", &seed.to_string(), "--slots", &slots.to_string()]);
        Ok(Self(Lines::start(&mut command, "balancer-bench soak-worker")?))
    }

    /// Tells it to carry out so many operations; [`Remote::still`] waits for their end.
    pub(super) fn go(&mut self, operations: u64) -> Result<()> {
        self.0.tell(&Order::Operations(operations as usize))
    }

    /// Waits until it holds still.
    pub(super) fn still(&mut self) -> Result<Report> {
        self.0.answer()
    }

    /// What was done last to one of its sockets.
    pub(super) fn past(&mut self, cookie: u64) -> Result<Option<Vec<String>>> {
        self.0.tell(&Order::Past(cookie))?;
        self.0.answer()
    }
}
