//! The JSON value of an embedding.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::{SCHEMA_VERSION, id};
use crate::domain::record::{Record, Text, VECTOR_ELEMENT_BYTES};

/// The last millisecond of the year 9999, behind which RFC 3339 has no notation.
const LAST_MILLISECOND: u64 = 253_402_300_799_999;

/// The fixed fields, their names and punctuation, a hash, an id and numbers.
const FRAME_BYTES: usize = 512;

/// Writes the value: no intermediate tree, the vector straight into the bytes.
pub(super) fn value(
    record: &Record,
    text: &Text,
    vector: &[f32],
    model: &str,
    content_hash: &str,
) -> Vec<u8> {
    let payload = text.payload.as_ref().map_or(0, String::len);
    let elements = vector.len() * VECTOR_ELEMENT_BYTES;
    let mut out = Vec::with_capacity(FRAME_BYTES + elements + text.text.len() * 9 / 8 + payload);
    raw(&mut out, "{\"id\":");
    json(&mut out, &id(record).hyphenated().encode_lower(&mut [0; 36]));
    raw(&mut out, ",\"vector\":");
    json(&mut out, vector);
    raw(&mut out, ",\"text\":");
    json(&mut out, text.text.as_str());
    if let Some(payload) = &text.payload {
        raw(&mut out, ",\"payload\":");
        raw(&mut out, payload);
    }
    raw(&mut out, ",\"model\":");
    json(&mut out, model);
    raw(&mut out, ",\"dimensions\":");
    json(&mut out, &vector.len());
    raw(&mut out, ",\"tokens\":");
    json(&mut out, &text.tokens);
    raw(&mut out, ",\"content_hash\":");
    json(&mut out, content_hash);
    raw(&mut out, ",\"source\":{\"topic\":");
    json(&mut out, &*record.topic);
    raw(&mut out, ",\"partition\":");
    json(&mut out, &record.partition);
    raw(&mut out, ",\"offset\":");
    json(&mut out, &record.offset.0);
    if let Some(timestamp) = record.timestamp.and_then(rfc3339) {
        raw(&mut out, ",\"timestamp\":");
        json(&mut out, timestamp.as_str());
    }
    raw(&mut out, "},\"schema_version\":");
    json(&mut out, &SCHEMA_VERSION);
    raw(&mut out, "}");
    out
}

/// A Kafka timestamp in UTC with milliseconds; `None` before 1970 (Kafka's "none" is -1) and after the year 9999.
pub(super) fn rfc3339(milliseconds: i64) -> Option<String> {
    let milliseconds = u64::try_from(milliseconds).ok().filter(|ms| *ms <= LAST_MILLISECOND)?;
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))?;
    Some(humantime::format_rfc3339_millis(time).to_string())
}

fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value)
        .expect("strings and numbers always serialise, and a Vec takes every write");
}
