//! The poll thread: the only caller of the consumer.
//!
//! It polls, takes in, commits and serves the rebalance callbacks; it never waits on batching, the gate or HTTP, so nothing there
//! can make the group think that it is dead. It waits in one place, `park_timeout`, and is woken by the
//! consumer's queues, by the budget and by commands. What it knows leaves as one enum; what comes back is a `watch` of positions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::budget::Budget;
use super::commits::Commits;
use super::committer::Committer;
use super::event::{Event, Received};
use super::message::{self, Topics};
use super::missing;
use super::shared::{Client, Lane, Lanes, Membership, Shared, add, lock, now, take_up};
use super::tail;
use crate::config::Config;
use crate::domain::ledger::Progress;
use crate::domain::record::{Content, Generation, Record, RejectReason, TopicPartition};
use crate::metrics::Metrics;

/// The safety net below the wake-ups, which come at edges only.
const PARK: Duration = Duration::from_millis(20);
/// `poll` returns nothing after a served event too: one poll a turn would serve events slowly.
const MAIN_POLLS: usize = 4;
/// Records taken from one partition before the next one has its turn.
const RECORDS_A_TURN: usize = 32;
/// How long taking in records may keep a turn: after that the main queue is polled again, or the group would think that the
/// worker is dead.
const TURN: Duration = Duration::from_millis(100);
/// How long helper threads may hold the consumer at the end.
const HELPERS: Duration = Duration::from_secs(5);

/// What makes a record ready to batch.
pub type Intake = Box<dyn FnMut(Record) -> Received + Send>;

/// A started poll thread: its handle, what it may commit, what it tells.
pub type Started = (Source, watch::Sender<Vec<Progress>>, mpsc::UnboundedReceiver<Event>);

/// The handle of the poll thread.
pub struct Source {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Source {
    /// Joins the group and starts to poll. `beat` is called at every turn.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn start(
        config: &Config,
        partitions: usize,
        budget: Arc<Budget>,
        metrics: Arc<Metrics>,
        intake: Intake,
        beat: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Started, KafkaError> {
        let (events, receiver) = mpsc::unbounded_channel();
        let (progress, progress_seen) = watch::channel(Vec::new());
        let shared = Arc::new(Shared {
            events,
            lanes: Mutex::new(Lanes::default()),
            commits: Mutex::new(Commits::default()),
            consumer: OnceLock::new(),
            budget: Arc::clone(&budget),
            metrics,
            group: config.kafka.group_id.clone(),
            start: config.kafka.start,
            progress: progress_seen.clone(),
            leaving: OnceLock::new(),
            left_uncommitted: AtomicBool::new(false),
            topics: config.kafka.input_topics.clone(),
            looking: AtomicBool::new(false),
            reader: tail::settings(&config.kafka),
            reading: AtomicBool::new(false),
            silent: AtomicU32::new(0),
            revoke_deadline: config.kafka.revoke_deadline,
            shutdown_deadline: config.shutdown_deadline,
            helpers: Mutex::new(Vec::new()),
            refused: AtomicBool::new(false),
            logged: Mutex::new(BTreeMap::new()),
            beat,
        });
        let membership = Membership { shared: Arc::clone(&shared) };
        let mut consumer: Client =
            super::consumer(&config.kafka, partitions).create_with_context(membership)?;
        // Before the `Arc`, and before anything can be missed.
        consumer.set_nonempty_callback(move || budget.unpark());
        let consumer = Arc::new(consumer);
        shared.consumer.get_or_init(|| Arc::downgrade(&consumer));
        let topics: Vec<&str> = config.kafka.input_topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        let threads = |failure: std::io::Error| {
            KafkaError::ClientCreation(format!("cannot start the threads of the consumer: {failure}"))
        };
        let committer = Committer::start(Arc::downgrade(&consumer), Arc::clone(&shared)).map_err(threads)?;
        let poll = Poll {
            consumer,
            shared: Arc::clone(&shared),
            progress: progress_seen,
            intake,
            topics: Topics::default(),
            max_uncommitted: config.limits.max_uncommitted as u64,
            first: None,
            committer,
        };
        let thread = std::thread::Builder::new().name("poll".to_owned());
        let thread = thread.spawn(move || poll.run()).map_err(threads)?;
        shared.budget.belongs_to(thread.thread().clone());
        Ok((Self { shared, thread }, progress, receiver))
    }

    /// Leaves the group: everything is revoked, drained and committed; then `Closed` follows.
    pub fn leave(&self) {
        self.shared.leaving.get_or_init(now);
        self.shared.budget.unpark();
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

struct Poll {
    consumer: Arc<Client>,
    shared: Arc<Shared>,
    progress: watch::Receiver<Vec<Progress>>,
    intake: Intake,
    topics: Topics,
    max_uncommitted: u64,
    /// The partition with which the last turn began.
    first: Option<TopicPartition>,
    committer: Committer,
}

impl Poll {
    fn run(mut self) {
        let mut leaves = false;
        loop {
            (self.shared.beat)();
            let leaving = self.shared.leaving.get().copied();
            if leaving.is_some() && !leaves {
                self.consumer.unsubscribe();
                leaves = true;
            }
            let busy = self.turn();
            if let Some(asked) = leaving {
                // After a signal the process has ended by then; nothing else ends it where the group is left for another reason.
                let over = now().saturating_duration_since(asked) > self.shared.shutdown_deadline + HELPERS;
                if over || lock(&self.shared.lanes).held.is_empty() {
                    break;
                }
            }
            if !busy {
                std::thread::park_timeout(PARK);
            }
        }
        self.close();
    }

    /// One turn; `true` if there may be more at once.
    fn turn(&mut self) -> bool {
        let mut records = Vec::new();
        for _ in 0..MAIN_POLLS {
            match Arc::clone(&self.consumer).poll(Duration::ZERO) {
                Some(Ok(message)) => self.stray(&message, &mut records),
                Some(Err(failure)) => self.report(&failure),
                None => {}
            }
        }
        let failures = self.poll_partitions(&mut records);
        for failure in &failures {
            self.report(failure);
        }
        let busy = !records.is_empty();
        if busy {
            self.shared.tell(Event::Records(records));
        }
        self.commit();
        busy
    }

    fn poll_partitions(&mut self, records: &mut Vec<(Generation, Received)>) -> Vec<KafkaError> {
        let shared = Arc::clone(&self.shared);
        let mut lanes = lock(&shared.lanes);
        if self.progress.has_changed().unwrap_or(false) {
            take_up(&mut lanes, &self.progress.borrow_and_update());
        }
        let mut failures = Vec::new();
        let mut stopped = false;
        let begun = now();
        // Each turn begins one partition further: with little room the first ones would take it all.
        let after = self.first.take();
        let (later, earlier) = match &after {
            None => ((Bound::Unbounded, Bound::Unbounded), None),
            Some(first) => {
                let later = (Bound::Excluded(first), Bound::Unbounded);
                (later, Some((Bound::Unbounded, Bound::Included(first))))
            }
        };
        for range in std::iter::once(later).chain(earlier) {
            for (partition, lane) in lanes.held.range_mut::<TopicPartition, _>(range) {
                self.first.get_or_insert_with(|| partition.clone());
                for _ in 0..RECORDS_A_TURN {
                    let is_full = lane.marks.uncommitted() >= self.max_uncommitted;
                    if is_full || !shared.budget.has_room() || now().saturating_duration_since(begun) > TURN {
                        stopped = true;
                        break;
                    }
                    match next(lane) {
                        None => break,
                        Some(Err(failure)) => failures.push(failure),
                        Some(Ok(message)) => {
                            let received = take_in(&message, &partition.topic, &mut self.intake, &shared);
                            drop(message);
                            lane.marks.took(received.record.offset);
                            records.push((lane.generation, received));
                        }
                    }
                }
            }
        }
        if stopped {
            shared.budget.stopped_at_a_limit();
            // What was released between the look and the flag would wake nobody: look once more at the next turn.
        }
        failures
    }

    /// A record on the main queue, fetched before its partition's queue was split off.
    fn stray(&mut self, message: &BorrowedMessage<'_>, records: &mut Vec<(Generation, Received)>) {
        let partition =
            TopicPartition { topic: self.topics.name(message.topic()), partition: message.partition() };
        let shared = Arc::clone(&self.shared);
        let mut lanes = lock(&shared.lanes);
        let Some(lane) = lanes.held.get_mut(&partition) else { return };
        let received = take_in(message, &partition.topic, &mut self.intake, &shared);
        lane.marks.took(received.record.offset);
        records.push((lane.generation, received));
    }

    fn commit(&mut self) {
        let at = now();
        let lanes = lock(&self.shared.lanes);
        let mut commits = lock(&self.shared.commits);
        let held = lanes.held.values();
        let held = held.filter_map(|lane| Some((lane.generation, lane.marks.committable()?)));
        let due = commits.due(held, at);
        if due.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for (partition, lane) in &lanes.held {
            let Some((_, position)) = due.iter().find(|(generation, _)| *generation == lane.generation)
            else {
                continue;
            };
            add(&mut list, partition, *position);
        }
        if self.committer.commit(list) {
            commits.started(due, at);
        }
    }

    fn report(&mut self, failure: &KafkaError) {
        let fatal = matches!(failure, KafkaError::MessageConsumptionFatal(_));
        let code =
            failure.rdkafka_error_code().map_or_else(|| "unknown".to_owned(), |code| format!("{code:?}"));
        let labels = [code.as_str(), if fatal { "true" } else { "false" }];
        self.shared.metrics.kafka_client_errors_total.with_label_values(&labels).inc();
        if fatal {
            self.shared.tell(Event::Fatal(format!("the consumer cannot go on: {failure}")));
            return;
        }
        if matches!(
            failure.rdkafka_error_code(),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)
        ) {
            missing::look(&self.shared);
        }
        if failure.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            let group = &self.shared.group;
            let why = format!(
                "the brokers do not let this user into the group `{group}`: grant it READ on the group"
            );
            self.shared.refused.store(true, Ordering::Relaxed);
            self.shared.tell(Event::GroupRefused(Some(why)));
        }
        if self.shared.is_news("client", failure) {
            warn!(error = %failure, "the kafka client reports an error and goes on");
        }
    }

    /// Lets the consumer go. Every queue holds it, and so may a helper thread.
    fn close(self) {
        let Self { consumer, shared, committer, .. } = self;
        shared.keep(committer.end());
        let held = std::mem::take(&mut lock(&shared.lanes).held);
        if !held.is_empty() {
            shared.tell(Event::Lost(held.values().map(|lane| lane.generation).collect()));
            shared.left_uncommitted();
        }
        drop(held);
        let mut until = now() + HELPERS;
        if let Some(asked) = shared.leaving.get() {
            until = until.min(*asked + shared.shutdown_deadline);
        }
        while lock(&shared.helpers).iter().any(|helper| !helper.is_finished()) && now() < until {
            (shared.beat)();
            std::thread::park_timeout(PARK);
        }
        drop(consumer);
        shared.tell(Event::Closed { committed: !shared.left_uncommitted.load(Ordering::Acquire) });
    }
}

fn next(lane: &Lane) -> Option<KafkaResult<BorrowedMessage<'_>>> {
    lane.queue.poll(Duration::ZERO)
}

fn take_in(
    message: &BorrowedMessage<'_>,
    topic: &Arc<str>,
    intake: &mut Intake,
    shared: &Shared,
) -> Received {
    let since = now();
    let (record, readable) = message::record(message, Arc::clone(topic));
    let mut received = intake(record);
    if !readable {
        let why = "a header's name is not valid UTF-8 (the headers are left out here)".to_owned();
        received.content = Content::Reject(RejectReason::InvalidInput, why);
    }
    shared.stage("decode", since);
    shared.budget.charge(received.bytes);
    shared.metrics.records_consumed_total.with_label_values(&[&**topic]).inc();
    received
}
