//! Whose turn it is on a connection, from one look at it to the next. Pure.
//!
//! One look tells it by times that have ticks: a request that follows at once on the answer before
//! it and a quick answer to a request look alike. What the kernels have acknowledged since the look
//! before tells more. What these don't tell is asked of the socket itself when it is ended
//! ([`super::end`]), and what nothing tells is taken for a rest when it has lasted.

use std::{collections::HashMap, time::Duration};

use crate::node::{
    sockets::tcp::Found,
    tcp_info::{Activity, RESTED, Turn},
};

/// How long a connection must have rested where nothing tells whose turn it is. A call takes less.
pub const UNSURE: Duration = Duration::from_secs(60);
/// How long a look is remembered.
const KEPT: Duration = Duration::from_secs(30);

/// A connection as this look and those before tell.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Inode of its socket; 0 where no process has it.
    pub inode: u32,
    /// What it does.
    pub activity: Activity,
    /// Whose turn it is.
    pub turn: Turn,
    /// True where that is not known, and the socket itself does not tell either.
    pub untold: bool,
}

impl Seen {
    /// For how long nothing must have moved; none while an answer is awaited.
    fn rest(&self, quiet: Duration) -> Option<Duration> {
        match self.turn {
            Turn::Client => Some(quiet),
            Turn::Unknown if self.untold => Some(quiet.max(UNSURE)),
            Turn::Unknown => Some(quiet),
            Turn::Server => None,
        }
    }

    /// True where it is to be asked of the socket whose turn it is.
    pub fn is_unsure(&self) -> bool {
        self.turn == Turn::Unknown && self.activity.idle() < UNSURE
    }

    /// True where it may be ended: nothing is under way, no answer is awaited, and nothing has
    /// moved for `quiet`, or for longer where it is not known whose turn it is.
    pub fn is_quiet(&self, quiet: Duration) -> bool {
        self.activity.is_empty()
            && self.rest(quiet).is_some_and(|rest| self.activity.idle() >= rest)
    }

    /// For how long nothing must move, where it will be quiet after that and is not yet.
    pub fn waits(&self, quiet: Duration) -> Option<Duration> {
        let rest = self.rest(quiet).filter(|_| self.activity.is_empty());
        rest.filter(|rest| self.activity.idle() < *rest)
    }

    /// After which time it may be quiet and [safe](Activity::is_safe) for the next time, if not
    /// now: when it has been quiet for long enough, or has rested. What is neither has an exchange
    /// before it.
    pub fn next_safe(&self, quiet: Duration) -> Duration {
        // Whoever is answered rests from then on.
        let rests = self.activity.is_empty() && self.turn != Turn::Server && !self.untold;
        let idle = if rests { self.activity.idle() } else { Duration::ZERO };
        if idle < quiet {
            quiet - idle
        } else if idle < RESTED {
            quiet.min(RESTED - idle)
        } else {
            quiet
        }
    }
}

/// What was seen of connections, by the words of their charges.
#[derive(Clone, Debug, Default)]
pub struct Looks(HashMap<u64, Look>);

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Duration,
    last: Activity,
    /// The last look before what moved last; none where that was not seen.
    before: Option<Activity>,
    turn: Turn,
    untold: bool,
}

impl Looks {
    /// Takes a look at a connection.
    pub fn look(&mut self, now: Duration, word: u64, found: &Found) -> Seen {
        let Found { inode, activity } = *found;
        let known = self.0.get(&word).copied();
        let rests = known.filter(|known| activity.rests_since(&known.last));
        let before = match rests {
            Some(known) => known.before,
            None => known.map(|known| known.last),
        };
        let turn = activity
            .turn()
            .or_else(|| rests.map_or(Turn::Unknown, |known| known.turn))
            .or_else(|| rests.map_or(Turn::Unknown, |known| activity.turn_since(&known.last)))
            .or_else(|| before.map_or(Turn::Unknown, |before| activity.turn_since(&before)));
        let turn = if turn == Turn::Client && activity.is_new() { Turn::Unknown } else { turn };
        let untold = turn == Turn::Unknown && rests.is_some_and(|known| known.untold);
        self.0.insert(word, Look { at: now, last: activity, before, turn, untold });
        Seen { inode, activity, turn, untold }
    }

    /// The socket does not tell whose turn it is, either: it is not asked again before something
    /// moves.
    pub fn untold(&mut self, word: u64) {
        if let Some(look) = self.0.get_mut(&word) {
            look.untold = true;
        }
    }

    /// Forgets connections that nobody has looked at for long.
    pub fn forget(&mut self, now: Duration) {
        self.0.retain(|_, look| now.saturating_sub(look.at) <= KEPT);
    }
}

#[cfg(test)]
mod tests;
