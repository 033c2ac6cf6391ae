//! The loop: it owns all that changes (batcher, ledger, gate, running calls) and makes every decision by a call into `domain`.
//!
//! It waits for one of: the producer's answers, finished calls, events of the poll thread, a deadline. It never awaits a send, so
//! nothing upstream ever waits for it but through the memory budget. One file a noun: `calls` (a batch on its way to the
//! provider and what became of it), `guilt` (retry, bisect, dead letter), `publish`, `release` (assignment, revoke, lost),
//! `suspension`.

mod aside;
mod calls;
mod charge;
mod cut;
mod guilt;
mod learning;
mod publish;
mod release;
#[cfg(test)]
mod simulation;
mod suspension;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use crate::admin::{Health, Kafka};
use crate::config::Config;
use crate::domain::batcher::{Batcher, Limits};
use crate::domain::caps::{Caps, Kind};
use crate::domain::ledger::{Ledger, Progress, SlotId};
use crate::domain::record::{Content, Generation, TopicPartition};
use crate::domain::retry::{Backoff, DeadLetterRate};
use crate::kafka::budget::Budget;
use crate::kafka::event::{End, Event, Received};
use crate::kafka::sink::{Delivery, Refusal};
use crate::metrics::Metrics;
use crate::output::{self, Outgoing};
use crate::provider::gate::{Gate, Ready};
use crate::provider::{Embedder, SuspendReason};
use aside::Aside;
use calls::{Called, Running};
use charge::Accused;
use cut::Cut;
use learning::Learning;
use publish::{Outcome, Publishing};
use suspension::{Canary, Suspension};
use work::{Entry, Work};

/// Where outcomes go: the producer, or a fake at the end of a test.
pub trait Sink: Send + 'static {
    /// The topic of a destination.
    fn topic(&self, destination: output::Destination) -> &str;

    /// Queues a record. Never waits; the answer arrives as a `Delivery`.
    ///
    /// # Errors
    /// What keeps it from being queued.
    fn send(
        &self,
        outgoing: &Outgoing,
        publication: crate::domain::ledger::Publication,
    ) -> Result<(), Refusal>;
}

/// The loop's ends: what a test holds instead of Kafka.
pub struct Ends<S> {
    /// The poll thread's events.
    pub events: mpsc::UnboundedReceiver<Event>,
    /// What the poll thread may commit.
    pub progress: watch::Sender<Vec<Progress>>,
    /// The producer.
    pub sink: S,
    /// The producer's answers.
    pub deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// The memory budget.
    pub budget: Arc<Budget>,
    /// Makes the poll thread leave the group; `Event::Closed` follows.
    pub leave: Box<dyn Fn() + Send>,
}

/// Why the loop ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The group was left; everything paid for is published and committed.
    Drained,
    /// A drain that was cut short by its deadline.
    CutShort,
    /// Before the first success the provider said that the settings are wrong.
    Misconfigured(SuspendReason, String),
    /// A client cannot go on.
    Fatal(String),
}

/// See the module.
pub struct Pipeline<E, S> {
    config: Arc<Config>,
    embedder: Arc<E>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    ends: Ends<S>,
    batcher: Batcher<Arc<Entry>>,
    /// What the provider takes in one call.
    caps: Caps,
    /// Batches that are sent in parts.
    cuts: BTreeMap<u64, Cut>,
    aside: Aside,
    ledger: Ledger<Outcome>,
    gate: Gate,
    learning: Learning,
    backoff: Backoff,
    dead_letter_rate: DeadLetterRate,
    /// All input partitions, for this worker's share.
    partitions: usize,
    held: BTreeMap<Generation, Held>,
    running: BTreeMap<u64, Running>,
    /// Work that waits for its next attempt, in the order it was put here.
    waiting: VecDeque<Work>,
    /// In the order of their errors.
    accused: Vec<Accused>,
    canary: Canary,
    suspension: Option<Suspension>,
    publishing: Publishing,
    revokes: Vec<release::Pending>,
    calls: mpsc::UnboundedReceiver<Called>,
    called: mpsc::UnboundedSender<Called>,
    ids: u64,
    successes: u64,
    /// How long the slowest answer to a batch took, lately.
    slowest: Duration,
    /// Hold-offs since the last success.
    congested: u32,
    /// Since when no call has succeeded while some were tried, and whether one has failed.
    failing: Option<(Instant, Option<(SuspendReason, String)>)>,
    throttled: Option<(Instant, &'static str)>,
    moved: bool,
    draining: bool,
    cut_short: bool,
    /// What `Closed` means once the group is being left for a reason of our own.
    stopping: Option<Ended>,
    ended: Option<Ended>,
    jitter: fastrand::Rng,
}

/// A held partition.
struct Held {
    partition: TopicPartition,
    end: Option<End>,
}

impl<E: Embedder, S: Sink> Pipeline<E, S> {
    /// A loop that has not begun. `partitions`: of all input topics. `seed`: of the jitter.
    pub fn new(
        config: Arc<Config>,
        embedder: Arc<E>,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
        ends: Ends<S>,
        partitions: usize,
        seed: u64,
    ) -> Self {
        let batch = &config.batch;
        let limits = Limits {
            max_tokens: batch.max_tokens,
            max_records: batch.max_records,
            max_bytes: batch.max_bytes.0,
            linger: batch.linger,
        };
        let retry = &config.retry;
        let (called, calls) = mpsc::unbounded_channel();
        Self {
            batcher: Batcher::new(limits),
            caps: Caps::new(limits),
            cuts: BTreeMap::new(),
            aside: Aside::default(),
            ledger: Ledger::new(config.kafka.order),
            gate: Gate::new(&config.limits, batch.max_tokens, now()),
            learning: Learning::default(),
            backoff: Backoff { base: retry.base, cap: retry.cap, hint_cap: retry.hint_cap },
            dead_letter_rate: DeadLetterRate::new(retry.dead_letter_cap.share, retry.dead_letter_cap.window),
            partitions,
            held: BTreeMap::new(),
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            accused: Vec::new(),
            canary: Canary::default(),
            suspension: None,
            publishing: Publishing::default(),
            revokes: Vec::new(),
            calls,
            called,
            ids: 0,
            successes: 0,
            slowest: Duration::ZERO,
            congested: 0,
            failing: None,
            throttled: None,
            moved: false,
            draining: false,
            cut_short: false,
            stopping: None,
            ended: None,
            jitter: fastrand::Rng::with_seed(seed),
            config,
            embedder,
            metrics,
            health,
            ends,
        }
    }

    /// Runs until the group is left or a client cannot go on.
    pub async fn run(mut self) -> Ended {
        self.show_limits();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                Some(delivery) = self.ends.deliveries.recv() => {
                    self.delivered(delivery);
                    while let Ok(delivery) = self.ends.deliveries.try_recv() {
                        self.delivered(delivery);
                    }
                }
                Some(called) = self.calls.recv() => self.called(called),
                event = self.ends.events.recv() => match event {
                    Some(event) => self.event(event),
                    None => self.end(Ended::Fatal("the poll thread is gone".to_owned())),
                },
                () = sleep_until(deadline), if deadline.is_some() => {}
            }
            self.health.beat_loop();
            self.turn();
            if let Some(ended) = self.ended.take() {
                return ended;
            }
        }
    }

    /// Everything that is due now.
    fn turn(&mut self) {
        let now = now();
        self.watch_for_outage(now);
        self.probe(now);
        self.grow(now);
        // Calls first: what waited for its texts to be sent is published in the same turn.
        self.start_calls(now);
        self.ask_for_the_accused(now);
        self.publish(now);
        self.finish_revokes(now);
        if std::mem::take(&mut self.moved) {
            self.ends.progress.send_replace(self.ledger.progress_all().collect());
            self.ends.budget.wake();
        }
        self.show();
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Records(records) => {
                let now = now();
                for (generation, received) in records {
                    self.receive(generation, received, now);
                }
            }
            Event::Assigned(assigned) => self.assigned(assigned),
            Event::Revoked(revoke) => self.revoked(revoke, now()),
            Event::Lost(generations) => self.lost(&generations),
            Event::Ends(ends) => self.ends_seen(&ends),
            Event::Connected(connected) => {
                let away = (!connected).then(|| "no Kafka broker is connected".to_owned());
                self.health.heard(Kafka::Brokers, away);
            }
            Event::TopicMissing(message) => self.health.heard(Kafka::Topic, message),
            Event::GroupRefused(message) => self.health.heard(Kafka::Group, message),
            Event::Fatal(message) => self.end(Ended::Fatal(message)),
            Event::Closed { committed } => {
                let drained = if self.cut_short || !committed { Ended::CutShort } else { Ended::Drained };
                let ended = self.stopping.take().unwrap_or(drained);
                self.end(ended);
            }
        }
    }

    /// The first reason to end is the one that is reported.
    fn end(&mut self, ended: Ended) {
        match &self.ended {
            None => self.ended = Some(ended),
            Some(first) => info!(?first, ?ended, "the line ended already"),
        }
    }

    fn receive(&mut self, generation: Generation, received: Received, now: Instant) {
        let Received { record, content, bytes } = received;
        let key = record.key.as_deref();
        let Some(id) = self.ledger.admit(generation, record.offset, key, record.timestamp, bytes) else {
            self.ends.budget.release(bytes);
            return;
        };
        let outcome = match content {
            Content::Text(text) => {
                self.metrics.record_tokens.observe(f64::from(text.tokens));
                if text.truncated {
                    self.metrics.records_truncated_total.inc();
                }
                self.batch(id, record, text, now);
                self.aside.batched(generation);
                return;
            }
            Content::Tombstone => Outcome::tombstone(&record),
            Content::Skip(reason) => Outcome::skipped(&record, reason),
            Content::Reject(reason, message) => Outcome::dead_letter(&record, reason, &message, 0),
        };
        if let Some(outcome) = self.aside.wait(id, outcome) {
            self.settle_aside(id, outcome);
        }
    }

    fn settle_aside(&mut self, id: SlotId, outcome: Outcome) {
        if self.ledger.ready(id, self.placed(outcome)).is_err() {
            error!("a slot that waits has an outcome already");
        }
    }

    /// When the loop must turn again although nothing happened.
    fn deadline(&self) -> Option<Instant> {
        let now = now();
        let mut deadline = Earliest(None);
        deadline.note(self.revokes.iter().map(|revoke| revoke.deadline).min());
        deadline.note(self.publishing.paused_until(now));
        deadline.note(self.canary_due(now));
        if self.draining {
            // Nothing is sent any more, nor probed.
            return deadline.0;
        }
        if let Some(suspension) = &self.suspension {
            deadline.note(Some(suspension.probe_at()));
        } else if !self.publishing.is_paused(now) {
            deadline.note(self.outage_deadline());
            deadline.note(self.caps.grows_at());
            deadline.note(self.next_call(now));
        }
        deadline.0
    }

    /// When the next call may start, if time is what it waits for.
    fn next_call(&self, now: Instant) -> Option<Instant> {
        let due = self.waiting.iter().map(|work| work.due).min();
        if let Some(work) = self.waiting.iter().find(|work| work.due <= now) {
            return self.gate_opens(work.tokens, now);
        }
        if let Some(size) = self.batcher.due(now) {
            return Earliest(due).or(self.gate_opens(size.tokens, now));
        }
        Earliest(due).or(self.batcher.deadline())
    }

    fn gate_opens(&self, tokens: u64, now: Instant) -> Option<Instant> {
        match self.gate.ready_at(tokens, now) {
            Ready::Now => Some(now),
            Ready::At(at) => Some(at),
            Ready::Slot => None,
        }
    }

    fn show_limits(&self) {
        for kind in [Kind::Records, Kind::Tokens, Kind::Bytes] {
            let limit = i64::try_from(kind.limit(self.batcher.limits())).unwrap_or(i64::MAX);
            self.metrics.batch_limit.with_label_values(&[kind.as_str()]).set(limit);
        }
    }

    fn show(&self) {
        let metrics = &self.metrics;
        metrics.buffered_bytes.set(i64::try_from(self.ends.budget.used()).unwrap_or(i64::MAX));
        metrics.buffered_records.set(i64::try_from(self.ledger.len()).unwrap_or(i64::MAX));
        metrics.buffered_tokens.set(i64::try_from(self.batcher.total().tokens).unwrap_or(i64::MAX));
        let model = [metrics.model()];
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.api_inflight_requests.with_label_values(&model).set(gauge(self.gate.in_flight()));
        metrics.api_concurrency_limit.with_label_values(&model).set(gauge(self.gate.slots()));
    }
}

/// The earliest of several moments.
struct Earliest(Option<Instant>);

impl Earliest {
    fn note(&mut self, other: Option<Instant>) {
        self.0 = Self(self.0).or(other);
    }

    fn or(self, other: Option<Instant>) -> Option<Instant> {
        match (self.0, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

/// tokio's clock, which tests pause.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Seconds since a timestamp in milliseconds of the epoch, by the wall clock; at least 0.
fn age_seconds(timestamp: i64) -> f64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs_f64();
    (since - timestamp as f64 / 1e3).max(0.0)
}
