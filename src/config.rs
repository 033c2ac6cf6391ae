//! The settings: one struct a section, every one with its default.

mod choice;
mod kafka;
mod names;
mod provider;
mod scalar;
mod secret;
mod sections;
mod units;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::domain::ledger::Order;
pub use choice::{Blank, Delivery, Encoding, Format, LogFormat, Preset, Share, Start, TooLong};
pub use kafka::Kafka;
pub use provider::{Probe, Provider};
pub use secret::Secret;
pub use sections::{Admin, Batch, Input, Limits, Log, Output, Retry};
pub use units::{DeadLetterCap, Rate, Size};

use units::duration;

/// Everything the worker can be told. `Debug` and `Serialize` hold no secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The brokers and the topics.
    pub kafka: Kafka,
    /// How a record's value becomes text.
    pub input: Input,
    /// The bounds of one call.
    pub batch: Batch,
    /// Who embeds.
    pub provider: Provider,
    /// The limits that the worker holds.
    pub limits: Limits,
    /// How a failed call is repeated.
    pub retry: Retry,
    /// How an outcome becomes a record.
    pub output: Output,
    /// How long a drain may take before the process ends anyway.
    #[serde(with = "duration")]
    pub shutdown_deadline: Duration,
    /// The address of metrics, probes and the status page.
    pub admin: Admin,
    /// The log.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            input: Input::default(),
            batch: Batch::default(),
            provider: Provider::default(),
            limits: Limits::default(),
            retry: Retry::default(),
            output: Output::default(),
            shutdown_deadline: Duration::from_secs(25),
            admin: Admin::default(),
            log: Log::default(),
        }
    }
}
