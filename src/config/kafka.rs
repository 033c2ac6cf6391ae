//! The `kafka` section.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::choice::{self, Delivery, Start};
use super::units::duration;
use super::{scalar, secret};
use crate::domain::ledger::Order;

/// The brokers, the topics, and what is promised about them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Where to begin: `host:port`, several divided by commas.
    #[serde(deserialize_with = "scalar::comma_list")]
    pub brokers: String,
    /// The consumer group.
    #[serde(deserialize_with = "scalar::text")]
    pub group_id: String,
    /// What is read.
    #[serde(deserialize_with = "scalar::list")]
    pub input_topics: Vec<String>,
    /// Where vectors go.
    #[serde(deserialize_with = "scalar::text")]
    pub output_topic: String,
    /// Where records go that cannot be embedded.
    #[serde(deserialize_with = "scalar::text")]
    pub dead_letter_topic: String,
    /// Where a new group begins.
    #[serde(with = "choice")]
    pub start: Start,
    /// How often an output may appear.
    #[serde(with = "choice")]
    pub delivery: Delivery,
    /// What order the outputs keep.
    #[serde(with = "choice")]
    pub order: Order,
    /// The longest that a transaction collects outputs (exactly once).
    #[serde(with = "duration")]
    pub transaction_interval: Duration,
    /// How long calls on the wire may finish when a partition is taken away.
    #[serde(with = "duration")]
    pub revoke_deadline: Duration,
    /// librdkafka settings of all clients. Some are secrets: `Debug` and `Serialize` redact them.
    #[serde(deserialize_with = "scalar::text_map", serialize_with = "secret::serialize_map")]
    pub client: BTreeMap<String, String>,
    /// librdkafka settings of the consumer alone.
    #[serde(deserialize_with = "scalar::text_map", serialize_with = "secret::serialize_map")]
    pub consumer: BTreeMap<String, String>,
    /// librdkafka settings of the producer alone.
    #[serde(deserialize_with = "scalar::text_map", serialize_with = "secret::serialize_map")]
    pub producer: BTreeMap<String, String>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".to_owned(),
            group_id: "embedstream".to_owned(),
            input_topics: vec!["documents".to_owned()],
            output_topic: "documents.embeddings".to_owned(),
            dead_letter_topic: "documents.dead-letters".to_owned(),
            start: Start::Earliest,
            delivery: Delivery::AtLeastOnce,
            order: Order::Key,
            transaction_interval: Duration::from_millis(500),
            revoke_deadline: Duration::from_secs(10),
            client: BTreeMap::new(),
            consumer: BTreeMap::new(),
            producer: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("group_id", &self.group_id)
            .field("input_topics", &self.input_topics)
            .field("output_topic", &self.output_topic)
            .field("dead_letter_topic", &self.dead_letter_topic)
            .field("start", &self.start)
            .field("delivery", &self.delivery)
            .field("order", &self.order)
            .field("transaction_interval", &self.transaction_interval)
            .field("revoke_deadline", &self.revoke_deadline)
            .field("client", &secret::redacted(&self.client))
            .field("consumer", &secret::redacted(&self.consumer))
            .field("producer", &secret::redacted(&self.producer))
            .finish()
    }
}
