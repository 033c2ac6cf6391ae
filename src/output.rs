//! Outcome to record: what is published for an embedded text, a tombstone and a dead letter.

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::record::{Headers, Record, RejectReason, Text};

/// The version of the output's shape.
const SCHEMA_VERSION: u32 = 1;
/// Bytes of an error's message that are kept.
const MESSAGE: usize = 500;

/// Where an outcome goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `kafka.output_topic`.
    Output,
    /// `kafka.dead_letter_topic`.
    DeadLetter,
}

/// A record to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub destination: Destination,
    /// The partition; `None`: the partitioner chooses by the key.
    pub partition: Option<i32>,
    /// The input's key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The input's headers and ours.
    pub headers: Headers,
}

impl Outgoing {
    /// Bytes of key, value and headers.
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.key) + length(&self.payload) + headers
    }
}

#[derive(Serialize)]
struct Value<'a> {
    id: String,
    vector: &'a [f32],
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    model: &'a str,
    dimensions: usize,
    tokens: u32,
    content_hash: &'a str,
    source: Source<'a>,
    schema_version: u32,
}

#[derive(Serialize)]
struct Source<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
}

/// The value of an embedded record: one JSON object, floats as the shortest `f32`.
pub fn embedded(record: &Record, text: &Text, vector: &[f32], model: &str) -> Outgoing {
    let hash = format!("sha256:{}", hex(&Sha256::digest(text.text.as_bytes())));
    let value = Value {
        id: id(record),
        vector,
        text: &text.text,
        payload: text.payload.as_deref().and_then(|payload| serde_json::from_str(payload).ok()),
        model,
        dimensions: vector.len(),
        tokens: text.tokens,
        content_hash: &hash,
        source: Source {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset.0,
            timestamp: record.timestamp.and_then(rfc3339),
        },
        schema_version: SCHEMA_VERSION,
    };
    let value =
        serde_json::to_vec(&value).expect("strings, numbers and an object already written are always JSON");
    let dimensions = vector.len().to_string();
    let ours = [
        ("embedstream-model", model),
        ("embedstream-dimensions", dimensions.as_str()),
        ("embedstream-content-hash", hash.as_str()),
    ];
    let mut headers = record.headers.clone();
    // An input that was an output of ours carries older ones.
    headers.retain(|(name, _)| ours.iter().all(|(own, _)| name != own));
    headers.extend(ours.map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec()))));
    let payload = Some(value);
    Outgoing { destination: Destination::Output, partition: None, key: record.key.clone(), payload, headers }
}

/// A delete, forwarded.
pub fn tombstone(record: &Record) -> Outgoing {
    Outgoing {
        destination: Destination::Output,
        partition: None,
        key: record.key.clone(),
        payload: None,
        headers: record.headers.clone(),
    }
}

/// A dead letter: key, value and headers untouched, the reason in headers behind them. The message holds no user text.
pub fn dead_letter(record: &Record, reason: RejectReason, message: &str, attempts: u32) -> Outgoing {
    let message: String = message.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let message = &message[..message.floor_char_boundary(MESSAGE)];
    let mut headers = record.headers.clone();
    let mut say =
        |name: &str, value: String| headers.push((format!("embedstream-error-{name}"), Some(value.into())));
    say("reason", reason.as_str().to_owned());
    say("message", message.to_owned());
    say("topic", record.topic.to_string());
    say("partition", record.partition.to_string());
    say("offset", record.offset.0.to_string());
    if let Some(timestamp) = record.timestamp {
        say("timestamp", timestamp.to_string());
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

/// UUID version 5 (RFC 9562) in the URL namespace: of topic, NUL and key, or of topic/partition/offset without a key.
fn id(record: &Record) -> String {
    let name = match record.key.as_deref() {
        Some(key) if !key.is_empty() => [record.topic.as_bytes(), b"\0", key].concat(),
        _ => format!("{}/{}/{}", record.topic, record.partition, record.offset.0).into_bytes(),
    };
    Uuid::new_v5(&Uuid::NAMESPACE_URL, &name).to_string()
}

fn rfc3339(millis: i64) -> Option<String> {
    let since = std::time::Duration::from_millis(u64::try_from(millis).ok()?);
    // Beyond the year 9999 the format has no word for it.
    (since.as_secs() < 253_402_300_800)
        .then(|| humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Offset;

    fn record() -> Record {
        Record {
            topic: "documents".into(),
            partition: 2,
            offset: Offset(42),
            timestamp: Some(0),
            key: Some(b"k\xff".to_vec()),
            value: Some(b"hello".to_vec()),
            headers: vec![("h".to_owned(), None), ("h".to_owned(), Some(vec![0xff]))],
        }
    }

    #[test]
    fn an_embedded_record_is_one_json_object_with_shortest_floats() {
        let text = Text {
            text: "hello".to_owned(),
            tokens: 2,
            truncated: false,
            payload: Some(r#"{"n":9007199254740993}"#.to_owned()),
        };
        let outgoing = embedded(&record(), &text, &[0.1, -1.0], "m");
        let value = String::from_utf8(outgoing.payload.clone().unwrap()).unwrap();
        let id = id(&record());
        assert_eq!(
            value,
            format!(
                r#"{{"id":"{id}","vector":[0.1,-1.0],"text":"hello","payload":{{"n":9007199254740993}},"model":"m","dimensions":2,"tokens":2,"content_hash":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","source":{{"topic":"documents","partition":2,"offset":42,"timestamp":"1970-01-01T00:00:00.000Z"}},"schema_version":1}}"#
            )
        );
        assert_eq!(outgoing.key, record().key);
        assert_eq!(&outgoing.headers[..2], &record().headers[..]);
        assert_eq!(outgoing.headers.len(), 5);
    }

    #[test]
    fn a_dead_letter_leaves_key_value_and_headers_untouched() {
        let outgoing = dead_letter(&record(), RejectReason::Rejected, "no\nway", 3);
        assert_eq!((&outgoing.key, &outgoing.payload), (&record().key, &record().value));
        assert_eq!(&outgoing.headers[..2], &record().headers[..]);
        assert!(
            outgoing.headers.contains(&("embedstream-error-message".to_owned(), Some(b"no way".to_vec())))
        );
        assert_eq!(tombstone(&record()).payload, None);
    }
}
