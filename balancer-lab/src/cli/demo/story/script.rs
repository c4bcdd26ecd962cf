//! What happens when.

use std::time::Duration;

use balancer_lab::http::Pools;

use super::Story;

/// Something that happens to a pod, by its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// Its endpoint terminates: it gets no new connections.
    Leave(usize),
    /// Its process is killed.
    Kill(usize),
    /// It runs, and its endpoint is ready.
    Join(usize),
}

/// A story, as it is played.
#[derive(Debug)]
pub(super) struct Script {
    /// Pods there are; the first of them are there from the beginning.
    pub(super) pods: usize,
    pub(super) at_first: usize,
    /// Nodes, where there are several.
    pub(super) nodes: Option<usize>,
    /// Clients of each node, each with one connection.
    pub(super) clients: usize,
    /// What they keep theirs in.
    pub(super) pools: Pools,
    /// Events by the time after the start.
    pub(super) events: Vec<(Duration, Event)>,
    pub(super) length: Duration,
}

/// Nodes of a story that has several.
const NODES: usize = 20;
/// Between two pods of a rollout.
const STEP: Duration = Duration::from_secs(3);

impl Script {
    pub(super) fn of(story: Story) -> Self {
        let seconds = Duration::from_secs;
        match story {
            Story::RolloutNodes => Self {
                nodes: Some(NODES),
                clients: 1,
                length: seconds(24),
                ..Self::of(Story::Rollout)
            },
            Story::ScaleOutNodes => Self {
                nodes: Some(NODES),
                clients: 5,
                length: seconds(20),
                ..Self::of(Story::ScaleOut)
            },
            Story::Rollout => {
                let restart = |pod: usize| {
                    let start = seconds(2) + STEP * pod as u32;
                    [
                        (start, Event::Leave(pod)),
                        (start + Duration::from_millis(1_500), Event::Kill(pod)),
                        (start + seconds(2), Event::Join(pod)),
                    ]
                };
                let events = (0..3).flat_map(restart).collect();
                Self {
                    pods: 3,
                    at_first: 3,
                    nodes: None,
                    clients: 20,
                    pools: Pools::Channel,
                    events,
                    length: seconds(18),
                }
            }
            Story::ScaleOut => {
                let events = (4..8).map(|pod| (seconds(3), Event::Join(pod))).collect();
                Self {
                    pods: 8,
                    at_first: 4,
                    nodes: None,
                    clients: 24,
                    pools: Pools::PerThread,
                    events,
                    length: seconds(12),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn events_are_in_order_and_leave_time_after_them() {
        for story in Story::value_variants() {
            let script = Script::of(*story);
            assert!(script.events.is_sorted_by_key(|(at, _)| *at), "{script:?}");
            let last = script.events.last().expect("events").0;
            assert!(last + Duration::from_secs(6) <= script.length, "{script:?}");
        }
    }
}
