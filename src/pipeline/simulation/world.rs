//! All that is outside of the line, in one place: one lock, one source of chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use fastrand::Rng;
use tokio::time::Instant;

use super::laws::Laws;
use super::plan::Plan;
use super::topic::{Origin, Topic};
use crate::domain::ledger::Publication;
use crate::domain::record::Generation;
use crate::kafka::sink::Refusal;
use crate::output::Destination;
use crate::provider::Failure;

/// What the provider is like at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fine,
    /// 5xx or no connection for everybody.
    Outage,
    /// 429 for everybody.
    RateLimited,
    /// The key is revoked.
    Unauthorized,
    /// Nobody gets an answer.
    Silent,
}

/// A publication on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) publication: Publication,
    pub(super) origin: Origin,
    pub(super) destination: Destination,
    /// Its name to the laws.
    pub(super) number: u64,
    pub(super) write_at: Instant,
    pub(super) answer_at: Instant,
    pub(super) result: Result<(), Refusal>,
    /// Whether it reaches the log, which it may also if it counts as failed.
    pub(super) reaches: bool,
    pub(super) written: bool,
}

/// The producer and the broker behind it.
#[derive(Debug, Default)]
pub(super) struct Broker {
    /// First in, first out for each partition of each topic.
    pub(super) queues: BTreeMap<(Destination, i32), VecDeque<Sent>>,
    pub(super) queued: usize,
    /// Answered, but not yet freed: librdkafka frees a message only after its callback.
    pub(super) unfreed: usize,
    /// Refusals so far.
    pub(super) refusals: BTreeMap<(Origin, Destination), u32>,
    /// Which topic refuses everything, and until when.
    pub(super) refusing: Option<(Destination, Instant)>,
}

/// The provider.
#[derive(Debug)]
pub(super) struct Sky {
    pub(super) weather: Weather,
    pub(super) until: Option<Instant>,
    calls: u64,
    pub(super) on_wire: BTreeMap<u64, Vec<(u64, i64)>>,
    pub(super) answers: BTreeMap<u64, Option<Failure>>,
    /// Failures in a row of a record that is fine.
    pub(super) unlucky: BTreeMap<(u64, i64), u32>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) random: Rng,
    pub(super) topic: Topic,
    pub(super) laws: Laws,
    pub(super) broker: Broker,
    pub(super) sky: Sky,
    /// No more evil.
    pub(super) calm: bool,
    /// Counts up when the process dies: whatever an older one does is nobody's business.
    pub(super) process: u64,
    /// What happened last, for the report of a failing seed.
    pub(super) history: VecDeque<String>,
    start: Instant,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().expect("nobody panics while holding the world")
}

impl World {
    pub(super) fn new(plan: Plan, random: Rng) -> Self {
        let order = plan.config.kafka.order;
        let topic = Topic::new(plan.partitions);
        let sky = Sky {
            weather: Weather::Fine,
            until: None,
            calls: 0,
            on_wire: BTreeMap::new(),
            answers: BTreeMap::new(),
            unlucky: BTreeMap::new(),
        };
        Self {
            plan,
            random,
            topic,
            laws: Laws::new(order),
            broker: Broker::default(),
            sky,
            calm: false,
            process: 0,
            history: VecDeque::new(),
            start: Instant::now(),
        }
    }

    /// Whether something of this share happens now.
    pub(super) fn happens(&mut self, share: f64) -> bool {
        !self.calm && share > 0.0 && self.random.f64() < share
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.history.len() == 400 {
            self.history.pop_front();
        }
        let at = self.start.elapsed().as_millis();
        self.history.push_back(format!("{at:>8} ms  {}", what()));
    }

    pub(super) fn next_call(&mut self) -> u64 {
        self.sky.calls += 1;
        self.sky.calls
    }

    /// The group's position moves, for whatever reason.
    pub(super) fn commit(&mut self, generation: Generation, partition: usize, next: i64) {
        self.laws.committed(generation, next);
        self.topic.committed[partition] = next;
        self.tell(|| format!("commit {partition} at {next}"));
    }

    /// A drain ended before its deadline: nothing may be on its way.
    pub(super) fn drained(&mut self, generation: Generation) {
        self.laws.drained(generation);
        let wire = self.sky.on_wire.values().flatten().find(|(sent, _)| *sent == generation.0);
        if let Some((_, offset)) = wire {
            self.laws.breaks(format!("{generation:?} leaves although {offset} is on the wire"));
        }
    }

    /// What is on the wire twice, if anything.
    pub(super) fn is_on_wire(&self, records: &[(u64, i64)]) -> bool {
        let wire: BTreeSet<_> = self.sky.on_wire.values().flatten().collect();
        records.iter().any(|record| wire.contains(record))
    }
}
