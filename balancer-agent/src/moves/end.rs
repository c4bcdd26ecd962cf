//! Ends connections, gently where that is possible.
//!
//! The process that opened a connection shares its socket with this one, which looks once more what
//! the connection does and shuts both sides: the program reads an end of file and can send nothing,
//! as if the server had closed, and closes. `docs/moving.md` says why this and not a reset.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    ask::Kernel,
    holders::{Holders, Taken},
    input::End,
};
use crate::{
    maps::Recorded,
    model::Way,
    node::{holders::Shared, tcp_info::Activity},
};

/// Segments with data, of both sides, after which a client is known by what it does: three
/// exchanges.
const SHOWN: u32 = 20;

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
    /// Its client may wait for an answer: nothing tells, and it is let alone.
    Untold,
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

/// Ends a connection, and says what came of it. What [`super::helper`] runs in a process of its
/// own: it may take as long as the pod likes, from where `touches` is called.
pub fn carry_out(
    order: &Order,
    kernel: &mut Kernel,
    holders: &mut Holders,
    touches: impl Fn(),
) -> Outcome {
    let Order { end, connection, backend, may_reset } = order;
    if end.way == Way::Gentle {
        let taken = holders.take(end.inode, connection, kernel);
        if holders.has_looked() {
            touches();
        }
        match taken {
            Ok(Taken::Socket(socket)) => return gently(&socket, end),
            Ok(Taken::NotNow) => return Outcome::Later,
            Ok(Taken::Nobody) => {}
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

/// The look and the end follow each other at once: what is sent in between is the race that
/// remains.
fn gently(socket: &Shared, end: &End) -> Outcome {
    match socket.activity() {
        Ok(activity) if !is_as_chosen(&activity, end) => Outcome::Busy,
        Ok(activity) if end.unsure && !was_answered(&activity, sends_at_once(socket)) => {
            Outcome::Untold
        }
        Ok(_) => match socket.end() {
            Ok(()) => Outcome::Ended(Way::Gentle),
            Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Outcome::Gone,
            Err(error) => Outcome::Failed(error.to_string()),
        },
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// True where the client is known to have been answered, as it does not send at once on receipt.
/// What the server has said must be an answer: a client that none was ever given has not shown what
/// it does then.
///
/// Whoever sends soon after it has received something has its kernel wait with acknowledgements, to
/// send them along ("interactive session"; `icsk_ack.pingpong` in
/// include/net/inet_connection_sock.h). That begins with the first such time or the third, by the
/// version of the kernel, and ends when a wait was in vain.
fn was_answered(activity: &Activity, sends_at_once: bool) -> bool {
    activity.data_segments >= SHOWN && !activity.is_new() && !sends_at_once
}

/// True where that can't be known, too.
fn sends_at_once(socket: &Shared) -> bool {
    socket.sends_at_once().unwrap_or(true)
}

/// True where nothing has moved since the connection was chosen, and the moment is as good still.
fn is_as_chosen(activity: &Activity, end: &End) -> bool {
    activity.is_empty()
        && (activity.bytes_sent, activity.bytes_received) == end.moved
        && activity.idle() >= end.quiet
        && (!end.safe || activity.is_safe_still(end.quiet))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_who_was_answered_has_shown_what_it_does_then() {
        let told = Activity {
            bytes_sent: 4_000,
            bytes_received: 4_000,
            data_segments: SHOWN,
            ..Activity::default()
        };
        assert!(was_answered(&told, false));
        assert!(!was_answered(&told, true), "it may have sent at once");
        assert!(!was_answered(&Activity { data_segments: SHOWN - 1, ..told }, false));
        // It sends a long first request: nothing but a greeting has come back.
        assert!(!was_answered(&Activity { bytes_received: 40, ..told }, false));
    }

    #[test]
    fn what_was_used_since_it_was_chosen_is_let_alone() {
        let quiet = Duration::from_millis(50);
        let rests = Activity {
            state: 1,
            sent: quiet,
            received: quiet,
            bytes_sent: 300,
            bytes_received: 5_000,
            ..Activity::default()
        };
        let end = End { quiet, idle: quiet, moved: (300, 5_000), ..End::gentle(0, 1) };
        assert!(is_as_chosen(&rests, &end));
        let late = Duration::from_millis(90);
        for other in [
            Activity { bytes_sent: 301, ..rests },
            Activity { bytes_received: 5_001, ..rests },
            Activity { unread: 1, ..rests },
            Activity { unacknowledged: 1, ..rests },
            Activity { sent: Duration::ZERO, ..rests },
            Activity { sent: late, received: late, ..rests },
        ] {
            assert!(!is_as_chosen(&other, &end), "{other:?}");
        }
    }
}
