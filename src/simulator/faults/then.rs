//! What a fault does to a call: an answer in place of the good one, a good one that is bent, or a body that comes badly.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::super::MOST_DIMENSIONS;
use super::{duration, some_duration};

/// What happens to a call. `delay`, `headers` and `retry_after` go with anything; of `status` (with `body`), `html`, `error_in_200`,
/// `reset` and `hang` one; the others change an answer that is otherwise good.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Then {
    /// Answers with this HTTP status; without `body`, an error as OpenRouter writes it.
    pub status: Option<u16>,
    /// The body that goes with `status`: a string is sent as plain text, everything else as JSON.
    pub body: Option<Value>,
    /// Further response headers.
    pub headers: BTreeMap<String, Scalar>,
    /// The `Retry-After` header, as it stands: `2`, `1.5`, `-1`, an HTTP date.
    pub retry_after: Option<Scalar>,
    /// Waits this long, beyond the latency.
    #[serde(deserialize_with = "duration")]
    pub delay: Option<Duration>,
    /// Resets the TCP connection instead of answering: the client sees ECONNRESET and not one byte.
    pub reset: bool,
    /// Never answers, and leaves the connection open.
    pub hang: bool,
    /// Answers with a page of HTML, as a gateway does; status 200 unless `status` says otherwise.
    pub html: bool,
    /// Answers 200 with this as the `error` member, as OpenRouter does once the upstream has begun.
    pub error_in_200: Option<Value>,
    /// Sends this many bytes of the body and closes the connection; the length was not announced (see `announced`).
    pub cut_body_at: Option<usize>,
    /// Sends the body in drops.
    pub trickle: Option<Trickle>,
    /// `data` is an empty list.
    pub empty_data: bool,
    /// The last embedding is missing.
    pub drop_last: bool,
    /// The last embedding comes twice, the second time with the next index.
    pub extra: bool,
    /// The embeddings come in reverse order, each with its right index: valid, if the client reads `index`.
    pub shuffle: bool,
    /// No embedding has an index: valid, by position.
    pub no_index: bool,
    /// The first embedding is not finite: `null` values as float, NaN in base64.
    pub non_finite: bool,
    /// The first embedding is all zeros.
    pub zero: bool,
    /// Embeddings of this length.
    pub dimensions: Option<usize>,
    /// No `usage`: valid, but the client has to estimate.
    pub no_usage: bool,
    /// `usage` says this share of the tokens that are billed: 0, or 0.5 as a server that cuts texts short.
    pub usage: Option<f64>,
    /// The answer names this model, whatever was asked for: valid.
    pub model: Option<String>,
    /// `index` is not what it should be.
    pub index: Option<Index>,
    /// One embedding, the first, is not what it should be; the others are good.
    pub vector: Option<Odd>,
    /// The embeddings come in this form, whatever was asked for.
    pub encoding: Option<Encoding>,
    /// The embeddings are three times as long as they should be: valid, if the client normalises.
    pub unnormalised: bool,
    /// Each embedding is a little off, as another quantisation's would be (cosine about 0.999): valid.
    pub noise: bool,
    /// The embeddings are of the texts of the call before, as of a proxy that is off by one.
    pub previous: bool,
    /// Comes before the body: white space to keep the connection alive, a byte order mark.
    pub prefix: Option<String>,
    /// The body is announced as gzip and is one, but lacks its end.
    pub gzip_cut: bool,
    /// A body that is cut was announced with its whole length.
    pub announced: bool,
    /// Sends the head and this many bytes of the body, then nothing, and leaves the connection open.
    pub stall_body_at: Option<usize>,
    /// Resets the connection as soon as the client uses it for another call: this one is answered.
    pub close_at_reuse: bool,
    /// Waits this long for each call that is here, beyond the latency: an overload that only fewer calls at a time can heal.
    #[serde(deserialize_with = "duration")]
    pub delay_each: Option<Duration>,
}

/// A wrong `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Index {
    /// The first two have the same.
    Duplicate,
    /// Counted from 1.
    OneBased,
    /// The right number, in quotes: valid only to a lenient client.
    Strings,
    /// The first has none.
    OneMissing,
}

/// What the first embedding is instead of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Odd {
    /// A list of `null`.
    Nulls,
    /// `null` itself.
    Nil,
    /// The literal `NaN` as a value, which is no JSON.
    Nan,
    /// An empty list.
    Empty,
    /// A vector of half the length.
    Short,
    /// A value of 1e39, beyond any float of 32 bits.
    Overflow,
    /// A list in a list, as from a server without pooling.
    Nested,
}

/// The form of the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Lists of numbers.
    Float,
    /// base64 as it should be.
    Base64,
    /// base64 of one byte less.
    ByteShort,
    /// base64 without its padding: valid to a lenient client.
    Unpadded,
    /// base64 in the alphabet of URLs.
    UrlSafe,
    /// base64 of big-endian floats: nonsense that looks like a vector.
    BigEndian,
}

/// A body in drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trickle {
    /// Bytes a drop.
    pub bytes: usize,
    /// Time between two drops.
    #[serde(deserialize_with = "some_duration")]
    pub every: Duration,
}

/// A header's value: numbers need no quotes in the script.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A whole number.
    Whole(i64),
    /// A number.
    Real(f64),
    /// Text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Real(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Then {
    pub(super) fn validate(&self) -> Result<(), &'static str> {
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err("`status` is between 200 and 599");
        }
        if self.body.is_some() && self.status.is_none() {
            return Err("`body` needs a `status`");
        }
        if self.body.is_some() && self.html {
            return Err("`html` is a body: leave `body` out");
        }
        self.validate_body()?;
        let answers =
            [self.status.is_some() || self.html, self.error_in_200.is_some(), self.reset, self.hang];
        let ways = answers.iter().filter(|given| **given).count();
        if ways > 1 {
            return Err("of `status`, `error_in_200`, `reset` and `hang` one only");
        }
        if ways == 1 && self.changes_a_good_answer() {
            return Err("there is no good answer left to change");
        }
        if self.dimensions.is_some_and(|length| !(1..=MOST_DIMENSIONS).contains(&length)) {
            return Err("`dimensions` is between 1 and 16384");
        }
        if self.headers.iter().any(|(name, value)| !is_header(name, value))
            || self.retry_after.as_ref().is_some_and(|value| !is_header("retry-after", value))
        {
            return Err("a header's name or value cannot be sent");
        }
        Ok(())
    }

    fn validate_body(&self) -> Result<(), &'static str> {
        let ways =
            [self.cut_body_at.is_some(), self.trickle.is_some(), self.stall_body_at.is_some(), self.gzip_cut];
        let ways = ways.iter().filter(|given| **given).count();
        if (self.reset || self.hang) && (ways > 0 || self.prefix.is_some() || self.close_at_reuse) {
            return Err("`reset` and `hang` send no body");
        }
        if ways > 1 {
            return Err("of `cut_body_at`, `trickle`, `stall_body_at` and `gzip_cut` one only");
        }
        if self.announced && self.cut_body_at.is_none() {
            return Err("`announced` belongs to `cut_body_at`");
        }
        if self.trickle.is_some_and(|trickle| trickle.bytes == 0) {
            return Err("`trickle` sends at least one byte at a time");
        }
        if self.usage.is_some_and(|share| !(0.0..=100.0).contains(&share)) {
            return Err("`usage` is a share of the tokens, between 0 and 100");
        }
        if self.usage.is_some() && self.no_usage {
            return Err("of `usage` and `no_usage` one only");
        }
        if self.index.is_some() && self.no_index {
            return Err("of `index` and `no_index` one only");
        }
        Ok(())
    }

    /// Whether what comes is another content than the good answer's.
    pub(in super::super) fn changes_a_good_answer(&self) -> bool {
        let flags = [
            self.empty_data,
            self.drop_last,
            self.extra,
            self.shuffle,
            self.no_index,
            self.non_finite,
            self.zero,
            self.no_usage,
            self.usage.is_some(),
            self.model.is_some(),
            self.index.is_some(),
            self.vector.is_some(),
            self.encoding.is_some(),
            self.unnormalised,
            self.noise,
            self.previous,
            self.dimensions.is_some(),
        ];
        flags.contains(&true)
    }
}

fn is_header(name: &str, value: &Scalar) -> bool {
    axum::http::HeaderName::try_from(name).is_ok()
        && axum::http::HeaderValue::try_from(value.to_string()).is_ok()
}
