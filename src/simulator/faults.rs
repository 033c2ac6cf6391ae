//! The fault script: which calls go wrong, and how.
//!
//! A script is YAML or JSON: a list of rules, or a map of `rules` and `seed`. For each call the first rule whose `when` holds
//! decides; a call that no rule takes is answered well.
//!
//! ```yaml
//! seed: 7                                    # of `probability`; 1 if left out
//! rules:
//!   - when: {contains: "[[poison]]"}         # one bad text fails its whole batch
//!     then: {status: 400, body: {code: 20015, message: "The parameter is invalid.", data: null}}
//!   - when: {every: 10}                      # the 10th, 20th, … call
//!     then: {status: 429, retry_after: 1}
//!   - when: {after: 10s, until: 70s}         # an outage by time
//!     then: {reset: true}
//! ```

mod script;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::config::read_yaml;

pub use script::Script;

use super::MOST_DIMENSIONS;
use super::corpus::POISON;

/// A list of rules and the seed of their chances. Empty: every call is answered well.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a list of rules, or a map of `rules` and `seed`")]
pub struct Faults {
    /// Seed of `probability`: the same seed gives the same choices for the same sequence of calls.
    pub seed: u64,
    /// The rules, the first that matches wins.
    pub rules: Vec<Rule>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { seed: 1, rules: Vec::new() }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which calls. Left out: all.
    #[serde(default)]
    pub when: When,
    /// What happens to them.
    pub then: Then,
}

/// A condition: all that is given must hold. Calls are counted from 1, time from the moment the script was set; only calls
/// that are valid, authorised and within the limits are counted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// Every n-th call: 10 takes the 10th, 20th, and so on.
    pub every: Option<u64>,
    /// This call and those after it.
    pub from: Option<u64>,
    /// This call and those before it.
    pub to: Option<u64>,
    /// Calls in which this text occurs in any input; of several texts, all must occur.
    pub contains: Option<Texts>,
    /// Calls with more inputs than this.
    pub inputs_over: Option<usize>,
    /// Calls later than this.
    #[serde(deserialize_with = "duration")]
    pub after: Option<Duration>,
    /// Calls earlier than this.
    #[serde(deserialize_with = "duration")]
    pub until: Option<Duration>,
    /// This share of the calls for which the rest holds, 0 to 1.
    pub probability: Option<f64>,
    /// At most this many calls in all.
    pub times: Option<u64>,
}

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
    /// Sends this many bytes of the body and closes the connection.
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

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// All of them.
    All(Vec<String>),
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

/// A script that cannot be read or contradicts itself.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// The file cannot be read.
    #[error("fault script {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Neither YAML nor JSON, an unknown key, a value of the wrong kind.
    #[error("fault script: {0}")]
    Syntax(String),
    /// A rule that cannot be followed. Rules are counted from 1.
    #[error("fault script, rule {rule}: {message}")]
    Rule {
        /// Which rule.
        rule: usize,
        /// What is wrong with it.
        message: &'static str,
    },
}

impl Faults {
    /// No faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// The demo's: a text with [`POISON`] answers 400 for its whole batch, in the flat shape that OpenRouter's upstreams use. The body
    /// does not say which record is to blame, nor that it is a record at all.
    pub fn demo() -> Self {
        let body = serde_json::json!({
            "code": 20015,
            "message": "The parameter is invalid. Please check again.",
            "data": null,
        });
        let when = When { contains: Some(Texts::One(POISON.into())), ..When::default() };
        let then = Then { status: Some(400), body: Some(body), ..Then::default() };
        Self { rules: vec![Rule { when, then }], ..Self::default() }
    }

    /// Reads a script from a file.
    ///
    /// # Errors
    /// An unreadable file, wrong syntax, an unknown key, a rule that contradicts itself.
    pub fn load(path: &Path) -> Result<Self, FaultsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| FaultsError::File { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Reads a script from YAML or JSON: a list of rules, or a map of `seed` and `rules`.
    ///
    /// # Errors
    /// Wrong syntax, an unknown key, a rule that contradicts itself.
    pub fn parse(text: &str) -> Result<Self, FaultsError> {
        let json = text.trim_start();
        let faults: Self = if json.starts_with('[') {
            let rules = serde_json::from_str(json).map_err(|e| FaultsError::Syntax(e.to_string()))?;
            Self { rules, ..Self::default() }
        } else if json.starts_with('{') {
            serde_json::from_str(json).map_err(|e| FaultsError::Syntax(e.to_string()))?
        } else if is_list(text) {
            let rules = read_yaml(text).map_err(FaultsError::Syntax)?;
            Self { rules, ..Self::default() }
        } else {
            read_yaml::<Option<Self>>(text).map_err(FaultsError::Syntax)?.unwrap_or_default()
        };
        for (at, rule) in faults.rules.iter().enumerate() {
            rule.validate().map_err(|message| FaultsError::Rule { rule: at + 1, message })?;
        }
        Ok(faults)
    }
}

/// Whether YAML's root is a list.
fn is_list(yaml: &str) -> bool {
    let mut lines = yaml.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.find(|line| *line != "---").is_some_and(|line| line.starts_with('-'))
}

impl Rule {
    fn validate(&self) -> Result<(), &'static str> {
        let (when, then) = (&self.when, &self.then);
        if when.every == Some(0) {
            return Err("`every` counts from 1");
        }
        if when.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return Err("`probability` is between 0 and 1");
        }
        if let (Some(from), Some(to)) = (when.from, when.to)
            && from > to
        {
            return Err("`from` is behind `to`");
        }
        if let (Some(after), Some(until)) = (when.after, when.until)
            && after >= until
        {
            return Err("`after` is not before `until`");
        }
        then.validate()
    }
}

impl Then {
    fn validate(&self) -> Result<(), &'static str> {
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return Err("`status` is between 200 and 599");
        }
        if self.body.is_some() && self.status.is_none() {
            return Err("`body` needs a `status`");
        }
        if self.body.is_some() && self.html {
            return Err("`html` is a body: leave `body` out");
        }
        let answers =
            [self.status.is_some() || self.html, self.error_in_200.is_some(), self.reset, self.hang];
        let ways = answers.iter().filter(|given| **given).count();
        if ways > 1 {
            return Err("of `status`, `error_in_200`, `reset` and `hang` one only");
        }
        if ways == 1 && self.changes_a_good_answer() {
            return Err("there is no good answer left to change");
        }
        if (self.reset || self.hang) && (self.cut_body_at.is_some() || self.trickle.is_some()) {
            return Err("`reset` and `hang` send no body");
        }
        if self.cut_body_at.is_some() && self.trickle.is_some() {
            return Err("of `cut_body_at` and `trickle` one only");
        }
        if self.trickle.is_some_and(|trickle| trickle.bytes == 0) {
            return Err("`trickle` sends at least one byte at a time");
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

    fn changes_a_good_answer(&self) -> bool {
        let flags = [
            self.empty_data,
            self.drop_last,
            self.extra,
            self.shuffle,
            self.no_index,
            self.non_finite,
            self.zero,
            self.no_usage,
        ];
        flags.contains(&true) || self.dimensions.is_some()
    }
}

fn is_header(name: &str, value: &Scalar) -> bool {
    axum::http::HeaderName::try_from(name).is_ok()
        && axum::http::HeaderValue::try_from(value.to_string()).is_ok()
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| humantime::parse_duration(&text).map_err(|e| not_a_duration::<D>(&text, &e))).transpose()
}

fn some_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|e| not_a_duration::<D>(&text, &e))
}

fn not_a_duration<'de, D: serde::Deserializer<'de>>(
    text: &str,
    error: &humantime::DurationError,
) -> D::Error {
    serde::de::Error::custom(format_args!("`{text}` is not a duration such as 500ms or 10s: {error}"))
}

#[cfg(test)]
mod tests;
