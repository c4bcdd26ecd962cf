//! Ends connections, gently where that is possible.
//!
//! The process that opened a connection shares its socket with this one, which looks once more what
//! the connection does and shuts both sides: the program reads an end of file and can send nothing, as
//! if the server had closed, and closes. `docs/moving.md` says why this and not a reset.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    ask::Kernel,
    holders::Holders,
    scene::{End, Reason, Way},
};
use crate::{maps::Recorded, node::holders::Shared};

/// A connection to be ended, with what is needed for it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What was chosen.
    pub end: End,
    /// The connection.
    pub connection: Recorded,
    /// Its other end; none where the backend is in use no more.
    pub backend: Option<SocketAddr>,
    /// True where it is reset if no process has it.
    pub may_reset: bool,
}

/// What came of an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The connection was ended.
    Ended(Way),
    /// It was used in the last moment, and is let alone.
    Busy,
    /// It was closed in the last moment.
    Gone,
    /// No process was found that has it.
    Unheld,
    /// This process may not do it.
    Failed(String),
    /// Its socket is held: who touches it does not come back.
    Stuck,
    /// It was not tried.
    Later,
}

/// Ends a connection, and says what came of it. What [`super::helper`] runs in a process of its own:
/// it may take as long as the pod likes.
pub fn carry_out(order: &Order, kernel: &mut Kernel, holders: &mut Holders) -> Outcome {
    let Order { end, connection, backend, may_reset } = order;
    if end.way == Way::Gentle {
        match holders.take(end.inode, connection, kernel) {
            Ok(Some(socket)) => return gently(&socket, end),
            Ok(None) => {}
            Err(error) => return Outcome::Failed(error.to_string()),
        }
        if !may_reset {
            return Outcome::Unheld;
        }
    }
    let Some(address) = *backend else { return Outcome::Gone };
    match kernel.reset(connection, address) {
        Ok(true) => Outcome::Ended(Way::Reset),
        Ok(false) => Outcome::Gone,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// The look and the end follow each other at once: what is sent in between is the race that remains.
fn gently(socket: &Shared, end: &End) -> Outcome {
    match socket.activity() {
        Ok(activity) if !activity.is_empty() => Outcome::Busy,
        Ok(activity) if activity.idle() < end.quiet => Outcome::Busy,
        Ok(activity) if end.reason != Reason::Idle && activity.awaits() => Outcome::Busy,
        Ok(activity) if end.safe && !activity.is_safe_still(end.quiet) => Outcome::Busy,
        Ok(_) => match socket.end() {
            Ok(()) => Outcome::Ended(Way::Gentle),
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Outcome::Gone,
            Err(error) => Outcome::Failed(error.to_string()),
        },
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
