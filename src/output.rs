//! What became of a record, as the record that is published for it.
//!
//! The value of an embedding is one JSON object with a fixed order of fields; a golden test holds its bytes. Everything
//! written is a function of the input record, its vector and the model's name: the same input gives the same bytes.

mod dead_letter;
mod json;

#[cfg(test)]
mod tests;

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use self::dead_letter::dead_letter;
use crate::domain::record::{Headers, Hidden, Record, Text, headers_bytes};

/// The version of the value's layout, its field `schema_version`.
pub const SCHEMA_VERSION: u32 = 1;

/// The namespace of the ids: UUID v5 of the name `embedstream` in the DNS namespace, so that other programs can
/// compute them (Python: `uuid5(uuid5(NAMESPACE_DNS, "embedstream"), "documents\0" + key)`).
pub const ID_NAMESPACE: Uuid = Uuid::from_u128(0x247a_5ec1_36d3_51eb_9e00_c75f_2aec_f18a);

/// The header that names the model.
pub const MODEL_HEADER: &str = "embedstream-model";
/// The header with the vector's length, as decimal text.
pub const DIMENSIONS_HEADER: &str = "embedstream-dimensions";
/// The header with the hash of the embedded text, as in the value.
pub const CONTENT_HASH_HEADER: &str = "embedstream-content-hash";

/// Which topic a record goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// The output topic: vectors and tombstones.
    Output,
    /// The dead-letter topic.
    DeadLetter,
}

/// A record that is ready to be published.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub destination: Destination,
    /// The partition; `None` leaves it to the partitioner. The builders here leave it so: only the pipeline knows
    /// whether the order asks for the input's.
    pub partition: Option<i32>,
    /// The input's key, untouched.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The headers.
    pub headers: Headers,
}

impl Outgoing {
    /// Bytes held by key, value and headers.
    pub fn bytes(&self) -> usize {
        let (key, payload) = (self.key.as_ref(), self.payload.as_ref());
        key.map_or(0, Vec::len) + payload.map_or(0, Vec::len) + headers_bytes(&self.headers)
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("destination", &self.destination)
            .field("partition", &self.partition)
            .field("key", &self.key.as_ref().map(Hidden::bytes))
            .field("payload", &self.payload.as_ref().map(Hidden::bytes))
            .field("headers", &Hidden::headers(&self.headers))
            .finish()
    }
}

/// The record for an embedded text: the input's key, the JSON value, the input's headers and three of ours.
///
/// The vector must be finite, as the provider's validation leaves it. The headers are the input's in their order,
/// then model, dimensions and content hash; where the input already carries one of these three, from an embedding
/// further up, ours takes its place, because a reader that looks for the first would be misled.
pub fn embedded(record: &Record, text: &Text, vector: &[f32], model: &str) -> Outgoing {
    let content_hash = content_hash(&text.text);
    let mut headers: Headers = record
        .headers
        .iter()
        .filter(|(name, _)| ![MODEL_HEADER, DIMENSIONS_HEADER, CONTENT_HASH_HEADER].contains(&name.as_str()))
        .cloned()
        .collect();
    headers.push((MODEL_HEADER.to_owned(), Some(model.as_bytes().to_vec())));
    headers.push((DIMENSIONS_HEADER.to_owned(), Some(vector.len().to_string().into_bytes())));
    headers.push((CONTENT_HASH_HEADER.to_owned(), Some(content_hash.as_bytes().to_vec())));
    Outgoing {
        destination: Destination::Output,
        partition: None,
        key: record.key.clone(),
        payload: Some(json::value(record, text, vector, model, &content_hash)),
        headers,
    }
}

/// The record for a delete: key and headers as they came, no value.
pub fn tombstone(record: &Record) -> Outgoing {
    Outgoing {
        destination: Destination::Output,
        partition: None,
        key: record.key.clone(),
        payload: None,
        headers: record.headers.clone(),
    }
}

/// The id of what is published for a record: the same for every version of a key, so that a sink overwrites.
///
/// UUID v5 in [`ID_NAMESPACE`] of `topic NUL key`; where the key is null or empty, of `topic/partition/offset`. A topic's
/// name holds neither NUL nor `/`, so that no two names meet.
pub fn id(record: &Record) -> Uuid {
    let name = match &record.key {
        Some(key) if !key.is_empty() => [record.topic.as_bytes(), b"\0", key].concat(),
        _ => format!("{}/{}/{}", record.topic, record.partition, record.offset.0).into_bytes(),
    };
    Uuid::new_v5(&ID_NAMESPACE, &name)
}

/// `sha256:` and the hash of the text in lower-case hexadecimal digits.
pub fn content_hash(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hash = String::with_capacity(71);
    hash.push_str("sha256:");
    for byte in Sha256::digest(text.as_bytes()) {
        hash.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hash.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hash
}
