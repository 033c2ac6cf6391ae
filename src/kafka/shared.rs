//! What the callbacks, the poll thread and its helper threads share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::budget::Budget;
use super::commits::Commits;
use super::event::Event;
use super::marks::{Marks, Standing};
use crate::config::Start;
use crate::domain::ledger::Progress;
use crate::domain::record::{Generation, Position, TopicPartition};
use crate::metrics::Metrics;

/// The same error is logged once in this time.
const SAME_ERROR: Duration = Duration::from_secs(60);

/// The consumer's context.
pub(super) struct Membership {
    pub(super) shared: Arc<Shared>,
}

pub(super) type Client = BaseConsumer<Membership>;

/// One partition that is held.
pub(super) struct Lane {
    pub(super) generation: Generation,
    pub(super) queue: PartitionQueue<Membership>,
    pub(super) marks: Marks,
    pub(super) standing: Standing,
}

#[derive(Default)]
pub(super) struct Lanes {
    generations: u64,
    pub(super) held: BTreeMap<TopicPartition, Lane>,
}

impl Lanes {
    /// The name of a new assignment.
    pub(super) fn next_generation(&mut self) -> Generation {
        self.generations += 1;
        Generation(self.generations)
    }
}

/// What the callbacks, the poll thread and the handle share.
pub(super) struct Shared {
    pub(super) events: UnboundedSender<Event>,
    pub(super) lanes: Mutex<Lanes>,
    pub(super) commits: Mutex<Commits>,
    /// Weak, or the consumer would hold itself through its context and never close.
    pub(super) consumer: OnceLock<Weak<Client>>,
    pub(super) budget: Arc<Budget>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) group: String,
    pub(super) start: Start,
    /// What the loop knows of each lane.
    pub(super) progress: watch::Receiver<Vec<Progress>>,
    /// When the end was asked for.
    pub(super) leaving: OnceLock<Instant>,
    /// Whether positions could not be committed when the group was left.
    pub(super) left_uncommitted: AtomicBool,
    /// The input topics.
    pub(super) topics: Vec<String>,
    /// Whether one of them is being looked for.
    pub(super) looking: AtomicBool,
    /// Settings of what reads beside the consumer, and whether it reads.
    pub(super) reader: ClientConfig,
    pub(super) reading: AtomicBool,
    /// Statistics in a row that showed no connected broker.
    pub(super) silent: AtomicU32,
    pub(super) revoke_deadline: Duration,
    pub(super) shutdown_deadline: Duration,
    pub(super) helpers: Mutex<Vec<JoinHandle<()>>>,
    /// Whether the group was refused, and nothing has shown the contrary since.
    pub(super) refused: AtomicBool,
    /// When which error was logged last, by where it came from and its code.
    pub(super) logged: Mutex<BTreeMap<(&'static str, Option<i32>), Instant>>,
    /// Tells that the poll thread lives.
    pub(super) beat: Box<dyn Fn() + Send + Sync>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The loop that receives lives as long as the process does anything; a closed channel means it is ending.
    pub(super) fn tell(&self, event: Event) {
        if self.events.send(event).is_err() {
            debug!("the pipeline has ended");
        }
    }

    /// Notes the time that a stage of the line took until now.
    pub(super) fn stage(&self, stage: &str, since: Instant) {
        let seconds = now().saturating_duration_since(since).as_secs_f64();
        self.metrics.stage_duration_seconds.with_label_values(&[stage]).observe(seconds);
    }

    /// Keeps a helper thread, which holds the consumer: it is waited for at the end.
    pub(super) fn keep(&self, helper: JoinHandle<()>) {
        let mut helpers = lock(&self.helpers);
        helpers.retain(|helper| !helper.is_finished());
        helpers.push(helper);
    }

    /// Says that the next start will repeat something.
    pub(super) fn left_uncommitted(&self) {
        self.left_uncommitted.store(true, Ordering::Release);
    }

    /// Counts a commit.
    pub(super) fn committed(&self, ok: bool) {
        let result = if ok { "ok" } else { "error" };
        self.metrics.kafka_commits_total.with_label_values(&[self.group.as_str(), result]).inc();
    }

    /// Counts a rebalance.
    pub(super) fn count(&self, event: &str) {
        self.metrics.kafka_rebalances_total.with_label_values(&[self.group.as_str(), event]).inc();
    }

    /// Whether an error of this code was not logged within the last minute.
    pub(super) fn is_news(&self, from: &'static str, failure: &KafkaError) -> bool {
        let (at, code) = (now(), failure.rdkafka_error_code().map(|code| code as i32));
        let mut logged = lock(&self.logged);
        let is_new =
            logged.get(&(from, code)).is_none_or(|last| at.saturating_duration_since(*last) >= SAME_ERROR);
        if is_new {
            logged.insert((from, code), at);
        }
        is_new
    }

    /// Takes up that this user may be in the group. No assignment follows where the session outlived a refusal, but commits do.
    pub(super) fn let_in(&self) {
        if self.refused.swap(false, Ordering::Relaxed) {
            self.tell(Event::GroupRefused(None));
        }
    }

    /// Takes up the broker's answer to the commit in flight.
    pub(super) fn answered(&self, result: &KafkaResult<()>) {
        self.committed(result.is_ok());
        if result.is_ok() {
            self.let_in();
        }
        if let Err(failure) = result {
            // A rebalance in progress refuses commits: the positions are kept and committed again.
            if self.is_news("commit", failure) {
                warn!(error = %failure, "commit refused, trying again");
            }
        }
        let since = lock(&self.commits).answered(result.is_ok());
        if let Some(since) = since {
            self.stage("commit", since);
        }
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Adds a position to what is to be committed.
pub(super) fn add(list: &mut TopicPartitionList, partition: &TopicPartition, position: Position) {
    let next = KafkaOffset::Offset(position.next());
    if let Err(failure) = list.add_partition_offset(&partition.topic, partition.partition, next) {
        error!(error = %failure, %partition, "cannot commit a position");
    }
}

/// What the loop knows of each lane, taken up by the poll thread.
pub(super) fn take_up(lanes: &mut Lanes, progress: &[Progress]) {
    for lane in lanes.held.values_mut() {
        if let Ok(index) = progress.binary_search_by_key(&lane.generation, |lane| lane.generation) {
            lane.marks.settled(&progress[index]);
        }
    }
}
