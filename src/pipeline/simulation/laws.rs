//! The laws of the line, held against everything that the world sees: what is sent, published, answered and committed.
//!
//! This is a second, plain account of what the ledger keeps: lists that are searched from the front.

use std::collections::BTreeMap;

use super::topic::{Input, Nature, Origin, Topic};
use crate::config::Order;
use crate::domain::record::Generation;
use crate::output::Destination;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Handed to the producer; the number names this handing-over.
    Published(u64),
    Acknowledged(u64),
    /// Its delivery failed, or an earlier one of its chain did.
    Failed,
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    key: Option<i64>,
    is_published: bool,
    state: State,
    calls: u32,
}

/// What one assignment has seen.
#[derive(Debug)]
struct Lane {
    partition: usize,
    slots: Vec<Slot>,
    open: bool,
}

/// What the broker wrote.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) origin: Origin,
    pub(super) destination: Destination,
}

/// See the module. The first law that is broken is kept.
#[derive(Debug)]
pub(super) struct Laws {
    order: Order,
    lanes: BTreeMap<Generation, Lane>,
    pub(super) log: Vec<Written>,
    /// Whether something happened after which an outcome may be published twice.
    pub(super) repeats: bool,
    pub(super) broken: Option<String>,
    numbers: u64,
    /// Calls in which every record had been sent before, and poison records received, once an assignment.
    pub(super) extra_calls: usize,
    pub(super) poison: usize,
}

impl Laws {
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            lanes: BTreeMap::new(),
            log: Vec::new(),
            repeats: false,
            broken: None,
            numbers: 0,
            extra_calls: 0,
            poison: 0,
        }
    }

    pub(super) fn breaks(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    pub(super) fn next_generation(&self) -> u64 {
        self.lanes.last_key_value().map_or(0, |(last, _)| last.0) + 1
    }

    pub(super) fn close_all(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.open = false);
    }

    pub(super) fn opened(&mut self, generation: Generation, partition: usize) {
        self.lanes.insert(generation, Lane { partition, slots: Vec::new(), open: true });
    }

    pub(super) fn closed(&mut self, generation: Generation) {
        if let Some(lane) = self.lanes.get_mut(&generation) {
            lane.open = false;
        }
    }

    pub(super) fn received(&mut self, generation: Generation, input: &Input) {
        let lane = self.lanes.get_mut(&generation).expect("what is polled was assigned");
        let (offset, key, is_published) = (input.offset, input.key, input.is_published());
        self.poison += usize::from(matches!(input.nature, Nature::Poison(_)));
        lane.slots.push(Slot { offset, key, is_published, state: State::Idle, calls: 0 });
    }

    /// A record is sent to the provider.
    pub(super) fn called(&mut self, generation: Generation, offset: i64) -> bool {
        let Some((open, slot)) = self.slot(generation, offset) else {
            self.breaks(format!("offset {offset} of {generation:?} is sent, but was never received"));
            return false;
        };
        slot.calls += 1;
        let (calls, state) = (slot.calls, slot.state);
        if !open {
            self.breaks(format!("offset {offset} of {generation:?} is paid for after its partition left"));
        }
        if state != State::Idle {
            self.breaks(format!("offset {offset} of {generation:?} is sent although it is {state:?}"));
        }
        calls > 1
    }

    /// An outcome is handed to the producer. Returns the name of this handing-over.
    pub(super) fn published(
        &mut self,
        generation: Generation,
        input: &Input,
        (partition, offset): Origin,
        destination: Destination,
        refused: bool,
    ) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let name = format!("{partition}/{offset} of {generation:?}");
        let expected = input.destination();
        // What will be a dead letter because its output is refused is an output first.
        if destination != expected && !(destination == Destination::Output && refused) {
            self.breaks(format!("{name}, {:?}, goes to {destination:?}", input.nature));
        }
        let order = self.order;
        let Some(lane) = self.lanes.get_mut(&generation).filter(|lane| lane.partition == partition) else {
            self.breaks(format!("{name} is published without an assignment"));
            return number;
        };
        let Some(index) = lane.slots.iter().position(|slot| slot.offset == offset) else {
            self.breaks(format!("{name} is published, but was never received"));
            return number;
        };
        let before = lane.slots[..index].iter().find(|other| {
            same_chain(order, other, &lane.slots[index])
                && other.is_published
                && matches!(other.state, State::Idle | State::Failed)
        });
        let before = before.map(|other| (other.offset, other.state));
        let slot = &mut lane.slots[index];
        let state = std::mem::replace(&mut slot.state, State::Published(number));
        let (open, is_published) = (lane.open, slot.is_published);
        if !open {
            self.breaks(format!("{name} is published after its partition left"));
        }
        if !is_published {
            self.breaks(format!("{name} is published, but has no outcome to publish"));
        }
        if matches!(state, State::Published(_) | State::Acknowledged(_)) {
            self.breaks(format!("{name} is published again although it is {state:?}"));
        }
        if let Some((earlier, state)) = before {
            self.breaks(format!("{name} overtakes {earlier}, which is {state:?}"));
        }
        number
    }

    /// The broker answers a handing-over.
    pub(super) fn answered(&mut self, generation: Generation, (_, offset): Origin, number: u64, ok: bool) {
        let order = self.order;
        let Some(lane) = self.lanes.get_mut(&generation) else { return };
        let Some(index) = lane.slots.iter().position(|slot| slot.offset == offset) else { return };
        if lane.slots[index].state != State::Published(number) {
            return;
        }
        if ok {
            lane.slots[index].state = State::Acknowledged(number);
            return;
        }
        lane.slots[index].state = State::Failed;
        let (before, after) = lane.slots.split_at_mut(index + 1);
        for later in after {
            let is_out = matches!(later.state, State::Published(_) | State::Acknowledged(_));
            if is_out && same_chain(order, &before[index], later) {
                later.state = State::Failed;
                self.repeats = true;
            }
        }
    }

    /// A position is committed.
    pub(super) fn committed(&mut self, generation: Generation, next: i64) {
        let Some(lane) = self.lanes.get(&generation) else { return };
        let early = lane.slots.iter().find(|slot| {
            slot.offset < next && slot.is_published && !matches!(slot.state, State::Acknowledged(_))
        });
        if let Some(slot) = early {
            let complaint =
                format!("{generation:?} commits {next} while {} is {:?}", slot.offset, slot.state);
            self.breaks(complaint);
        }
        let lane = &self.lanes[&generation];
        if !lane.slots.iter().any(|slot| slot.offset + 1 == next) {
            self.breaks(format!("{generation:?} commits {next}, which follows nothing that was received"));
        }
    }

    /// What a drain that ends before its deadline must not leave behind.
    pub(super) fn drained(&mut self, generation: Generation) {
        let Some(lane) = self.lanes.get(&generation) else { return };
        if let Some(slot) = lane.slots.iter().find(|slot| matches!(slot.state, State::Published(_))) {
            let offset = slot.offset;
            self.breaks(format!("{generation:?} leaves although {offset} is on its way to the broker"));
        }
    }

    /// What was published behind a record that was dropped is published again by the next owner: a `clean` drain leaves none.
    /// Returns whether this one does.
    pub(super) fn leaves(&mut self, generation: Generation, clean: bool) -> bool {
        let Some(lane) = self.lanes.get(&generation) else { return false };
        let is_out = |slot: &Slot| matches!(slot.state, State::Published(_) | State::Acknowledged(_));
        let first = lane.slots.iter().position(|slot| slot.is_published && !is_out(slot));
        let leaves = first.is_some_and(|first| lane.slots[first..].iter().any(is_out));
        if leaves && clean {
            self.breaks(format!("a clean drain of {generation:?} leaves what the next start repeats"));
        }
        self.repeats |= leaves;
        leaves
    }

    /// At the end of the world: outcomes and order in the topics.
    pub(super) fn end(&mut self, topic: &Topic) {
        let mut written = BTreeMap::<Origin, usize>::new();
        let mut last = BTreeMap::<(usize, i64), i64>::new();
        for Written { origin, destination } in &self.log {
            let input = topic.input(*origin);
            if *destination == input.destination() {
                *written.entry(*origin).or_default() += 1;
            }
            if let (Destination::Output, Some(key)) = (destination, input.key) {
                last.insert((origin.0, key), origin.1);
            }
        }
        for (partition, inputs) in topic.partitions.iter().enumerate() {
            let mut newest = BTreeMap::<i64, i64>::new();
            for input in inputs {
                let origin = (partition, input.offset);
                let count = written.get(&origin).copied().unwrap_or(0);
                let most = if self.repeats { usize::MAX } else { 1 };
                if input.is_published() && !(1..=most).contains(&count) {
                    self.breaks(format!("{origin:?}, {input:?}, has {count} outcomes"));
                }
                if let (Destination::Output, Some(key), true) =
                    (input.destination(), input.key, input.is_published())
                {
                    newest.insert(key, input.offset);
                }
            }
            for (key, newest) in newest {
                let last = last.get(&(partition, key)).copied();
                if self.order != Order::None && last != Some(newest) {
                    self.breaks(format!(
                        "the last output of key {key} in {partition} is {last:?}, not {newest}"
                    ));
                }
            }
        }
    }

    fn slot(&mut self, generation: Generation, offset: i64) -> Option<(bool, &mut Slot)> {
        let lane = self.lanes.get_mut(&generation)?;
        let slot = lane.slots.iter_mut().find(|slot| slot.offset == offset)?;
        Some((lane.open, slot))
    }
}

fn same_chain(order: Order, one: &Slot, other: &Slot) -> bool {
    match order {
        Order::None => false,
        Order::Partition => true,
        Order::Key => one.key.is_some() && one.key == other.key,
    }
}
