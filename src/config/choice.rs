//! Settings that are one of a few names.

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serializer};

use super::names::nearest;
use super::scalar::Scalar;
use crate::domain::ledger::Order;

/// A setting with a closed set of names. `None` stands for a name that a later version will know.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Every name, the default first.
    const NAMES: &'static [(&'static str, Option<Self>)];
}

/// Writes the name.
pub(super) fn serialize<T: Choice, S: Serializer>(choice: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let name = T::NAMES.iter().find(|(_, known)| *known == Some(*choice)).map_or("", |(name, _)| *name);
    serializer.serialize_str(name)
}

/// Reads the name.
pub(super) fn deserialize<'de, T: Choice, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    let known = || T::NAMES.iter().filter(|(_, choice)| choice.is_some()).map(|(name, _)| *name);
    let expected = || known().collect::<Vec<_>>().join(", ");
    let Scalar::Text(text) = &scalar else {
        return Err(Error::custom(format_args!("{scalar} is not one of {}", expected())));
    };
    match T::NAMES.iter().find(|(name, _)| *name == text.trim()) {
        Some((_, Some(choice))) => Ok(*choice),
        Some((name, None)) => Err(Error::custom(format_args!(
            "{name} is not supported yet in this version; choose one of {}",
            expected()
        ))),
        None => match nearest(text.trim(), known()) {
            Some(near) => Err(Error::custom(format_args!(
                "{scalar} is not one of {}; did you mean {near}?",
                expected()
            ))),
            None => Err(Error::custom(format_args!("{scalar} is not one of {}", expected()))),
        },
    }
}

/// Where a new group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record.
    #[default]
    Earliest,
    /// At what comes next.
    Latest,
}

impl Choice for Start {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("earliest", Some(Self::Earliest)), ("latest", Some(Self::Latest))];
}

/// How often an output may appear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Once, and again after a crash.
    #[default]
    AtLeastOnce,
    /// Once, by Kafka transactions. (Later work: no configuration yields it yet.)
    ExactlyOnce,
}

impl Choice for Delivery {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("at_least_once", Some(Self::AtLeastOnce)), ("exactly_once", None)];
}

impl Choice for Order {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("key", Some(Self::Key)), ("partition", Some(Self::Partition)), ("none", Some(Self::None))];
}

/// What a record's value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The text itself.
    #[default]
    Text,
    /// JSON, of which pointers choose the text.
    Json,
}

impl Choice for Format {
    const NAMES: &'static [(&'static str, Option<Self>)] = &[
        ("text", Some(Self::Text)),
        ("json", Some(Self::Json)),
        ("debezium", None),
        ("avro", None),
        ("protobuf", None),
        ("json_schema", None),
        ("cloudevents", None),
    ];
}

/// What happens to text that is longer than the model's context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TooLong {
    /// Its beginning is embedded, and counted.
    #[default]
    Truncate,
    /// It becomes a dead letter.
    DeadLetter,
}

impl Choice for TooLong {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("truncate", Some(Self::Truncate)), ("split", None), ("dead_letter", Some(Self::DeadLetter))];
}

/// What happens to text without a visible character, which is never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blank {
    /// It is skipped, and counted.
    #[default]
    Skip,
    /// It becomes a dead letter.
    DeadLetter,
}

impl Choice for Blank {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("skip", Some(Self::Skip)), ("dead_letter", Some(Self::DeadLetter))];
}

/// How the provider is asked to write vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As base64, and as numbers where a provider does not know base64.
    #[default]
    Auto,
    /// As base64.
    Base64,
    /// As numbers.
    Float,
    /// Not at all, for servers that refuse the field.
    Unasked,
}

impl Choice for Encoding {
    const NAMES: &'static [(&'static str, Option<Self>)] = &[
        ("auto", Some(Self::Auto)),
        ("base64", Some(Self::Base64)),
        ("float", Some(Self::Float)),
        ("none", Some(Self::Unasked)),
    ];
}

/// Who makes vectors shorter than the model's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shorten {
    /// We: what comes is cut and normalised again.
    #[default]
    Local,
    /// The provider: it is asked for `dimensions`, and another length is an error.
    Remote,
}

impl Choice for Shorten {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("local", Some(Self::Local)), ("remote", Some(Self::Remote))];
}

/// How replicas divide the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// By the partitions that each is assigned.
    #[default]
    Partitions,
    /// Not at all: each has the whole limits.
    None,
}

impl Choice for Share {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("partitions", Some(Self::Partitions)), ("none", Some(Self::None))];
}

/// How an outcome becomes a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// One JSON object a record.
    #[default]
    Default,
}

impl Choice for Preset {
    const NAMES: &'static [(&'static str, Option<Self>)] = &[("default", Some(Self::Default))];
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text.
    Text,
    /// One JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const NAMES: &'static [(&'static str, Option<Self>)] =
        &[("auto", Some(Self::Auto)), ("text", Some(Self::Text)), ("json", Some(Self::Json))];
}
