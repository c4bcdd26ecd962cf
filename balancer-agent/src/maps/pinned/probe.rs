//! The one frontend that is no Service's: where the agent dials itself.

use super::*;

/// The entry of the self-test.
pub struct Probe {
    frontends: Table<Key4, Value>,
}

impl Probe {
    /// Opens the map.
    pub fn open(pins: &Pins) -> Result<Self, MapsError> {
        Ok(Self { frontends: Table::open(pins, "FRONTENDS4")?.0 })
    }

    /// Leads sockets of UDP that dial [`convert::SELF_TEST`] to a port of 127.0.0.1.
    pub fn lead(&mut self, port: u16) -> Result<(), MapsError> {
        match convert::self_test(port) {
            (FrontendKey::V4(key), value) => self.frontends.put(transmute!(key), transmute!(value)),
            (FrontendKey::V6(_), _) => Ok(()),
        }
    }
}
