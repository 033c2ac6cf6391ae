//! Exact token counts for Qwen3's embedding models, and cutting a text to a number of tokens.
//!
//! The count is the one of the model's own `tokenizer.json`: the 26 added tokens are matched in the raw text, each
//! segment between them is brought to NFC and encoded by byte pairs, and the end token that the embedding models
//! append counts too. `tests/tokens/qwen3.jsonl` holds the reference tokenizer's counts; a test compares every row.

mod parts;
mod truncate;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use tiktoken::CoreBpe;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use self::parts::{Part, Parts};
pub use self::vocabulary::Vocabulary;

/// The longest token of the vocabulary, in bytes: a text of `n` tokens is at most `n` times as long.
const MAX_TOKEN_BYTES: usize = 128;
/// Bytes a token that are tried first in a long text: most texts have 2 to 5.
const LIKELY_TOKEN_BYTES: usize = 8;
/// A text up to this long is counted at once.
const SHORT_BYTES: usize = 64 * 1024;
/// More tokens than a cut can change.
const CUT_TOKENS: u32 = 1_000;

/// What the model appends to every text: `<|endoftext|>`, billed like any token.
const END_TOKENS: u32 = 1;

/// Counts tokens. A copy is a pointer; all share one vocabulary, which is read once (some 50 ms) at the first use.
#[derive(Clone, Copy)]
pub struct Tokenizer {
    bpe: &'static CoreBpe,
}

impl Tokenizer {
    /// The tokenizer of Qwen3-Embedding (0.6B, 4B and 8B share it).
    pub fn qwen3() -> Self {
        let bpe = tiktoken::get_encoding("qwen2").expect("Cargo.toml enables vocab-qwen2");
        Self { bpe }
    }

    /// The tokens of a text as the provider bills them, the end token included: 1 for an empty text.
    ///
    /// It costs some 10 ns a byte, but up to a microsecond a byte for one endless word: bound what is passed in, or
    /// ask [`count_within`](Self::count_within), which stops early.
    pub fn count(&self, text: &str) -> u32 {
        let mut tokens = END_TOKENS;
        for part in Parts::new(text) {
            tokens = tokens.saturating_add(match part {
                Part::Added(_) => 1,
                Part::Plain(plain) => self.count_plain(&nfc(plain)),
            });
        }
        tokens
    }

    /// The same count if it is at most `limit`, else `None`, without reading a long text to its end.
    pub fn count_within(&self, text: &str, limit: u32) -> Option<u32> {
        let mut tokens = END_TOKENS;
        for part in Parts::new(text) {
            let left = limit.checked_sub(tokens)?;
            tokens = tokens.saturating_add(match part {
                Part::Added(_) => 1,
                Part::Plain(plain) => {
                    let plain = nfc(plain);
                    if plain.len() / MAX_TOKEN_BYTES > left as usize || self.is_far_beyond(&plain, left) {
                        return None;
                    }
                    self.count_plain(&plain)
                }
            });
        }
        (tokens <= limit).then_some(tokens)
    }

    /// Whether a beginning of a long text alone has more tokens than are left, by a margin: what follows it changes but the few tokens
    /// at the cut. Counting some megabytes to their end, perhaps one endless word, would keep the poll thread for seconds.
    fn is_far_beyond(&self, normalised: &str, left: u32) -> bool {
        let mut bytes = (left as usize).saturating_mul(LIKELY_TOKEN_BYTES).max(SHORT_BYTES);
        // A beginning of more than half costs as much as the whole.
        while bytes < normalised.len() / 2 {
            let beginning = &normalised[..normalised.floor_char_boundary(bytes)];
            if self.count_plain(beginning) > left.saturating_add(left / 8).saturating_add(CUT_TOKENS) {
                return true;
            }
            bytes = bytes.saturating_mul(2);
        }
        false
    }

    fn count_plain(&self, normalised: &str) -> u32 {
        u32::try_from(self.bpe.count(normalised)).unwrap_or(u32::MAX)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokenizer(qwen3)")
    }
}

/// NFC by the very crate that the reference tokenizer uses: other crates know other Unicode versions.
fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().map(|(character, _)| character).collect())
}
