//! Why connections are left to a backend that was drained, in words.

use std::{collections::BTreeMap, net::IpAddr};

use crate::view::{ConnectionView, DrainView, NodeDrainView};

/// What is left of which node, and why, and what can be done about it.
pub(super) fn left_on_nodes(drains: &[DrainView]) -> String {
    let mut nodes = Vec::new();
    for (drain, node) in drains.iter().flat_map(|drain| drain.nodes.iter().map(move |n| (drain, n)))
    {
        let NodeDrainView { node: name, ended, busy, resting, .. } = node;
        let rest = node.connections.unwrap_or_default().saturating_sub(ended + busy + resting);
        let reasons = [
            (*busy, "busy"),
            (*resting, "at rest, and not yet for long enough"),
            (*ended, "ended, and closed neither by the client nor by the backend"),
            (rest, "out of reach, or of other Services"),
        ];
        let reasons = reasons.iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<_> = reasons.map(|(count, why)| format!("{count} {why}")).collect();
        let port = drain.backend.port;
        nodes.extend(match node.connections {
            None => Some(format!(
                "{name} has said nothing: its agent is of an older version, or can't be reached"
            )),
            Some(_) if node.refused => Some(format!(
                "{name} does not drain port {port}: a Service would have no backend left there"
            )),
            Some(0) => None,
            Some(open) => Some(format!("{name} has {open} to port {port}: {}", reasons.join(", "))),
        });
    }
    let open: u64 = drains.iter().map(DrainView::open).sum();
    format!(
        "{open} still open: {}; `balancer-agent connections --backend` on that node shows them, and the \
         annotation balancer-agent/reset-after of their Service has them reset",
        nodes.join("; ")
    )
}

/// What is left, and why, and what can be done about it.
pub(super) fn why_left(left: &[ConnectionView], address: IpAddr) -> String {
    let mut reasons = BTreeMap::<_, usize>::new();
    for view in left {
        let reason = match &view.activity {
            _ if view.ended_ms.is_some() => {
                "ended, and closed neither by the client nor by the backend"
            }
            _ if view.outside.is_some() => "from outside of the node, which are not ended",
            None => "out of reach, as no process of its pod is left or its socket is held",
            Some(activity) if activity.state != "established" => "about to close",
            Some(activity) if activity.busy => "busy",
            Some(_) => {
                "at rest, and has not been so for the quiet time (for a minute where nothing tells \
                 whose turn it is), or no process has it"
            }
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let each: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!(
        "{} still open: {}; `balancer-agent connections --backend {address}` shows them, and the \
         annotation balancer-agent/reset-after of their Service has them reset",
        left.len(),
        each.join("; "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::drain::is_done, testing, view::EndView};

    fn node(name: &str, connections: Option<u32>) -> NodeDrainView {
        NodeDrainView {
            node: name.into(),
            connections,
            ended: 0,
            busy: 0,
            resting: 0,
            refused: false,
            told_ms: connections.map(|_| 100),
        }
    }

    #[test]
    fn what_is_left_of_all_nodes_is_told_by_node() {
        let mut drain = DrainView {
            backend: EndView { address: [10, 0, 0, 1].into(), port: 80 },
            services: Vec::new(),
            timeout_s: 30,
            elapsed_s: 40,
            connections: 0,
            ended: 0,
            by: Some("worker-1".into()),
            nodes: vec![node("worker-1", Some(0))],
        };
        assert!(is_done(std::slice::from_ref(&drain)));
        drain.nodes.extend([
            NodeDrainView { busy: 3, resting: 1, ended: 1, ..node("worker-2", Some(6)) },
            node("worker-3", None),
            NodeDrainView { refused: true, ..node("worker-4", Some(0)) },
        ]);
        for missing in [1, 2, 3] {
            let mut one = drain.clone();
            one.nodes = vec![drain.nodes[0].clone(), drain.nodes[missing].clone()];
            assert!(!is_done(&[one]), "{missing}");
        }
        let said = left_on_nodes(&[drain]);
        for part in [
            "6 still open: worker-2 has 6 to port 80: 3 busy, 1 at rest, and not yet for long enough, \
             1 ended, and closed neither by the client nor by the backend, 1 out of reach",
            "worker-3 has said nothing",
            "worker-4 does not drain port 80",
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
        assert!(!said.contains("worker-1"), "{said}");
    }

    #[test]
    fn what_is_left_is_told_with_its_reasons() {
        let [rests, unreachable, from_outside] = &testing::connections()[..] else {
            panic!("three connections")
        };
        let mut busy = rests.clone();
        busy.activity.as_mut().unwrap().busy = true;
        let ended = ConnectionView { ended_ms: Some(7_000), ..busy.clone() };
        let all = [rests, unreachable, &busy, &busy, &ended, from_outside].map(Clone::clone);
        let said = why_left(&all, rests.backend.address);
        for part in [
            "6 still open: ",
            "1 from outside of the node",
            "2 busy; ",
            "1 ended, and closed neither by the client nor by the backend",
            "1 at rest",
            "1 out of reach",
            "`balancer-agent connections --backend 10.0.0.1` shows them",
            "balancer-agent/reset-after",
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
}
