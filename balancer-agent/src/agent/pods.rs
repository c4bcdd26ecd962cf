//! Keeps what the programs need to know of pods up to date.
//!
//! A Pod is known before its cgroup and its network namespace are there, and nothing tells when
//! they come: kubelet makes them some moments later. So after every change the pods are looked up,
//! and again with growing pauses for as long as one of them is not seen. And now and then at any
//! time, since a pod may make itself another network namespace.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    desired::Desired,
    model::Problem,
    pods::{self, PodsError, Resolved, resolve},
};

/// The first pause; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause while a pod is not seen.
const LONGEST: Duration = Duration::from_secs(1);
/// The pause while every pod is seen.
const IDLE: Duration = Duration::from_secs(30);

/// How pods are looked for.
type Find = dyn Fn(&Desired) -> Result<Resolved, PodsError> + Send;

/// What was found of the pods of this node, and when to look again.
pub struct Pods {
    find: Box<Find>,
    found: Resolved,
    /// Why nothing could be found the last time.
    problem: Option<Problem>,
    pause: Duration,
    due: Instant,
}

impl Pods {
    /// Will look below the cgroup that the programs are attached to.
    pub fn new(cgroup: PathBuf) -> Self {
        Self::found_by(move |desired| resolve(&cgroup, desired))
    }

    /// Will be looked for in this way.
    pub fn found_by(
        find: impl Fn(&Desired) -> Result<Resolved, PodsError> + Send + 'static,
    ) -> Self {
        Self {
            find: Box::new(find),
            found: Resolved::default(),
            problem: None,
            pause: FIRST,
            due: Instant::now(),
        }
    }

    /// Looks after a change of what is desired; true if something else was found than before.
    pub fn changed(&mut self, desired: &Desired) -> bool {
        self.pause = FIRST;
        self.look(desired)
    }

    /// Looks; true if something else was found than before. What can't be looked up stays as it
    /// was, and is looked up again.
    pub fn look(&mut self, desired: &Desired) -> bool {
        let before = std::mem::take(&mut self.problem);
        let (found, waits) = match (self.find)(desired) {
            Ok(found) => {
                let waits = !found.unseen.is_empty();
                (found, waits)
            }
            Err(error) => {
                let (object, field) = ("pods".to_owned(), String::new());
                let message = format!("{error}; they stay as they were");
                self.problem = Some(Problem { object, field, message });
                (Resolved { nodes: pods::nodes(desired), ..self.found.clone() }, true)
            }
        };
        self.due = Instant::now() + if waits { self.pause } else { IDLE };
        self.pause = (self.pause * 2).min(LONGEST);
        let differs = found != self.found || before != self.problem;
        self.found = found;
        differs
    }

    /// What was found last.
    pub const fn found(&self) -> &Resolved {
        &self.found
    }

    /// Why nothing could be found the last time.
    pub const fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// Waits until it is time to look again. Cancel-safe.
    pub async fn due(&self) {
        tokio::time::sleep_until(self.due.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{desired::pods::DesiredPod, model::ObjectRef, node::cgroup};

    const UID: &str = "5f0a7a3e-0001-4a4a-8c8c-00000000000a";

    fn desired(uid: &str) -> Desired {
        let pod = DesiredPod {
            id: ObjectRef { namespace: "shop".into(), name: "web".into() },
            opted_out: true,
            addresses: Vec::new(),
            sandboxed: None,
            host_network: false,
        };
        Desired { pods: [(uid.to_owned(), pod)].into(), ..Desired::default() }
    }

    /// On this kernel, with cgroups of its own. Needs root.
    #[tokio::test]
    async fn a_pod_that_comes_later_is_found_and_then_there_is_no_hurry() {
        let root = cgroup::root().unwrap();
        let tree = root.join(format!("balancer-agent-pods-{}", std::process::id()));
        let pod = tree.join(format!("pod{UID}"));
        fs::create_dir(&tree).unwrap();
        let mut pods = Pods::new(tree.clone());
        let desired = desired(UID);
        assert!(pods.changed(&desired), "the node itself is found");
        assert!(pods.found().opted_out.is_empty());

        fs::create_dir(&pod).unwrap();
        pods.due().await;
        assert!(pods.look(&desired));
        assert_eq!(pods.found().opted_out.len(), 1);
        assert!(!pods.look(&desired), "nothing else than before");
        assert!(pods.due > Instant::now() + LONGEST, "there is no hurry any more");

        fs::remove_dir(&pod).unwrap();
        fs::remove_dir(&tree).unwrap();
        assert!(pods.look(&desired), "what can't be looked up is told");
        assert!(pods.problem().is_some_and(|problem| problem.message.contains("can't be read")));
        assert_eq!(pods.found().opted_out.len(), 1, "and stays as it was");
    }

    #[test]
    fn pauses_grow_and_a_change_makes_them_short_again() {
        let mut pods = Pods::new("/nonexistent".into());
        let desired = desired(UID);
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            pods.look(&desired);
            assert!(pods.pause >= last && pods.pause <= LONGEST);
            last = pods.pause;
        }
        assert_eq!(last, LONGEST);
        pods.changed(&desired);
        assert_eq!(pods.pause, 2 * FIRST);
    }
}
