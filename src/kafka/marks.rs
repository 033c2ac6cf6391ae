//! How far one held partition is: what was taken, what is settled, where it may be committed.

use crate::domain::ledger::Progress;
use crate::domain::record::{Offset, Position};

/// After so many looks at a position that has not moved it is asked about, then after twice, four times as many.
const STILL: u32 = 4;

/// Whether a position moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    at: i64,
    looks: u32,
}

impl Standing {
    /// Takes up where the position is; `true` when it has stood for so long that it is time to ask.
    pub(super) fn look(&mut self, at: i64) -> bool {
        if at == self.at {
            self.looks = self.looks.saturating_add(1);
        } else {
            *self = Self { at, looks: 0 };
        }
        self.looks >= STILL && self.looks.is_power_of_two()
    }
}

/// Counts and positions of one assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    polled: u64,
    settled: u64,
    position: Option<Position>,
    /// Where the first record taken is. It may lie before `initial`, which is asked for while records come already.
    began: Option<Position>,
    /// Where a partition without a committed position begins, as the broker says.
    initial: Option<Position>,
    /// Up to here there is nothing to read, but for what was taken and is settled.
    passed: Option<Position>,
}

impl Marks {
    /// Counts a record taken.
    pub(super) fn took(&mut self, offset: Offset) {
        self.polled += 1;
        // Then the topic is another one of the same name, or there was something to read after all.
        self.passed = self.passed.filter(|end| offset.0 >= end.next());
        self.began.get_or_insert_with(|| Position::at(offset.0));
    }

    /// Takes up what the loop knows.
    pub(super) fn settled(&mut self, progress: &Progress) {
        self.settled = progress.settled;
        self.position = progress.position;
    }

    /// Takes up where the partition begins for this group.
    pub(super) fn begins(&mut self, initial: Position) {
        self.initial = Some(initial);
    }

    /// Takes up that nothing can be read from `from` up to `end`. What is under way, or has moved since that was asked, keeps it back.
    pub(super) fn pass(&mut self, from: Position, end: Position) {
        if self.uncommitted() == 0 && self.committable().is_none_or(|at| at == from) {
            self.passed = Some(end);
        }
    }

    /// Records taken and not settled.
    pub(super) fn uncommitted(&self) -> u64 {
        self.polled - self.settled
    }

    /// What may be committed: never past a record that was taken and is not settled.
    pub(super) fn committable(&self) -> Option<Position> {
        self.position.or(self.began).or(self.initial).max(self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Generation;

    #[test]
    fn no_position_lies_past_a_record_that_was_taken() {
        let mut marks = Marks::default();
        assert_eq!(marks.committable(), None);
        marks.begins(Position::at(90));
        assert_eq!(marks.committable(), Some(Position::at(90)), "an idle partition has its lag");
        // With `start: latest` the end is asked for while the first records come already.
        marks.took(Offset(70));
        marks.took(Offset(71));
        assert_eq!(marks.committable(), Some(Position::at(70)));
        assert_eq!(marks.uncommitted(), 2);
        let settled = |count, position| Progress { generation: Generation(1), position, settled: count };
        marks.settled(&settled(0, None));
        assert_eq!(marks.committable(), Some(Position::at(70)));
        marks.settled(&settled(1, Some(Position::at(71))));
        assert_eq!((marks.committable(), marks.uncommitted()), (Some(Position::at(71)), 1));
    }

    #[test]
    fn a_position_passes_what_is_shown_to_nobody_and_no_record() {
        let mut marks = Marks::default();
        let settled = |count, at| Progress {
            generation: Generation(1),
            position: Some(Position::at(at)),
            settled: count,
        };
        marks.took(Offset(70));
        marks.pass(Position::at(70), Position::at(75));
        assert_eq!(marks.committable(), Some(Position::at(70)), "a record is under way");
        marks.settled(&settled(1, 71));
        marks.pass(Position::at(70), Position::at(75));
        assert_eq!(marks.committable(), Some(Position::at(71)), "it has moved since that was asked");
        marks.pass(Position::at(71), Position::at(75));
        assert_eq!(marks.committable(), Some(Position::at(75)));
        marks.took(Offset(75));
        assert_eq!(marks.committable(), Some(Position::at(75)));
        marks.settled(&settled(2, 76));
        assert_eq!(marks.committable(), Some(Position::at(76)));
        // The topic is deleted and created anew.
        marks.pass(Position::at(76), Position::at(80));
        marks.took(Offset(0));
        marks.settled(&settled(3, 1));
        assert_eq!(marks.committable(), Some(Position::at(1)));
    }

    #[test]
    fn a_position_that_stands_is_asked_about_ever_more_rarely() {
        let mut standing = Standing::default();
        let looks: Vec<u32> = (0..40).filter(|_| standing.look(6)).collect();
        assert_eq!(looks, [4, 8, 16, 32], "the first look moves it");
        assert!(!standing.look(7), "it has moved");
        let looks: Vec<u32> = (0..10).filter(|_| standing.look(7)).collect();
        assert_eq!(looks, [3, 7]);
    }
}
