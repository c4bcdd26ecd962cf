//! What would move if all nodes asked now, for who wants to see it: nothing is permitted.

use std::collections::{BTreeMap, VecDeque};

use super::{Permits, Sums, grant};
use crate::peers::{
    name::NodeId,
    wire::{Ask, Grant, Planned},
};

impl Permits {
    /// Which connections of which node would be ended, and where they would go. `held` are those of each
    /// node by candidate. Each node in its turn is granted one, until all backends have their share or
    /// nobody has anything that helps.
    pub fn survey(
        &self,
        ask: &Ask,
        sums: &Sums<'_>,
        held: BTreeMap<NodeId, Vec<u32>>,
    ) -> Vec<Planned> {
        let (mut places, excess) = match self.books.get(&ask.service) {
            Some(book) => book.places(ask, sums),
            None => super::Book::default().places(ask, sums),
        };
        let mut turns: VecDeque<_> = held.into_iter().collect();
        let mut moves: BTreeMap<(NodeId, u16, u16), u16> = BTreeMap::new();
        for _ in 0..excess.total.min(super::MOST) {
            let found = loop {
                let Some((node, mut held)) = turns.pop_front() else { break None };
                for (place, held) in places.iter_mut().zip(&held) {
                    place.quiet = if place.weight > 0 { *held } else { 0 };
                }
                if let [Grant { from, to, count }] = grant(&mut places, 1, 1)[..] {
                    held[usize::from(from)] -= 1;
                    turns.push_back((node, held));
                    break Some((node, from, to, count));
                }
            };
            let Some((node, from, to, count)) = found else { break };
            *moves.entry((node, from, to)).or_default() += count;
        }
        let planned =
            |((node, from, to), count)| Planned { node, grant: Grant { from, to, count } };
        moves.into_iter().map(planned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        desired::BackendAddr,
        model::Protocol,
        peers::{name::ServiceId, permits::shape, wire::Candidate},
    };

    fn addr(backend: usize) -> BackendAddr {
        BackendAddr::new(([10, 0, 0, backend as u8], 80).into(), Protocol::Tcp)
    }

    /// What would move of what nodes have, as (node, from, to, count); `barred` gets nothing.
    fn planned(held: &[&[u32]], barred: Option<usize>) -> Vec<(u64, u16, u16, u16)> {
        let backends: Vec<_> = (0..held[0].len()).map(addr).collect();
        let weight = |at: usize| u16::from(barred != Some(at));
        let candidate =
            |at: usize| Candidate { backend: backends[at], weight: weight(at), quiet: 0 };
        let ask = Ask {
            service: ServiceId(7),
            number: 1,
            done: 0,
            nodes: 1,
            settled: Duration::ZERO,
            budget: 0,
            want: 0,
            forced: false,
            shape: shape(backends.iter().copied()),
            candidates: (0..backends.len()).map(candidate).collect(),
        };
        let total = |backend: &BackendAddr| {
            let at = backends.iter().position(|found| found == backend);
            at.map_or(0, |at| held.iter().map(|node| u64::from(node[at])).sum())
        };
        let alike = backends.iter().enumerate().map(|(at, backend)| (*backend, weight(at)));
        let sums = Sums { alike: Some(alike.collect()), yields: false, away: 0, total: &total };
        let nodes = held.iter().zip(0..).map(|(held, node)| (NodeId(node), held.to_vec()));
        let moves = Permits::default().survey(&ask, &sums, nodes.collect());
        let flat = |found: Planned| {
            let Grant { from, to, count } = found.grant;
            (found.node.0, from, to, count)
        };
        moves.into_iter().map(flat).collect()
    }

    #[test]
    fn each_node_gives_in_its_turn_until_all_have_their_share() {
        assert_eq!(planned(&[&[2, 0], &[2, 0]], None), [(0, 0, 1, 1), (1, 0, 1, 1)]);
        // One node has all: it gives all.
        assert_eq!(planned(&[&[0, 0, 0], &[6, 0, 0]], None), [(1, 0, 1, 2), (1, 0, 2, 2)]);
        let all: u16 = planned(&[&[1, 0, 0][..]; 20], None).iter().map(|found| found.3).sum();
        assert_eq!(all, 13, "20 on one of 3");
        assert_eq!(planned(&[&[1, 1], &[1, 1]], None), []);
    }

    #[test]
    fn nothing_would_go_to_a_backend_that_gets_nothing() {
        assert_eq!(planned(&[&[4, 0, 0]], Some(1)), [(0, 0, 2, 2)]);
        assert_eq!(planned(&[&[4, 0]], Some(1)), []);
    }
}
