//! Which peers are not heard, and what to do about it.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    model::{ObjectRef, Problem},
    peers::{
        exchange::Shown,
        membership::{Member, Membership},
        name::NodeId,
        pace,
    },
};

/// How many nodes are named of those that have the same problem.
const NAMED: usize = 3;

/// What keeps a peer from being heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// Its datagrams are sealed by another key.
    Key,
    /// It is of another major version.
    Version,
    /// Nothing comes from it.
    Nothing,
}

/// The peers that should have been heard, each problem with its remedy.
pub fn problems(
    service: &ObjectRef,
    membership: &Membership,
    shown: &BTreeMap<NodeId, Shown>,
) -> Vec<Problem> {
    let mut silent: BTreeMap<Why, Vec<&Member>> = BTreeMap::new();
    for (id, shown) in shown {
        let Some(member) = membership.members.get(id) else { continue };
        if shown.seen.age.unwrap_or(shown.seen.known) < pace::SILENT {
            continue;
        }
        let why = match shown {
            Shown { version: Some(_), .. } => Why::Version,
            Shown { forged: 1.., .. } => Why::Key,
            _ => Why::Nothing,
        };
        silent.entry(why).or_default().push(member);
    }
    let problem = |(why, members): (Why, Vec<&Member>)| Problem {
        object: format!("Service {service}"),
        field: String::new(),
        message: message(why, &members),
    };
    silent.into_iter().map(problem).collect()
}

fn message(why: Why, members: &[&Member]) -> String {
    let mut nodes = String::new();
    for (index, Member { node, addr }) in members.iter().take(NAMED).enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // A String takes whatever is written to it.
        let _ = write!(nodes, "{comma}{node} at {addr}");
    }
    if members.len() > NAMED {
        let _ = write!(nodes, " and {} more", members.len() - NAMED);
    }
    match why {
        Why::Key => format!(
            "what says to be of the agent of {nodes} is sealed with another key: give all agents \
             the same file with --peer-key"
        ),
        Why::Version => format!(
            "the agent of {nodes} is of another major version: bring all agents to the same one"
        ),
        Why::Nothing => format!(
            "the agent of {nodes} is not heard for {} s: see whether it runs and has a key, and \
             let UDP through between the nodes to that port",
            pace::SILENT.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::peers::node::Seen;

    #[test]
    fn what_is_not_heard_is_told_with_its_remedy() {
        let service = ObjectRef { namespace: "kube-system".into(), name: "peers".into() };
        let mut membership = Membership::default();
        let mut shown = BTreeMap::new();
        let mut add = |node: u64, age: Option<u64>, forged, version| {
            let addr = ([192, 0, 2, node as u8], 10_357).into();
            membership.members.insert(NodeId(node), Member { node: format!("n{node}"), addr });
            let age = age.map(Duration::from_secs);
            let known = Duration::from_secs(10);
            let seen = Seen { age, known, steward_of: 0, reported: 0 };
            let (traffic, rejected) = Default::default();
            shown.insert(NodeId(node), Shown { seen, traffic, rejected, forged, version });
        };
        add(1, Some(9), 5, None);
        add(2, None, 5, None);
        add(3, Some(10), 0, Some(2));
        for node in 4..9 {
            add(node, None, 0, None);
        }
        let told = problems(&service, &membership, &shown);
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        let words = [
            ["n2 at 192.0.2.2:10357 is sealed with another key", "--peer-key"],
            ["n3 at 192.0.2.3:10357 is of another major version", "the same one"],
            ["n6 at 192.0.2.6:10357 and 2 more is not heard for 10 s", "let UDP through"],
        ];
        assert_eq!(told.len(), words.len(), "{told:?}");
        for (told, words) in told.iter().zip(words) {
            assert!(words.iter().all(|words| told.contains(words)), "{told}");
        }
    }

    /// Whenever another one comes or goes.
    #[test]
    fn each_peer_has_its_own_time_to_be_heard() {
        let service = ObjectRef { namespace: "kube-system".into(), name: "peers".into() };
        let member = |node: u64| {
            let addr = ([192, 0, 2, node as u8], 10_357).into();
            (NodeId(node), Member { node: format!("n{node}"), addr })
        };
        let membership = Membership { members: [1, 2].map(member).into(), ..Membership::default() };
        let shown = |(node, known)| {
            let known = Duration::from_secs(known);
            let seen = Seen { age: None, known, steward_of: 0, reported: 0 };
            let (traffic, rejected) = Default::default();
            (NodeId(node), Shown { seen, traffic, rejected, forged: 0, version: None })
        };
        let told = problems(&service, &membership, &[(1, 10), (2, 9)].map(shown).into());
        assert_eq!(told.len(), 1);
        assert!(told[0].message.contains("n1 at") && !told[0].message.contains("n2"), "{told:?}");
    }
}
