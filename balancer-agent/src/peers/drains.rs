//! Backends that are drained on all nodes. The node at which somebody has asked for it repeats it; who hears it
//! drains too, until it hears that it is over, or nothing of it for long. Neither sockets nor clocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use super::{
    Moment,
    name::NodeId,
    wire::{Drain, Drains, Left},
};

/// How long a drain is believed that is not repeated: its node may restart or be cut off for a moment, and
/// is no reason for ever.
pub const HOLDS: Duration = Duration::from_secs(30);
/// Drains that one node asks for at most, and that are believed of all others together.
pub const MOST: usize = 256;

/// A backend that is drained on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Which drain it is.
    pub id: u64,
    /// The node at which it was asked for.
    pub by: NodeId,
    /// The backend.
    pub backend: SocketAddr,
    /// Over which time its connections are ended.
    pub over: Duration,
    /// Since when, as far as this node knows: before its agent has started, where the age is larger.
    pub since: Moment,
    /// How long it had lasted at that moment.
    pub age: Duration,
}

/// What a node has left of a drain, and when it said so.
pub type Progress = BTreeMap<NodeId, (Moment, Left)>;

/// What is drained, and what of that is over.
#[derive(Debug, Default)]
pub struct Known {
    /// By identifier; those of other nodes with the moment at which they are not believed any more.
    own: BTreeMap<u64, Draining>,
    heard: BTreeMap<u64, (Draining, Moment)>,
    /// What was ended, until when that is remembered, and whether this node says so.
    over: BTreeMap<u64, (Moment, bool)>,
    /// What the nodes have left of those of this node.
    progress: BTreeMap<u64, Progress>,
    /// What this node has left of those of others.
    left: Vec<Left>,
    /// True where there is something to say at once.
    is_new: bool,
    /// True where something else is drained than when this was asked last.
    has_changed: bool,
}

impl Known {
    /// A backend is drained on all nodes from now on. One that was drained by this node before is drained
    /// anew.
    pub fn begin(&mut self, now: Moment, me: NodeId, id: u64, backend: SocketAddr, over: Duration) {
        let before: Vec<_> = self.own.values().filter(|found| found.backend == backend).collect();
        let before: Vec<u64> = before.iter().map(|found| found.id).collect();
        before.into_iter().for_each(|id| self.end_one(now, id));
        let age = Duration::ZERO;
        self.own.insert(id, Draining { id, by: me, backend, over, since: now, age });
        (self.is_new, self.has_changed) = (true, true);
    }

    /// A backend is drained no more, whichever node has begun it. False where it was not.
    pub fn end(&mut self, now: Moment, backend: SocketAddr) -> bool {
        let ids: Vec<_> = self.all().filter(|found| found.backend == backend).collect();
        ids.iter().for_each(|found| self.end_one(now, found.id));
        self.is_new |= !ids.is_empty();
        !ids.is_empty()
    }

    fn end_one(&mut self, now: Moment, id: u64) {
        self.own.remove(&id);
        self.heard.remove(&id);
        self.progress.remove(&id);
        self.over.insert(id, (now + HOLDS, true));
        self.has_changed = true;
    }

    /// Everything that is drained on all nodes.
    pub fn all(&self) -> impl Iterator<Item = Draining> {
        self.own.values().copied().chain(self.heard.values().map(|(found, _)| *found))
    }

    /// Takes what this node has left of what is drained.
    pub fn leave(&mut self, now: Moment, me: NodeId, left: Vec<Left>) {
        for found in left.iter().filter(|found| self.own.contains_key(&found.id)) {
            self.progress.entry(found.id).or_default().insert(me, (now, *found));
        }
        self.left = left;
    }

    /// What the nodes have left of a drain of this node, as each has said last.
    pub fn progress(&self, id: u64) -> Progress {
        self.progress.get(&id).cloned().unwrap_or_default()
    }

    /// Takes what a node says is drained, and what is over.
    pub fn hear(&mut self, now: Moment, from: NodeId, said: &Drains) {
        for id in &said.over {
            // Who says so itself does not wait for others that do: two would keep each other at it.
            if let Some((until, says)) = self.over.get_mut(id) {
                if !*says {
                    *until = now + HOLDS;
                }
                continue;
            }
            let known = self.own.remove(id).is_some() | self.heard.remove(id).is_some();
            self.progress.remove(id);
            self.has_changed |= known;
            if known || self.over.len() < MOST {
                self.over.insert(*id, (now + HOLDS, false));
            }
        }
        for Drain { id, backend, over, age } in &said.drains {
            // Who has ended it goes on saying so for as long as somebody does not know.
            if let Some((until, _)) = self.over.get_mut(id) {
                *until = now + HOLDS;
                continue;
            }
            if let Some((_, until)) = self.heard.get_mut(id) {
                *until = now + HOLDS;
            } else if self.heard.len() < MOST && !self.own.contains_key(id) {
                let (id, backend, over, age) = (*id, *backend, *over, *age);
                let found = Draining { id, by: from, backend, over, since: now, age };
                self.heard.insert(id, (found, now + HOLDS));
                self.has_changed = true;
            }
        }
    }

    /// Takes what a node says that it has left of drains of this one.
    pub fn hear_left(&mut self, now: Moment, from: NodeId, said: &[Left]) {
        for found in said.iter().filter(|found| self.own.contains_key(&found.id)) {
            self.progress.entry(found.id).or_default().insert(from, (now, *found));
        }
    }

    /// What is said of them to every peer; none where that is nothing.
    pub fn say(&self, now: Moment) -> Option<Drains> {
        let drain = |found: &Draining| Drain {
            id: found.id,
            backend: found.backend,
            over: found.over,
            age: found.age + now.saturating_sub(found.since),
        };
        let over = self.over.iter().filter(|(_, (_, says))| *says).map(|(id, _)| *id);
        let said = Drains { drains: self.own.values().map(drain).collect(), over: over.collect() };
        (!said.drains.is_empty() || !said.over.is_empty()).then_some(said)
    }

    /// What is said to a peer of those that it has begun.
    pub fn say_left(&self, to: NodeId) -> Vec<Left> {
        let theirs = |found: &&Left| self.heard.get(&found.id).is_some_and(|(all, _)| all.by == to);
        self.left.iter().filter(theirs).copied().collect()
    }

    /// True once after something has changed that is to be said at once.
    pub fn is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// True where something is to be said at once.
    pub const fn has_news(&self) -> bool {
        self.is_new
    }

    /// True once after something else is drained.
    pub fn has_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Forgets what was not repeated for too long.
    pub fn forget(&mut self, now: Moment) {
        let before = self.heard.len();
        self.heard.retain(|_, (_, until)| *until > now);
        self.has_changed |= self.heard.len() != before;
        self.over.retain(|_, (until, _)| *until > now);
        let live: BTreeSet<u64> = self.all().map(|found| found.id).collect();
        self.left.retain(|found| live.contains(&found.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);
    const SECOND: Duration = Duration::from_secs(1);

    fn backend() -> SocketAddr {
        ([10, 0, 0, 1], 80).into()
    }

    fn drained(of: &Known) -> Vec<u64> {
        of.all().map(|found| found.id).collect()
    }

    /// One that drains, and one that hears it.
    fn two() -> (Known, Known) {
        let (mut one, mut other) = (Known::default(), Known::default());
        one.begin(SECOND, ME, 7, backend(), 30 * SECOND);
        other.hear(SECOND, ME, &one.say(SECOND).unwrap());
        assert_eq!((drained(&one), drained(&other)), (vec![7], vec![7]));
        (one, other)
    }

    #[test]
    fn a_drain_holds_for_as_long_as_it_is_repeated() {
        let (one, mut other) = two();
        other.hear(20 * SECOND, ME, &one.say(20 * SECOND).unwrap());
        other.forget(49 * SECOND);
        assert_eq!(drained(&other), [7]);
        // Its node is dead.
        other.forget(50 * SECOND);
        assert_eq!(drained(&other), [0; 0]);
    }

    #[test]
    fn who_hears_it_late_knows_how_long_it_has_lasted() {
        let (one, _) = two();
        let mut late = Known::default();
        late.hear(5 * SECOND, ME, &one.say(21 * SECOND).unwrap());
        let found = late.all().next().unwrap();
        assert_eq!((found.since, found.age, found.over), (5 * SECOND, 20 * SECOND, 30 * SECOND));
    }

    #[test]
    fn any_node_can_end_it_and_what_was_said_before_does_not_begin_it_again() {
        let (mut one, mut other) = two();
        let late = one.say(SECOND).unwrap();
        assert!(other.end(2 * SECOND, backend()) && !other.end(2 * SECOND, backend()));
        assert!(other.is_new() && !other.is_new());
        other.hear(3 * SECOND, ME, &late);
        assert_eq!(drained(&other), [0; 0]);
        one.hear(3 * SECOND, OTHER, &other.say(3 * SECOND).unwrap());
        assert_eq!(drained(&one), [0; 0]);
        assert_eq!(one.say(3 * SECOND), None, "only who has ended it says so");
        other.forget(33 * SECOND);
        assert_eq!(other.say(33 * SECOND), None, "and not for ever");
    }

    #[test]
    fn two_nodes_that_have_ended_it_do_not_keep_each_other_saying_so() {
        let (mut one, mut other) = two();
        assert!(one.end(2 * SECOND, backend()) && other.end(2 * SECOND, backend()));
        for second in 3..60 {
            let now = second * SECOND;
            let (said, answered) = (one.say(now), other.say(now));
            other.hear(now, ME, &said.unwrap_or_default());
            one.hear(now, OTHER, &answered.unwrap_or_default());
            one.forget(now);
            other.forget(now);
        }
        assert_eq!((one.say(60 * SECOND), other.say(60 * SECOND)), (None, None));
    }

    #[test]
    fn what_is_left_is_told_to_who_has_begun_it() {
        let (mut one, mut other) = two();
        let left = Left { id: 7, open: 3, ..Left::default() };
        other.leave(2 * SECOND, OTHER, vec![left]);
        assert_eq!((other.say_left(ME), other.say_left(NodeId(3))), (vec![left], Vec::new()));
        one.hear_left(2 * SECOND, OTHER, &[left, Left { id: 8, ..left }]);
        one.leave(3 * SECOND, ME, vec![Left { open: 1, ..left }]);
        let open = |(node, (_, left)): (&NodeId, &(Moment, Left))| (*node, left.open);
        assert_eq!(one.progress(7).iter().map(open).collect::<Vec<_>>(), [(ME, 1), (OTHER, 3)]);
        assert!(one.progress(8).is_empty());
    }

    #[test]
    fn a_node_that_says_too_much_is_not_believed_all() {
        let mut known = Known::default();
        let drain = |id| Drain { id, backend: backend(), over: SECOND, age: SECOND };
        let said =
            Drains { drains: (0..1_000).map(drain).collect(), over: (2_000..4_000).collect() };
        known.hear(SECOND, OTHER, &said);
        assert_eq!((known.all().count(), known.over.len()), (MOST, MOST));
        // Nor is it as another node.
        let said = Drains { drains: (5_000..6_000).map(drain).collect(), over: Vec::new() };
        known.hear(SECOND, NodeId(3), &said);
        assert_eq!(known.all().count(), MOST);
    }
}
