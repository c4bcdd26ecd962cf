//! Service ports, written straight from the views.

use std::{fmt, sync::Arc};

use balancer_common::policy::Policy;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

use super::Total;
use crate::{
    config::BackendSeries,
    view::{BackendView, ServiceView},
};

/// The Service ports of a scrape, each with what was counted since the agent started. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Services {
    ports: Arc<Vec<Port>>,
    series: BackendSeries,
}

/// A Service port with its labels.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) view: ServiceView,
    total: Total,
    number: String,
    protocol: String,
}

/// A value of a series.
enum Value {
    Count(u64),
    Gauge(u64),
    Ratio(f64),
}

impl Services {
    pub(super) fn new(views: Vec<ServiceView>, totals: Vec<Total>, series: BackendSeries) -> Self {
        let port = |(view, total): (ServiceView, Total)| Port {
            number: view.port.number.to_string(),
            protocol: view.port.protocol.to_string(),
            view,
            total,
        };
        let ports = views.into_iter().zip(totals).map(port).collect();
        Self { ports: Arc::new(ports), series }
    }

    /// Those whose backends have series, too.
    pub(super) fn with_backends(&self) -> &[Port] {
        if self.series == BackendSeries::All { &self.ports } else { &[] }
    }
}

impl Collector for Services {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if self.series == BackendSeries::Off {
            return Ok(());
        }
        for (name, help, value) in OF_SERVICE {
            let series = self.ports.iter().filter_map(|port| Some((port.labels(), value(port)?)));
            write(&mut encoder, name, help, series)?;
        }
        Ok(())
    }
}

/// Writes the series of a metric; without any, not even its name.
fn write<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: impl Iterator<Item = (L, Value)>,
) -> Result<(), fmt::Error> {
    let mut series = series.peekable();
    let kind = match series.peek() {
        None => return Ok(()),
        Some((_, Value::Count(_))) => MetricType::Counter,
        Some((_, Value::Gauge(_) | Value::Ratio(_))) => MetricType::Gauge,
    };
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in series {
        let mut one = metric.encode_family(&labels)?;
        match value {
            Value::Count(count) => one.encode_counter::<NoLabelSet, _, u64>(&count, None)?,
            Value::Gauge(value) => one.encode_gauge(&value)?,
            Value::Ratio(value) => one.encode_gauge(&value)?,
        }
    }
    Ok(())
}

/// Name, help, and what there is of something; none where it is not known.
type Metric<T> = (&'static str, &'static str, fn(&T) -> Option<Value>);

/// Of a Service port.
const OF_SERVICE: [Metric<Port>; 11] = [
    (
        "service_connections",
        "Open connections from this node to the backends of a Service port; Services that share backends show them each",
        |port| Some(Value::Gauge(port.sum(|backend| backend.active.into()))),
    ),
    ("service_cluster_connections", "The same from all nodes, where they are known", |port| {
        port.view.cluster_active().map(Value::Gauge)
    }),
    ("service_opened", "Connections opened from this node since the agent started", |port| {
        Some(Value::Count(port.total.opened))
    }),
    ("service_failed", "Connections refused or timed out since the agent started", |port| {
        Some(Value::Count(port.total.failed))
    }),
    (
        "service_backends",
        "Backends of a Service port, those included that only have open connections",
        |port| Some(Value::Gauge(port.view.backends.len() as u64)),
    ),
    (
        "service_ready_backends",
        "Backends that get new connections; 0 where every connection is refused",
        |port| Some(Value::Gauge(port.usable().count() as u64)),
    ),
    (
        "service_least_connections",
        "Connections from this node of the backend that has the fewest, among those that get new ones",
        |port| port.usable().map(|backend| u64::from(backend.active)).min().map(Value::Gauge),
    ),
    ("service_most_connections", "The same of the backend that has the most", |port| {
        port.usable().map(|backend| u64::from(backend.active)).max().map(Value::Gauge)
    }),
    (
        "service_least_cluster_connections",
        "Connections from all nodes of the backend that has the fewest",
        |port| port.cluster()?.into_iter().min().map(Value::Gauge),
    ),
    ("service_most_cluster_connections", "The same of the backend that has the most", |port| {
        port.cluster()?.into_iter().max().map(Value::Gauge)
    }),
    (
        "service_skew_ratio",
        "Connections of the backend that has the most, for its weight, over the mean; of all nodes where they are known",
        |port| port.skew().map(Value::Ratio),
    ),
];

impl Port {
    /// Names and values.
    pub(super) fn labels(&self) -> [(&str, &str); 4] {
        [
            ("namespace", &self.view.namespace),
            ("service", &self.view.name),
            ("port", &self.number),
            ("protocol", &self.protocol),
        ]
    }

    fn sum(&self, count: fn(&BackendView) -> u64) -> u64 {
        self.view.backends.iter().map(count).sum()
    }

    /// Backends that get new connections. Those that terminate are among them only where no ready one
    /// is left, and then no other is in the row.
    fn usable(&self) -> impl Iterator<Item = &BackendView> {
        let usable = |backend: &&BackendView| backend.state.is_usable();
        self.view.backends.iter().filter(usable)
    }

    /// Connections from all nodes of each usable backend, where all are known.
    fn cluster(&self) -> Option<Vec<u64>> {
        let all: Option<Vec<u64>> = self.usable().map(|backend| backend.cluster_active).collect();
        all.filter(|all| !all.is_empty())
    }

    /// The most over the mean; 1 where nothing is open.
    fn skew(&self) -> Option<f64> {
        let cluster = self.cluster();
        let own = || self.usable().map(|backend| u64::from(backend.active)).collect();
        let counts: Vec<u64> = cluster.unwrap_or_else(own);
        let weighted = self.view.policy == Policy::WeightedLeastConnections.name();
        let weight = |backend: &BackendView| if weighted { backend.weight.max(1) } else { 1 };
        let weights: Vec<f64> = self.usable().map(|backend| f64::from(weight(backend))).collect();
        let shares = counts.iter().zip(&weights).map(|(count, weight)| *count as f64 / weight);
        let most = shares.reduce(f64::max)?;
        let mean = counts.iter().sum::<u64>() as f64 / weights.iter().sum::<f64>();
        Some(if mean > 0.0 { most / mean } else { 1.0 })
    }
}

#[cfg(test)]
mod tests;
