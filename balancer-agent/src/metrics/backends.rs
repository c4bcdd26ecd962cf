//! The series of each backend, where they are wanted. There may be 600,000 of them: they are put into
//! the text as they stand, six passes over the views without a copy of any label.

use std::{
    fmt::{self, Write},
    net::SocketAddr,
};

use super::services::Port;
use crate::view::{BackendState, BackendView};

/// What the format says of a metric.
enum Kind {
    Counter,
    Gauge,
}

/// Name, kind, help, and what there is of a backend; none where it is not known.
type Metric = (&'static str, Kind, &'static str, fn(&BackendView) -> Option<u64>);

const METRICS: [Metric; 6] = [
    (
        "connections",
        Kind::Gauge,
        "Open connections from this node to a backend; Services that share one show the same",
        |backend| Some(backend.active.into()),
    ),
    (
        "cluster_connections",
        Kind::Gauge,
        "Open connections from all nodes to a backend, where they are known",
        |backend| backend.cluster_active,
    ),
    ("opened", Kind::Counter, "Connections ever opened from this node to a backend", |backend| {
        Some(backend.opened_total)
    }),
    (
        "failed",
        Kind::Counter,
        "Connections to a backend that were refused or timed out",
        |backend| Some(backend.failed_total),
    ),
    (
        "suspect",
        Kind::Gauge,
        "1 while a backend has just failed and gets no connection while others answer",
        |backend| Some((backend.state == BackendState::Suspect).into()),
    ),
    ("suspected", Kind::Counter, "How often a backend became suspect", |backend| {
        Some(backend.suspected_total.into())
    }),
];

/// The labels of a Service port and of its backends, as the text has them.
struct Labels {
    /// All before the address.
    port: String,
    addresses: String,
    /// Where each address ends.
    ends: Vec<usize>,
}

impl Labels {
    fn of(port: &Port) -> Result<Self, fmt::Error> {
        let mut labels = Self { port: "{".to_owned(), addresses: String::new(), ends: Vec::new() };
        for (name, value) in port.labels() {
            write!(labels.port, "{name}=\"")?;
            escape(value, &mut labels.port);
            labels.port.push_str("\",");
        }
        labels.port.push_str("backend=\"");
        for backend in &port.view.backends {
            write!(labels.addresses, "{}", SocketAddr::new(backend.address, backend.port))?;
            labels.ends.push(labels.addresses.len());
        }
        Ok(labels)
    }

    fn addresses(&self) -> impl Iterator<Item = &str> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.addresses[start..*end])
    }
}

/// Writes the series of all backends; of a metric without any, not even its name.
pub(super) fn write(ports: &[Port], out: &mut impl Write) -> fmt::Result {
    let labels = ports.iter().map(Labels::of).collect::<Result<Vec<_>, _>>()?;
    let mut line = String::new();
    let mut digits = itoa::Buffer::new();
    for (name, kind, help, value) in METRICS {
        let (kind, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        let mut is_begun = false;
        for (port, labels) in ports.iter().zip(&labels) {
            for (backend, address) in port.view.backends.iter().zip(labels.addresses()) {
                let Some(value) = value(backend) else { continue };
                if !std::mem::replace(&mut is_begun, true) {
                    writeln!(out, "# HELP balancer_backend_{name} {help}")?;
                    writeln!(out, "# TYPE balancer_backend_{name} {kind}")?;
                }
                line.clear();
                let labels = [labels.port.as_str(), address, "\"} "];
                for part in ["balancer_backend_", name, suffix].into_iter().chain(labels) {
                    line.push_str(part);
                }
                line.push_str(digits.format(value));
                line.push('\n');
                out.write_str(&line)?;
            }
        }
    }
    Ok(())
}

/// Adds the value of a label.
fn escape(value: &str, to: &mut String) {
    for char in value.chars() {
        match char {
            '\\' => to.push_str("\\\\"),
            '"' => to.push_str("\\\""),
            '\n' => to.push_str("\\n"),
            other => to.push(other),
        }
    }
}
