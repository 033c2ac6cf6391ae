//! Values that are never printed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// What stands for a secret wherever one would be printed.
pub(super) const REDACTED: &str = "[redacted]";

/// A value that is never printed: neither `Debug` nor `Serialize` shows it, and there is no `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// Whether a setting of this name may hold a secret: a password, a key, a token.
pub(super) fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "password",
        "passwd",
        "secret",
        "key",
        "token",
        "jaas",
        "credential",
        "auth",
        "cookie",
        ".pem",
        "assertion",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

/// The map with its secrets redacted, for `Debug` and `Serialize`.
pub(super) fn redacted(map: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    map.iter()
        .map(|(name, value)| (name.as_str(), if is_secret_name(name) { REDACTED } else { value.as_str() }))
        .collect()
}

/// The JSON object with its secrets redacted, at every depth.
pub(super) fn redacted_body(body: &Map<String, Value>) -> Map<String, Value> {
    let redact = |(name, value): (&String, &Value)| {
        let value = match value {
            _ if is_secret_name(name) => Value::from(REDACTED),
            Value::Object(inner) => Value::Object(redacted_body(inner)),
            Value::Array(list) => list
                .iter()
                .map(|element| match element {
                    Value::Object(inner) => Value::Object(redacted_body(inner)),
                    other => other.clone(),
                })
                .collect(),
            other => other.clone(),
        };
        (name.clone(), value)
    };
    body.iter().map(redact).collect()
}

/// Serializes a map with its secrets redacted.
pub(super) fn serialize_map<S: Serializer>(
    map: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(redacted(map))
}

/// Serializes a JSON object with its secrets redacted.
pub(super) fn serialize_body<S: Serializer>(
    body: &Map<String, Value>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    redacted_body(body).serialize(serializer)
}
