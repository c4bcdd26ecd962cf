//! Bytes a second of connections and backends, from one look at them to the next. Pure.
//!
//! What clients have sent and servers have acknowledged counts requests to some percent where they are
//! alike. What was sent by connections that were opened and closed between two looks is not seen.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::port::PortKey;
use crate::view::{ConnectionView, EndView};

/// What was seen of connections at one time.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// When.
    pub at: Duration,
    /// The Service whose connections alone were asked for: namespace and name.
    pub only: Option<(String, String)>,
    /// True where there are more than were looked at.
    pub sampled: bool,
    /// The connections.
    pub connections: Vec<ConnectionView>,
}

/// A connection and what it sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    /// The connection.
    pub view: ConnectionView,
    /// Bytes a second; none at the first look, and where its socket can't be reached.
    pub rate: Option<f64>,
}

impl Rated {
    /// The Service port that it was opened to.
    pub fn port(&self) -> PortKey {
        let ConnectionView { namespace, service, service_port, .. } = &self.view;
        PortKey::new(namespace, service, service_port)
    }

    /// Where it leads.
    pub fn backend(&self) -> SocketAddr {
        address(self.view.backend)
    }

    /// Where it comes from.
    pub fn client(&self) -> SocketAddr {
        address(self.view.client)
    }
}

fn address(end: EndView) -> SocketAddr {
    SocketAddr::from((end.address, end.port))
}

/// What the looks so far tell.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Bytes sent at the last look, by client and backend.
    sent: BTreeMap<(SocketAddr, SocketAddr), (Duration, u64)>,
    /// Bytes a second by backend, and of how many connections.
    backends: BTreeMap<(PortKey, SocketAddr), (f64, u64)>,
    connections: Vec<Rated>,
    sampled: bool,
    /// The last look.
    last: Option<Duration>,
    /// True after the second one.
    known: bool,
}

impl Rates {
    /// Takes a look. What it does not include stays as it was.
    pub fn take(&mut self, look: Look) {
        let Look { at, only, sampled, connections } = look;
        let includes = |namespace: &str, service: &str| {
            only.as_ref().is_none_or(|(n, s)| n == namespace && s == service)
        };
        let before = std::mem::take(&mut self.sent);
        let rated = |view| rated(view, at, self.last, &before);
        let rated: Vec<_> = connections.into_iter().map(rated).collect();
        for seen in &rated {
            if let Some(activity) = &seen.view.activity {
                self.sent.insert((seen.client(), seen.backend()), (at, activity.bytes_sent));
            }
        }
        let others = |seen: &Rated| !includes(&seen.view.namespace, &seen.view.service);
        self.connections.retain(others);
        for other in &self.connections {
            let ends = (other.client(), other.backend());
            if let Some(sent) = before.get(&ends) {
                self.sent.entry(ends).or_insert(*sent);
            }
        }
        self.backends.retain(|(port, _), _| !includes(&port.namespace, &port.service));
        for seen in &rated {
            let Some(rate) = seen.rate else { continue };
            let sum = self.backends.entry((seen.port(), seen.backend())).or_default();
            *sum = (sum.0 + rate, sum.1 + 1);
        }
        self.connections.extend(rated);
        self.sampled = sampled;
        self.known = self.last.replace(at).is_some();
    }

    /// The connections that were seen last.
    pub fn connections(&self) -> &[Rated] {
        &self.connections
    }

    /// True where there are more connections than are looked at.
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// Bytes a second that a backend was sent over its `open` connections; none before two looks, and
    /// where none of its connections is among those that are looked at.
    pub fn of(&self, port: &PortKey, backend: SocketAddr, open: u64) -> Option<f64> {
        if !self.known {
            return None;
        }
        match self.backends.get(&(port.clone(), backend)) {
            Some((sum, seen)) if self.sampled => Some(sum * open.max(*seen) as f64 / *seen as f64),
            Some((sum, _)) => Some(*sum),
            None if self.sampled && open > 0 => None,
            None => Some(0.0),
        }
    }
}

/// A connection that is younger than the last look has sent everything since.
fn rated(
    view: ConnectionView,
    at: Duration,
    last: Option<Duration>,
    before: &BTreeMap<(SocketAddr, SocketAddr), (Duration, u64)>,
) -> Rated {
    let rate = view.activity.as_ref().and_then(|activity| {
        let sent = activity.bytes_sent;
        let ends = (address(view.client), address(view.backend));
        let age = Duration::from_millis(view.age_ms);
        let (bytes, over) = match before.get(&ends) {
            Some((then, bytes)) if *bytes <= sent => (sent - bytes, at.saturating_sub(*then)),
            _ => {
                let over = at.saturating_sub(last?);
                (sent, (age <= over).then_some(over)?)
            }
        };
        (!over.is_zero()).then(|| bytes as f64 / over.as_secs_f64())
    });
    Rated { view, rate }
}

#[cfg(test)]
mod tests;
