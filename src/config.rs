//! The settings: one struct a section, every one with its default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the worker can be told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub kafka: Kafka,
    pub input: Input,
    pub batch: Batch,
    pub provider: Provider,
    pub limits: Limits,
    pub retry: Retry,
    pub output: Output,
    pub shutdown_deadline: Duration,
    pub admin: Admin,
    pub log: Log,
}

#[derive(Clone, Debug, Default)]
pub struct Kafka {
    pub brokers: String,
    pub group_id: String,
    pub input_topics: Vec<String>,
    pub output_topic: String,
    pub dead_letter_topic: String,
    pub start: Start,
    pub delivery: Delivery,
    pub order: Order,
    pub transaction_interval: Duration,
    pub revoke_deadline: Duration,
    /// librdkafka settings.
    pub client: BTreeMap<String, String>,
    pub consumer: BTreeMap<String, String>,
    pub producer: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Earliest,
    Latest,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    #[default]
    AtLeastOnce,
    ExactlyOnce,
}
/// What order the outputs keep. (The ledger's own type.)
pub use crate::domain::ledger::Order;

#[derive(Clone, Debug, Default)]
pub struct Input {
    pub format: Format,
    pub text: Vec<String>,
    pub separator: String,
    pub payload: Vec<String>,
    pub too_long: TooLong,
    pub blank: Blank,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    Json,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TooLong {
    #[default]
    Truncate,
    DeadLetter,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blank {
    #[default]
    Skip,
    DeadLetter,
}

#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub max_tokens: u64,
    pub max_records: usize,
    pub max_bytes: Size,
    pub linger: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Provider {
    pub url: String,     // becomes url::Url
    pub profile: String, // openrouter | openai | custom...
    pub model: String,
    pub api_key: Option<Secret>,
    pub api_key_file: Option<PathBuf>,
    pub dimensions: usize,
    pub encoding: Encoding,
    pub timeout: Duration,
    pub connect_timeout: Duration,
    pub unready_after: Duration,
    pub probe: Probe,
    pub usd_per_million_tokens: f64,
    pub headers: BTreeMap<String, String>,
    pub body: serde_json::Map<String, serde_json::Value>,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Auto,
    Base64,
    Float,
}
#[derive(Clone, Debug, Default)]
pub struct Probe {
    pub first: Duration,
    pub cap: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub requests: Option<Rate>,
    pub tokens: Option<Rate>,
    pub in_flight: usize,
    pub share: Share,
    pub max_in_flight_bytes: Size,
    pub max_uncommitted: usize,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    #[default]
    Partitions,
    None,
}

#[derive(Clone, Debug, Default)]
pub struct Retry {
    pub base: Duration,
    pub cap: Duration,
    pub attempts: u32,
    pub hint_cap: Duration,
    pub dead_letter_cap: DeadLetterCap,
}
/// `20%/1min`
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeadLetterCap {
    pub share: f64,
    pub window: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Output {
    pub preset: Preset,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    #[default]
    Default,
}

#[derive(Clone, Debug, Default)]
pub struct Admin {
    pub listen: String,
} // becomes SocketAddr; empty: off
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub format: LogFormat,
    pub level: String,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Auto,
    Text,
    Json,
}

/// Bytes, written as `64MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(pub u64);
/// `3000/min`, `5/s`, `10000000/day`, `100/30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub amount: u64,
    pub period: Duration,
}
/// A value that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);
impl Secret {
    pub fn new(s: String) -> Self {
        Self(s)
    }
    pub fn expose(&self) -> &str {
        &self.0
    }
}
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
