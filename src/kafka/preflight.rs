//! What is asked before the start: are the brokers there, and the topics?

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use thiserror::Error;
use tokio::time::Instant;

use super::refusal::Refused;
use crate::config::{Config, Order};

/// How long brokers may take to answer before the worker gives up. Kubernetes restarts it; a longer wait would only hide the cause.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK: Duration = Duration::from_secs(5);
/// Events taken after a failed question; the client makes a few for each attempt.
const EVENTS: usize = 16;
const AGAIN: Duration = Duration::from_millis(200);

/// Why the line cannot start.
#[derive(Debug, Error)]
pub enum PreflightError {
    /// librdkafka refuses a setting: a configuration error.
    #[error(transparent)]
    Settings(#[from] Refused),
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

/// The question to the brokers, topic by topic.
pub struct Preflight<'a> {
    config: &'a Config,
    client: BaseConsumer<LastError>,
    since: Instant,
}

/// What the client complained of last: a failed question only says that it failed.
#[derive(Default)]
struct LastError(Mutex<Option<String>>);

impl ClientContext for LastError {
    fn error(&self, error: KafkaError, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(match error.rdkafka_error_code() {
            // The next one says why.
            Some(RDKafkaErrorCode::AllBrokersDown) => return,
            _ => reason.to_owned(),
        });
    }
}

impl ConsumerContext for LastError {}

/// Asks for every topic by name. Blocks for at most 30 s and one question more.
///
/// # Errors
/// Names the setting and the topic.
pub fn ask(config: &Config) -> Result<Topics, PreflightError> {
    let mut preflight = Preflight::new(config)?;
    let mut found = Topics::default();
    for (key, topic) in names(config) {
        let answer = preflight.ask(key, topic)?;
        found.brokers = answer.brokers;
        if key == "input_topics" {
            found.input_partitions += answer.partitions;
        }
        found.partitions.push((topic.to_owned(), answer.partitions));
    }
    fits(config, &found)?;
    Ok(found)
}

/// Whether the output topic has a partition for each of the input's, where that is needed.
///
/// # Errors
/// It has not.
pub fn fits(config: &Config, found: &Topics) -> Result<(), PreflightError> {
    let kafka = &config.kafka;
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
    Ok(())
}

/// Every topic of the settings, after the setting that names it: inputs, output, dead letters.
pub fn names(config: &Config) -> impl Iterator<Item = (&'static str, &str)> {
    let kafka = &config.kafka;
    let inputs = kafka.input_topics.iter().map(|topic| ("input_topics", topic.as_str()));
    inputs.chain([
        ("output_topic", kafka.output_topic.as_str()),
        ("dead_letter_topic", kafka.dead_letter_topic.as_str()),
    ])
}

/// What the brokers say of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its partitions.
    pub partitions: usize,
    /// Brokers in the cluster.
    pub brokers: usize,
}

impl<'a> Preflight<'a> {
    /// A client to ask with; its patience of 30 s for all questions begins now.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(config: &'a Config) -> Result<Self, PreflightError> {
        let kafka = &config.kafka;
        let settings = super::client(kafka);
        let refused = |error| Refused::of(kafka, &error);
        let client = settings.create_with_context(LastError::default()).map_err(refused)?;
        // A build without an option, or a refused setting, shows only when a client is made: both ends are made once.
        super::producer(kafka).create::<rdkafka::producer::BaseProducer>().map_err(refused)?;
        super::consumer(kafka, 1).create::<BaseConsumer>().map_err(refused)?;
        Ok(Self { config, client, since: Instant::now() })
    }

    /// Asks for one topic, named by the setting `key`, again and again while nobody answers.
    ///
    /// # Errors
    /// The topic cannot be used, or nobody answered in time.
    pub fn ask(&mut self, key: &'static str, topic: &str) -> Result<Found, PreflightError> {
        let mut reason = "no answer".to_owned();
        loop {
            if self.since.elapsed() >= PATIENCE {
                let brokers = self.config.kafka.brokers.clone();
                return Err(PreflightError::Unreachable { brokers, reason });
            }
            let metadata = match self.client.fetch_metadata(Some(topic), ASK) {
                Ok(metadata) => metadata,
                Err(failure) => {
                    // Why it failed comes as an event, which only a poll delivers; there is nothing else to come.
                    for _ in 0..EVENTS {
                        drop(self.client.poll(Duration::ZERO));
                    }
                    let last = &self.client.context().0;
                    let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    reason = last.unwrap_or_else(|| failure.to_string());
                    std::thread::park_timeout(AGAIN);
                    continue;
                }
            };
            let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                return Err(missing(key, topic, "is unknown to the brokers"));
            };
            let Some(code) = found.error().map(RDKafkaErrorCode::from) else {
                let (partitions, brokers) = (found.partitions().len(), metadata.brokers().len());
                if partitions == 0 {
                    return Err(missing(key, topic, "has no partitions"));
                }
                return Ok(Found { partitions, brokers });
            };
            // A topic that was just created has no leader yet; that heals.
            match code {
                RDKafkaErrorCode::LeaderNotAvailable => {}
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                    return Err(missing(key, topic, "does not exist"));
                }
                RDKafkaErrorCode::TopicAuthorizationFailed => {
                    return Err(missing(key, topic, "may not be seen by this user"));
                }
                _ => return Err(missing(key, topic, &format!("cannot be used: {code}"))),
            }
            reason = code.to_string();
            std::thread::park_timeout(AGAIN);
        }
    }
}

/// The largest record that a topic takes, its `max.message.bytes`; `None` where the broker does not say.
pub async fn largest_record(config: &Config, topic: &str) -> Option<u64> {
    const SETTING: &str = "max.message.bytes";
    let client: AdminClient<_> = super::client(&config.kafka).create().ok()?;
    let options = AdminOptions::new().request_timeout(Some(ASK));
    let answer = client.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await.ok()?;
    let settings = answer.into_iter().next()?.ok()?;
    settings.get(SETTING)?.value.as_ref()?.parse().ok()
}

fn missing(key: &'static str, topic: &str, reason: &str) -> PreflightError {
    PreflightError::Topic { key, topics: vec![topic.to_owned()], reason: reason.to_owned() }
}
