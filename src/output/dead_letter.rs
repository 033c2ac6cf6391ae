//! The record for what can never be embedded.

use super::json::rfc3339;
use super::{Destination, Outgoing};
use crate::domain::record::{Record, RejectReason};

/// Characters of a message that are kept: it says why, it is not a log.
const MESSAGE_CHARS: usize = 500;

/// The record for a rejected one: key, value and headers untouched, then headers that say why and where it was.
///
/// | header `embedstream-error-…` | value, as text |
/// |---|---|
/// | `reason` | the reason's label |
/// | `message` | one line of at most 500 characters, without user text (the caller's duty) |
/// | `topic`, `partition`, `offset` | where the record is in the input |
/// | `timestamp` | the input record's, RFC 3339 in UTC; left out if it has none |
/// | `attempts` | calls made for it |
/// | `version` | of this program |
///
/// Headers of the same name from an earlier pass stay in front: Kafka's readers take the last.
pub fn dead_letter(record: &Record, reason: RejectReason, message: &str, attempts: u32) -> Outgoing {
    let mut headers = record.headers.clone();
    let mut say = |name: &str, value: String| {
        headers.push((format!("embedstream-error-{name}"), Some(value.into_bytes())));
    };
    say("reason", reason.as_str().to_owned());
    say("message", one_line(message));
    say("topic", record.topic.to_string());
    say("partition", record.partition.to_string());
    say("offset", record.offset.0.to_string());
    if let Some(timestamp) = record.timestamp.and_then(rfc3339) {
        say("timestamp", timestamp);
    }
    say("attempts", attempts.to_string());
    say("version", env!("CARGO_PKG_VERSION").to_owned());
    Outgoing {
        destination: Destination::DeadLetter,
        partition: None,
        key: record.key.clone(),
        payload: record.value.clone(),
        headers,
    }
}

/// The message with a blank for every control character, cut to what is kept; `…` is its last character if it was cut.
fn one_line(message: &str) -> String {
    let mut characters = message.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = characters.by_ref().take(MESSAGE_CHARS).collect();
    if characters.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}
