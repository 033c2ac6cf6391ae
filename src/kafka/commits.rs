//! What is committed, what is being committed, and when the next commit is due.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::domain::record::{Generation, Position};

/// How often positions are committed: what lies between is repeated after a crash.
const INTERVAL: Duration = Duration::from_millis(200);

/// Commits, at most one in flight: a delayed older one could move a position back.
#[derive(Debug, Default)]
pub(super) struct Commits {
    committed: BTreeMap<Generation, Position>,
    in_flight: Option<(Instant, Vec<(Generation, Position)>)>,
    last: Option<Instant>,
}

impl Commits {
    /// The positions to commit now, of those that are held.
    pub(super) fn due(
        &mut self,
        held: impl Iterator<Item = (Generation, Position)>,
        now: Instant,
    ) -> Vec<(Generation, Position)> {
        if self.in_flight.is_some() {
            return Vec::new();
        }
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return Vec::new();
        }
        held.filter(|(generation, position)| self.committed.get(generation) != Some(position)).collect()
    }

    pub(super) fn started(&mut self, positions: Vec<(Generation, Position)>, now: Instant) {
        self.last = Some(now);
        self.in_flight = Some((now, positions));
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The answer to the commit in flight; returns when that was started.
    pub(super) fn answered(&mut self, ok: bool) -> Option<Instant> {
        let (since, positions) = self.in_flight.take()?;
        if ok {
            self.committed.extend(positions);
        }
        Some(since)
    }

    /// What the broker is known to hold for a generation.
    pub(super) fn note(&mut self, generation: Generation, position: Position) {
        self.committed.insert(generation, position);
    }

    pub(super) fn committed(&self, generation: Generation) -> Option<Position> {
        self.committed.get(&generation).copied()
    }

    pub(super) fn forget(&mut self, generation: Generation) {
        self.committed.remove(&generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_commit_is_in_flight_and_only_changes_are_committed() {
        let start = tokio::time::Instant::now().into_std();
        let at = |seconds| start + Duration::from_secs(seconds);
        let held = |next| [(Generation(1), Position::at(next))].into_iter();
        let mut commits = Commits::default();
        let due = commits.due(held(5), at(0));
        assert_eq!(due, [(Generation(1), Position::at(5))]);
        commits.started(due, at(0));
        assert!(commits.due(held(6), at(1)).is_empty(), "one is in flight");
        assert_eq!(commits.answered(true), Some(at(0)));
        assert_eq!(commits.answered(true), None, "one answer a commit");
        assert_eq!(commits.committed(Generation(1)), Some(Position::at(5)));
        assert!(commits.due(held(5), at(2)).is_empty(), "nothing changed");
        assert!(!commits.is_in_flight());
        let due = commits.due(held(6), at(3));
        commits.started(due, at(3));
        commits.answered(false);
        assert_eq!(commits.due(held(6), at(4)).len(), 1, "a failed one is tried again");
        assert!(commits.due(held(6), start + Duration::from_millis(3_100)).is_empty(), "not too often");
    }
}
