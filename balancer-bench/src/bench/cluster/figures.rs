//! How evenly connections are spread.

/// One moment, or a mean over many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Standard deviation divided by the mean, over the backends.
    pub(super) cv: f64,
    /// The most of a backend, divided by the mean.
    pub(super) max_over_mean: f64,
    /// The most of a backend minus the least.
    pub(super) gap: f64,
}

impl Figures {
    /// Of these backends; nothing where there is no connection.
    pub(super) fn of(counts: impl Iterator<Item = u32> + Clone) -> Self {
        let number = counts.clone().count() as f64;
        let sum: u32 = counts.clone().sum();
        if sum == 0 {
            return Self::default();
        }
        let mean = f64::from(sum) / number;
        let squares: f64 = counts.clone().map(|count| (f64::from(count) - mean).powi(2)).sum();
        let most = f64::from(counts.clone().max().unwrap_or(0));
        let least = f64::from(counts.min().unwrap_or(0));
        Self { cv: (squares / number).sqrt() / mean, max_over_mean: most / mean, gap: most - least }
    }

    /// The mean of many.
    pub(super) fn mean(all: &[Self]) -> Self {
        let number = all.len().max(1) as f64;
        let mean = |value: fn(&Self) -> f64| all.iter().map(value).sum::<f64>() / number;
        Self {
            cv: mean(|one| one.cv),
            max_over_mean: mean(|one| one.max_over_mean),
            gap: mean(|one| one.gap),
        }
    }
}

/// The value that 95% of these do not exceed.
pub(super) fn p95(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let index = (values.len() * 95).div_ceil(100).saturating_sub(1);
    values.get(index).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_backends_given() {
        let figures = Figures::of([2, 4, 6, 8].into_iter());
        let cv = 5.0_f64.sqrt() / 5.0;
        assert_eq!(figures, Figures { cv, max_over_mean: 1.6, gap: 6.0 });
        assert_eq!(Figures::of([0, 0].into_iter()), Figures::default());
    }

    #[test]
    fn ninety_five_of_a_hundred_are_within() {
        assert_eq!(p95((1..=100).map(f64::from)), 95.0);
        assert_eq!(p95([7.0].into_iter()), 7.0);
    }
}
