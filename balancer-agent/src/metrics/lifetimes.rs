//! How long connections lived, as programs have counted it.

use balancer_common::layout::{LIFETIME_BOUNDS, LIFETIME_SUM, LIFETIME_WORDS};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

/// The words of the map, as a histogram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes(pub(super) [u64; LIFETIME_WORDS]);

impl Collector for Lifetimes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let bounds =
            LIFETIME_BOUNDS.map(|seconds| seconds as f64).into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0).collect();
        let count = self.0[..LIFETIME_SUM].iter().sum();
        let sum = self.0[LIFETIME_SUM] as f64 / 1_000.0;
        let help = "Time from the SYN of a connection of this node's sockets until it was closed";
        let mut encoder = encoder.encode_descriptor(
            "connection_lifetime",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}
