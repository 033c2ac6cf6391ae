//! The settings: one struct a section, every one with its default.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything the worker can be told.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Brokers, topics, order.
    pub kafka: Kafka,
    /// What a record's text is.
    pub input: Input,
    /// What bounds a batch.
    pub batch: Batch,
    /// Who embeds.
    pub provider: Provider,
    /// What bounds the worker.
    pub limits: Limits,
    /// How failures are met.
    pub retry: Retry,
    /// The shape of what is published.
    pub output: Output,
    /// How long the drain at the end may take.
    pub shutdown_deadline: Duration,
    /// Metrics, probes, status.
    pub admin: Admin,
    /// The log.
    pub log: Log,
}

/// The settings of both ends.
#[derive(Clone, Debug, Default)]
pub struct Kafka {
    /// Bootstrap servers, `host:port`, separated by commas.
    pub brokers: String,
    /// The consumer group.
    pub group_id: String,
    /// Where records come from.
    pub input_topics: Vec<String>,
    /// Where vectors go.
    pub output_topic: String,
    /// Where records go that cannot be embedded.
    pub dead_letter_topic: String,
    /// Where a group without committed positions begins.
    pub start: Start,
    /// The guarantee in the output topic.
    pub delivery: Delivery,
    /// What order the outputs keep.
    pub order: Order,
    /// How often a transaction is committed, with exactly-once.
    pub transaction_interval: Duration,
    /// How long what is paid for may take to finish at a revoke.
    pub revoke_deadline: Duration,
    /// librdkafka settings of all clients.
    pub client: BTreeMap<String, String>,
    /// librdkafka settings of the consumer alone.
    pub consumer: BTreeMap<String, String>,
    /// librdkafka settings of the producer alone.
    pub producer: BTreeMap<String, String>,
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is still there.
    #[default]
    Earliest,
    /// At the next record.
    Latest,
}
/// The guarantee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is lost; a crash repeats some.
    #[default]
    AtLeastOnce,
    /// By Kafka transactions.
    ExactlyOnce,
}
/// What order the outputs keep. (The ledger's own type.)
pub use crate::domain::ledger::Order;

/// The settings of intake.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// How values are read.
    pub format: Format,
    /// JSON pointers to the text.
    pub text: Vec<String>,
    /// What joins several texts.
    pub separator: String,
    /// JSON pointers to fields kept beside the vector.
    pub payload: Vec<String>,
    /// What becomes of a text beyond the context of the model.
    pub too_long: TooLong,
    /// What becomes of a blank text.
    pub blank: Blank,
}
/// How values are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Plain text.
    #[default]
    Text,
    /// JSON.
    Json,
}
/// What becomes of an over-long text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TooLong {
    /// Cut to the context of the model.
    #[default]
    Truncate,
    /// It becomes a dead letter.
    DeadLetter,
}
/// What becomes of a blank text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blank {
    /// It is skipped and counted.
    #[default]
    Skip,
    /// It becomes a dead letter.
    DeadLetter,
}

/// The limits of a batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Tokens of all texts.
    pub max_tokens: u64,
    /// Texts.
    pub max_records: usize,
    /// Bytes of all texts.
    pub max_bytes: Size,
    /// How long the oldest record waits for company.
    pub linger: Duration,
}

/// The settings of the provider.
#[derive(Clone, Debug, Default)]
pub struct Provider {
    /// The base address; `/embeddings` is added.
    pub url: String,
    /// Names a set of limits and quirks.
    pub profile: String,
    /// The model as the provider names it.
    pub model: String,
    /// The key; a file is better.
    pub api_key: Option<Secret>,
    /// A file that holds the key; read again at each probe.
    pub api_key_file: Option<PathBuf>,
    /// The length of published vectors.
    pub dimensions: usize,
    /// How vectors are asked for.
    pub encoding: Encoding,
    /// The whole call.
    pub timeout: Duration,
    /// The connection alone.
    pub connect_timeout: Duration,
    /// How long no call may succeed before the worker says that it is not ready.
    pub unready_after: Duration,
    /// How a suspension is probed.
    pub probe: Probe,
    /// The price, for the cost metric.
    pub usd_per_million_tokens: f64,
    /// Extra request headers.
    pub headers: BTreeMap<String, String>,
    /// Extra request fields.
    pub body: serde_json::Map<String, serde_json::Value>,
}
/// How vectors are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Whatever fits.
    #[default]
    Auto,
    /// Base64 of little-endian floats.
    Base64,
    /// JSON numbers.
    Float,
}
/// The settings of probes.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    /// When the first probe is sent.
    pub first: Duration,
    /// The longest wait between probes.
    pub cap: Duration,
}

/// The limits of the worker.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Requests per period.
    pub requests: Option<Rate>,
    /// Tokens per period.
    pub tokens: Option<Rate>,
    /// Calls in flight.
    pub in_flight: usize,
    /// Whether the rates are divided among the members of the group.
    pub share: Share,
    /// Memory charged to records in flight.
    pub max_in_flight_bytes: Size,
    /// Records past a partition's position.
    pub max_uncommitted: usize,
}
/// How rates are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// By assigned partitions.
    #[default]
    Partitions,
    /// Each takes the whole.
    None,
}

/// The settings of retries.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// The bound of the first wait.
    pub base: Duration,
    /// The highest bound of a wait.
    pub cap: Duration,
    /// Attempts that count before a batch is taken apart.
    pub attempts: u32,
    /// The longest hint that is obeyed.
    pub hint_cap: Duration,
    /// The share of dead letters beyond which the worker suspends.
    pub dead_letter_cap: DeadLetterCap,
}
/// `20%/1min`
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeadLetterCap {
    /// In `0..=1`.
    pub share: f64,
    /// The window it is taken over.
    pub window: Duration,
}

/// The settings of the output.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// The shape.
    pub preset: Preset,
}
/// A named shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// One JSON object a record.
    #[default]
    Default,
}

/// The settings of the admin server.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// `host:port`; empty: off.
    pub listen: String,
}
/// The settings of the log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least level that is written.
    pub level: String,
}
/// The shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Whatever fits.
    #[default]
    Auto,
    /// Plain text.
    Text,
    /// JSON.
    Json,
}

/// Bytes, written as `64MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size(pub u64);
/// `3000/min`, `5/s`, `10000000/day`, `100/30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub amount: u64,
    /// In how long.
    pub period: Duration,
}
/// A value that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);
impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself: for the request header alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}
