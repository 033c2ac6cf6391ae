//! One assigned partition's slots and their chains.

use std::collections::{HashMap, VecDeque};

use crate::domain::record::{Offset, Position};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Waiting,
    Sent,
    Ready,
    Published,
    Acknowledged,
}

#[derive(Debug)]
pub(super) struct Slot<O> {
    pub(super) offset: Offset,
    pub(super) timestamp: Option<i64>,
    pub(super) chain: Option<u64>,
    pub(super) bytes: u64,
    pub(super) state: State,
    /// Whether it stands in line to be published: once, however often it is taken back and let go again.
    pub(super) queued: bool,
    pub(super) publications: u32,
    /// Kept from `ready` until no earlier slot of the chain can force it to be published again.
    pub(super) outcome: Option<O>,
}

/// The unretired slots of one chain; the first `published` of them are published or acknowledged.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) sequences: VecDeque<u64>,
    pub(super) published: usize,
}

#[derive(Debug)]
pub(super) struct Lane<O> {
    pub(super) slots: VecDeque<Slot<O>>,
    /// The sequence of the first slot: also how many are settled.
    pub(super) first: u64,
    pub(super) position: Option<Position>,
    /// Looked up by key, never iterated: a seed must replay.
    pub(super) chains: HashMap<u64, Chain>,
    pub(super) bytes: u64,
    pub(super) sent: usize,
    pub(super) publishing: usize,
    /// Slots for which `is_publishable` holds, held or not.
    pub(super) publishable: usize,
    /// While held, what may be published waits here (a dead letter was refused).
    pub(super) held: Option<VecDeque<u64>>,
}

impl<O> Lane<O> {
    fn index(&self, sequence: u64) -> usize {
        usize::try_from(sequence - self.first)
            .expect("an unretired slot lies behind the first, within memory")
    }

    /// Whether nothing unpublished of its chain lies before this slot.
    pub(super) fn is_next(&self, sequence: u64) -> bool {
        let Some(chain) = self.slots[self.index(sequence)].chain else { return true };
        self.chains.get(&chain).is_some_and(|chain| chain.sequences.get(chain.published) == Some(&sequence))
    }

    pub(super) fn is_publishable(&self, sequence: u64) -> bool {
        sequence >= self.first
            && self.slots[self.index(sequence)].state == State::Ready
            && self.is_next(sequence)
    }

    /// Puts a slot in line; `false` if it stands there already.
    pub(super) fn queue(&mut self, index: usize) -> bool {
        !std::mem::replace(&mut self.slots[index].queued, true)
    }

    /// Counts a slot of a chain as published; returns the next one if it is ready and has to be put in line.
    pub(super) fn advance(&mut self, index: usize) -> Option<u64> {
        let chain = self.chains.get_mut(&self.slots[index].chain?)?;
        chain.published += 1;
        let next = *chain.sequences.get(chain.published)?;
        let index = self.index(next);
        if self.slots[index].state != State::Ready {
            return None;
        }
        self.publishable += 1;
        self.queue(index).then_some(next)
    }

    /// Forgets the outcomes that nothing can force to be published again; returns their bytes.
    pub(super) fn retire(&mut self, index: usize) -> u64 {
        let mut freed = 0;
        match self.slots[index].chain {
            None => freed += self.forget(index),
            Some(name) => {
                while let Some(front) =
                    self.chains.get(&name).and_then(|chain| chain.sequences.front().copied())
                {
                    let index = self.index(front);
                    if self.slots[index].state != State::Acknowledged {
                        break;
                    }
                    freed += self.forget(index);
                    if let Some(chain) = self.chains.get_mut(&name) {
                        chain.sequences.pop_front();
                        chain.published -= 1;
                        if chain.sequences.is_empty() {
                            self.chains.remove(&name);
                        }
                    }
                }
            }
        }
        self.bytes -= freed;
        freed
    }

    fn forget(&mut self, index: usize) -> u64 {
        let slot = &mut self.slots[index];
        slot.outcome = None;
        std::mem::take(&mut slot.bytes)
    }

    /// Moves the position behind the acknowledged prefix; returns how many slots that settled.
    pub(super) fn settle(&mut self) -> usize {
        let mut settled = 0;
        while let Some(slot) = self.slots.front()
            && slot.state == State::Acknowledged
        {
            self.position = Some(Position::after(slot.offset));
            self.slots.pop_front();
            self.first += 1;
            settled += 1;
        }
        settled
    }

    /// Takes a published slot back to ready, and what was published after it in its chain.
    pub(super) fn take_back(&mut self, index: usize) {
        let sequence = self.first + index as u64;
        let mut back = vec![index];
        if let Some(chain) = self.slots[index].chain.and_then(|name| self.chains.get_mut(&name)) {
            let place = chain.sequences.partition_point(|other| *other < sequence);
            let first = self.first;
            let next =
                chain.sequences.get(chain.published).and_then(|next| usize::try_from(next - first).ok());
            if next.is_some_and(|next| self.slots[next].state == State::Ready) {
                // What was next in its chain is behind this slot now.
                self.publishable -= 1;
            }
            let later = chain.sequences.range(place..chain.published);
            back = later.map(|other| usize::try_from(other - first).unwrap_or(index)).collect();
            chain.published = place;
        }
        for index in back {
            let slot = &mut self.slots[index];
            if slot.state == State::Published {
                self.publishing -= 1;
            }
            slot.state = State::Ready;
        }
        self.publishable += 1;
    }
}
