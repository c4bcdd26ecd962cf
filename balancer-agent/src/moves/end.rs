//! Ends connections, gently where that is possible.
//!
//! The process that opened a connection shares its socket with this one, which looks once more what
//! the connection does and shuts both sides: the program reads an end of file and can send nothing, as
//! if the server had closed, and closes. `docs/moving.md` says why this and not a reset.

use std::{collections::BTreeSet, io};

use super::{
    ask::{Kernel, address},
    holders::Holders,
    scene::{End, Reason, Scene, Way, backend},
};
use crate::{maps::ReadMaps, node::holders::Shared};

/// What came of an end.
#[derive(Debug)]
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
    Failed(io::Error),
}

/// Ends connections, and says of each what came of it. The outcomes are in the order of `ends`.
pub fn carry_out(
    scene: &Scene,
    maps: &impl ReadMaps,
    ends: &[End],
    kernel: &mut Kernel,
    holders: &mut Holders,
) -> Vec<Outcome> {
    holders.begin();
    let openers: BTreeSet<u32> =
        ends.iter().map(|end| scene.connections[end.connection].tgid).collect();
    for process in openers {
        holders.look_at(process);
    }
    let one = |end: &End| {
        let connection = &scene.connections[end.connection];
        if end.way == Way::Gentle {
            match holders.take(end.inode, connection, kernel) {
                Ok(Some(socket)) => return gently(&socket, end),
                Ok(None) => {}
                Err(error) => return Outcome::Failed(error),
            }
            let allowed =
                scene.rows.get(&end.row).is_some_and(|row| row.policy.reset_after.is_some());
            if !allowed {
                return Outcome::Unheld;
            }
        }
        let Some(address) = address(maps, backend(connection)) else { return Outcome::Gone };
        match kernel.reset(connection, address) {
            Ok(true) => Outcome::Ended(Way::Reset),
            Ok(false) => Outcome::Gone,
            Err(error) => Outcome::Failed(error),
        }
    };
    ends.iter().map(one).collect()
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
            Err(error) => Outcome::Failed(error),
        },
        Err(error) => Outcome::Failed(error),
    }
}
