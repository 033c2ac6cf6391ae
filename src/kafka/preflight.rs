//! What is asked before the start: are the brokers there, and the topics?

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use thiserror::Error;

use crate::config::{Config, Order};

/// How long brokers may take to answer before the worker gives up. Kubernetes restarts it; a longer wait would only hide the cause.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK: Duration = Duration::from_secs(5);

/// Why the line cannot start.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// librdkafka refuses a setting: a configuration error.
    #[error("the kafka settings are refused: {0}")]
    Settings(#[source] KafkaError),
    /// No broker answered.
    #[error(
        "no broker of `kafka.brokers: {brokers}` answered within {} s: {reason}; check the address, the network and the security settings",
        PATIENCE.as_secs()
    )]
    Unreachable {
        /// The setting.
        brokers: String,
        /// The last error.
        reason: String,
    },
    /// A topic does not exist, or may not be seen.
    #[error("topic {} (`kafka.{key}`) {reason}; create it, or correct the setting", quoted(.topics))]
    Topic {
        /// The setting that names it.
        key: &'static str,
        /// The topics.
        topics: Vec<String>,
        /// What the broker says.
        reason: String,
    },
    /// With `order: partition` the output partition is the input's.
    #[error(
        "`kafka.order: partition` publishes to the partition of the input, but `{output}` has {have} partitions and `{input}` has {need}; \
         give the output topic as many, or choose another order"
    )]
    Partitions {
        /// The output topic.
        output: String,
        /// Its partitions.
        have: usize,
        /// The input topic.
        input: String,
        /// Its partitions.
        need: usize,
    },
}

fn quoted(topics: &[String]) -> String {
    topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ")
}

/// What the brokers said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// Partitions of all input topics.
    pub input_partitions: usize,
    /// Partitions of each topic, in the order input, output, dead letters.
    pub partitions: Vec<(String, usize)>,
    /// Brokers in the cluster.
    pub brokers: usize,
}

/// Asks for every topic by name. Blocks for at most 30 s and one question more.
///
/// # Errors
/// Names the setting and the topic.
pub fn ask(config: &Config) -> Result<Topics, PreflightError> {
    let kafka = &config.kafka;
    let client: BaseConsumer = super::client(kafka).create().map_err(PreflightError::Settings)?;
    // A build without an option, or a refused setting, shows only when a client is made: both ends are made once.
    super::producer(kafka).create::<rdkafka::producer::BaseProducer>().map_err(PreflightError::Settings)?;
    super::consumer(kafka, 1).create::<BaseConsumer>().map_err(PreflightError::Settings)?;
    let since = tokio::time::Instant::now().into_std();
    let mut found = Topics::default();
    for (key, topic) in names(config) {
        let count = partitions(&client, key, topic, &kafka.brokers, since, &mut found.brokers)?;
        if key == "input_topics" {
            found.input_partitions += count;
        }
        found.partitions.push((topic.to_owned(), count));
    }
    if kafka.order == Order::Partition {
        let have =
            found.partitions.iter().find(|(topic, _)| *topic == kafka.output_topic).map_or(0, |(_, n)| *n);
        for (input, need) in found.partitions.iter().take(kafka.input_topics.len()) {
            if *need > have {
                let (output, input, need) = (kafka.output_topic.clone(), input.clone(), *need);
                return Err(PreflightError::Partitions { output, have, input, need });
            }
        }
    }
    Ok(found)
}

fn names(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let kafka = &config.kafka;
    let inputs = kafka.input_topics.iter().map(|topic| ("input_topics", topic.as_str()));
    inputs.chain([
        ("output_topic", kafka.output_topic.as_str()),
        ("dead_letter_topic", kafka.dead_letter_topic.as_str()),
    ])
}

fn partitions(
    client: &BaseConsumer,
    key: &'static str,
    topic: &str,
    brokers: &str,
    since: Instant,
    broker_count: &mut usize,
) -> Result<usize, PreflightError> {
    let mut reason = "no answer".to_owned();
    loop {
        if tokio::time::Instant::now().into_std().saturating_duration_since(since) >= PATIENCE {
            return Err(PreflightError::Unreachable { brokers: brokers.to_owned(), reason });
        }
        match client.fetch_metadata(Some(topic), ASK) {
            Ok(metadata) => {
                *broker_count = metadata.brokers().len();
                let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                    return Err(missing(key, topic, "is unknown to the brokers"));
                };
                match found.error() {
                    None if found.partitions().is_empty() => {
                        return Err(missing(key, topic, "has no partitions"));
                    }
                    None => return Ok(found.partitions().len()),
                    Some(code) => {
                        let code: rdkafka::error::RDKafkaErrorCode = code.into();
                        // A topic that was just created has no leader yet; that heals.
                        if code == rdkafka::error::RDKafkaErrorCode::LeaderNotAvailable {
                            reason = code.to_string();
                            std::thread::park_timeout(Duration::from_millis(200));
                            continue;
                        }
                        return Err(missing(key, topic, &format!("cannot be used: {code}")));
                    }
                }
            }
            Err(failure) => {
                reason = failure.to_string();
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
    }
}

fn missing(key: &'static str, topic: &str, reason: &str) -> PreflightError {
    PreflightError::Topic { key, topics: vec![topic.to_owned()], reason: reason.to_owned() }
}
