//! What librdkafka says against a setting, without the setting's value: a password under a mistyped name is a secret, too.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use thiserror::Error;

use crate::config::Kafka;

/// A setting that librdkafka refuses, or settings that do not go together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refused(String);

/// Asks librdkafka about the names and values, without a client and without any I/O.
///
/// # Errors
/// The first that it refuses.
pub fn check(settings: &Kafka) -> Result<(), Refused> {
    for client in [super::client(settings), super::consumer(settings, 1), super::producer(settings)] {
        tried(settings, &client)?;
    }
    Ok(())
}

fn tried(settings: &Kafka, client: &ClientConfig) -> Result<(), Refused> {
    client.create_native_config().map(drop).map_err(|error| Refused::of(settings, &error))
}

impl Refused {
    /// What went wrong when a client was made of `settings`.
    pub(crate) fn of(settings: &Kafka, error: &KafkaError) -> Self {
        match error {
            KafkaError::ClientConfig(_, description, name, value) => {
                Self(format!("{}: {}", key(settings, name), told(description, value)))
            }
            KafkaError::ClientCreation(reason) => Self(format!(
                "kafka: no client can be made: {reason}; check kafka.client, consumer and producer, and the files they name"
            )),
            other => Self(format!("kafka: no client can be made: {other}")),
        }
    }
}

/// The setting as it was written.
fn key(settings: &Kafka, name: &str) -> String {
    let sections =
        [("client", &settings.client), ("consumer", &settings.consumer), ("producer", &settings.producer)];
    let written = sections.into_iter().find(|(_, section)| section.contains_key(name));
    written.map_or_else(|| name.to_owned(), |(section, _)| format!("kafka.{section}.\"{name}\""))
}

fn told(description: &str, value: &str) -> String {
    if description.starts_with("No such configuration property") {
        return "is no setting of librdkafka; its CONFIGURATION.md lists them".to_owned();
    }
    if description.starts_with("Invalid value") {
        return "cannot have this value; librdkafka's CONFIGURATION.md lists what can be".to_owned();
    }
    let description = description.trim().trim_end_matches('.');
    if value.is_empty() { description.to_owned() } else { description.replace(value, "…") }
}
