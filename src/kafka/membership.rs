//! Membership of the consumer group: the rebalance callbacks, the lanes they open and close, and what they tell the loop.
//!
//! The callbacks run on the poll thread, inside `poll`. No lock is held across that poll.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics};
use tracing::{error, info, warn};

use super::drain::{self, Closed};
use super::event::{Assigned, End, Event};
use super::marks::{Marks, Standing};
use super::positions;
use super::shared::{Client, Lane, Membership, lock};
use super::tail::{self, Suspect};
use crate::config::Start;
use crate::domain::record::{Generation, TopicPartition};

/// So many statistics in a row without a connection are no restart of one broker.
const SILENT: u32 = 2;

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        // librdkafka tells of a lost position in no other way.
        if fac == "OFFSET" && message.contains("offset reset") && message.contains("Offset out of range") {
            let group = [self.shared.group.as_str()];
            self.shared.metrics.kafka_offset_resets_total.with_label_values(&group).inc();
            error!(
                why = message,
                "a position is no longer in its topic: records were deleted before they were read, or the topic was created anew; \
                 going on with the first that is there"
            );
            return;
        }
        DefaultClientContext.log(level, fac, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.look_for_brokers(&statistics);
        let (mut ends, mut suspects) = (Vec::new(), Vec::new());
        let mut lanes = lock(&self.shared.lanes);
        let commits = lock(&self.shared.commits);
        for (partition, lane) in &mut lanes.held {
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
                let generation = lane.generation;
                let committed = commits.committed(generation);
                ends.push(End { generation, end, committed });
                let lags = committed.filter(|at| at.next() < end && lane.marks.uncommitted() == 0);
                if let Some(committed) = lags
                    && lane.standing.look(committed.next())
                {
                    suspects.push(Suspect { generation, partition: partition.clone(), committed });
                }
            }
        }
        drop((lanes, commits));
        self.shared.tell(Event::Ends(ends));
        tail::look(&self.shared, suspects);
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
    /// Tells when no broker is connected any more, and when one is again.
    fn look_for_brokers(&self, statistics: &Statistics) {
        let silent = &self.shared.silent;
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            if silent.swap(0, Ordering::Relaxed) >= SILENT {
                self.shared.tell(Event::Connected(true));
            }
        } else if silent.fetch_add(1, Ordering::Relaxed) + 1 == SILENT {
            warn!("no broker is connected: nothing is read or published until one is");
            self.shared.tell(Event::Connected(false));
        }
    }

    fn assigned(&self, consumer: &Client, list: &mut TopicPartitionList) {
        let shared = &self.shared;
        shared.count("assigned");
        shared.let_in();
        let opened = self.open(list);
        if shared.start == Start::Latest
            && !opened.is_empty()
            && let Err(failure) = positions::begin_at_the_end(consumer, shared, &opened, list)
        {
            shared.tell(Event::Fatal(format!("cannot ask where the assigned partitions end: {failure}")));
            return;
        }
        let result = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
            _ => consumer.assign(list),
        };
        if let Err(failure) = result {
            shared.tell(Event::Fatal(format!("cannot take up the assigned partitions: {failure}")));
            return;
        }
        info!(partitions = opened.len(), "partitions assigned");
        if shared.start == Start::Earliest
            && let Some(client) = shared.consumer.get().and_then(Weak::upgrade)
        {
            positions::find_beside(client, Arc::clone(shared), opened.clone());
        }
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
            let generation = lanes.next_generation();
            opened.push(Assigned { generation, partition: partition.clone() });
            let lane = Lane { generation, queue, marks: Marks::default(), standing: Standing::default() };
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
            drain::drain(&self.shared, &closed);
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
}
