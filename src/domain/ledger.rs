//! The ledger: what was received, what became of it, what may be published next and what may be committed.
//!
//! Every assigned partition has a lane of slots in the order they were received, named by its generation. A slot goes
//! `waiting → sent → ready → published → acknowledged`; a failed delivery takes it back from published to ready, with the
//! later slots of its chain, so that the last output of a key is always its newest. Offsets are what was received, never
//! ranges: compaction and transaction markers leave gaps.
//!
//! A *chain* is what must stay in order: the records of one key (`order: key`), the whole lane (`order: partition`) or
//! nothing (`order: none`, and null keys). The published slots of a chain are always a prefix of it.

mod lane;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use self::lane::{Lane, Slot, State};
use super::record::{Generation, Offset, Position};

/// What order the outputs keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Per key, within its partition.
    #[default]
    Key,
    /// The whole partition's.
    Partition,
    /// None.
    None,
}

/// Names one received record for as long as its assignment lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId {
    /// The assignment it was received under.
    pub generation: Generation,
    sequence: u64,
}

/// One handing-over of a slot's outcome to the producer. A slot that is published again gets a new number, so that the
/// answer to an earlier handing-over cannot be taken for the later one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Whose outcome.
    pub slot: SlotId,
    number: u32,
}

/// How far a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The lane.
    pub generation: Generation,
    /// What may be committed; `None` until the first record is settled.
    pub position: Option<Position>,
    /// Records behind the position, since the lane was opened.
    pub settled: u64,
}

/// What closing a lane gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Bytes no longer charged.
    pub bytes: u64,
    /// Slots whose embedding was paid for, or under way, and is thrown away.
    pub wasted: u64,
    /// Outcomes that reached the output but lie past the position: the next owner repeats them.
    pub repeated: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Ledger<O> {
    order: Order,
    lanes: BTreeMap<Generation, Lane<O>>,
    publishable: VecDeque<SlotId>,
    len: usize,
}

impl<O> Ledger<O> {
    /// An empty ledger.
    pub fn new(order: Order) -> Self {
        Self { order, lanes: BTreeMap::new(), publishable: VecDeque::new(), len: 0 }
    }

    /// Opens the lane of a new assignment.
    pub fn open(&mut self, generation: Generation) {
        self.lanes.entry(generation).or_insert_with(|| Lane {
            slots: VecDeque::new(),
            first: 0,
            position: None,
            chains: HashMap::new(),
            bytes: 0,
            sent: 0,
            publishing: 0,
            publishable: 0,
            held: None,
        });
    }

    /// Takes in a record, in the order of its partition. `None`: the lane is closed, the record is late.
    pub fn admit(
        &mut self,
        generation: Generation,
        offset: Offset,
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        bytes: u64,
    ) -> Option<SlotId> {
        let lane = self.lanes.get_mut(&generation)?;
        let sequence = lane.first + lane.slots.len() as u64;
        let chain = match self.order {
            Order::None => None,
            Order::Partition => Some(0),
            Order::Key => key.map(hash),
        };
        if let Some(chain) = chain {
            lane.chains.entry(chain).or_default().sequences.push_back(sequence);
        }
        lane.slots.push_back(Slot {
            offset,
            timestamp,
            chain,
            bytes,
            state: State::Waiting,
            queued: false,
            publications: 0,
            outcome: None,
        });
        lane.bytes += bytes;
        self.len += 1;
        Some(SlotId { generation, sequence })
    }

    /// Notes that a request with this record is on the wire. `false`: the lane is closed.
    pub fn sent(&mut self, id: SlotId) -> bool {
        let Some((lane, index)) = self.find(id) else { return false };
        if lane.slots[index].state == State::Waiting {
            lane.slots[index].state = State::Sent;
            lane.sent += 1;
        }
        true
    }

    /// Notes that no request with this record is on the wire any more: it waits for its next attempt.
    pub fn unsent(&mut self, id: SlotId) {
        if let Some((lane, index)) = self.find(id)
            && lane.slots[index].state == State::Sent
        {
            lane.slots[index].state = State::Waiting;
            lane.sent -= 1;
        }
    }

    /// Whether the record's lane is still open.
    pub fn is_open(&self, id: SlotId) -> bool {
        self.lanes.contains_key(&id.generation)
    }

    /// Gives a record its outcome.
    ///
    /// # Errors
    /// The outcome comes back when it must not be published: it is late (its lane is closed), or the record has one.
    pub fn ready(&mut self, id: SlotId, outcome: O) -> Result<(), O> {
        let Some((lane, index)) = self.find(id) else { return Err(outcome) };
        let slot = &mut lane.slots[index];
        match slot.state {
            State::Sent => lane.sent -= 1,
            State::Waiting => {}
            State::Ready | State::Published | State::Acknowledged => return Err(outcome),
        }
        slot.state = State::Ready;
        slot.outcome = Some(outcome);
        if lane.is_next(id.sequence) {
            lane.publishable += 1;
            if lane.queue(index) {
                self.publishable.push_back(id);
            }
        }
        Ok(())
    }

    /// The outcome to publish now, if any. The same one until `publish` takes it.
    pub fn next_to_publish(&mut self) -> Option<(SlotId, &O)> {
        loop {
            let id = *self.publishable.front()?;
            let Some((lane, index)) = self.find(id) else {
                self.publishable.pop_front();
                continue;
            };
            if !lane.is_publishable(id.sequence) {
                lane.slots[index].queued = false;
                self.publishable.pop_front();
                continue;
            }
            if let Some(held) = &mut lane.held {
                held.push_back(id.sequence);
                self.publishable.pop_front();
                continue;
            }
            break;
        }
        let id = *self.publishable.front()?;
        let outcome = self.find(id).and_then(|(lane, index)| lane.slots[index].outcome.as_ref())?;
        Some((id, outcome))
    }

    /// Notes that the outcome of `next_to_publish` was handed to the producer. `None`, and nothing changes, if it may not
    /// be published now: not ready, held, or an earlier one of its chain comes first.
    pub fn publish(&mut self, id: SlotId) -> Option<Publication> {
        let is_front = self.publishable.front() == Some(&id);
        let (lane, index) = self.find(id)?;
        if lane.held.is_some() || !lane.is_publishable(id.sequence) {
            return None;
        }
        let slot = &mut lane.slots[index];
        slot.state = State::Published;
        slot.publications += 1;
        slot.queued &= !is_front;
        let number = slot.publications;
        lane.publishing += 1;
        lane.publishable -= 1;
        let next = lane.advance(index);
        if is_front {
            self.publishable.pop_front();
        }
        if let Some(sequence) = next {
            self.publishable.push_back(SlotId { generation: id.generation, sequence });
        }
        Some(Publication { slot: id, number })
    }

    /// Whether an answer to this publication still counts: its slot has not been published again or given up since.
    pub fn is_current(&self, publication: Publication) -> bool {
        let Some(lane) = self.lanes.get(&publication.slot.generation) else { return false };
        let index = publication.slot.sequence.checked_sub(lane.first).and_then(|at| usize::try_from(at).ok());
        let slot = index.and_then(|index| lane.slots.get(index));
        slot.is_some_and(|slot| slot.state == State::Published && slot.publications == publication.number)
    }

    /// Notes that the broker has the outcome. Returns the bytes that are no longer charged; `None` if this publication
    /// does not count any more.
    pub fn acknowledged(&mut self, publication: Publication) -> Option<u64> {
        if !self.is_current(publication) {
            return None;
        }
        let (lane, index) = self.find(publication.slot)?;
        lane.slots[index].state = State::Acknowledged;
        lane.publishing -= 1;
        let freed = lane.retire(index);
        let settled = lane.settle();
        self.len -= settled;
        Some(freed)
    }

    /// Takes a publication that failed back, with everything that was published after it in its chain. `false` if this
    /// publication does not count any more.
    pub fn failed(&mut self, publication: Publication) -> bool {
        let id = publication.slot;
        if !self.is_current(publication) {
            return false;
        }
        let Some((lane, index)) = self.find(id) else { return false };
        lane.take_back(index);
        if lane.queue(index) {
            self.publishable.push_front(id);
        }
        true
    }

    /// The outcome of a slot that is not retired.
    pub fn outcome_mut(&mut self, id: SlotId) -> Option<&mut O> {
        let (lane, index) = self.find(id)?;
        lane.slots[index].outcome.as_mut()
    }

    /// Publishes nothing more of a lane until it is released.
    pub fn hold(&mut self, generation: Generation) {
        if let Some(lane) = self.lanes.get_mut(&generation) {
            lane.held.get_or_insert_default();
        }
    }

    /// Lets a held lane go on.
    pub fn release(&mut self, generation: Generation) {
        if let Some(held) = self.lanes.get_mut(&generation).and_then(|lane| lane.held.take()) {
            for sequence in held {
                self.publishable.push_back(SlotId { generation, sequence });
            }
        }
    }

    /// Whether something of this lane is worth waiting for before it is given up: a request on the wire, an outcome that
    /// may be published now, or one that the broker has not answered.
    pub fn is_busy(&self, generation: Generation) -> bool {
        let Some(lane) = self.lanes.get(&generation) else { return false };
        lane.sent > 0 || lane.publishing > 0 || (lane.held.is_none() && lane.publishable > 0)
    }

    /// The last slot of a lane for which something was begun: sent, or settled without a call. What comes before it and is not
    /// settled keeps it from being committed.
    pub fn last_begun(&self, generation: Generation) -> Option<SlotId> {
        let lane = self.lanes.get(&generation)?;
        let index = lane.slots.iter().rposition(|slot| slot.state != State::Waiting)?;
        Some(SlotId { generation, sequence: lane.first + index as u64 })
    }

    /// How far a lane is.
    pub fn progress(&self, generation: Generation) -> Option<Progress> {
        let lane = self.lanes.get(&generation)?;
        Some(Progress { generation, position: lane.position, settled: lane.first })
    }

    /// How far each lane is, in the order of generations.
    pub fn progress_all(&self) -> impl Iterator<Item = Progress> + '_ {
        self.lanes.iter().map(|(generation, lane)| Progress {
            generation: *generation,
            position: lane.position,
            settled: lane.first,
        })
    }

    /// The timestamp of the oldest record of a lane that is not settled.
    pub fn oldest(&self, generation: Generation) -> Option<i64> {
        self.lanes.get(&generation)?.slots.front()?.timestamp
    }

    /// Closes a lane: whatever of it comes later is late.
    pub fn close(&mut self, generation: Generation) -> Closed {
        let Some(lane) = self.lanes.remove(&generation) else { return Closed::default() };
        self.publishable.retain(|id| id.generation != generation);
        self.len -= lane.slots.len();
        let count =
            |states: &[State]| lane.slots.iter().filter(|slot| states.contains(&slot.state)).count() as u64;
        Closed {
            bytes: lane.bytes,
            wasted: count(&[State::Sent, State::Ready]),
            repeated: count(&[State::Published, State::Acknowledged]),
        }
    }

    /// Slots that are not settled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether every received record is settled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are charged.
    pub fn bytes(&self) -> u64 {
        self.lanes.values().map(|lane| lane.bytes).sum()
    }

    fn find(&mut self, id: SlotId) -> Option<(&mut Lane<O>, usize)> {
        let lane = self.lanes.get_mut(&id.generation)?;
        let index = usize::try_from(id.sequence.checked_sub(lane.first)?).ok()?;
        (index < lane.slots.len()).then_some((lane, index))
    }
}

/// `SipHash` with fixed keys: the same in every run. Two keys with one hash share a chain, which costs order no harm.
fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
