//! What lies between a position and its partition's end and is shown to no reader: markers of transactions, what was aborted, what was deleted
//! unread. The consumer passes over it without a word, so a position would stand before it, and its lag stay, until the next record comes.
//!
//! A reader of its own finds out: it is asked where the partition ends, and then reads from the position on. What it is shown first lies at or
//! behind that end, or there is nothing to lose between the two.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::{ClientConfig, ClientContext};
use tracing::debug;

use super::shared::{Shared, lock};
use crate::config::Kafka;
use crate::domain::record::{Generation, Position, TopicPartition};

/// How long a question may take.
pub(super) const ASK: Duration = Duration::from_secs(10);
/// How long a partition is read.
const READ: Duration = Duration::from_secs(2);

/// Events of the time before a question that are dropped.
const STALE: usize = 64;

/// A position that stands before its partition's end, with nothing under way.
pub(super) struct Suspect {
    pub(super) generation: Generation,
    pub(super) partition: TopicPartition,
    pub(super) committed: Position,
}

/// The settings of a [`Reader`]. It never commits, and joins no group.
pub(super) fn settings(kafka: &Kafka) -> ClientConfig {
    let mut settings = super::consumer(kafka, 1);
    settings
        .set("enable.partition.eof", "true")
        // Figures of this client are nobody's business.
        .set("statistics.interval.ms", "0")
        // Followers may be behind: the end is the leader's.
        .set("client.rack", "");
    settings
}

/// Reads beside the consumer.
pub(super) struct Reader {
    pub(super) client: BaseConsumer<Quiet>,
}

/// The context of a [`Reader`]: what goes wrong is told by the answer to its question, and the worker's own client tells the rest.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(facility, message, "beside the consumer");
    }

    fn error(&self, failure: KafkaError, reason: &str) {
        debug!(error = %failure, reason, "beside the consumer");
    }
}

impl ConsumerContext for Quiet {}

impl Reader {
    pub(super) fn new(settings: &ClientConfig) -> KafkaResult<Self> {
        Ok(Self { client: settings.create_with_context(Quiet)? })
    }

    /// The offsets of a partition: its first, and the end of what is shown to readers.
    pub(super) fn bounds(&self, partition: &TopicPartition) -> KafkaResult<(i64, i64)> {
        self.client.fetch_watermarks(&partition.topic, partition.partition, ASK)
    }

    /// Whether a reader is shown nothing from `from` up to `end`, which was the end before. `false` also when that stays unknown.
    fn shows_nothing(&self, partition: &TopicPartition, from: i64, end: i64) -> KafkaResult<bool> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, KafkaOffset::Offset(from))?;
        // Nobody polled since the last question; what came meanwhile is no answer to this one.
        for _ in 0..STALE {
            if self.client.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        self.client.assign(&list)?;
        // The first word counts: after an error the client might have passed over something.
        let nothing = match self.client.poll(READ) {
            Some(Ok(message)) => message.offset() >= end,
            Some(Err(KafkaError::PartitionEOF(at))) => at == partition.partition,
            Some(Err(_)) | None => false,
        };
        self.client.unassign()?;
        Ok(nothing)
    }

    /// The end up to which a reader is shown nothing from `from` on; `None` where there is something, or that stays unknown.
    fn end_of_nothing(&self, partition: &TopicPartition, from: i64) -> KafkaResult<Option<i64>> {
        let (_, end) = self.bounds(partition)?;
        Ok((end > from && self.shows_nothing(partition, from, end)?).then_some(end))
    }
}

/// Asks about positions that stand, on a thread of its own, and moves those that have nothing before them. Does nothing while that goes on.
pub(super) fn look(shared: &Arc<Shared>, suspects: Vec<Suspect>) {
    if suspects.is_empty() || shared.reading.swap(true, Ordering::AcqRel) {
        return;
    }
    let reading = Arc::clone(shared);
    let thread = std::thread::spawn(move || {
        if let Err(failure) = move_on(&reading, &suspects) {
            debug!(error = %failure, "cannot ask what is left of a partition");
        }
        reading.reading.store(false, Ordering::Release);
        reading.budget.unpark();
    });
    shared.keep(thread);
}

fn move_on(shared: &Shared, suspects: &[Suspect]) -> KafkaResult<()> {
    let reader = Reader::new(&shared.reader)?;
    for Suspect { generation, partition, committed } in suspects {
        if shared.leaving.get().is_some() {
            break;
        }
        let Some(end) = reader.end_of_nothing(partition, committed.next())? else { continue };
        let mut lanes = lock(&shared.lanes);
        if let Some(lane) = lanes.held.get_mut(partition).filter(|lane| lane.generation == *generation) {
            debug!(%partition, from = committed.next(), end, "nothing to read is left before the end");
            lane.marks.pass(*committed, Position::at(end));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;

    #[test]
    fn a_record_is_never_nothing() {
        let cluster = MockCluster::new(1).expect("loopback has a port");
        cluster.create_topic("t", 1, 1).expect("the name is new");
        let kafka = Kafka { brokers: cluster.bootstrap_servers(), ..Kafka::default() };
        let producer: BaseProducer = super::super::producer(&kafka).create().expect("the settings are fixed");
        for value in ["a", "b", "c"] {
            producer
                .send(BaseRecord::<str, str>::to("t").payload(value))
                .map_err(|(why, _)| why)
                .expect("room");
        }
        producer.flush(ASK).expect("the broker acknowledges");
        let reader = Reader::new(&settings(&kafka)).expect("the settings are fixed");
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        assert_eq!(reader.bounds(&partition).expect("it answers"), (0, 3));
        // Each again and again: what an earlier question left behind answers no later one.
        for _ in 0..3 {
            for (from, end, nothing) in [(0, 3, false), (3, 3, true), (2, 3, false), (1, 1, true)] {
                let found = reader.shows_nothing(&partition, from, end).expect("it answers");
                assert_eq!(found, nothing, "from {from} to {end}");
            }
            assert_eq!(reader.end_of_nothing(&partition, 2).expect("it answers"), None);
        }
    }
}
