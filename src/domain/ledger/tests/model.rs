//! The ledger against a trivial model, a producer that loses what it likes, and owners that come and go.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// What one slot is in the model. Everything about chains is found by looking at all earlier slots.
#[derive(Clone, Debug)]
struct Entry {
    id: SlotId,
    /// Its record's place in the source.
    record: usize,
    state: State,
    publications: u32,
}

#[derive(Debug)]
struct Assignment {
    generation: Generation,
    entries: Vec<Entry>,
    held: bool,
    /// The next record of the source to be received.
    cursor: usize,
    position: Option<Position>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    offset: Offset,
    key: u8,
    bytes: u64,
}

/// One partition: what it holds, who reads it, what reached the output.
#[derive(Debug)]
struct Partition {
    source: Vec<Source>,
    assignment: Assignment,
    output: Vec<usize>,
}

/// A number that picks one of several; even ones prefer what is not settled, odd ones take anything.
type Pick = u16;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Admit(Pick, u8, u8),
    Sent(Pick),
    Unsent(Pick),
    Ready(Pick),
    /// Publishes what the ledger says; whether it lands is the producer's secret until it answers.
    Publish {
        lands: bool,
    },
    /// Publishes whatever slot, allowed or not.
    PublishAny(Pick, bool),
    /// The producer answers, in whatever order; an answer may be repeated, and what landed may be called a failure.
    Answer {
        pick: Pick,
        slander: bool,
        again: bool,
    },
    Hold(Pick),
    Release(Pick),
    Reassign(Pick),
}

pub(super) fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    use Operation::*;
    let operation = prop_oneof![
        6 => (any::<Pick>(), 0..6u8, 0..20u8).prop_map(|(at, key, bytes)| Admit(at, key, bytes)),
        4 => any::<Pick>().prop_map(Sent),
        1 => any::<Pick>().prop_map(Unsent),
        8 => any::<Pick>().prop_map(Ready),
        7 => prop::bool::weighted(0.7).prop_map(|lands| Publish { lands }),
        1 => (any::<Pick>(), any::<bool>()).prop_map(|(pick, lands)| PublishAny(pick, lands)),
        7 => (any::<Pick>(), prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(pick, slander, again)| Answer { pick, slander, again }),
        1 => any::<Pick>().prop_map(Hold),
        1 => any::<Pick>().prop_map(Release),
        1 => any::<Pick>().prop_map(Reassign),
    ];
    prop::collection::vec(operation, 1..most)
}

#[derive(Debug)]
pub(super) struct World {
    order: Order,
    ledger: Ledger<(usize, usize)>,
    partitions: Vec<Partition>,
    /// What the producer has not answered, and whether it landed. Landing is in the order of publishing.
    unanswered: Vec<(Publication, bool)>,
    /// Every id that was ever given.
    ids: Vec<SlotId>,
    generations: u64,
    charged: u64,
    freed: u64,
}

fn key_bytes(key: u8) -> Option<&'static [u8]> {
    [None, Some(b"".as_slice()), Some(b"a"), Some(b"b"), Some(b"a\0"), None][usize::from(key % 6)]
}

impl World {
    pub(super) fn new(order: Order) -> Self {
        let mut ledger = Ledger::new(order);
        let partitions = (0..2)
            .map(|number| {
                ledger.open(Generation(number));
                let generation = Generation(number);
                let assignment =
                    Assignment { generation, entries: Vec::new(), held: false, cursor: 0, position: None };
                Partition { source: Vec::new(), assignment, output: Vec::new() }
            })
            .collect();
        let (unanswered, ids) = (Vec::new(), Vec::new());
        Self { order, ledger, partitions, unanswered, ids, generations: 2, charged: 0, freed: 0 }
    }

    pub(super) fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Admit(at, key, bytes) => {
                let at = usize::from(at) % self.partitions.len();
                self.admit(at, key, u64::from(bytes));
            }
            Operation::Sent(pick) => {
                let Some(id) = self.pick(pick) else { return };
                let entry = self.entry(id);
                if let Some(entry) = entry
                    && entry.state == State::Waiting
                {
                    entry.state = State::Sent;
                }
                let known = self.is_unsettled(id);
                assert_eq!(self.ledger.sent(id), known);
            }
            Operation::Unsent(pick) => {
                let Some(id) = self.pick(pick) else { return };
                if let Some(entry) = self.entry(id)
                    && entry.state == State::Sent
                {
                    entry.state = State::Waiting;
                }
                self.ledger.unsent(id);
            }
            Operation::Ready(pick) => {
                if let Some(id) = self.pick(pick) {
                    self.ready(id);
                }
            }
            Operation::Publish { lands } => {
                self.publish_next(lands);
            }
            Operation::PublishAny(pick, lands) => {
                if let Some(id) = self.pick(pick) {
                    self.publish(id, lands);
                }
            }
            Operation::Answer { pick, slander, again } => self.answer(usize::from(pick), slander, again),
            Operation::Hold(pick) => self.hold(usize::from(pick), true),
            Operation::Release(pick) => self.hold(usize::from(pick), false),
            Operation::Reassign(pick) => self.reassign(usize::from(pick) % self.partitions.len()),
        }
    }

    fn pick(&self, pick: Pick) -> Option<SlotId> {
        let pick = usize::from(pick);
        let unsettled: Vec<SlotId> = self
            .partitions
            .iter()
            .flat_map(|partition| partition.assignment.entries.iter().map(|entry| entry.id))
            .filter(|id| pick % 2 == 0 && self.is_unsettled(*id))
            .collect();
        let ids = if unsettled.is_empty() { &self.ids } else { &unsettled };
        (!ids.is_empty()).then(|| ids[pick / 2 % ids.len()])
    }

    /// The model's slot; `None` where its lane is closed.
    fn entry(&mut self, id: SlotId) -> Option<&mut Entry> {
        self.partitions
            .iter_mut()
            .flat_map(|partition| &mut partition.assignment.entries)
            .find(|entry| entry.id == id)
    }

    fn is_unsettled(&self, id: SlotId) -> bool {
        self.partitions.iter().any(|partition| {
            let entries = &partition.assignment.entries;
            entries
                .iter()
                .position(|entry| entry.id == id)
                .is_some_and(|index| entries[..=index].iter().any(|entry| entry.state != State::Acknowledged))
        })
    }

    /// Two slots' chain; `None` is nobody's but its own.
    fn chain(&self, at: usize, entry: &Entry) -> Option<&'static [u8]> {
        match self.order {
            Order::None => None,
            Order::Partition => Some(b"all"),
            Order::Key => key_bytes(self.partitions[at].source[entry.record].key),
        }
    }

    /// The earlier slots of its chain.
    fn earlier(&self, at: usize, index: usize) -> impl Iterator<Item = &Entry> {
        let entries = &self.partitions[at].assignment.entries;
        let chain = self.chain(at, &entries[index]);
        entries[..index].iter().filter(move |entry| chain.is_some() && self.chain(at, entry) == chain)
    }

    fn locate(&self, id: SlotId) -> Option<(usize, usize)> {
        self.partitions.iter().enumerate().find_map(|(at, partition)| {
            let index = partition.assignment.entries.iter().position(|entry| entry.id == id)?;
            Some((at, index))
        })
    }

    fn may_be_published(&self, at: usize, index: usize) -> bool {
        let assignment = &self.partitions[at].assignment;
        let went = |entry: &Entry| matches!(entry.state, State::Published | State::Acknowledged);
        !assignment.held
            && assignment.entries[index].state == State::Ready
            && self.earlier(at, index).all(went)
    }

    fn is_retired(&self, at: usize, index: usize) -> bool {
        let acknowledged = |entry: &Entry| entry.state == State::Acknowledged;
        acknowledged(&self.partitions[at].assignment.entries[index])
            && self.earlier(at, index).all(acknowledged)
    }

    fn admit(&mut self, at: usize, key: u8, bytes: u64) {
        let partition = &mut self.partitions[at];
        let record = partition.assignment.cursor;
        if record == partition.source.len() {
            let before = partition.source.last().map_or(-1, |source| source.offset.0);
            let offset = Offset(before + 1 + i64::from(key % 3));
            partition.source.push(Source { offset, key, bytes });
        }
        let Source { offset, key, bytes } = partition.source[record];
        let generation = partition.assignment.generation;
        let id = self
            .ledger
            .admit(generation, offset, key_bytes(key), Some(offset.0 * 10), bytes)
            .expect("its lane is open");
        assert_eq!(id.generation, generation);
        partition.assignment.entries.push(Entry { id, record, state: State::Waiting, publications: 0 });
        partition.assignment.cursor += 1;
        self.ids.push(id);
        self.charged += bytes;
    }

    fn ready(&mut self, id: SlotId) {
        let at = self.locate(id).map_or(9, |(at, _)| at);
        let Some(entry) = self.entry(id) else {
            assert_eq!(self.ledger.ready(id, (9, 9)), Err((9, 9)), "late: handed back");
            return;
        };
        let outcome = (at, entry.record);
        if matches!(entry.state, State::Waiting | State::Sent) {
            entry.state = State::Ready;
            assert_eq!(self.ledger.ready(id, outcome), Ok(()));
        } else {
            assert_eq!(self.ledger.ready(id, (9, 9)), Err((9, 9)), "it has one: handed back");
        }
    }

    /// Whether there was something.
    fn publish_next(&mut self, lands: bool) -> bool {
        let all = (0..self.partitions.len())
            .flat_map(|at| (0..self.partitions[at].assignment.entries.len()).map(move |index| (at, index)));
        let allowed: Vec<(usize, usize)> =
            all.filter(|(at, index)| self.may_be_published(*at, *index)).collect();
        let next = self.ledger.next_to_publish().map(|(id, outcome)| (id, *outcome));
        assert_eq!(next, self.ledger.next_to_publish().map(|(id, outcome)| (id, *outcome)), "the same one");
        assert_eq!(next.is_some(), !allowed.is_empty(), "what may be published is found: {allowed:?}");
        let Some((id, outcome)) = next else { return false };
        let (at, index) = self.locate(id).expect("its lane is open");
        assert!(allowed.contains(&(at, index)), "{id:?} overtakes");
        assert_eq!(outcome, (at, self.partitions[at].assignment.entries[index].record));
        self.publish(id, lands);
        true
    }

    fn publish(&mut self, id: SlotId, lands: bool) {
        let place = self.locate(id).filter(|(at, index)| self.may_be_published(*at, *index));
        let publication = self.ledger.publish(id);
        assert_eq!(publication.is_some(), place.is_some(), "{id:?}");
        let (Some(publication), Some((at, index))) = (publication, place) else { return };
        let partition = &mut self.partitions[at];
        let entry = &mut partition.assignment.entries[index];
        entry.state = State::Published;
        entry.publications += 1;
        assert_eq!(publication, Publication { slot: id, number: entry.publications });
        if lands {
            partition.output.push(entry.record);
        }
        self.unanswered.push((publication, lands));
    }

    fn answer(&mut self, pick: usize, slander: bool, again: bool) {
        if self.unanswered.is_empty() {
            return;
        }
        let pick = pick % self.unanswered.len();
        let (publication, landed) = self.unanswered[pick];
        if !again {
            self.unanswered.remove(pick);
        }
        let place = self.locate(publication.slot).filter(|(at, index)| {
            let entry = &self.partitions[*at].assignment.entries[*index];
            entry.state == State::Published && entry.publications == publication.number
        });
        if landed && !slander {
            let before = self.kept();
            if let Some((at, index)) = place {
                self.partitions[at].assignment.entries[index].state = State::Acknowledged;
            }
            let freed = place.map(|_| before - self.kept());
            assert_eq!(self.ledger.acknowledged(publication), freed);
            self.freed += freed.unwrap_or(0);
        } else {
            assert_eq!(self.ledger.failed(publication), place.is_some());
            if let Some((at, index)) = place {
                self.take_back(at, index);
            }
        }
    }

    fn take_back(&mut self, at: usize, index: usize) {
        let entries = &self.partitions[at].assignment.entries;
        let back: Vec<usize> = (index..entries.len())
            .filter(|later| {
                let of_chain = self.earlier(at, *later).any(|entry| entry.id == entries[index].id);
                let went = matches!(entries[*later].state, State::Published | State::Acknowledged);
                *later == index || (of_chain && went)
            })
            .collect();
        for index in back {
            self.partitions[at].assignment.entries[index].state = State::Ready;
        }
    }

    /// Bytes of what is not retired.
    fn kept(&self) -> u64 {
        let bytes = |at: usize| {
            let partition = &self.partitions[at];
            let kept = move |index: &usize| !self.is_retired(at, *index);
            let entries = &partition.assignment.entries;
            let bytes = |index: usize| partition.source[entries[index].record].bytes;
            (0..entries.len()).filter(kept).map(bytes).sum::<u64>()
        };
        (0..self.partitions.len()).map(bytes).sum()
    }

    fn hold(&mut self, at: usize, held: bool) {
        let at = at % self.partitions.len();
        let assignment = &mut self.partitions[at].assignment;
        assignment.held = held;
        if held {
            self.ledger.hold(assignment.generation);
        } else {
            self.ledger.release(assignment.generation);
        }
    }
}

mod laws;
