//! Counting a text's tokens by what the settings say: exactly, by Qwen3's tokenizer or a file, or by an estimate.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::config::{Provider, Tokens};
use crate::domain::estimate::{Estimates, Shape};
use crate::domain::tokens::{Tokenizer, Vocabulary};

/// The largest `tokenizer.json`: those of the largest vocabularies have some 35 MB.
const MOST_FILE_BYTES: u64 = 256 << 20;
/// A cut that uses so much of the limit is good enough.
const WELL_CUT: f64 = 0.97;
/// Rounds of the search for a cut; the usual text takes two or three.
const ROUNDS: usize = 12;

/// Why tokens cannot be counted as the settings say.
#[derive(Debug, Error)]
pub enum CountingError {
    /// The file cannot be read.
    #[error("provider.tokenizer: {path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is none.
    #[error("provider.tokenizer: {path} is not a tokenizer.json: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The prefix fills the limit.
    #[error("provider.prefix: has {tokens} tokens, more than half of the {limit} that a text may have")]
    Prefix {
        /// The prefix's tokens.
        tokens: u32,
        /// The limit.
        limit: u32,
    },
}

/// Estimates that the poll thread reads and the loop teaches. Held but for nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Learned(Arc<Mutex<Estimates>>);

impl Learned {
    /// The estimates, until the guard is dropped.
    pub fn estimates(&self) -> MutexGuard<'_, Estimates> {
        // What a panicked thread left behind is at worst a bad estimate.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug)]
enum Counter {
    Qwen3(Tokenizer),
    File(Arc<Vocabulary>),
    Estimate(Learned),
}

/// Counts texts with the prefix before them: tokens merge at the seam, so the two are counted as one. Copies share vocabulary and estimates.
#[derive(Clone, Debug)]
pub struct Counting {
    counter: Counter,
    prefix: Arc<str>,
}

impl Counting {
    /// As the settings say, for texts of at most `limit` tokens.
    ///
    /// # Errors
    /// A file that cannot be read or is no tokenizer; a prefix that leaves too little room.
    pub fn new(provider: &Provider, limit: u32) -> Result<Self, CountingError> {
        let counter = match provider.tokens() {
            Tokens::Qwen3 => Counter::Qwen3(Tokenizer::qwen3()),
            Tokens::Estimate => Counter::Estimate(Learned::default()),
            Tokens::File(path) => Counter::File(Arc::new(read(&path)?)),
        };
        let counting = Self { counter, prefix: provider.prefix.as_str().into() };
        if !counting.prefix.is_empty() {
            let tokens = counting.count("", "");
            if tokens > limit / 2 {
                return Err(CountingError::Prefix { tokens, limit });
            }
        }
        Ok(counting)
    }

    /// Qwen3's tokenizer, and no prefix.
    pub fn qwen3() -> Self {
        Self { counter: Counter::Qwen3(Tokenizer::qwen3()), prefix: "".into() }
    }

    /// The estimates, where there is no exact count.
    pub fn learned(&self) -> Option<&Learned> {
        match &self.counter {
            Counter::Estimate(learned) => Some(learned),
            Counter::Qwen3(_) | Counter::File(_) => None,
        }
    }

    /// Bytes of the prefix.
    pub fn prefix_bytes(&self) -> usize {
        self.prefix.len()
    }

    /// The tokens of a text with the prefix.
    pub fn count(&self, topic: &str, text: &str) -> u32 {
        match &self.counter {
            Counter::Qwen3(tokenizer) => tokenizer.count(&self.whole(text)),
            Counter::File(vocabulary) => vocabulary.count(&self.whole(text)),
            Counter::Estimate(learned) => {
                let shape = Shape::of(text).after(&Shape::of(&self.prefix));
                learned.estimates().tokens(topic, &shape)
            }
        }
    }

    /// The same count if it is at most `limit`, else `None`.
    pub fn count_within(&self, topic: &str, text: &str, limit: u32) -> Option<u32> {
        match &self.counter {
            Counter::Qwen3(tokenizer) => tokenizer.count_within(&self.whole(text), limit),
            Counter::File(vocabulary) => vocabulary.count_within(&self.whole(text), limit),
            Counter::Estimate(_) => Some(self.count(topic, text)).filter(|tokens| *tokens <= limit),
        }
    }

    /// A beginning of a text that has at most `limit` tokens with the prefix, and its tokens; `None` if the whole text has no more. By Qwen3's
    /// tokenizer it is the longest one found; else one that uses nearly all of the limit.
    pub fn truncate(&self, topic: &str, text: &str, limit: u32) -> Option<(String, u32)> {
        if let Counter::Qwen3(tokenizer) = &self.counter {
            return self.truncate_exactly(tokenizer, text, limit);
        }
        if self.count_within(topic, text, limit).is_some() {
            return None;
        }
        // A token of 64 bytes on average is no text.
        let (mut fits, mut too_long) = (0, text.len().min((limit as usize).saturating_mul(64)));
        let mut best = ("", self.count(topic, ""));
        let mut tried = too_long.min((limit as usize).saturating_mul(4));
        for _ in 0..ROUNDS {
            let beginning = &text[..text.floor_char_boundary(tried)];
            let tokens = self.count(topic, beginning);
            if tokens <= limit {
                (best, fits) = ((beginning, tokens), tried);
                if f64::from(tokens) >= WELL_CUT * f64::from(limit) {
                    break;
                }
            } else {
                too_long = tried;
            }
            // By rule of three, but always by an eighth of what is left to search.
            let guess = tried as f64 * f64::from(limit) * (1.0 + WELL_CUT) / 2.0 / f64::from(tokens.max(1));
            let eighth = (too_long - fits) / 8;
            tried = (guess as usize).clamp(fits + eighth, too_long - eighth);
            if eighth == 0 {
                break;
            }
        }
        (best.1 <= limit).then(|| (best.0.to_owned(), best.1))
    }

    fn truncate_exactly(&self, tokenizer: &Tokenizer, text: &str, limit: u32) -> Option<(String, u32)> {
        if self.prefix.is_empty() {
            return tokenizer.truncate(text, limit);
        }
        if tokenizer.count_within(&self.whole(text), limit).is_some() {
            return None;
        }
        // The end token counts in both.
        let mut left = limit.saturating_sub(tokenizer.count(&self.prefix)).saturating_add(1);
        let mut beginning = Cow::Borrowed(text);
        let mut step = 1;
        loop {
            if let Some((shorter, _)) = tokenizer.truncate(&beginning, left) {
                beginning = Cow::Owned(shorter);
            }
            let tokens = tokenizer.count(&self.whole(&beginning));
            if tokens <= limit || beginning.is_empty() {
                return (tokens <= limit).then(|| (beginning.into_owned(), tokens));
            }
            // Tokens that stand apart merge less at the seam than they did: rare, and cut off.
            left = left.saturating_sub(step);
            step = step.saturating_mul(2);
        }
    }

    fn whole<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.prefix.is_empty() { Cow::Borrowed(text) } else { Cow::Owned([&*self.prefix, text].concat()) }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.counter {
            Counter::Qwen3(_) => "counted exactly, by the tokenizer of Qwen3-Embedding",
            Counter::File(_) => "counted exactly, by the file",
            Counter::Estimate(_) => "estimated, learned from what is billed",
        })
    }
}

fn read(path: &Path) -> Result<Vocabulary, CountingError> {
    let unreadable = |reason: String| CountingError::Unreadable { path: path.to_owned(), reason };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MOST_FILE_BYTES {
        return Err(unreadable(format!("it has {size} bytes, more than {MOST_FILE_BYTES}")));
    }
    let json = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    Vocabulary::read(&json).map_err(|reason| CountingError::Malformed { path: path.to_owned(), reason })
}
