//! The words of the line: a record, where it is, what became of it.

use std::fmt;
use std::sync::Arc;

/// Names one assignment of one partition to this worker. Every assignment gets a new, higher number, also when
/// the partition is the same as before: whatever carries an old generation is late work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// Where a record is in its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// The next offset to consume: what is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(i64);

impl Position {
    /// The position behind a record: the only `+ 1` in the program.
    pub fn after(offset: Offset) -> Self {
        Self(offset.0 + 1)
    }

    /// A position the broker told us, such as a partition's first offset.
    pub fn at(next: i64) -> Self {
        Self(next)
    }

    /// The offset that is consumed next.
    pub fn next(self) -> i64 {
        self.0
    }
}

/// Record headers, in their order; names may repeat, values may be null.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Stands in `Debug` output for bytes of the user's: how many, never which.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hidden(usize);

impl Hidden {
    /// In place of these bytes.
    pub fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self(bytes.as_ref().len())
    }

    /// In place of names and values of headers.
    pub fn headers(headers: &Headers) -> Self {
        Self(headers_bytes(headers))
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// Bytes held by headers.
pub fn headers_bytes(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len)).sum()
}

/// One record as it was consumed. Key, value and headers are untouched: a dead letter carries them on.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The input topic.
    pub topic: Arc<str>,
    /// The input partition.
    pub partition: i32,
    /// Where in the partition.
    pub offset: Offset,
    /// Milliseconds since the epoch, if the record has a timestamp.
    pub timestamp: Option<i64>,
    /// The key's bytes; `None` is a null key.
    pub key: Option<Vec<u8>>,
    /// The value's bytes; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

impl Record {
    /// Bytes held by key, value and headers.
    pub fn bytes(&self) -> usize {
        let (key, value) = (self.key.as_ref(), self.value.as_ref());
        key.map_or(0, Vec::len) + value.map_or(0, Vec::len) + headers_bytes(&self.headers)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key", &self.key.as_ref().map(Hidden::bytes))
            .field("value", &self.value.as_ref().map(Hidden::bytes))
            .field("headers", &Hidden::headers(&self.headers))
            .finish()
    }
}

/// A text that is ready to be embedded.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// What is sent to the provider and published beside the vector.
    pub text: String,
    /// Its tokens as the provider bills them (the end token included).
    pub tokens: u32,
    /// Whether it was cut to the model's context.
    pub truncated: bool,
    /// Fields kept beside the vector: one JSON object, already written.
    pub payload: Option<String>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("text", &Hidden::bytes(&self.text))
            .field("tokens", &self.tokens)
            .field("truncated", &self.truncated)
            .field("payload", &self.payload.as_ref().map(Hidden::bytes))
            .finish()
    }
}

/// Bytes of a vector's element in an output value, comma included: up to nine significant digits, sign, point and zeros of
/// an element of a vector of norm 1. Measured at 2560 dimensions: 12 to 13.
pub const VECTOR_ELEMENT_BYTES: usize = 13;

/// What intake made of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text to embed.
    Text(Text),
    /// A delete: forwarded in key order, never embedded.
    Tombstone,
    /// Nothing to do with it, on purpose.
    Skip(SkipReason),
    /// It can never be embedded. The message holds no user text.
    Reject(RejectReason, String),
}

/// Why a record was skipped: the label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// The text has no visible character.
    Blank,
    /// A tombstone without a key deletes nothing.
    TombstoneWithoutKey,
}

impl SkipReason {
    /// Every reason, in the order of the metric's label.
    pub const ALL: [Self; 2] = [Self::Blank, Self::TombstoneWithoutKey];

    /// The reason as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::TombstoneWithoutKey => "tombstone_without_key",
        }
    }
}

/// Why a record became a dead letter: a closed set, the label of a counter and the value of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectReason {
    /// More tokens than the model takes, and the settings say `dead_letter`.
    TooLong,
    /// More bytes than the provider takes.
    TooLarge,
    /// The provider refuses it.
    Rejected,
    /// The provider refuses what it says.
    Content,
    /// Its vector is not finite or zero.
    NonFinite,
    /// The answer to it alone cannot be read.
    MalformedResponse,
    /// The answer to it alone has another length.
    WrongDimensions,
    /// The provider fails on it alone, again and again, while it answers others.
    ProviderError,
    /// Not what the settings say the input is: invalid UTF-8, invalid JSON, no such field.
    InvalidInput,
    /// Blank, and the settings say `dead_letter`.
    Blank,
    /// The broker refuses its output.
    OutputRefused,
}

impl RejectReason {
    /// Every reason, in the order of the metric's label.
    pub const ALL: [Self; 11] = [
        Self::TooLong,
        Self::TooLarge,
        Self::Rejected,
        Self::Content,
        Self::NonFinite,
        Self::MalformedResponse,
        Self::WrongDimensions,
        Self::ProviderError,
        Self::InvalidInput,
        Self::Blank,
        Self::OutputRefused,
    ];

    /// The reason as a label and header value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
            Self::Content => "content",
            Self::NonFinite => "non_finite",
            Self::MalformedResponse => "malformed_response",
            Self::WrongDimensions => "wrong_dimensions",
            Self::ProviderError => "provider_error",
            Self::InvalidInput => "invalid_input",
            Self::Blank => "blank",
            Self::OutputRefused => "output_refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_how_long_and_not_what() {
        let text = Text {
            text: "a secret text".to_owned(),
            tokens: 3,
            truncated: false,
            payload: Some("{\"secret\":1}".to_owned()),
        };
        let record = Record {
            topic: "input".into(),
            partition: 3,
            offset: Offset(42),
            timestamp: Some(7),
            key: Some(b"secret".to_vec()),
            value: Some(b"a secret value".to_vec()),
            headers: vec![("secret-name".to_owned(), Some(b"secret".to_vec()))],
        };
        let shown = format!("{record:?} {text:?} {:?}", Content::Text(text.clone()));
        // As text, and as the numbers that a list of bytes is shown as.
        for hidden in ["secret", "115, 101"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        for told in ["\"input\"", "42", "6 bytes", "14 bytes", "13 bytes", "12 bytes", "tokens: 3"] {
            assert!(shown.contains(told), "{told}: {shown}");
        }
    }
}
