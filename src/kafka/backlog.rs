//! What is in the input topics when a bounded run begins, and how much of it is left.
//!
//! The group's committed positions tell, so it does not matter which member works it off; what no reader is shown they pass as well (see
//! `tail`). A client of its own asks: it joins nothing.

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use thiserror::Error;
use tracing::warn;

use super::marks::Standing;
use super::tail::{self, ASK, Reader};
use crate::config::Kafka;
use crate::domain::record::TopicPartition;

/// Nobody says where the input topics begin and end.
#[derive(Debug, Error)]
#[error("cannot ask where the input topics end: {0}")]
pub struct BacklogError(#[from] KafkaError);

/// The records between the group's positions and the ends that were seen first.
pub struct Backlog {
    reader: Reader,
    /// Asks where readers of committed records stop.
    committed_only: Reader,
    left: Vec<Left>,
}

/// A partition that is not done.
struct Left {
    partition: TopicPartition,
    /// What is done, as far as is known: the offset behind it.
    next: i64,
    end: i64,
    standing: Standing,
}

impl Left {
    fn is_done(&self) -> bool {
        self.next >= self.end
    }
}

impl Backlog {
    /// Asks where the partitions of the input topics begin and end. Blocks.
    ///
    /// # Errors
    /// No answer; a topic that is not there.
    pub fn take(settings: &Kafka) -> Result<Self, BacklogError> {
        let mut client = tail::settings(settings);
        let committed_only = Reader::new(&client)?;
        // What a transaction holds that is open now was there as well, and so was what lies behind it.
        let reader = Reader::new(client.set("isolation.level", "read_uncommitted"))?;
        let mut left = Vec::new();
        for topic in &settings.input_topics {
            let metadata = reader.client.fetch_metadata(Some(topic), ASK)?;
            let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            // A topic without partitions would be done at once.
            if partitions.clone().count() == 0 {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition).into());
            }
            for found in partitions {
                let partition = TopicPartition { topic: topic.as_str().into(), partition: found.id() };
                let (first, end) = reader.bounds(&partition)?;
                left.push(Left { partition, next: first, end, standing: Standing::default() });
            }
        }
        left.retain(|left| !left.is_done());
        Ok(Self { reader, committed_only, left })
    }

    /// How many offsets are left; 0: everything is done. Blocks.
    ///
    /// # Errors
    /// No answer.
    pub fn look(&mut self) -> Result<u64, KafkaError> {
        if self.left.is_empty() {
            return Ok(0);
        }
        let mut asked = TopicPartitionList::new();
        for Left { partition, .. } in &self.left {
            asked.add_partition(&partition.topic, partition.partition);
        }
        let committed = self.reader.client.committed_offsets(asked, ASK)?.to_topic_map();
        for left in &mut self.left {
            let name = (left.partition.topic.to_string(), left.partition.partition);
            if let Some(KafkaOffset::Offset(next)) = committed.get(&name) {
                // Beyond its end it is a position in another topic of this name, which was deleted: the worker begins anew.
                if *next <= left.end || *next <= self.reader.bounds(&left.partition)?.1 {
                    left.next = left.next.max(*next);
                }
            }
            if !left.is_done() && left.standing.look(left.next) {
                let (_, stable) = self.committed_only.bounds(&left.partition)?;
                if stable < left.end && left.next >= stable {
                    warn!(
                        partition = %left.partition, from = stable, end = left.end,
                        "a transaction is open: nothing behind it is shown to a reader before it ends or times out"
                    );
                }
            }
        }
        self.left.retain(|left| !left.is_done());
        Ok(self.left.iter().map(|left| u64::try_from(left.end - left.next).unwrap_or(0)).sum())
    }
}
