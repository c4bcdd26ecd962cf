//! What would move of a Service port: this node asks its steward, and answers as one. Nothing is permitted.

use std::collections::BTreeMap;

use super::{Node, moves::Request};
use crate::peers::{
    Moment,
    name::{NodeId, ServiceId},
    own::RowBackend,
    permits::Sums,
    wire::{Plan, Planned, Section, Survey},
};

/// What would move, as a steward has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// False where it has just begun, or hears fewer nodes than this one: it does not know yet.
    pub is_known: bool,
    /// Whose connections, identifiers of the backend that they are at and of the one that they would go
    /// to, and how many.
    pub moves: Vec<(NodeId, u32, u32, u32)>,
}

/// The question that waits for its answer. A new one takes the place of the one before.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    to: NodeId,
    number: u32,
    backends: Vec<u32>,
    /// How many parts there are, and those that have come.
    parts: Option<u16>,
    come: BTreeMap<u16, Vec<Planned>>,
}

impl Node {
    /// The Service port of a row, in its family; none of a row that is not told to other nodes.
    pub fn service_of(&self, row: u32) -> Option<ServiceId> {
        self.levels.service_of(row)
    }

    /// Asks the steward of the Service port of a row what would move; of this node's connections `only`,
    /// where others do not move theirs. Gives the number of the question; none where nobody can be asked.
    pub fn survey(&mut self, now: Moment, request: &Request, only: bool) -> Option<u32> {
        let service = self.levels.service_of(request.row)?;
        let (to, _) = self.stewards.get(&service).copied()?;
        let (ask, backends) = self.question(service, request)?;
        let number = ask.number;
        let backends = backends.into_iter().map(|(id, _)| id).collect();
        let pending = Pending { to, number, backends, parts: None, come: BTreeMap::new() };
        self.surveys.pending = Some(pending);
        let survey = Survey { ask, only };
        if to == self.me {
            for plan in self.plans(now, self.me, &survey) {
                self.hear_plan(self.me, &plan);
            }
        } else {
            self.moves.outbox.push((to, Section::Survey(survey)));
        }
        Some(number)
    }

    /// The answer to a question, once all of it has come.
    pub fn surveyed(&mut self, number: u32) -> Option<Surveyed> {
        let has_come = |found: &mut Pending| {
            let parts = found.parts.map(usize::from);
            found.number == number && parts.is_some_and(|parts| found.come.len() >= parts)
        };
        let pending = self.surveys.pending.take_if(has_come)?;
        let parts = pending.parts?;
        let backend = |index: u16| pending.backends.get(usize::from(index)).copied();
        let moves = pending.come.values().flatten().filter_map(|Planned { node, grant }| {
            Some((*node, backend(grant.from)?, backend(grant.to)?, u32::from(grant.count)))
        });
        Some(Surveyed { is_known: parts > 0, moves: moves.collect() })
    }

    /// True while a question waits for its answer, or that for who has asked.
    pub const fn is_surveying(&self) -> bool {
        self.surveys.pending.is_some()
    }

    /// The backends of a row.
    pub fn backends_of(&self, row: u32) -> &[RowBackend] {
        self.levels.row(row).map_or(&[], |known| &known.row.backends)
    }

    pub(super) fn hear_survey(&mut self, now: Moment, from: NodeId, survey: &Survey) {
        if self.peers.contains_key(&from) && self.own.has(survey.ask.service) {
            let plans = self.plans(now, from, survey);
            self.moves.outbox.extend(plans.into_iter().map(|plan| (from, Section::Plan(plan))));
        }
    }

    pub(super) fn hear_plan(&mut self, from: NodeId, plan: &Plan) {
        let is_this = |found: &&mut Pending| found.to == from && found.number == plan.number;
        let Some(pending) = self.surveys.pending.as_mut().filter(is_this) else { return };
        pending.parts = Some(plan.parts);
        if plan.part < plan.parts {
            pending.come.insert(plan.part, plan.moves.clone());
        }
    }

    /// What this node says as the steward.
    fn plans(&self, now: Moment, from: NodeId, survey: &Survey) -> Vec<Plan> {
        let Survey { ask, only } = survey;
        let (service, number) = (ask.service, ask.number);
        if !self.speaks(now, service) || usize::from(ask.nodes) > self.nodes() {
            return vec![Plan { service, number, part: 0, parts: 0, moves: Vec::new() }];
        }
        let (alike, yields, away) = self.known_of(now, ask);
        let total = |backend: &_| self.ledger.total(service, backend);
        let backends: Vec<_> = ask.candidates.iter().map(|found| found.backend).collect();
        let mut held = self.ledger.held(service, &backends);
        held.retain(|node, _| !only || *node == from);
        let sums = Sums { alike, yields, away, total: &total };
        Plan::of(service, number, &self.permits.survey(ask, &sums, held))
    }
}
