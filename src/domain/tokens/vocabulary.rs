//! Exact token counts by a model's own `tokenizer.json`.

use std::fmt;

/// A text up to this long is counted at once.
const SHORT_BYTES: usize = 64 * 1024;
/// Bytes a token that are tried first in a long text: most texts have 2 to 5.
const LIKELY_TOKEN_BYTES: usize = 8;
/// More tokens than a cut can change.
const CUT_TOKENS: u32 = 1_000;

/// A tokenizer of Hugging Face's format. What it says of truncation and padding is left out: those are no tokens of the text.
pub struct Vocabulary {
    tokenizer: tokenizers::Tokenizer,
}

impl Vocabulary {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        tokenizer.encode_fast("word", true).map_err(|error| error.to_string())?;
        Ok(Self { tokenizer })
    }

    /// The tokens of a text, those that the model sets around it included.
    pub fn count(&self, text: &str) -> u32 {
        let tokens = match self.tokenizer.encode_fast(text, true) {
            Ok(encoding) => encoding.len(),
            // The vocabulary has no token for something in it. No text has more tokens than bytes.
            Err(_) => text.len(),
        };
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// The same count if it is at most `limit`, else `None`, without reading a long text to its end.
    pub fn count_within(&self, text: &str, limit: u32) -> Option<u32> {
        let mut bytes = (limit as usize).saturating_mul(LIKELY_TOKEN_BYTES).max(SHORT_BYTES);
        // A beginning of more than half costs as much as the whole.
        while bytes < text.len() / 2 {
            let beginning = &text[..text.floor_char_boundary(bytes)];
            if self.count(beginning) > limit.saturating_add(limit / 8).saturating_add(CUT_TOKENS) {
                return None;
            }
            bytes = bytes.saturating_mul(2);
        }
        Some(self.count(text)).filter(|tokens| *tokens <= limit)
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vocabulary({})", self.tokenizer.get_vocab_size(true))
    }
}
