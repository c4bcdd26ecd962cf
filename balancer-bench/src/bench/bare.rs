//! What a connection takes where no program is attached to a hook of sockets, anywhere on the machine.
//!
//! As soon as one is, in whatever cgroup, the kernel looks for programs at that hook for every socket. So a
//! lab beside those of the variants can't show it: it is measured alone, before the others are built and
//! once more when they are gone.

use std::{
    thread,
    time::{Duration, Instant},
};

use balancer_lab::error::{Error, Result};
use indicatif::ProgressBar;

use super::{
    bpf,
    stage::{BACKENDS, Plan, Stage},
    stats::Spread,
    variant::Variant,
};

/// How long the kernel may take to free programs whose labs are gone.
const FREED_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks whether they are: nothing tells.
const TICK: Duration = Duration::from_millis(50);

/// A lab without programs, and the values of its rounds.
pub(super) struct Bare<const N: usize> {
    stage: Stage,
    values: Vec<[f64; N]>,
    /// Whether somebody else had programs at these hooks.
    disturbed: bool,
}

impl<const N: usize> Bare<N> {
    /// Builds it.
    pub(super) fn build(progress: &ProgressBar) -> Result<Self> {
        progress.set_message("build: no programs anywhere");
        let stage = Stage::build(Plan::new(Variant::Direct, 0, BACKENDS))?;
        let stage = stage.ok_or_else(|| Error::Unmet("direct connections need nothing".into()))?;
        Ok(Self { stage, values: Vec::new(), disturbed: false })
    }

    /// Measures it so many times, once the programs of other labs are gone.
    pub(super) fn measure(
        &mut self,
        rounds: u32,
        measure: impl Fn(&mut Stage) -> Result<[f64; N]>,
    ) -> Result<()> {
        let deadline = Instant::now() + FREED_WITHIN;
        while bpf::any_is_loaded()? {
            if Instant::now() > deadline {
                self.disturbed = true;
                break;
            }
            thread::sleep(TICK);
        }
        measure(&mut self.stage)?;
        for _ in 0..rounds {
            self.values.push(measure(&mut self.stage)?);
        }
        Ok(())
    }

    /// A metric of it.
    pub(super) fn metric(&self, metric: usize) -> Spread {
        Spread::of(self.raw(metric))
    }

    /// Every value of a metric.
    pub(super) fn raw(&self, metric: usize) -> Vec<f64> {
        self.values.iter().map(|sample| sample[metric]).collect()
    }

    /// How many times its median so many values are.
    pub(super) fn ratio(&self, values: Vec<f64>, metric: usize) -> Spread {
        let bare = self.metric(metric).median;
        Spread::of(values.into_iter().map(|value| value / bare))
    }

    /// A note where others had programs attached all the time.
    pub(super) fn note(&self) -> Option<String> {
        self.disturbed.then(|| {
            "Programs of others were at these hooks all the time, so that \"no programs anywhere\" \
             takes longer here than without them: detach them first."
                .to_owned()
        })
    }
}
