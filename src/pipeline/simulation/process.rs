//! One life of the worker: the loop, and the poll thread's end of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::broker::Producer;
use super::provider::Provider;
use super::world::{Shared, lock};
use crate::admin::Health;
use crate::domain::ledger::Progress;
use crate::domain::record::{Generation, TopicPartition};
use crate::kafka::budget::Budget;
use crate::kafka::event::{Assigned, Event, Received, Revoke};
use crate::kafka::sink::Delivery;
use crate::metrics::Metrics;
use crate::pipeline::tests::watched;
use crate::pipeline::{Ended, Ends, Pipeline};

/// Records that one turn of the poll thread takes from a partition.
const A_TURN: usize = 32;

/// A partition that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) generation: Generation,
    /// The next record, in the list of the partition's.
    next: usize,
    polled: u64,
    settled: u64,
    position: Option<i64>,
}

/// A revoke that the loop has not answered.
struct Waiting {
    answer: Receiver<Vec<Progress>>,
    partitions: Vec<(usize, Held)>,
    deadline: Instant,
    leaving: bool,
}

pub(super) struct Process {
    world: Shared,
    events: mpsc::UnboundedSender<Event>,
    answers: mpsc::UnboundedSender<Delivery>,
    progress: watch::Receiver<Vec<Progress>>,
    pub(super) budget: Arc<Budget>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) running: JoinHandle<Ended>,
    leave: Arc<AtomicBool>,
    pub(super) held: BTreeMap<usize, Held>,
    waiting: Option<Waiting>,
    /// What was lost: closed to the laws once the loop has heard of it.
    lost: Vec<(Instant, Generation)>,
    pub(super) left: bool,
    /// Whether a drain since its last assignment was answered after its deadline.
    pub(super) cut_short: bool,
    /// Whether its last drain could not but end whole.
    pub(super) clean: bool,
    /// Whether its last drain left something that is repeated.
    pub(super) repeats: bool,
}

impl Process {
    pub(super) fn start(world: &Shared) -> Self {
        let mut guard = lock(world);
        guard.process += 1;
        let (process, seed) = (guard.process, guard.random.u64(..));
        guard.tell(|| format!("process {process} starts"));
        let config = Arc::new(guard.plan.config.clone());
        let partitions = guard.plan.partitions;
        drop(guard);
        let (events, events_in) = mpsc::unbounded_channel();
        let (answers, deliveries) = mpsc::unbounded_channel();
        let (progress_out, progress) = watch::channel(Vec::new());
        let budget = Arc::new(Budget::new(config.limits.max_in_flight_bytes.0));
        let leave = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&leave);
        let ends = Ends {
            events: events_in,
            progress: progress_out,
            sink: Producer { world: Arc::clone(world), process },
            deliveries,
            budget: Arc::clone(&budget),
            leave: Box::new(move || asked.store(true, Ordering::Relaxed)),
        };
        let provider = Arc::new(Provider { world: Arc::clone(world), process });
        let metrics = Arc::new(Metrics::new("group", "model"));
        let health = Arc::new(Health::new());
        let (told, shown) = (Arc::clone(&health), Arc::clone(&metrics));
        let line = Pipeline::new(config, provider, shown, told, ends, partitions, seed);
        let running = tokio::spawn(watched(line.run()));
        let world = Arc::clone(world);
        let (held, waiting, lost) = (BTreeMap::new(), None, Vec::new());
        let (left, cut_short, clean, repeats) = (false, false, false, false);
        Self {
            world,
            events,
            answers,
            progress,
            budget,
            metrics,
            health,
            running,
            leave,
            held,
            waiting,
            lost,
            left,
            cut_short,
            clean,
            repeats,
        }
    }

    /// Whether the poll thread stands still, or is gone.
    pub(super) fn is_busy(&self) -> bool {
        self.waiting.is_some() || self.left
    }

    /// What happens by itself: deliveries, answers to revokes, what was lost takes effect.
    pub(super) fn turn(&mut self) {
        lock(&self.world).deliver(&self.answers);
        let mut world = lock(&self.world);
        let now = Instant::now();
        self.lost.retain(|(at, generation)| {
            let heard = *at < now;
            if heard {
                world.laws.closed(*generation);
            }
            !heard
        });
        drop(world);
        self.answered();
        if self.leave.load(Ordering::Relaxed) && !self.is_busy() {
            self.leave();
        }
    }

    pub(super) fn assign(&mut self, partition: usize) {
        let mut world = lock(&self.world);
        let generation = Generation(world.laws.next_generation());
        world.tell(|| format!("assign {partition} as {generation:?}"));
        world.laws.opened(generation, partition);
        let next = world.topic.index(partition);
        drop(world);
        self.held.insert(partition, Held { generation, next, polled: 0, settled: 0, position: None });
        let named = TopicPartition { topic: "input".into(), partition: i32::try_from(partition).unwrap() };
        self.cut_short = false;
        self.tell(Event::Assigned(vec![Assigned { generation, partition: named }]));
    }

    /// One turn of the poll thread over its partitions.
    pub(super) fn poll(&mut self) {
        let mut world = lock(&self.world);
        let mut records = Vec::new();
        let most = world.plan.config.limits.max_uncommitted as u64;
        for progress in self.progress.borrow_and_update().iter() {
            if let Some(held) = self.held.values_mut().find(|held| held.generation == progress.generation) {
                held.settled = progress.settled;
                held.position = progress.position.map(|position| position.next());
            }
        }
        for (partition, held) in &mut self.held {
            for _ in 0..A_TURN {
                if !self.budget.has_room() || held.polled - held.settled >= most {
                    break;
                }
                let Some(input) = world.topic.partitions[*partition].get(held.next).cloned() else { break };
                held.next += 1;
                held.polled += 1;
                world.laws.received(held.generation, &input);
                let (record, content) = input.received(*partition, held.generation.0);
                let bytes = 50 + record.bytes() as u64;
                self.budget.charge(bytes);
                records.push((held.generation, Received { record, content, bytes }));
            }
        }
        drop(world);
        if !records.is_empty() {
            self.tell(Event::Records(records));
        }
    }

    /// Commits what is held, as far as the loop says.
    pub(super) fn commit(&mut self) {
        let mut world = lock(&self.world);
        let refused = world.plan.commit_faults;
        for (partition, held) in &self.held {
            if let Some(next) = held.position
                && !world.happens(refused)
            {
                world.commit(held.generation, *partition, next);
            }
        }
    }

    pub(super) fn revoke(&mut self, partitions: &[usize], leaving: bool) {
        let mut world = lock(&self.world);
        let config = &world.plan.config;
        let within = if leaving { config.shutdown_deadline } else { config.kafka.revoke_deadline };
        world.tell(|| format!("revoke {partitions:?} within {within:?}"));
        drop(world);
        let partitions: Vec<_> =
            partitions.iter().filter_map(|at| Some((*at, self.held.remove(at)?))).collect();
        let (reply, answer) = sync_channel(1);
        let generations = partitions.iter().map(|(_, held)| held.generation).collect();
        self.tell(Event::Revoked(Revoke { generations, within, leaving, reply }));
        let deadline = Instant::now() + within;
        self.waiting = Some(Waiting { answer, partitions, deadline, leaving });
    }

    /// Leaves the group.
    pub(super) fn leave(&mut self) {
        let all: Vec<usize> = self.held.keys().copied().collect();
        self.revoke(&all, true);
    }

    pub(super) fn lose(&mut self, partitions: &[usize]) {
        let mut world = lock(&self.world);
        world.tell(|| format!("lose {partitions:?}"));
        world.laws.repeats = true;
        drop(world);
        let held: Vec<_> = partitions.iter().filter_map(|at| self.held.remove(at)).collect();
        let generations: Vec<_> = held.iter().map(|held| held.generation).collect();
        self.lost.extend(generations.iter().map(|generation| (Instant::now(), *generation)));
        self.tell(Event::Lost(generations));
    }

    fn answered(&mut self) {
        let Some(waiting) = &self.waiting else { return };
        let mut world = lock(&self.world);
        let now = Instant::now();
        let progress = match waiting.answer.try_recv() {
            Ok(progress) => progress,
            Err(TryRecvError::Disconnected) if self.running.is_finished() => return,
            Err(TryRecvError::Disconnected) => {
                return world.laws.breaks("a revoke is dropped unanswered".to_owned());
            }
            Err(TryRecvError::Empty) => {
                if now > waiting.deadline + Duration::from_millis(20) {
                    world.laws.breaks("a revoke is not answered in time".to_owned());
                }
                return;
            }
        };
        let Some(waiting) = self.waiting.take() else { return };
        let generations: Vec<_> = waiting.partitions.iter().map(|(_, held)| held.generation).collect();
        world.tell(|| format!("{generations:?} drained: {progress:?}"));
        let late = now >= waiting.deadline;
        self.cut_short |= late;
        world.laws.repeats |= late;
        // What fails may be due only after the deadline; what refuses holds its partition.
        let plan = &world.plan;
        let faults = plan.call_faults + plan.weather + plan.topic_faults + plan.refused;
        let calm = faults == 0.0 && (plan.poison == 0.0 || !plan.all_poisons);
        self.clean = waiting.leaving && calm && !late && self.health.readiness().why.is_none();
        self.repeats = false;
        for (partition, held) in &waiting.partitions {
            if now < waiting.deadline {
                world.drained(held.generation);
            }
            self.repeats |= world.laws.leaves(held.generation, self.clean);
            world.laws.closed(held.generation);
            let at = progress.iter().find(|lane| lane.generation == held.generation);
            if let Some(position) = at.and_then(|lane| lane.position) {
                let refused = world.plan.commit_faults / 4.0;
                if world.happens(refused) {
                    world.laws.repeats = true;
                } else {
                    world.commit(held.generation, *partition, position.next());
                }
            }
        }
        drop(world);
        if waiting.leaving {
            self.left = true;
            self.tell(Event::Closed { committed: true });
        }
    }

    /// The loop that receives may have ended already.
    fn tell(&self, event: Event) {
        self.events.send(event).ok();
    }
}
