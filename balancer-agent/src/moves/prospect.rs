//! What would be moved of a Service if somebody asked for it now.
//!
//! A pass waits for whoever holds a socket that it touches. Who only wants to know what would move must
//! not wait with it: what passes remember is left here by each, and the kernel is asked by another
//! [`Helper`] than theirs.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    choosing::{Chosen, choose},
    cluster::{self, Authority},
    helper::Helper,
    history::History,
    input::{End, Input},
    movable::{Asked, Movable},
    plan,
    report::{move_view, port_view, shares, waits},
    tally::Fate,
};
use crate::{
    desired::Desired,
    maps::{MapsError, Recorded, pinned::PinnedMaps},
    model::{Moving, ObjectRef, Reason},
    node::clock::now,
    peers::node::Request,
    view::{MoveView, PortView, RebalanceView},
};

/// A Service whose connections are to be moved.
#[derive(Debug)]
pub struct Look {
    /// The Service.
    pub service: ObjectRef,
    /// What was asked for, this among it.
    pub asked: Asked,
    /// What may be moved then.
    pub movable: Movable,
}

impl Look {
    /// Looks at a Service, whatever its policy says. `asked` is what was asked for before.
    pub fn new<D: Deref<Target = Desired>>(
        maps: &PinnedMaps,
        desired: impl Fn() -> D,
        configured: &Moving,
        mut asked: Asked,
        service: &ObjectRef,
    ) -> Result<Self, MapsError> {
        asked.services.insert(service.clone());
        // Nothing is to be ended here because its backend is gone.
        let movable = Movable::learn(maps, desired, configured, &asked, true)?;
        Ok(Self { service: service.clone(), asked, movable })
    }
}

/// What would move of a row, as its steward is asked.
pub struct Survey {
    /// The Service port.
    pub port: PortView,
    /// The row.
    pub request: Request,
    /// True where other nodes do not move theirs.
    pub only: bool,
}

/// What would be moved.
pub struct Prospect {
    /// What was looked at.
    pub look: Look,
    /// The moment of it. Where there are governed rows, all nodes move together.
    pub input: Input,
    /// What is remembered if that is done.
    pub history: History,
    /// What this node would end; nothing where all move together.
    pub ends: Vec<End>,
    /// The same, as it is shown.
    pub view: RebalanceView,
    /// What stewards are asked to complete that, where all move together.
    pub surveys: Vec<Survey>,
}

impl Prospect {
    /// Looks at what would be moved. `authority` permits it, where it is not this node alone that
    /// does. `failed` takes what nobody can be asked about.
    pub fn new(
        look: Look,
        mut history: History,
        authority: Option<&Arc<dyn Authority>>,
        maps: &PinnedMaps,
        helper: &Helper,
        failed: impl Fn(&Input, &Recorded, Option<Reason>, Fate),
    ) -> Self {
        let movable = &look.movable;
        let rows = movable.rows_of(&look.service);
        let mut input = movable.input(maps, now(), &rows);
        if let Some(authority) = authority.filter(|all| all.nodes() > 1) {
            input.governed = cluster::look(authority, &rows, &input, maps);
            if !input.governed.is_empty() {
                let backends = shares(&input, movable, maps, &rows, &history);
                let nodes = authority.nodes() as u64;
                let view = RebalanceView { backends, nodes, ..RebalanceView::default() };
                let survey = |id: &u32| {
                    let request = cluster::survey(&input, *id, &history)?;
                    let only = !input.rows.get(id)?.policy.rebalance;
                    Some(Survey { port: port_view(movable, *id)?, request, only })
                };
                let surveys = input.governed.keys().filter_map(survey).collect();
                return Self { look, input, history, ends: Vec::new(), view, surveys };
            }
        }
        for row in &rows {
            history.force(input.now, *row);
        }
        let mut demands = plan::demands(&input, &mut history);
        demands.retain(|demand| demand.reason == Reason::Rebalance && rows.contains(&demand.row));
        let failed = |found: &Recorded, reason, fate| failed(&input, found, reason, fate);
        let Chosen { ends, waiting, .. } =
            choose(&input, &demands, false, &mut history, maps, helper, failed);
        let view = RebalanceView {
            backends: shares(&input, movable, maps, &rows, &history),
            nodes: 1,
            moves: moves(&input, movable, maps, &ends),
            node_moves: None,
            waiting: waits(movable, &waiting),
            busy: plan::wanted(&demands).saturating_sub(ends.len()) as u64,
        };
        Self { look, input, history, ends, view, surveys: Vec::new() }
    }
}

/// Connections that are ended, as they are shown.
pub fn moves(input: &Input, movable: &Movable, maps: &PinnedMaps, ends: &[End]) -> Vec<MoveView> {
    ends.iter().filter_map(|end| move_view(input, movable, maps, end)).collect()
}

/// What passes remember, as of the last one.
#[derive(Default)]
pub struct Remembered(Mutex<Arc<Memory>>);

/// What a pass remembers.
#[derive(Default)]
pub struct Memory {
    /// What somebody asked for.
    pub asked: Asked,
    /// What was done.
    pub history: History,
    /// Who permits what.
    pub authority: Option<Arc<dyn Authority>>,
}

impl Remembered {
    /// Takes what a pass remembers.
    pub fn put(&self, memory: Memory) {
        let before = std::mem::replace(&mut *self.lock(), Arc::new(memory));
        // Whoever looks need not wait for this.
        drop(before);
    }

    /// What moving the connections of a Service now would do; those of all nodes, unless this one is
    /// `alone`.
    pub fn rebalance<D: Deref<Target = Desired>>(
        &self,
        maps: &PinnedMaps,
        helper: &Helper,
        desired: impl Fn() -> D,
        configured: &Moving,
        service: &ObjectRef,
        alone: bool,
    ) -> Result<Prospect, MapsError> {
        let memory = Arc::clone(&self.lock());
        let look = Look::new(maps, desired, configured, memory.asked.clone(), service)?;
        let authority = memory.authority.as_ref().filter(|_| !alone);
        let history = memory.history.clone();
        Ok(Prospect::new(look, history, authority, maps, helper, |_, _, _, _| {}))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
