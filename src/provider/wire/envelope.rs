//! The lenient reading of an answer's JSON, in one pass: unknown fields are skipped, wrong types are noted, not fatal.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Fault, vector};

/// The longest model name that is kept.
const MODEL_CHARS: usize = 200;
/// The most tokens that are believed (and that a float holds exactly).
const MOST_TOKENS: f64 = 9e15;

/// What an answer says, before it is judged.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    data: Data,
    error: bool,
    detail: bool,
    code: bool,
    message: bool,
    error_object: bool,
    embeddings: bool,
    pub(super) model: Option<String>,
    pub(super) tokens: Option<u64>,
    pub(super) cost_usd: Option<f64>,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    Absent,
    /// The entries up to the expected count, and how many there were.
    List(Vec<Entry>, usize),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) index: Index,
    pub(super) vectors: Vectors,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Index {
    Absent,
    At(u64),
    Other,
}

#[derive(Debug, PartialEq)]
pub(super) enum Vectors {
    Floats(Vec<f32>),
    Null,
    /// A list of lists.
    Nested,
    Other,
}

impl Envelope {
    /// Fails with whether the text ends too early.
    pub(super) fn parse(body: &[u8], count: usize) -> Result<Self, bool> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let envelope = (&mut json).deserialize_map(EnvelopeOf { count });
        envelope.and_then(|envelope| json.end().map(|()| envelope)).map_err(|error| error.is_eof())
    }

    /// `code` with `message` is also how some gateways report success: only without vectors is it an error.
    pub(super) fn is_error(&self) -> bool {
        let vectors = matches!(&self.data, Data::List(_, found) if *found > 0);
        self.error || self.detail || self.error_object || (self.code && self.message && !vectors)
    }

    /// Exactly `count` entries.
    pub(super) fn entries(&mut self, count: usize) -> Result<Vec<Entry>, Fault> {
        match std::mem::take(&mut self.data) {
            Data::List(entries, found) if found == count && entries.len() == count => Ok(entries),
            Data::List(_, found) => Err(Fault::Count(Some(found))),
            Data::Absent if self.embeddings => Err(Fault::WrongEndpoint),
            Data::Absent => Err(Fault::Count(None)),
        }
    }
}

/// The remaining methods of a visitor that takes anything: each kind of value that is not named becomes `$other`.
macro_rules! otherwise {
    ($other:expr; $($kind:ident),*) => { $(otherwise!(@ $kind $other);)* };
    (@ bool $other:expr) => { fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> { Ok($other) } };
    (@ numbers $other:expr) => {
        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> { Ok($other) }
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> { Ok($other) }
        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> { Ok($other) }
    };
    (@ str $other:expr) => { fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> { Ok($other) } };
    (@ null $other:expr) => { fn visit_unit<E: Error>(self) -> Result<Self::Value, E> { Ok($other) } };
    (@ seq $other:expr) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok($other)
        }
    };
    (@ map $other:expr) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok($other)
        }
    };
}

/// A seed that is its own visitor of anything.
macro_rules! reads {
    ($seed:ty => $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
    };
}

macro_rules! anything {
    () => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any JSON value")
        }
    };
}

struct EnvelopeOf {
    count: usize,
}

impl<'de> Visitor<'de> for EnvelopeOf {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(name) = map.next_key_seed(Name)? {
            match name.as_str() {
                // Two of them: which one to believe is a guess.
                "data" if !matches!(envelope.data, Data::Absent) => {
                    return Err(A::Error::duplicate_field("data"));
                }
                "data" => envelope.data = map.next_value_seed(DataOf { count: self.count })?,
                "error" => envelope.error |= map.next_value_seed(Present)?,
                "detail" => envelope.detail |= map.next_value_seed(Present)?,
                "code" => envelope.code |= map.next_value_seed(Present)?,
                "message" => envelope.message |= map.next_value_seed(Present)?,
                "embeddings" => envelope.embeddings |= map.next_value_seed(Present)?,
                "object" => envelope.error_object |= map.next_value_seed(Text)?.as_deref() == Some("error"),
                "model" => envelope.model = map.next_value_seed(Text)?,
                "usage" => (envelope.tokens, envelope.cost_usd) = map.next_value_seed(Usage)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

/// A field's name, cut.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        Ok(deserializer.deserialize_any(Text)?.unwrap_or_default())
    }
}

/// A short string; anything else is `None`.
struct Text;
reads!(Text => Option<String>);

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    anything!();
    otherwise!(None; bool, numbers, null, seq, map);

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.chars().filter(|c| !c.is_control()).take(MODEL_CHARS).collect()))
    }
}

/// Whether a value says anything: not `null`, `false`, or an empty string, list or object.
struct Present;
reads!(Present => bool);

impl<'de> Visitor<'de> for Present {
    type Value = bool;

    anything!();
    otherwise!(false; null);
    otherwise!(true; numbers);

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut any = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(any)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut any = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(any)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(!text.is_empty())
    }
}

struct DataOf {
    count: usize,
}
reads!(DataOf => Data);

impl<'de> Visitor<'de> for DataOf {
    type Value = Data;

    anything!();
    otherwise!(Data::Absent; bool, numbers, str, null, map);

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        while entries.len() < self.count {
            let Some(entry) = seq.next_element_seed(EntryOf)? else { break };
            entries.push(entry);
        }
        let mut found = entries.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            found += 1;
        }
        Ok(Data::List(entries, found))
    }
}

struct EntryOf;
reads!(EntryOf => Entry);

impl<'de> Visitor<'de> for EntryOf {
    type Value = Entry;

    anything!();
    otherwise!(Entry { index: Index::Absent, vectors: Vectors::Other }; bool, numbers, str, null);
    // `data: [[…], […]]`.
    otherwise!(Entry { index: Index::Absent, vectors: Vectors::Nested }; seq);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let (mut index, mut vectors) = (Index::Absent, None);
        while let Some(name) = map.next_key_seed(Name)? {
            match name.as_str() {
                "index" if index != Index::Absent => return Err(A::Error::duplicate_field("index")),
                "index" => index = map.next_value_seed(IndexOf)?,
                "embedding" if vectors.is_some() => return Err(A::Error::duplicate_field("embedding")),
                "embedding" => vectors = Some(map.next_value_seed(VectorsOf)?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Entry { index, vectors: vectors.unwrap_or(Vectors::Other) })
    }
}

struct IndexOf;
reads!(IndexOf => Index);

impl<'de> Visitor<'de> for IndexOf {
    type Value = Index;

    anything!();
    otherwise!(Index::Absent; null);
    otherwise!(Index::Other; bool, str, seq, map);

    fn visit_u64<E: Error>(self, at: u64) -> Result<Index, E> {
        Ok(Index::At(at))
    }

    fn visit_i64<E: Error>(self, at: i64) -> Result<Index, E> {
        Ok(u64::try_from(at).map_or(Index::Other, Index::At))
    }

    /// Some languages have no integers.
    fn visit_f64<E: Error>(self, at: f64) -> Result<Index, E> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, and small")]
        let whole = (at >= 0.0 && at.fract() == 0.0 && at < f64::from(u32::MAX)).then_some(at as u64);
        Ok(whole.map_or(Index::Other, Index::At))
    }
}

struct VectorsOf;
reads!(VectorsOf => Vectors);

impl<'de> Visitor<'de> for VectorsOf {
    type Value = Vectors;

    anything!();
    otherwise!(Vectors::Null; null);
    otherwise!(Vectors::Other; bool, numbers, map);

    fn visit_str<E: Error>(self, text: &str) -> Result<Vectors, E> {
        Ok(vector::from_base64(text).map_or(Vectors::Other, Vectors::Floats))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vectors, A::Error> {
        let mut floats = Vec::new();
        while let Some(value) = seq.next_element_seed(ValueOf)? {
            let odd = match value {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "beyond an f32 is infinite, and found out"
                )]
                Value::Number(number) => {
                    floats.push(number as f32);
                    continue;
                }
                Value::Null => {
                    floats.push(f32::NAN);
                    continue;
                }
                Value::List => Vectors::Nested,
                Value::Other => Vectors::Other,
            };
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(odd);
        }
        Ok(Vectors::Floats(floats))
    }
}

/// One number of a vector, or what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Number(f64),
    Null,
    List,
    Other,
}

struct ValueOf;
reads!(ValueOf => Value);

impl<'de> Visitor<'de> for ValueOf {
    type Value = Value;

    anything!();
    otherwise!(Value::Null; null);
    otherwise!(Value::List; seq);
    otherwise!(Value::Other; bool, str, map);

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }
}

/// Tokens and cost. No text has 0 tokens, so 0 is as good as nothing said.
struct Usage;
reads!(Usage => (Option<u64>, Option<f64>));

impl<'de> Visitor<'de> for Usage {
    type Value = (Option<u64>, Option<f64>);

    anything!();
    otherwise!((None, None); bool, numbers, str, null, seq);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut prompt, mut total, mut cost) = (None, None, None);
        while let Some(name) = map.next_key_seed(Name)? {
            match name.as_str() {
                "prompt_tokens" => prompt = tokens(map.next_value_seed(ValueOf)?),
                "total_tokens" => total = tokens(map.next_value_seed(ValueOf)?),
                "cost" => {
                    cost = match map.next_value_seed(ValueOf)? {
                        Value::Number(usd) if usd.is_finite() && usd >= 0.0 => Some(usd),
                        _ => None,
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok((prompt.or(total), cost))
    }
}

fn tokens(value: Value) -> Option<u64> {
    match value {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 1..=MOST_TOKENS")]
        Value::Number(number) if (1.0..=MOST_TOKENS).contains(&number) => Some(number as u64),
        _ => None,
    }
}
