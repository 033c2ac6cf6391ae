//! Cutting a text to a number of tokens.

use super::parts::{Part, Parts};
use super::{END_TOKENS, LIKELY_TOKEN_BYTES, Tokenizer, nfc};

impl Tokenizer {
    /// The longest beginning found of a text that has at most `limit` tokens (the end token included), and its tokens;
    /// `None` if the whole text has no more.
    ///
    /// The beginning is in NFC, as the model sees it, and ends at a character. A beginning may have more tokens than
    /// the part it was cut from, so that the length cannot be searched by halving: it is cut by token ids, counted
    /// again, and cut shorter until it fits. A limit of 1 or 0 leaves the empty text, of 1 token.
    pub fn truncate(&self, text: &str, limit: u32) -> Option<(String, u32)> {
        if self.count_within(text, limit).is_some() {
            return None;
        }
        let mut budget = limit.saturating_sub(END_TOKENS);
        let mut beginning = self.cut(text, budget);
        // Doubled each time, so that no text, however made, costs more than a few rounds.
        let mut step = 1;
        loop {
            let tokens = self.count(&beginning);
            if tokens <= limit || beginning.is_empty() {
                return Some((beginning, tokens));
            }
            budget = budget.saturating_sub(step.max(tokens - limit));
            step *= 2;
            beginning = self.cut(&beginning, budget);
        }
    }

    /// The NFC of the text behind its first `budget` token ids.
    fn cut(&self, text: &str, budget: u32) -> String {
        let mut left = budget as usize;
        let mut beginning = String::new();
        for part in Parts::new(text) {
            if left == 0 {
                break;
            }
            left -= match part {
                Part::Added(added) => {
                    beginning.push_str(added);
                    1
                }
                Part::Plain(plain) => self.cut_plain(plain, left, &mut beginning),
            };
        }
        beginning
    }

    /// Appends what fits of a plain part, and returns its ids, at most `left`.
    fn cut_plain(&self, plain: &str, left: usize, beginning: &mut String) -> usize {
        let mut tried_bytes = left.saturating_mul(LIKELY_TOKEN_BYTES).max(64);
        loop {
            let tried = &plain[..plain.floor_char_boundary(tried_bytes)];
            let normalised = nfc(tried);
            let ids = self.bpe.encode(&normalised);
            if ids.len() > left {
                let bytes = self.bpe.decode(&ids[..left]).len();
                beginning.push_str(&normalised[..normalised.floor_char_boundary(bytes)]);
                return left;
            }
            if tried.len() == plain.len() {
                beginning.push_str(&normalised);
                return ids.len();
            }
            tried_bytes = tried_bytes.saturating_mul(4);
        }
    }
}
