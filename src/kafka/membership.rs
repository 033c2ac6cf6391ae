//! Membership of the consumer group: the rebalance callbacks, the lanes they open and close, and what they tell the loop.
//!
//! The callbacks run on the poll thread, inside `poll`. No lock is held across that poll.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, error, info, warn};

use super::budget::Budget;
use super::commits::Commits;
use super::event::{Assigned, End, Event, Revoke};
use super::marks::Marks;
use crate::config::Start;
use crate::domain::ledger::Progress;
use crate::domain::record::{Generation, Position, TopicPartition};
use crate::metrics::Metrics;

/// How long the commit of a revoke is waited for: without a broker it would block for a whole session.
const REVOKE_COMMIT: Duration = Duration::from_secs(3);
/// How long questions to the broker about a new partition may take, each.
const ASK: Duration = Duration::from_secs(10);
/// What the poll thread waits beyond the loop's own deadline before it takes the partitions for lost.
const REPLY_MARGIN: Duration = Duration::from_secs(1);
/// How often the poll thread looks whether the commit in flight is answered.
const LOOK: Duration = Duration::from_millis(5);
/// How often the poll thread says that it lives while it waits.
const BEAT: Duration = Duration::from_secs(1);

pub(super) type Client = BaseConsumer<Membership>;

/// One partition that is held.
pub(super) struct Lane {
    pub(super) generation: Generation,
    pub(super) queue: PartitionQueue<Membership>,
    pub(super) marks: Marks,
}

#[derive(Default)]
pub(super) struct Lanes {
    generations: u64,
    pub(super) held: BTreeMap<TopicPartition, Lane>,
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
    pub(super) draining: AtomicBool,
    pub(super) revoke_deadline: Duration,
    pub(super) shutdown_deadline: Duration,
    pub(super) helpers: Mutex<Vec<JoinHandle<()>>>,
    /// Tells that the poll thread lives.
    pub(super) beat: Box<dyn Fn() + Send + Sync>,
}

/// A lane that is no longer polled.
struct Closed {
    generation: Generation,
    partition: TopicPartition,
    marks: Marks,
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

    fn count(&self, event: &str) {
        self.metrics.kafka_rebalances_total.with_label_values(&[self.group.as_str(), event]).inc();
    }

    /// Takes up the broker's answer to the commit in flight.
    pub(super) fn answered(&self, result: &KafkaResult<()>) {
        let outcome = if result.is_ok() { "ok" } else { "error" };
        self.metrics.kafka_commits_total.with_label_values(&[self.group.as_str(), outcome]).inc();
        if let Err(failure) = result {
            // A rebalance in progress refuses commits: the positions are kept and committed again.
            warn!(error = %failure, "commit refused, trying again");
        }
        let since = lock(&self.commits).answered(result.is_ok());
        if let Some(since) = since {
            self.stage("commit", since);
        }
    }
}

/// The consumer's context.
pub(super) struct Membership {
    pub(super) shared: Arc<Shared>,
}

impl ClientContext for Membership {
    fn stats(&self, statistics: Statistics) {
        let mut ends = Vec::new();
        let lanes = lock(&self.shared.lanes);
        let commits = lock(&self.shared.commits);
        for (partition, lane) in &lanes.held {
            let Some(figures) = statistics
                .topics
                .get(&*partition.topic)
                .and_then(|topic| topic.partitions.get(&partition.partition))
            else {
                continue;
            };
            // Readers of committed records stop at the last stable offset.
            let end = if figures.ls_offset >= 0 { figures.ls_offset } else { figures.hi_offset };
            if end >= 0 {
                let committed = commits.committed(lane.generation);
                ends.push(End { generation: lane.generation, end, committed });
            }
        }
        drop((lanes, commits));
        self.shared.tell(Event::Ends(ends));
    }
}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &Client, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            _ => self.revoked(consumer, list),
        }
    }
}

impl Membership {
    fn assigned(&self, consumer: &Client, list: &TopicPartitionList) {
        let shared = &self.shared;
        shared.count("assigned");
        let opened = self.open(list);
        let result = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            _ => consumer.assign(list),
        };
        if let Err(failure) = result {
            shared.tell(Event::Fatal(format!("cannot take up the assigned partitions: {failure}")));
            return;
        }
        info!(partitions = opened.len(), "partitions assigned");
        self.find_positions(&opened);
        shared.tell(Event::Assigned(opened));
    }

    /// Splits each partition's queue off, before the assignment takes effect: nothing reaches the main queue.
    fn open(&self, list: &TopicPartitionList) -> Vec<Assigned> {
        let shared = &self.shared;
        let Some(client) = shared.consumer.get().and_then(Weak::upgrade) else { return Vec::new() };
        let mut lanes = lock(&shared.lanes);
        let mut opened = Vec::new();
        for element in list.elements() {
            let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
            // Dropping an old queue after the split would take away the new one's wake-up.
            lanes.held.remove(&partition);
            let Some(mut queue) = client.split_partition_queue(&partition.topic, partition.partition) else {
                shared.tell(Event::Fatal(format!("cannot split the queue of {partition}")));
                continue;
            };
            let budget = Arc::clone(&shared.budget);
            queue.set_nonempty_callback(move || budget.unpark());
            lanes.generations += 1;
            let generation = Generation(lanes.generations);
            opened.push(Assigned { generation, partition: partition.clone() });
            let lane = Lane { generation, queue, marks: Marks::default() };
            lanes.held.insert(partition, lane);
        }
        opened
    }

    fn revoked(&self, consumer: &Client, list: &TopicPartitionList) {
        let lost = consumer.assignment_lost();
        let closed = self.close(list);
        let generations: Vec<Generation> = closed.iter().map(|lane| lane.generation).collect();
        self.shared.count(if lost { "lost" } else { "revoked" });
        if lost {
            warn!(partitions = closed.len(), "partitions lost: another member may have them already");
            self.forget(&closed);
            self.shared.tell(Event::Lost(generations));
        } else if !generations.is_empty() {
            info!(partitions = closed.len(), "partitions revoked");
            self.give_up(&closed, generations);
            self.forget(&closed);
        }
        let result = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            _ => consumer.unassign(),
        };
        if let Err(failure) = result {
            error!(error = %failure, "cannot let go of revoked partitions");
        }
    }

    fn forget(&self, closed: &[Closed]) {
        let mut commits = lock(&self.shared.commits);
        for lane in closed {
            commits.forget(lane.generation);
        }
    }

    /// Waits on the poll thread, which is alive meanwhile.
    fn wait<T>(&self, answer: &Receiver<T>, within: Duration) -> Option<T> {
        let since = now();
        loop {
            (self.shared.beat)();
            let left = within.saturating_sub(now().saturating_duration_since(since));
            match answer.recv_timeout(left.min(BEAT)) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(_) => return None,
            }
        }
    }

    /// Stops polling the partitions of a revoke.
    fn close(&self, list: &TopicPartitionList) -> Vec<Closed> {
        let mut lanes = lock(&self.shared.lanes);
        let mut closed = Vec::new();
        for element in list.elements() {
            let partition = TopicPartition { topic: element.topic().into(), partition: element.partition() };
            if let Some(lane) = lanes.held.remove(&partition) {
                closed.push(Closed { generation: lane.generation, partition, marks: lane.marks });
            }
        }
        closed
    }

    /// Waits until the loop has finished what is worth it, then commits. No answer in time means lost: nothing is committed.
    fn give_up(&self, closed: &[Closed], generations: Vec<Generation>) {
        let shared = &self.shared;
        let leaving = shared.draining.load(Ordering::Acquire);
        let within = if leaving { shared.shutdown_deadline } else { shared.revoke_deadline };
        let (reply, answer) = sync_channel(1);
        shared.tell(Event::Revoked(Revoke { generations, within, leaving, reply }));
        let Some(progress) = self.wait(&answer, within + REPLY_MARGIN) else {
            warn!("the drain of revoked partitions did not end in time; they count as lost");
            return;
        };
        let mut positions = TopicPartitionList::new();
        {
            let commits = lock(&shared.commits);
            for Closed { generation, partition, marks } in closed {
                let mut marks = *marks;
                if let Some(settled) = progress.iter().find(|lane| lane.generation == *generation) {
                    marks.settled(settled);
                }
                if let Some(position) =
                    marks.committable().filter(|at| commits.committed(*generation) != Some(*at))
                {
                    let next = KafkaOffset::Offset(position.next());
                    if let Err(failure) =
                        positions.add_partition_offset(&partition.topic, partition.partition, next)
                    {
                        error!(error = %failure, %partition, "cannot commit a position");
                    }
                }
            }
        }
        if positions.count() > 0 {
            self.commit_now(positions);
        }
    }

    /// Waits for the answer to the commit in flight: one that came later than the revoke's would move positions back.
    fn settle_commit(&self, since: Instant) {
        while lock(&self.shared.commits).is_in_flight()
            && now().saturating_duration_since(since) < REVOKE_COMMIT
        {
            (self.shared.beat)();
            std::thread::park_timeout(LOOK);
        }
    }

    /// Commits synchronously, on a thread of its own: the call knows no deadline.
    fn commit_now(&self, positions: TopicPartitionList) {
        let Some(client) = self.shared.consumer.get().and_then(Weak::upgrade) else { return };
        let (done, result) = sync_channel(1);
        let since = now();
        self.settle_commit(since);
        let committing = std::thread::spawn(move || {
            let committed = client.commit(&positions, CommitMode::Sync);
            drop((positions, client));
            // Nobody waits any more once the deadline has passed.
            done.try_send(committed).ok();
        });
        lock(&self.shared.helpers).push(committing);
        let group = self.shared.group.as_str();
        let counted =
            |outcome| self.shared.metrics.kafka_commits_total.with_label_values(&[group, outcome]).inc();
        let left = REVOKE_COMMIT.saturating_sub(now().saturating_duration_since(since));
        let result = self.wait(&result, left);
        self.shared.stage("commit", since);
        match result {
            Some(Ok(())) => counted("ok"),
            Some(Err(failure)) => {
                counted("error");
                warn!(error = %failure, "the last commit of revoked partitions was refused: their tail is repeated");
            }
            None => {
                counted("error");
                warn!(
                    "the last commit of revoked partitions got no answer in time: their tail may be repeated"
                );
            }
        }
    }

    /// Asks, beside the poll thread, where new partitions stand. One without a committed position gets its first one committed,
    /// so that its lag is true from the start.
    fn find_positions(&self, opened: &[Assigned]) {
        let Some(client) = self.shared.consumer.get().and_then(Weak::upgrade) else { return };
        if opened.is_empty() {
            return;
        }
        let opened: Vec<Assigned> = opened.to_vec();
        let shared = Arc::clone(&self.shared);
        let asking = std::thread::spawn(move || {
            for (generation, position, committed) in positions(&client, &opened, shared.start) {
                if committed {
                    lock(&shared.commits).note(generation, position);
                    continue;
                }
                let mut lanes = lock(&shared.lanes);
                if let Some(lane) = lanes.held.values_mut().find(|lane| lane.generation == generation) {
                    lane.marks.begins(position);
                }
            }
            drop(client);
            shared.budget.unpark();
        });
        let mut helpers = lock(&self.shared.helpers);
        helpers.retain(|helper| !helper.is_finished());
        helpers.push(asking);
    }
}

/// Where partitions stand, and whether that is committed.
fn positions(client: &Client, opened: &[Assigned], start: Start) -> Vec<(Generation, Position, bool)> {
    let mut list = TopicPartitionList::new();
    for Assigned { partition, .. } in opened {
        list.add_partition(&partition.topic, partition.partition);
    }
    let committed = match client.committed_offsets(list, ASK) {
        Ok(committed) => committed.to_topic_map(),
        Err(failure) => {
            warn!(error = %failure, "cannot ask for committed positions");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for Assigned { generation, partition } in opened {
        let name = (partition.topic.to_string(), partition.partition);
        if let Some(KafkaOffset::Offset(next)) = committed.get(&name) {
            found.push((*generation, Position::at(*next), true));
            continue;
        }
        match client.fetch_watermarks(&partition.topic, partition.partition, ASK) {
            Ok((low, high)) => {
                let first = if start == Start::Earliest { low } else { high };
                found.push((*generation, Position::at(first), false));
            }
            Err(failure) => warn!(error = %failure, %partition, "cannot ask for a partition's first offset"),
        }
    }
    found
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What the loop knows of each lane, taken up by the poll thread.
pub(super) fn take_up(lanes: &mut Lanes, progress: &[Progress]) {
    for lane in lanes.held.values_mut() {
        if let Ok(index) = progress.binary_search_by_key(&lane.generation, |lane| lane.generation) {
            lane.marks.settled(&progress[index]);
        }
    }
}
