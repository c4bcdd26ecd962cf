//! Rounds: each measures every stage once, in an order of its own, so that whatever else the
//! machine does falls on all of them alike, and ratios are taken within a round.

use balancer_lab::error::{Error, Result};
use indicatif::ProgressBar;
use rand::seq::SliceRandom;

use super::{stage::Stage, stats::Spread, variant::Variant};

/// What `N` metrics came to: for each stage the values of each round.
pub(super) struct Rounds<const N: usize> {
    values: Vec<Vec<[f64; N]>>,
    /// The stage that ratios refer to.
    base: usize,
}

impl<const N: usize> Rounds<N> {
    /// Measures.
    pub(super) fn run(
        stages: &mut [Stage],
        rounds: u32,
        progress: &ProgressBar,
        mut measure: impl FnMut(&mut Stage) -> Result<[f64; N]>,
    ) -> Result<Self> {
        let base = stages
            .iter()
            .position(|stage| stage.variant == Variant::Direct)
            .ok_or_else(|| Error::Unmet("there is no direct variant to compare with".into()))?;
        let mut values = vec![Vec::new(); stages.len()];
        let mut order: Vec<usize> = (0..stages.len()).collect();
        progress.set_length(u64::from(rounds) * stages.len() as u64);
        progress.set_position(0);
        // Round 0 warms up: first uses allocate, and rules and maps come into the caches.
        for round in 0..=rounds {
            order.shuffle(&mut rand::rng());
            for &index in &order {
                let stage = &mut stages[index];
                progress.set_message(stage.variant.name());
                let sample = measure(stage).map_err(|error| {
                    Error::Unmet(format!(
                        "{}, {} Services, round {round}: {error}",
                        stage.variant.name(),
                        stage.services
                    ))
                })?;
                if round > 0 {
                    values[index].push(sample);
                    progress.inc(1);
                }
            }
        }
        Ok(Self { values, base })
    }

    /// A metric of stages that are alike.
    pub(super) fn metric(&self, stages: &[usize], metric: usize) -> Spread {
        Spread::of(self.raw(stages, metric))
    }

    /// A metric of stages that are alike, divided by that of the direct variant in the same round.
    pub(super) fn ratio(&self, stages: &[usize], metric: usize) -> Spread {
        self.between(stages, &[self.base], metric)
    }

    /// A metric of stages that are alike, divided by that of others in the same round.
    pub(super) fn between(&self, stages: &[usize], others: &[usize], metric: usize) -> Spread {
        let pairs = stages.iter().flat_map(|stage| others.iter().map(move |other| (stage, other)));
        Spread::of(pairs.flat_map(|(stage, other)| {
            let rounds = self.values[*stage].iter().zip(&self.values[*other]);
            rounds.map(|(sample, other)| sample[metric] / other[metric])
        }))
    }

    /// Every value of stages that are alike.
    pub(super) fn raw(&self, stages: &[usize], metric: usize) -> Vec<f64> {
        let samples = stages.iter().flat_map(|stage| &self.values[*stage]);
        samples.map(|sample| sample[metric]).collect()
    }

    /// A sentence on how far a metric and its ratio can be trusted.
    pub(super) fn noise(&self, stages: &[Stage], metric: usize, what: &str) -> String {
        let base = self.metric(&[self.base], metric);
        let swing = (base.high - base.low) / base.median * 100.0;
        let mut sentence = format!(
            "Noise: the middle half of the rounds' {what} of direct spans {swing:.1}% of its median"
        );
        if let Some(control) = stages.iter().position(|stage| stage.variant == Variant::Control) {
            let Spread { median, low, high } = self.ratio(&[control], metric);
            sentence += &format!(
                "; direct measured once more, in another lab, came to {median:.3} \
                 ({low:.3}-{high:.3}): smaller differences than that are none"
            );
        }
        sentence + "."
    }
}
