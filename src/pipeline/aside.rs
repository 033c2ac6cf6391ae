//! Outcomes that need no call, kept in step with the texts before them in their partition.
//!
//! A tombstone could be published at once. But a drain drops texts that were not sent yet, and what was published behind them
//! would be published again by the next owner. So it waits until the texts before it are on their way.

use std::collections::{BTreeMap, VecDeque};

use super::publish::Outcome;
use crate::domain::ledger::SlotId;
use crate::domain::record::Generation;

/// What waits, by lane.
#[derive(Debug, Default)]
pub(super) struct Aside {
    lanes: BTreeMap<Generation, Lane>,
}

/// One lane's texts, counted as they go into the batcher and out of it, and what waits behind them.
#[derive(Debug, Default)]
struct Lane {
    batched: u64,
    taken: u64,
    /// Each after so many texts.
    outcomes: VecDeque<(u64, SlotId, Outcome)>,
}

impl Aside {
    /// Counts a text that goes into the batcher.
    pub(super) fn batched(&mut self, generation: Generation) {
        self.lanes.entry(generation).or_default().batched += 1;
    }

    /// Takes an outcome that waits for texts before it; gives it back if there are none.
    pub(super) fn wait(&mut self, id: SlotId, outcome: Outcome) -> Option<Outcome> {
        let Some(lane) = self.lanes.get_mut(&id.generation).filter(|lane| lane.taken < lane.batched) else {
            return Some(outcome);
        };
        lane.outcomes.push_back((lane.batched, id, outcome));
        None
    }

    /// Counts a text that leaves the batcher; what waited for it alone follows.
    pub(super) fn taken(&mut self, generation: Generation) -> Vec<(SlotId, Outcome)> {
        let mut free = Vec::new();
        if let Some(lane) = self.lanes.get_mut(&generation) {
            lane.taken += 1;
            while lane.outcomes.front().is_some_and(|(after, _, _)| *after <= lane.taken) {
                free.extend(lane.outcomes.pop_front().map(|(_, id, outcome)| (id, outcome)));
            }
        }
        free
    }

    /// Forgets a lane whose texts were dropped.
    pub(super) fn forget(&mut self, generation: Generation) {
        self.lanes.remove(&generation);
    }
}
