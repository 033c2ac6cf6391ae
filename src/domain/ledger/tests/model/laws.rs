//! What must hold after each step, and in the end.

use super::*;

impl World {
    /// Another owner, or the same one again: it goes on at the position, whatever was published behind it.
    pub(super) fn reassign(&mut self, at: usize) {
        let old = &self.partitions[at].assignment;
        let unsettled: Vec<State> =
            old.entries.iter().filter(|entry| self.is_unsettled(entry.id)).map(|entry| entry.state).collect();
        let count =
            |states: [State; 2]| unsettled.iter().filter(|state| states.contains(state)).count() as u64;
        let before = self.ledger.bytes();
        let (others, old_generation) = (self.ledger.len() - unsettled.len(), old.generation);
        let cursor = old.cursor - unsettled.len();
        let closed = self.ledger.close(old_generation);
        assert_eq!(closed.wasted, count([State::Sent, State::Ready]));
        assert_eq!(closed.repeated, count([State::Published, State::Acknowledged]));
        assert_eq!(self.ledger.bytes(), before - closed.bytes);
        assert_eq!(self.ledger.len(), others);
        assert_eq!(self.ledger.close(old_generation), Closed::default(), "once");
        assert_eq!(self.ledger.progress(old_generation), None);
        assert_eq!(self.ledger.oldest(old_generation), None);
        assert!(!self.ledger.is_busy(old_generation));
        assert_eq!(self.ledger.admit(old_generation, Offset(0), None, None, 7), None, "late");
        self.ledger.hold(old_generation);
        self.ledger.release(old_generation);
        self.freed += closed.bytes;

        let generation = Generation(self.generations);
        self.generations += 1;
        self.ledger.open(generation);
        self.partitions[at].assignment =
            Assignment { generation, entries: Vec::new(), held: false, cursor, position: None };
    }

    pub(in super::super) fn check(&mut self) {
        assert_eq!(self.ledger.bytes(), self.kept());
        assert_eq!(self.ledger.bytes(), self.charged - self.freed);
        let mut unsettled = 0;
        let mut all = Vec::new();
        for at in 0..self.partitions.len() {
            unsettled += self.check_lane(at, &mut all);
        }
        assert_eq!(self.ledger.len(), unsettled);
        assert_eq!(self.ledger.is_empty(), unsettled == 0);
        all.sort_by_key(|progress| progress.generation);
        assert_eq!(self.ledger.progress_all().collect::<Vec<_>>(), all);
        self.check_queue();
    }

    fn check_lane(&mut self, at: usize, all: &mut Vec<Progress>) -> usize {
        let partition = &self.partitions[at];
        let Assignment { generation, entries, held, position: before, .. } = &partition.assignment;
        let (generation, before) = (*generation, *before);
        let settled = entries.iter().take_while(|entry| entry.state == State::Acknowledged).count();
        let last = settled.checked_sub(1).map(|last| partition.source[entries[last].record].offset);
        let position = last.map(Position::after);
        assert!(position >= before, "a position never goes back");
        let progress = Progress { generation, position, settled: settled as u64 };
        assert_eq!(self.ledger.progress(generation), Some(progress));
        all.push(progress);
        for entry in &entries[..settled] {
            assert!(partition.output.contains(&entry.record), "committed, but never published");
        }
        let oldest = entries.get(settled).map(|entry| partition.source[entry.record].offset.0 * 10);
        assert_eq!(self.ledger.oldest(generation), oldest);
        let busy = (0..entries.len()).any(|index| {
            matches!(entries[index].state, State::Sent | State::Published)
                || (!held && self.may_be_published(at, index))
        });
        assert_eq!(self.ledger.is_busy(generation), busy);
        let unsettled = entries.len() - settled;
        for (index, Entry { id, record, state, .. }) in entries.clone().into_iter().enumerate() {
            let has = !matches!(state, State::Waiting | State::Sent) && !self.is_retired(at, index);
            let outcome = self.ledger.outcome_mut(id).map(|outcome| *outcome);
            assert_eq!(outcome, has.then_some((at, record)), "kept while it may be needed again, no longer");
            assert!(self.ledger.is_open(id));
        }
        self.partitions[at].assignment.position = position;
        unsettled
    }

    /// However often deliveries fail, a slot stands in line once.
    fn check_queue(&self) {
        let mut seen = HashSet::new();
        let held = self.ledger.lanes.iter().flat_map(|(generation, lane)| {
            let sequences = lane.held.iter().flatten();
            sequences.map(|sequence| SlotId { generation: *generation, sequence: *sequence })
        });
        for id in self.ledger.publishable.iter().copied().chain(held) {
            assert!(seen.insert(id), "{id:?} stands in line twice");
        }
    }

    /// The producer calms down: everything is received, embedded, published and acknowledged.
    pub(in super::super) fn finish(&mut self) {
        for at in 0..self.partitions.len() {
            self.hold(at, false);
            while self.partitions[at].assignment.cursor < self.partitions[at].source.len() {
                self.admit(at, 0, 0);
            }
            let ids: Vec<SlotId> =
                self.partitions[at].assignment.entries.iter().rev().map(|entry| entry.id).collect();
            for id in ids {
                self.ready(id);
            }
        }
        loop {
            // Old failures arrive late; new publications land.
            while let Some(last) = self.unanswered.len().checked_sub(1) {
                self.answer(last, false, false);
            }
            self.check();
            if !self.publish_next(true) {
                break;
            }
            while self.publish_next(true) {}
        }
        self.check_end();
    }

    fn check_end(&self) {
        assert!(self.ledger.is_empty());
        assert_eq!(self.ledger.bytes(), 0);
        assert_eq!(self.charged, self.freed, "every byte is given back once");
        assert!(self.ledger.publishable.is_empty());
        for (at, Partition { source, output, assignment }) in self.partitions.iter().enumerate() {
            if let Some(last) = source.last()
                && !assignment.entries.is_empty()
            {
                let progress = self.ledger.progress(assignment.generation).expect("open");
                assert_eq!(progress.position, Some(Position::after(last.offset)));
            }
            let last: Vec<usize> = (0..source.len())
                .map(|record| {
                    let last = output.iter().rposition(|published| *published == record);
                    last.unwrap_or_else(|| panic!("record {record} of partition {at} is lost"))
                })
                .collect();
            for (later, earlier) in (0..source.len()).flat_map(|later| (0..later).map(move |e| (later, e))) {
                let ordered = match self.order {
                    Order::None => false,
                    Order::Partition => true,
                    Order::Key => {
                        let key = key_bytes(source[later].key);
                        key.is_some() && key == key_bytes(source[earlier].key)
                    }
                };
                assert!(
                    !ordered || last[earlier] < last[later],
                    "record {earlier} is the last after {later}"
                );
            }
        }
    }
}

fn run(order: Order, operations: &[Operation]) {
    let mut world = World::new(order);
    for operation in operations {
        world.apply(operation);
        world.check();
    }
    world.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_key_keeps_its_laws_whatever_happens(operations in operations(160)) {
        run(Order::Key, &operations);
    }

    #[test]
    fn order_partition_keeps_its_laws_whatever_happens(operations in operations(160)) {
        run(Order::Partition, &operations);
    }

    #[test]
    fn order_none_keeps_its_laws_whatever_happens(operations in operations(160)) {
        run(Order::None, &operations);
    }
}
