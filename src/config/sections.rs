//! The sections, but for `kafka` and `provider`, which have their own files.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};

use super::choice::{self, Blank, Format, LogFormat, Preset, Share, TooLong};
use super::scalar;
use super::units::{DeadLetterCap, Rate, Size, duration};

/// How a record's value becomes text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Input {
    /// What the value is.
    #[serde(with = "choice")]
    pub format: Format,
    /// `json`: the pointers to the text.
    #[serde(deserialize_with = "scalar::list")]
    pub text: Vec<String>,
    /// What joins the texts of several pointers.
    #[serde(deserialize_with = "scalar::text")]
    pub separator: String,
    /// `json`: the pointers to what is kept beside the vector.
    #[serde(deserialize_with = "scalar::list")]
    pub payload: Vec<String>,
    /// What happens to text longer than the model's context.
    #[serde(with = "choice")]
    pub too_long: TooLong,
    /// What happens to text without a visible character.
    #[serde(with = "choice")]
    pub blank: Blank,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            format: Format::Text,
            text: vec!["/title".to_owned(), "/body".to_owned()],
            separator: "\n\n".to_owned(),
            payload: vec!["/id".to_owned(), "/lang".to_owned()],
            too_long: TooLong::Truncate,
            blank: Blank::Skip,
        }
    }
}

/// The bounds of one call. A batch is closed by whichever is reached first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Tokens in a call.
    #[serde(deserialize_with = "scalar::number")]
    pub max_tokens: u64,
    /// Records in a call.
    #[serde(deserialize_with = "scalar::number")]
    pub max_records: usize,
    /// Bytes of text in a call.
    pub max_bytes: Size,
    /// How long a record waits for others.
    #[serde(with = "duration")]
    pub linger: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            max_tokens: 32_768,
            max_records: 64,
            max_bytes: Size(1 << 20),
            linger: Duration::from_millis(50),
        }
    }
}

/// The limits that the worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls in a period; `None`: no limit of ours.
    #[serde(deserialize_with = "scalar::optional")]
    pub requests: Option<Rate>,
    /// Tokens in a period; `None`: no limit of ours.
    #[serde(deserialize_with = "scalar::optional")]
    pub tokens: Option<Rate>,
    /// Calls at a time.
    #[serde(deserialize_with = "scalar::number")]
    pub in_flight: usize,
    /// Whether the limits that the provider states in headers are obeyed, where they are less than ours.
    #[serde(deserialize_with = "scalar::truth")]
    pub follow_headers: bool,
    /// How replicas divide the limits.
    #[serde(with = "choice")]
    pub share: Share,
    /// Bytes of records and their expected outputs in memory.
    pub max_in_flight_bytes: Size,
    /// Records past a partition's position: bounds memory, and duplicates after a crash.
    #[serde(deserialize_with = "scalar::number")]
    pub max_uncommitted: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: None,
            tokens: None,
            in_flight: 16,
            follow_headers: false,
            share: Share::Partitions,
            max_in_flight_bytes: Size(64 << 20),
            max_uncommitted: 10_000,
        }
    }
}

/// How a failed call is repeated, and when a record is given up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The first back-off's upper end.
    #[serde(with = "duration")]
    pub base: Duration,
    /// The longest back-off.
    #[serde(with = "duration")]
    pub cap: Duration,
    /// Calls of one batch, while other batches succeed, before it is taken apart.
    #[serde(deserialize_with = "scalar::number")]
    pub attempts: u32,
    /// The longest wait that a server's hint is obeyed for; a longer hint counts as this.
    #[serde(with = "duration")]
    pub hint_cap: Duration,
    /// The share of dead letters above which the worker suspends.
    pub dead_letter_cap: DeadLetterCap,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(60),
            attempts: 5,
            hint_cap: Duration::from_secs(60),
            dead_letter_cap: DeadLetterCap { share: 0.2, window: Duration::from_secs(60) },
        }
    }
}

/// How an outcome becomes a record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// A bundle of layout, field names and encodings.
    #[serde(with = "choice")]
    pub preset: Preset,
}

/// The address of metrics, probes and the status page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens; `None`: nowhere.
    #[serde(deserialize_with = "address", serialize_with = "serialize_address")]
    pub listen: Option<SocketAddr>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 9464))) }
    }
}

/// Nowhere is written as empty text: nothing at all would be the default.
fn serialize_address<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&address.map(|address| address.to_string()).unwrap_or_default())
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let written = scalar::text(deserializer)?;
    if written.trim().is_empty() {
        return Ok(None);
    }
    let address = written.trim().parse().map_err(|_| {
        Error::custom(format_args!(
            "{} is not an IP address with a port; write for example 127.0.0.1:9464 or 0.0.0.0:9464",
            scalar::quoted(&written)
        ))
    })?;
    Ok(Some(address))
}

/// The log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    #[serde(with = "choice")]
    pub format: LogFormat,
    /// The least severe level shown, or directives such as `info,embedstream=debug`.
    #[serde(deserialize_with = "scalar::text")]
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}
