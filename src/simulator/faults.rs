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
mod then;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::config::read_yaml;

pub use script::Script;
pub use then::{Encoding, Index, Odd, Scalar, Then, Trickle};

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
    /// Calls whose inputs have more bytes than this in all.
    pub bytes_over: Option<usize>,
    /// From the first call for which the rest holds, until for so long no call has come at all: a storm that each call prolongs.
    #[serde(deserialize_with = "duration")]
    pub until_quiet: Option<Duration>,
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

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One.
    One(String),
    /// All of them.
    All(Vec<String>),
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
            let rules = serde_json::from_str(json).map_err(|e| syntax(e.to_string()))?;
            Self { rules, ..Self::default() }
        } else if json.starts_with('{') {
            serde_json::from_str(json).map_err(|e| syntax(e.to_string()))?
        } else if is_list(text) {
            let rules = read_yaml(text).map_err(syntax)?;
            Self { rules, ..Self::default() }
        } else {
            read_yaml::<Option<Self>>(text).map_err(syntax)?.unwrap_or_default()
        };
        for (at, rule) in faults.rules.iter().enumerate() {
            rule.validate().map_err(|message| FaultsError::Rule { rule: at + 1, message })?;
        }
        Ok(faults)
    }
}

/// An unknown key is told with the one that is nearest.
fn syntax(mut message: String) -> FaultsError {
    if message.contains("unknown field") || message.contains("unknown variant") {
        // What serde quotes: the unknown first, then all that are known.
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let near = quoted.split_first().and_then(|(unknown, known)| {
            known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)))
        });
        if let Some(near) = near.map(|near| (*near).to_owned()) {
            message.push_str(&format!("; did you mean `{near}`?"));
        }
    }
    FaultsError::Syntax(message)
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
