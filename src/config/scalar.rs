//! Reading one value: text, numbers, lists and maps, each with an error that says what is expected.
//!
//! A file and the environment may write the same value differently (`64`, `"64"`), so every leaf is first read as
//! what it is and then converted. No error of this file quotes the value of a map or of a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::secret::Secret;

/// The longest part of a wrong value that an error quotes, in characters.
const QUOTED: usize = 60;

/// One value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    /// Text; every scalar of a YAML file and of the environment.
    Text(String),
    /// A whole number of a TOML file.
    Whole(i128),
    /// A number with a fraction of a TOML file.
    Fraction(f64),
    /// A TOML file's `true` or `false`.
    Truth(bool),
    /// Nothing.
    Null,
    /// A list of such values.
    List(Vec<Self>),
    /// A map, whose contents nobody asked for.
    Map,
}

impl Scalar {
    /// The value as text, if it is written exactly as it would be in quotes.
    ///
    /// A fraction is not: `1.10` has already become `1.1`.
    fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Whole(number) => Some(number.to_string()),
            Self::Truth(truth) => Some(truth.to_string()),
            Self::Fraction(_) | Self::Null | Self::List(_) | Self::Map => None,
        }
    }

    /// Whether it is nothing, or text without a character.
    fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.trim().is_empty(),
            _ => false,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Fraction(number) => write!(f, "{number}"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Null => f.write_str("nothing"),
            Self::List(_) => f.write_str("a list"),
            Self::Map => f.write_str("a map"),
        }
    }
}

/// A value in quotes, escaped, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= QUOTED {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(QUOTED).collect();
    format!("{start:?}…")
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

/// Takes whatever comes.
struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Scalar, E> {
        Ok(Scalar::Truth(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(number.into()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Scalar, E> {
        Ok(Scalar::Whole(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Fraction(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Scalar::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<String, Scalar>()?.is_some() {}
        Ok(Scalar::Map)
    }
}

/// Reads text.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    if let Scalar::Fraction(number) = scalar {
        return Err(Error::custom(format_args!("{number} is a number, not text; write it in quotes")));
    }
    let shown = scalar.to_string();
    scalar.into_text().ok_or_else(|| Error::custom(format_args!("{shown} is not text")))
}

/// Reads a number: whole, not negative, at most the type's largest.
pub(super) fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    let scalar = Scalar::deserialize(deserializer)?;
    let number = match &scalar {
        Scalar::Whole(number) => Some(*number),
        Scalar::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    let Some(number) = number else {
        return Err(Error::custom(format_args!("{scalar} is not a whole number")));
    };
    T::try_from(number).map_err(|_| Error::custom(format_args!("{number} is out of range")))
}

/// Reads a number with a fraction.
pub(super) fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    let number = match &scalar {
        Scalar::Fraction(number) => Some(*number),
        Scalar::Whole(number) => number.to_string().parse().ok(),
        Scalar::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| Error::custom(format_args!("{scalar} is not a number")))
}

/// Reads a value that is written as text of its own form, such as `50ms`.
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    let scalar = Scalar::deserialize(deserializer)?;
    let shown = scalar.to_string();
    let text = match scalar {
        Scalar::Fraction(number) => Some(number.to_string()),
        other => other.into_text(),
    };
    let parsed = text.unwrap_or_default().parse();
    parsed.map_err(|expected: String| Error::custom(format_args!("{shown} {expected}")))
}

/// Reads a value that may be left empty, which unsets it.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    let scalar = Scalar::deserialize(deserializer)?;
    if scalar.is_empty() {
        return Ok(None);
    }
    let shown = scalar.to_string();
    let parsed = scalar.into_text().unwrap_or_default().parse();
    parsed.map(Some).map_err(|expected: String| Error::custom(format_args!("{shown} {expected}")))
}

/// Reads a secret that may be left empty, which unsets it. Never quoted.
pub(super) fn optional_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret>, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    if scalar.is_empty() {
        return Ok(None);
    }
    let text = scalar.into_text().ok_or_else(|| Error::custom("expected text; write it in quotes"))?;
    Ok(Some(Secret::new(text)))
}

/// Reads a path that may be left empty, which unsets it.
pub(super) fn optional_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    if scalar.is_empty() {
        return Ok(None);
    }
    let shown = scalar.to_string();
    let path = scalar.into_text().ok_or_else(|| Error::custom(format_args!("{shown} is not a path")))?;
    Ok(Some(PathBuf::from(path)))
}

/// Reads text that may be left empty, which unsets it.
pub(super) fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    if scalar.is_empty() {
        return Ok(None);
    }
    let shown = scalar.to_string();
    let text = scalar.into_text().ok_or_else(|| Error::custom(format_args!("{shown} is not text")))?;
    Ok(Some(text.trim().to_owned()))
}

/// Reads `true` or `false`.
pub(super) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    match &scalar {
        Scalar::Truth(truth) => Ok(*truth),
        Scalar::Text(text) if text.trim() == "true" => Ok(true),
        Scalar::Text(text) if text.trim() == "false" => Ok(false),
        _ => Err(Error::custom(format_args!("{scalar} is not true or false"))),
    }
}

/// Reads a list of text. A single value is a list of one.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Scalar::deserialize(deserializer)? {
        Scalar::List(list) => list
            .into_iter()
            .map(|element| {
                let shown = element.to_string();
                element.into_text().ok_or_else(|| {
                    Error::custom(format_args!("{shown} in this list is not text; write it in quotes"))
                })
            })
            .collect(),
        Scalar::Text(text) if text.contains(',') => Err(Error::custom(format_args!(
            "{} is not a list; write for example [\"a\", \"b\"]",
            quoted(&text)
        ))),
        scalar => {
            let shown = scalar.to_string();
            let text = scalar.into_text().ok_or_else(|| {
                Error::custom(format_args!("{shown} is not a list; write for example [\"a\", \"b\"]"))
            })?;
            Ok(vec![text])
        }
    }
}

/// Reads text, or a list whose elements are joined by commas, as librdkafka wants its brokers.
pub(super) fn comma_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let scalar = Scalar::deserialize(deserializer)?;
    let shown = scalar.to_string();
    let text = match scalar {
        Scalar::List(list) => {
            list.into_iter().map(Scalar::into_text).collect::<Option<Vec<_>>>().map(|list| list.join(","))
        }
        scalar => scalar.into_text(),
    };
    text.ok_or_else(|| Error::custom(format_args!("{shown} is not text; write for example host:9092")))
}

/// Reads a map of names to text. Its values may be secrets: none is quoted.
pub(super) fn text_map<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    deserializer.deserialize_any(TextMap)
}

struct TextMap;

impl<'de> Visitor<'de> for TextMap {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names to text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut read = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let PlainText(text) = map.next_value()?;
            read.insert(name, text);
        }
        Ok(read)
    }
}

/// A text that is not quoted in an error.
struct PlainText(String);

impl<'de> Deserialize<'de> for PlainText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Scalar::deserialize(deserializer)?.into_text();
        text.map(Self).ok_or_else(|| Error::custom("expected text; write it in quotes"))
    }
}
