//! What is to be ended, by what the kernel says of those that may be.

use std::{collections::BTreeMap, time::Duration};

use super::Mover;
use crate::moves::{
    ask::{Answer, address},
    history::History,
    input::{Demand, End, Input, backend},
    looks::Seen,
    plan::{self, Waiting},
    tally::Fate,
};

/// What is to be ended now.
pub(super) struct Chosen {
    pub(super) ends: Vec<End>,
    /// What that took of a processor, elsewhere.
    pub(super) spent: Duration,
    /// After which time there may be more.
    pub(super) soonest: Option<Duration>,
    /// What rests, and not yet for long enough.
    pub(super) waiting: Waiting,
    /// What could be ended if it was permitted, by row and backend.
    pub(super) quiet: BTreeMap<u32, BTreeMap<u32, u32>>,
}

impl Mover {
    /// Asks about all that is demanded, and chooses.
    pub(super) fn choose(
        &self,
        input: &Input,
        demands: &[Demand],
        patient: bool,
        history: &mut History,
    ) -> Chosen {
        let mut answers: BTreeMap<usize, Seen> = BTreeMap::new();
        let asked = plan::asked(demands).into_iter().filter_map(|index| {
            let connection = &input.connections[index];
            Some((index, (*connection, address(&self.maps, backend(connection))?)))
        });
        let (asked, sockets): (Vec<_>, Vec<_>) = asked.unzip();
        let (answered, spent) = self.helper.ask(sockets);
        for (index, answer) in asked.into_iter().zip(answered) {
            let connection = &input.connections[index];
            let fate = match answer {
                Answer::Found(found) => {
                    answers.insert(index, history.look(input.now, connection.word, &found));
                    continue;
                }
                Answer::Gone | Answer::Later => continue,
                Answer::Unreachable => Some(Fate::Unreachable),
                Answer::Stuck => Some(Fate::Stuck),
                Answer::LeftAlone => None,
                Answer::Failed(error) => {
                    tracing::debug!("{} can't be asked about: {error}", connection.local);
                    None
                }
            };
            history.pause(input.now, connection.word);
            if let Some(fate) = fate {
                let reason = demands.iter().find(|d| d.among.contains(&index)).map(|d| d.reason);
                self.count(input, connection.service, reason, fate);
            }
        }
        let ends = plan::choose(input, demands, &answers, patient, history);
        Chosen {
            quiet: plan::quiet(input, demands, &answers, &ends),
            ends,
            spent,
            soonest: plan::soonest(demands, &answers),
            waiting: plan::waiting(demands, &answers),
        }
    }
}
