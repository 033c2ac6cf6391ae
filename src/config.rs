//! The settings: one struct a section, every one with its default.
//!
//! Defaults give way to the provider's profile, that to the file, and the file to the environment. The names are a contract; `deploy/config.yaml` shows them all.
//! Whatever is wrong is a [`ConfigError`] that names the setting, the value (never a secret) and what is expected.

mod checks;
mod choice;
mod environment;
mod error;
mod file;
mod kafka;
mod key;
mod layers;
mod names;
mod problem;
mod profile;
mod provider;
mod scalar;
mod secret;
mod sections;
mod units;
mod yaml;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use crate::domain::ledger::Order;
pub use choice::{Blank, Delivery, Encoding, Format, LogFormat, Preset, Share, Shorten, Start, TooLong};
pub use error::ConfigError;
pub use kafka::Kafka;
pub use key::KeyError;
pub use problem::Problem;
pub use provider::{Probe, Provider, RESERVED_HEADERS, Tokens};
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

impl Config {
    /// Loads the settings: defaults, under those of the file (YAML or TOML by its extension), under those of the environment. Variables that
    /// are not ours may be among those given.
    ///
    /// # Errors
    /// The file cannot be read; a name is unknown; a value is wrong; two settings contradict each other; the provider's key is missing or
    /// cannot be one. All that can be found at once is said at once.
    pub fn load<K, V>(path: Option<&Path>, env: impl Iterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let file = path.map(file::read).transpose()?.unwrap_or_default();
        let config = layers::merge(file, env)?;
        config.provider.check_key()?;
        Ok(config)
    }

    /// Reads settings from YAML text alone, without the environment. Whether there is a key is not checked.
    ///
    /// # Errors
    /// As [`Config::load`], but for the key.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        layers::merge(file::from_yaml(text)?, std::iter::empty::<(OsString, OsString)>())
    }
}

/// Reads YAML that is not the settings, such as a fault script, with the same limits on nesting and aliases. Scalars have the types of
/// YAML's core schema.
///
/// # Errors
/// Wrong syntax, with its line; a value of another shape than `T`.
pub fn read_yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = yaml::from_text(text).map_err(|error| error.to_string())?;
    value.try_deserialize().map_err(|error| error.to_string())
}
