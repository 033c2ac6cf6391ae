//! What is in the input topics when a bounded run begins, and how much of it is left.
//!
//! The group's committed positions tell, so it does not matter which member works it off. A client of its own asks: it joins nothing.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use thiserror::Error;
use tokio::time::Instant;
use tracing::debug;

use crate::config::Kafka;
use crate::domain::record::TopicPartition;

/// How long a question may take.
const ASK: Duration = Duration::from_secs(10);
/// How long a partition is read for what may be left in it.
const READ: Duration = Duration::from_secs(2);
/// A position that has not moved for so many looks, and for twice, four times as many, may stand before records that nobody is shown.
const STILL: u32 = 4;

/// Nobody says where the input topics begin and end.
#[derive(Debug, Error)]
#[error("cannot ask where the input topics end: {0}")]
pub struct BacklogError(#[from] KafkaError);

/// The records between the group's positions and the ends that were seen first.
pub struct Backlog {
    client: BaseConsumer,
    left: Vec<Left>,
}

/// A partition that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    partition: TopicPartition,
    /// What is done, as far as is known: the offset behind it.
    next: i64,
    end: i64,
    /// Looks since `next` has moved.
    still: u32,
}

impl Left {
    /// Takes up what is committed.
    fn committed(&mut self, next: i64) {
        if next > self.next {
            self.next = next;
            self.still = 0;
        } else {
            self.still = self.still.saturating_add(1);
        }
    }

    fn is_done(&self) -> bool {
        self.next >= self.end
    }

    fn is_suspect(&self) -> bool {
        self.still >= STILL && self.still.is_power_of_two()
    }
}

impl Backlog {
    /// Asks where the partitions of the input topics begin and end. Blocks.
    ///
    /// # Errors
    /// No answer; a topic that is not there.
    pub fn take(settings: &Kafka) -> Result<Self, BacklogError> {
        let mut client = super::consumer(settings, 1);
        // The end of what is shown to readers is told; figures of the client are nobody's business.
        client.set("enable.partition.eof", "true").set("statistics.interval.ms", "0");
        let client: BaseConsumer = client.create()?;
        let mut left = Vec::new();
        for topic in &settings.input_topics {
            let metadata = client.fetch_metadata(Some(topic), ASK)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            // A topic without partitions would be done at once.
            if partitions.clone().count() == 0 {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition).into());
            }
            for found in partitions {
                let (first, end) = client.fetch_watermarks(topic, found.id(), ASK)?;
                let partition = TopicPartition { topic: topic.as_str().into(), partition: found.id() };
                left.push(Left { partition, next: first, end, still: 0 });
            }
        }
        Ok(Self { client, left })
    }

    /// How many offsets are left; 0: everything is done. Blocks.
    ///
    /// # Errors
    /// No answer.
    pub fn look(&mut self) -> Result<u64, KafkaError> {
        self.left.retain(|left| !left.is_done());
        if self.left.is_empty() {
            return Ok(0);
        }
        let mut asked = TopicPartitionList::new();
        for Left { partition, .. } in &self.left {
            asked.add_partition(&partition.topic, partition.partition);
        }
        let committed = self.client.committed_offsets(asked, ASK)?.to_topic_map();
        for left in &mut self.left {
            let name = (left.partition.topic.to_string(), left.partition.partition);
            match committed.get(&name) {
                Some(KafkaOffset::Offset(next)) if is_there(&self.client, left, *next)? => {
                    left.committed(*next)
                }
                _ => left.committed(left.next),
            }
            // Markers of transactions have offsets too, and so has what was aborted; a position may stand before them for good.
            if !left.is_done() && left.is_suspect() && is_empty(&self.client, left)? {
                debug!(partition = %left.partition, "nothing to read is left");
                left.next = left.end;
            }
        }
        self.left.retain(|left| !left.is_done());
        Ok(self.left.iter().map(|left| u64::try_from(left.end - left.next).unwrap_or(0)).sum())
    }
}

/// Whether the topic reaches so far. A position beyond its end is another topic's of the same name, which was deleted: the worker begins anew.
fn is_there(client: &BaseConsumer, left: &Left, next: i64) -> KafkaResult<bool> {
    if next <= left.end {
        return Ok(true);
    }
    let (_, end) = client.fetch_watermarks(&left.partition.topic, left.partition.partition, ASK)?;
    Ok(next <= end)
}

/// Whether a reader would be shown nothing between the position and the end.
fn is_empty(client: &BaseConsumer, left: &Left) -> KafkaResult<bool> {
    let mut from = TopicPartitionList::new();
    let Left { partition, next, end, .. } = left;
    from.add_partition_offset(&partition.topic, partition.partition, KafkaOffset::Offset(*next))?;
    client.assign(&from)?;
    let since = Instant::now();
    let empty = loop {
        match client.poll(READ.saturating_sub(since.elapsed())) {
            Some(Ok(message)) => break message.offset() >= *end,
            Some(Err(KafkaError::PartitionEOF(_))) => break true,
            // The client goes on trying.
            Some(Err(_)) if since.elapsed() < READ => {}
            Some(Err(_)) | None => break false,
        }
    };
    client.unassign()?;
    Ok(empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_stands_is_looked_into_ever_more_rarely() {
        let partition = TopicPartition { topic: "t".into(), partition: 0 };
        let mut left = Left { partition, next: 5, end: 9, still: 0 };
        let suspect = |left: &mut Left| {
            left.committed(6);
            left.is_suspect()
        };
        let looks: Vec<u32> = (0..40).filter(|_| suspect(&mut left)).collect();
        assert_eq!(looks, [4, 8, 16, 32], "the first one moves it");
        left.committed(5);
        assert_eq!(left.next, 6, "a position of long ago moves nothing back");
        left.committed(9);
        assert!(left.is_done() && !left.is_suspect());
    }
}
