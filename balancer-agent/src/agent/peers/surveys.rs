//! What would move of Service ports, as their stewards say.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Inner, Peers};
use crate::{
    moves::prospect::Survey,
    peers::{
        name::{NodeId, ServiceId},
        node::Surveyed,
        own::RowBackend,
    },
    view::{EndView, NodeMoveView},
};

/// How long an answer is waited for before it is asked again.
const WAIT: Duration = Duration::from_millis(300);
/// How often it is asked.
const TRIES: u32 = 4;

impl Peers {
    /// What would move of each node; none where a steward does not say it: it can't be reached, does not
    /// know yet, or is of an older version. Waits for the answers.
    pub fn node_moves(&self, surveys: &[Survey]) -> Option<Vec<NodeMoveView>> {
        // One question at a time: a second one would take the place of the first.
        let _turn = self.surveying.lock().unwrap_or_else(PoisonError::into_inner);
        let surveys = {
            let inner = self.inner();
            let node = inner.exchange.as_ref()?.node();
            widest(surveys, |row| node.service_of(row))?
        };
        let mut all = Vec::new();
        for survey in surveys {
            all.extend((0..TRIES).find_map(|_| self.survey(survey))?);
        }
        all.sort_by(|a, b| {
            let of = |view: &NodeMoveView| (view.service_port.number, view.from, view.to);
            (of(a), &a.node).cmp(&(of(b), &b.node))
        });
        Some(all)
    }

    fn survey(&self, survey: &Survey) -> Option<Vec<NodeMoveView>> {
        let mut inner = self.inner();
        let node = inner.exchange.as_mut()?.node_mut();
        let number = node.survey(self.now(), &survey.request, survey.only)?;
        self.asked.notify_one();
        let deadline = Instant::now() + WAIT;
        loop {
            let found = inner.exchange.as_mut()?.node_mut().surveyed(number);
            if let Some(Surveyed { is_known, moves }) = found {
                let view = |(node, from, to, connections)| {
                    let end = |id| inner.backend(survey.request.row, id);
                    Some(NodeMoveView {
                        service_port: survey.port.clone(),
                        node: inner.name(node),
                        from: end(from)?,
                        to: end(to)?,
                        connections,
                    })
                };
                return is_known.then(|| moves.into_iter().filter_map(view).collect());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            inner = self.surveyed.wait_timeout(inner, left).map_or_else(
                |poisoned| poisoned.into_inner().0,
                |(inner, _): (MutexGuard<'_, Inner>, _)| inner,
            );
        }
    }
}

/// Of each Service port the row with the most backends: a steward counts the connections of all its
/// rows, and would say the same ones of each. None where the Service port of one is not known.
fn widest(
    surveys: &[Survey],
    service_of: impl Fn(u32) -> Option<ServiceId>,
) -> Option<Vec<&Survey>> {
    let mut widest: BTreeMap<ServiceId, &Survey> = BTreeMap::new();
    for survey in surveys {
        let kept = widest.entry(service_of(survey.request.row)?).or_insert(survey);
        if survey.request.backends.len() > kept.request.backends.len() {
            *kept = survey;
        }
    }
    Some(widest.into_values().collect())
}

impl Inner {
    /// The name of a node; its hash where it has left.
    pub(super) fn name(&self, id: NodeId) -> String {
        let member = self.membership.members.get(&id);
        member.map_or_else(|| format!("{:016x}", id.0), |member| member.node.clone())
    }

    /// The address of a backend of a row.
    fn backend(&self, row: u32, id: u32) -> Option<EndView> {
        let backends = self.exchange.as_ref()?.node().backends_of(row);
        let found = backends.iter().find(|RowBackend { id: found, .. }| *found == id)?;
        let addr: SocketAddr = found.addr.addr();
        Some(addr.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Protocol, peers::node::Request, view::PortView};

    fn survey(row: u32, backends: u32) -> Survey {
        let port = PortView { name: String::new(), number: 80, protocol: Protocol::Tcp };
        let request = Request {
            row,
            settled: Duration::ZERO,
            budget: 10,
            want: 0,
            forced: false,
            backends: (0..backends).map(|id| (id, 1, 0)).collect(),
        };
        Survey { port, request, only: false }
    }

    #[test]
    fn the_connections_of_a_service_port_are_asked_for_once() {
        let surveys = [survey(1, 2), survey(2, 3), survey(3, 2), survey(4, 2)];
        let service_of = |row: u32| Some(ServiceId(if row == 4 { 8 } else { 7 }));
        let rows: Vec<_> = widest(&surveys, service_of).expect("all are known");
        assert_eq!(rows.iter().map(|found| found.request.row).collect::<Vec<_>>(), [2, 4]);
        assert!(widest(&surveys, |row| (row != 3).then_some(ServiceId(7))).is_none());
    }
}
