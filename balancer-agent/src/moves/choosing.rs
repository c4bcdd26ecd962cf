//! Which of the candidates are ended: what the kernel says of each, and what follows from it.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ask::{Answer, address},
    helper::Helper,
    history::History,
    input::{Demand, End, Input, backend},
    looks::Seen,
    plan::{self, Hindered, Waiting},
    tally::Fate,
};
use crate::{
    maps::{Recorded, pinned::PinnedMaps},
    model::Reason,
};

/// What is to be ended now.
pub struct Chosen {
    /// The connections.
    pub ends: Vec<End>,
    /// What asking took of a processor, elsewhere.
    pub spent: Duration,
    /// After which time there may be more.
    pub soonest: Option<Duration>,
    /// What rests, and not yet for long enough.
    pub waiting: Waiting,
    /// What could be ended if it was permitted, by row and backend.
    pub quiet: BTreeMap<u32, BTreeMap<u32, u32>>,
    /// Why connections of backends that drain are not ended.
    pub hindered: BTreeMap<u32, Hindered>,
}

/// Asks about the candidates, and chooses. `failed` takes those that nobody can be asked about: the
/// connection, why it was to be ended, and why that can't be.
pub fn choose(
    input: &Input,
    demands: &[Demand],
    patient: bool,
    history: &mut History,
    maps: &PinnedMaps,
    helper: &Helper,
    failed: impl Fn(&Recorded, Option<Reason>, Fate),
) -> Chosen {
    let mut answers: BTreeMap<usize, Seen> = BTreeMap::new();
    let asked = plan::asked(demands).into_iter().filter_map(|index| {
        let connection = &input.connections[index];
        Some((index, (*connection, address(maps, backend(connection))?)))
    });
    let (asked, sockets): (Vec<_>, Vec<_>) = asked.unzip();
    let (answered, spent) = helper.ask(sockets);
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
            failed(connection, reason, fate);
        }
    }
    let ends = plan::choose(input, demands, &answers, patient, history);
    Chosen {
        quiet: plan::quiet(input, demands, &answers, &ends),
        hindered: plan::hindered(input, demands, &answers, &ends),
        ends,
        spent,
        soonest: plan::soonest(demands, &answers),
        waiting: plan::waiting(demands, &answers),
    }
}
