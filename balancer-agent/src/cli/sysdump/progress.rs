//! What is being asked for, where that takes long.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget};

/// How long nothing is said.
const SILENT: Duration = Duration::from_secs(2);
/// How often it is drawn.
const PACE: Duration = Duration::from_millis(200);

/// Says on a terminal what is being asked for, once that has taken two seconds.
pub(super) struct Progress {
    begun: Instant,
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn start() -> Self {
        Self { begun: Instant::now(), bar: ProgressBar::hidden() }
    }

    /// What comes now.
    pub(super) fn says(&self, what: &str) {
        self.bar.set_message(format!("asking for {what}"));
        if self.bar.is_hidden() && self.begun.elapsed() >= SILENT && io::stderr().is_terminal() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(PACE);
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
