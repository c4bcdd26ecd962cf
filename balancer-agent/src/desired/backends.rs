//! The endpoints of a Service port, as what connections go to.

use std::{fmt, net::SocketAddr, sync::Arc};

use super::IpAddr;
use crate::model::{Place, Protocol};

/// A backend: one (address, port, protocol), whichever Services select it. Small, as there are very
/// many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendAddr {
    ip: IpAddr,
    port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl BackendAddr {
    /// The backend at an address.
    pub const fn new(addr: SocketAddr, protocol: Protocol) -> Self {
        Self { ip: addr.ip(), port: addr.port(), protocol }
    }

    /// Address and port of the endpoint.
    pub const fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

impl fmt::Display for BackendAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr().fmt(f)
    }
}

/// What is known of an endpoint beyond its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Where it runs.
    pub place: Arc<Place>,
    /// True if its pod is being deleted.
    pub terminating: bool,
    /// True if new connections may go there.
    pub usable: bool,
    /// True while it answers, whether or not new connections go there.
    pub serving: bool,
    /// Its share beside that of others, from 1 to [`balancer_common::policy::MAX_WEIGHT`].
    pub weight: u16,
}

/// Every endpoint of a Service port, usable or not, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends(Box<[(BackendAddr, Details)]>);

impl Backends {
    /// What is known of a backend.
    pub fn get(&self, backend: &BackendAddr) -> Option<&Details> {
        let at = self.0.binary_search_by_key(backend, |(backend, _)| *backend).ok()?;
        Some(&self.0[at].1)
    }

    /// Each backend and what is known of it, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&BackendAddr, &Details)> {
        self.0.iter().map(|(backend, details)| (backend, details))
    }

    /// Each backend, by address.
    pub fn keys(&self) -> impl Iterator<Item = &BackendAddr> {
        self.iter().map(|(backend, _)| backend)
    }

    /// What is known of each, by address.
    pub fn values(&self) -> impl Iterator<Item = &Details> {
        self.iter().map(|(_, details)| details)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Details> {
        self.0.iter_mut().map(|(_, details)| details)
    }
}

impl FromIterator<(BackendAddr, Details)> for Backends {
    /// The first of several with one address counts.
    fn from_iter<I: IntoIterator<Item = (BackendAddr, Details)>>(backends: I) -> Self {
        let mut all: Vec<_> = backends.into_iter().collect();
        all.sort_by_key(|(backend, _)| *backend);
        all.dedup_by_key(|(backend, _)| *backend);
        Self(all.into())
    }
}

const _: () = assert!(size_of::<BackendAddr>() == 20 && size_of::<(BackendAddr, Details)>() == 40);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_found_by_address() {
        let addr = |last: u8| BackendAddr::new(([10, 0, 0, last], 80).into(), Protocol::Tcp);
        let details = |weight| Details {
            place: Arc::default(),
            terminating: false,
            usable: true,
            serving: true,
            weight,
        };
        let all = [(3, 30), (1, 10), (2, 20), (1, 11)];
        let backends: Backends =
            all.map(|(last, weight)| (addr(last), details(weight))).into_iter().collect();
        let weights: Vec<_> = backends.values().map(|details| details.weight).collect();
        assert_eq!(weights, [10, 20, 30]);
        assert_eq!(backends.get(&addr(2)).map(|details| details.weight), Some(20));
        assert_eq!(backends.get(&addr(4)), None);
    }
}
