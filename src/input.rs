//! Intake: what a record's bytes ask for. Pure and bounded: it runs for each record on the poll thread.
//!
//! A value is read as the settings say: `text` takes the value as it is, `json` takes the text from fields of it and
//! keeps others beside the vector. What cannot be read is rejected with a message that names a place and a kind, never
//! what stands there.

pub mod counting;
mod json;
mod pointer;

#[cfg(test)]
mod tests;

use std::fmt;

use self::counting::Counting;
use crate::config::{Blank, Format, Input, TooLong};
use crate::domain::record::{Content, Hidden, Record, RejectReason, SkipReason, Text, VECTOR_ELEMENT_BYTES};

/// Bytes a record costs beside its own: its slots in ledger and batcher, strings' headers, the JSON value's field names,
/// id, hash and headers of ours. Generous: the memory budget must hold, not fit.
pub const RECORD_OVERHEAD_BYTES: u64 = 2 * 1024;

/// A text up to this long is counted to its end before it is rejected as too long, so that the message can say by how
/// much; a longer one would cost the poll thread too much time for that.
const COUNTED_BYTES: usize = 256 * 1024;

/// Reads records as the settings of `input` say.
#[derive(Clone, Debug)]
pub struct Intake {
    format: Format,
    fields: json::Fields,
    too_long: TooLong,
    blank: Blank,
    counting: Counting,
    token_limit: u32,
}

impl Intake {
    /// An intake for texts of at most `token_limit` tokens, prefix and end token included.
    pub fn new(input: &Input, counting: Counting, token_limit: u32) -> Self {
        Self {
            format: input.format,
            fields: json::Fields::new(&input.text, &input.separator, &input.payload),
            too_long: input.too_long,
            blank: input.blank,
            counting,
            token_limit,
        }
    }

    /// What a record asks for. Never fails otherwise than by [`Content::Reject`], whatever the bytes.
    pub fn read(&self, record: &Record) -> Content {
        let Some(value) = &record.value else {
            return match &record.key {
                Some(key) if !key.is_empty() => Content::Tombstone,
                _ => Content::Skip(SkipReason::TombstoneWithoutKey),
            };
        };
        match self.decode(value) {
            Ok(Decoded { text, .. }) if is_blank(&text) => self.blank(),
            Ok(Decoded { text, payload }) => self.measure(&record.topic, text, payload),
            Err(message) => Content::Reject(RejectReason::InvalidInput, message),
        }
    }

    fn decode(&self, value: &[u8]) -> Result<Decoded, String> {
        let text = std::str::from_utf8(value)
            .map_err(|error| format!("value is not valid UTF-8 at byte {}", error.valid_up_to()))?;
        match self.format {
            Format::Text => Ok(Decoded { text: text.to_owned(), payload: None }),
            Format::Json => self.fields.read(text),
        }
    }

    fn measure(&self, topic: &str, text: String, payload: Option<String>) -> Content {
        if let Some(tokens) = self.counting.count_within(topic, &text, self.token_limit) {
            return Content::Text(Text { text, tokens, truncated: false, payload });
        }
        match self.too_long {
            TooLong::DeadLetter => Content::Reject(RejectReason::TooLong, self.by_how_much(topic, &text)),
            TooLong::Truncate => match self.counting.truncate(topic, &text, self.token_limit) {
                // The beginning may be all white space though the text is not.
                Some((text, _)) if is_blank(&text) => self.blank(),
                Some((text, tokens)) => Content::Text(Text { text, tokens, truncated: true, payload }),
                None => Content::Reject(RejectReason::TooLong, self.by_how_much(topic, &text)),
            },
        }
    }

    fn by_how_much(&self, topic: &str, text: &str) -> String {
        let limit = self.token_limit;
        if text.len() > COUNTED_BYTES {
            return format!(
                "the text has {} bytes and more than {limit} tokens, which is the limit",
                text.len()
            );
        }
        format!("the text has {} tokens, the limit is {limit}", self.counting.count(topic, text))
    }

    fn blank(&self) -> Content {
        match self.blank {
            Blank::Skip => Content::Skip(SkipReason::Blank),
            Blank::DeadLetter => {
                Content::Reject(RejectReason::Blank, "the text has no visible character".to_owned())
            }
        }
    }
}

/// What a value holds for us.
#[derive(PartialEq, Eq)]
struct Decoded {
    text: String,
    payload: Option<String>,
}

impl fmt::Debug for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded")
            .field("text", &Hidden::bytes(&self.text))
            .field("payload", &self.payload.as_ref().map(Hidden::bytes))
            .finish()
    }
}

/// Whether nothing of a text can be seen: white space, control characters, and those that Unicode gives no width.
fn is_blank(text: &str) -> bool {
    let widthless = |c| matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    text.chars().all(|c| c.is_whitespace() || c.is_control() || widthless(c))
}

/// What a record is charged to the memory budget when it is polled, in bytes: the record as it came, the text and
/// payload taken from it, the output expected of it, and [`RECORD_OVERHEAD_BYTES`].
pub fn charge(record: &Record, content: &Content, dimensions: usize) -> u64 {
    let held = match content {
        Content::Text(text) => text_bytes(text),
        Content::Reject(_, message) => message.len() as u64,
        Content::Tombstone | Content::Skip(_) => 0,
    };
    RECORD_OVERHEAD_BYTES + record.bytes() as u64 + held + expected_output_bytes(content, dimensions)
}

/// The bytes that a record's output value is expected to add: vector, text and payload of an embedding; nothing for the
/// rest, whose outputs are the record's own bytes.
pub fn expected_output_bytes(content: &Content, dimensions: usize) -> u64 {
    match content {
        Content::Text(text) => (VECTOR_ELEMENT_BYTES * dimensions) as u64 + text_bytes(text),
        Content::Tombstone | Content::Skip(_) | Content::Reject(..) => 0,
    }
}

fn text_bytes(text: &Text) -> u64 {
    (text.text.len() + text.payload.as_ref().map_or(0, String::len)) as u64
}
