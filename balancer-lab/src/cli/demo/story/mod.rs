//! What happens to connections that live long while pods come and go: kube-proxy's rules, balancer
//! without moves, and balancer with them, at the same time. On several nodes these are balancer
//! without moves, with those of each node alone, and with those of the cluster, one after another.

mod memory;
mod play;
mod plot;
mod sample;
mod script;
mod side;
mod stage;

use std::thread;

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use serde::Serialize;

pub(super) use plot::section;
use sample::Sample;
use script::Script;
use side::Side;

/// Where connections are moved, or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Story {
    /// 20 gRPC clients with a channel each; 3 pods are restarted one after another
    Rollout,
    /// 24 HTTP clients with a connection each; 4 pods become 8
    ScaleOut,
    /// 20 nodes with a gRPC client of one channel each; 3 pods are restarted one after another
    RolloutNodes,
    /// 20 nodes with 5 HTTP clients of one connection each; 4 pods become 8
    ScaleOutNodes,
}

impl Story {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(super) fn description(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().cloned());
        help.map(|help| help.to_string()).unwrap_or_default()
    }
}

/// What one side came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Course {
    side: Side,
    /// Connections of each pod over time, and how many were closed.
    samples: Vec<Sample>,
    /// Connections that balancer has ended.
    ended: u64,
    requests: u64,
    /// Seconds after the start at which requests failed.
    failed: Vec<f64>,
    /// What failed first.
    first_error: Option<String>,
    /// Seconds after the start at which the last pod had joined: what fails later fails because of
    /// moves, and not because a pod ended.
    joined: f64,
}

impl Course {
    /// Connections of each pod at the end.
    pub(super) fn last(&self) -> &[u32] {
        self.samples.last().map(|sample| sample.connections.as_slice()).unwrap_or_default()
    }

    /// Requests that failed while pods came and went, and afterwards.
    pub(super) fn failures(&self) -> (usize, usize) {
        let later = self.failed.iter().filter(|at| **at > self.joined).count();
        (self.failed.len() - later, later)
    }

    /// Connections that were closed on the way.
    pub(super) fn closed(&self) -> u32 {
        self.samples.iter().map(|sample| sample.closed).sum()
    }
}

/// A story as all sides have gone through it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) description: String,
    /// How many nodes there were, where there were several.
    pub(super) nodes: Option<usize>,
    pub(super) courses: Vec<Course>,
}

/// Has all sides go through a story: on one node at the same time, on several one after another, as
/// many nodes as the memory is enough for.
pub(super) fn tell(story: Story) -> Result<Told> {
    let (name, description) = (story.name(), story.description());
    let mut script = Script::of(story);
    if let Some(wanted) = script.nodes {
        let nodes = memory::nodes(wanted)?;
        script.nodes = Some(nodes);
        let sides = Side::SEVERAL_NODES.into_iter();
        let courses = sides.map(|side| play::play(side, &script)).collect::<Result<_>>()?;
        return Ok(Told { name, description, nodes: Some(nodes), courses });
    }
    let script = &script;
    let courses = thread::scope(|scope| {
        let play = |side| scope.spawn(move || play::play(side, script));
        let sides: Vec<_> = Side::ONE_NODE.into_iter().map(play).collect();
        let joined = sides.into_iter().map(|side| match side.join() {
            Ok(course) => course,
            Err(_) => Err(anyhow!("one side of the demo panicked")),
        });
        joined.collect::<Result<Vec<_>>>()
    })?;
    Ok(Told { name, description, nodes: None, courses })
}

/// The outcome for the terminal.
pub(super) fn text(told: &Told) -> String {
    let mut text = format!("{}  {}\n", told.name, told.description);
    if let Some(nodes) = told.nodes {
        text += &format!("{nodes} nodes, the sides one after another\n");
    }
    text += &format!(
        "\n{:<38}{:<24}{:>10}{:>8}{:>7}{:>10}{:>8}{:>8}\n",
        "", "connections at the end", "max - min", "closed", "ended", "requests", "failed", "later"
    );
    for course in &told.courses {
        let last = course.last();
        let spread = last.iter().max().unwrap_or(&0) - last.iter().min().unwrap_or(&0);
        let counts: Vec<_> = last.iter().map(ToString::to_string).collect();
        let (failed, later) = course.failures();
        text += &format!(
            "{:<38}{:<24}{:>10}{:>8}{:>7}{:>10}{failed:>8}{later:>8}\n",
            course.side.title(told.nodes.is_some()),
            counts.join(" "),
            spread,
            course.closed(),
            course.ended,
            course.requests
        );
    }
    text + "\nclosed: connections, whoever closed them; ended: those that balancer ended\n\
            failed: requests while pods came and went; later: those after the last had joined\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_ends_with_its_last_sample() {
        let sample = |connections: &[u32], closed| Sample {
            at: 1.0,
            connections: connections.to_vec(),
            closed,
        };
        let course = Course {
            side: Side::ClusterMoves,
            samples: vec![sample(&[20, 0, 0], 0), sample(&[7, 7, 6], 13)],
            ended: 12,
            requests: 100,
            failed: vec![2.0, 8.5, 9.5],
            first_error: None,
            joined: 9.0,
        };
        assert_eq!((course.last(), course.closed()), (&[7, 7, 6][..], 13));
        assert_eq!(course.failures(), (2, 1));
        let told = Told {
            name: "rollout-nodes".into(),
            description: "x".into(),
            nodes: Some(20),
            courses: vec![course],
        };
        let text = text(&told);
        let line = text.lines().find(|line| line.contains("7 7 6")).expect("a line for the side");
        assert!(line.starts_with("balancer, moves of the cluster"), "{line:?}");
        assert!(line.ends_with("13     12       100       2       1"), "{line:?}");
        assert!(text.contains("\n20 nodes, "), "{text}");
    }
}
