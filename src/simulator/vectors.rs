//! Lexical vectors: texts that share words are near each other, and nothing more is claimed.
//!
//! A text becomes hashed features (words, their neighbours in scripts without spaces, character 3- to 5-grams), each
//! added with a sign at one place of the vector. The same text gives the same vector on every machine and in every
//! release: nothing here depends on a seed, the locale or the order of a map.

/// What a word counts for, before damping. Its n-grams together count a quarter of it.
const WORD: f32 = 1.0;
/// What the n-grams of one word count for together, as a length: 0.5² is a quarter of the word's own square.
const NGRAMS: f32 = 0.5;
/// A word that says little still tells two otherwise equal texts apart.
const STOP_WORD: f32 = 0.12;
/// Two neighbouring characters of a script without spaces: as good as a word.
const PAIR: f32 = 1.0;
/// One character of a script without spaces: weaker than a pair.
const SINGLE: f32 = 0.4;
/// A symbol outside ASCII, such as an emoji.
const SYMBOL: f32 = 0.5;
/// A word longer than this is a blob: its n-grams are not looked at.
const LONGEST_WORD: usize = 64;

/// Words that are in every text. Sorted: looked up by binary search.
const STOP_WORDS: &[&str] = &[
    "a", "about", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be",
    "because", "been", "before", "but", "by", "can", "could", "das", "de", "der", "did", "die", "do", "does",
    "el", "en", "for", "from", "get", "got", "had", "has", "have", "he", "her", "here", "him", "his", "how",
    "i", "if", "in", "into", "is", "it", "its", "just", "la", "le", "les", "los", "me", "more", "my", "no",
    "not", "now", "of", "on", "or", "our", "out", "she", "so", "some", "than", "that", "the", "their",
    "them", "then", "there", "they", "this", "to", "und", "up", "us", "was", "we", "were", "what", "when",
    "where", "which", "who", "will", "with", "would", "you", "your",
];

/// The vector of a text: `dimensions` values, norm 1. Never zero, whatever the text; `dimensions` of 0 counts as 1.
///
/// The cost grows with the text's length; only clearing the vector grows with `dimensions`.
pub fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    let mut features = Features::default();
    features.read(text);
    features.into_vector(dimensions.max(1), text)
}

/// The first `dimensions` values with norm 1 again, as a Matryoshka model shortens. Longer than the vector: unchanged.
pub fn shorten(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    if dimensions >= vector.len() {
        return vector;
    }
    vector.truncate(dimensions.max(1));
    if !normalise(&mut vector) {
        vector[0] = 1.0;
    }
    vector
}

/// How near two vectors of norm 1 are: 1 is the same direction, 0 has nothing in common.
pub fn nearness(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Hashed features, each as often as it occurs.
#[derive(Default)]
struct Features {
    /// The feature's hash and what one occurrence counts for.
    found: Vec<(u64, f32)>,
    /// The word that is being read, in lower case.
    word: String,
    /// Where each character of the padded word begins.
    bounds: Vec<usize>,
}

impl Features {
    fn read(&mut self, text: &str) {
        let mut before: Option<char> = None;
        for c in text.chars() {
            let spaceless = is_spaceless(c);
            if !spaceless && (c.is_alphanumeric() || is_joined(c)) {
                // One character may be two in lower case.
                self.word.extend(c.to_lowercase());
                before = None;
                continue;
            }
            self.end_word();
            if spaceless {
                self.push(hash(SEED_SINGLE, &[c]), SINGLE);
                if let Some(first) = before {
                    self.push(hash(SEED_PAIR, &[first, c]), PAIR);
                }
                before = Some(c);
            } else {
                before = None;
                if !c.is_ascii() && !c.is_whitespace() && !c.is_control() {
                    self.push(hash(SEED_SYMBOL, &[c]), SYMBOL);
                }
            }
        }
        self.end_word();
    }

    fn push(&mut self, feature: u64, weight: f32) {
        self.found.push((feature, weight));
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let damping = if STOP_WORDS.binary_search(&self.word.as_str()).is_ok() { STOP_WORD } else { 1.0 };
        let whole = finish(self.word.bytes().fold(SEED_WORD, step));
        self.push(whole, WORD * damping);
        if damping >= 1.0 && self.word.len() <= LONGEST_WORD {
            self.ngrams();
        }
        self.word.clear();
    }

    /// The 3- to 5-grams of the word between two edges, so that "pay" in "payment" is not "pay" in "repay".
    fn ngrams(&mut self) {
        self.word.insert(0, '^');
        self.word.push('$');
        self.bounds.clear();
        self.bounds.extend(self.word.char_indices().map(|(at, _)| at));
        self.bounds.push(self.word.len());
        let characters = self.bounds.len() - 1;
        let count: usize = (3..=5).map(|n| (characters + 1).saturating_sub(n)).sum();
        if count == 0 {
            return;
        }
        let weight = NGRAMS / (count as f32).sqrt();
        let bytes = self.word.as_bytes();
        for first in 0..characters {
            let mut state = SEED_NGRAM;
            for n in 1..=5 {
                let last = first + n;
                if last > characters {
                    break;
                }
                state = bytes[self.bounds[last - 1]..self.bounds[last]].iter().copied().fold(state, step);
                if n >= 3 {
                    self.found.push((finish(state), weight));
                }
            }
        }
    }

    fn into_vector(mut self, dimensions: usize, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0_f32; dimensions];
        // Sorted, so that the order of additions, and with it the last bit of a sum, is the same for the same text.
        self.found.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for same in self.found.chunk_by(|a, b| a.0 == b.0) {
            let (feature, weight) = same[0];
            let amount = weight * (1.0 + (same.len() as f32).ln());
            let sign = if feature & 1 == 0 { amount } else { -amount };
            vector[place(feature, dimensions)] += sign;
        }
        if !normalise(&mut vector) {
            // Blank or ASCII punctuation only (or, hardly ever, features that cancel out): a direction of its own.
            vector[place(finish(text.bytes().fold(SEED_WHOLE, step)), dimensions)] = 1.0;
        }
        vector
    }
}

fn place(feature: u64, dimensions: usize) -> usize {
    // The lowest bit is the sign.
    ((feature >> 1) % dimensions as u64) as usize
}

/// Brings the norm to 1; false if there is nothing to bring.
fn normalise(vector: &mut [f32]) -> bool {
    let square: f64 = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    if square <= f64::from(f32::MIN_POSITIVE) {
        return false;
    }
    let scale = (1.0 / square.sqrt()) as f32;
    for value in vector {
        *value *= scale;
    }
    true
}

/// Scripts written without spaces: Han, kana, Thai, Lao, Khmer, Burmese. (Hangul has spaces, but its words carry endings: pairs
/// serve it better as well.)
fn is_spaceless(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF)
        && c.is_alphanumeric()
}

/// Combining marks belong to the word they are in (Devanagari vowel signs, decomposed accents).
fn is_joined(c: char) -> bool {
    matches!(u32::from(c), 0x0300..=0x036F | 0x0591..=0x05C7 | 0x064B..=0x0652 | 0x0900..=0x0903 | 0x093A..=0x094F)
}

const SEED_WORD: u64 = 0xcbf2_9ce4_8422_2325;
const SEED_NGRAM: u64 = 0x9ae1_6a3b_2f90_404f;
const SEED_PAIR: u64 = 0xc949_d7c7_509e_6557;
const SEED_SINGLE: u64 = 0x8ebc_6af0_9c88_c6e3;
const SEED_SYMBOL: u64 = 0x5896_59e4_a02c_1b0d;
const SEED_WHOLE: u64 = 0xe703_7ed1_a0b4_28db;

/// One byte of FNV-1a.
fn step(state: u64, byte: u8) -> u64 {
    (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
}

/// SplitMix64's finaliser: FNV alone leaves the low bits too regular to pick a place by.
fn finish(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn hash(seed: u64, characters: &[char]) -> u64 {
    finish(characters.iter().flat_map(|c| u32::from(*c).to_le_bytes()).fold(seed, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &str, b: &str) -> f32 {
        nearness(&embed(a, 2560), &embed(b, 2560))
    }

    fn norm(vector: &[f32]) -> f64 {
        vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn the_same_text_is_the_same_vector_bit_by_bit() {
        let text = "The invoice of März was paid twice 🙂 — please refund. 二重に請求されました。";
        let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(embed(text, 2560)), bits(embed(text, 2560)));
        // Pinned: a release that changes the vectors should do so knowingly.
        let vector = embed("charged twice", 8);
        let rounded: Vec<i32> = vector.iter().map(|v| (v * 1000.0).round() as i32).collect();
        assert_eq!(rounded, PINNED);
    }

    const PINNED: [i32; 8] = [-16, -87, 686, 173, -87, -686, -71, -87];

    #[test]
    fn every_text_has_norm_one() {
        let long = "x".repeat(100_000);
        for text in ["", " ", "!!!", "🙂", "a", "the", "word", "漢", "漢字", "नमस्ते", "e\u{301}", "\0", &long]
        {
            for dimensions in [1, 2, 7, 256, 1024, 2560, 4096] {
                let vector = embed(text, dimensions);
                assert_eq!(vector.len(), dimensions);
                assert!((norm(&vector) - 1.0).abs() < 1e-5, "{text:.10} {dimensions}: {}", norm(&vector));
            }
        }
        assert_eq!(embed("word", 0).len(), 1);
    }

    #[test]
    fn shared_words_are_near_and_case_does_not_matter() {
        let query = "the customer was charged twice and wants a refund";
        let about = near(query, "I was charged twice for one order. Please refund the second payment.");
        let beside = near(query, "The app crashes when the camera is opened on a tablet.");
        let stop_words_only = near(query, "and the was a with for of to in that it");
        assert!(about > 0.3, "{about}");
        assert!(beside < 0.12, "{beside}");
        assert!(stop_words_only < 0.25 && stop_words_only < about, "{stop_words_only}");
        assert!((near("Refund NOW", "refund now") - 1.0).abs() < 1e-5);
    }

    #[test]
    fn word_forms_are_nearer_than_strangers() {
        assert!(near("refunds", "refund") > 0.1);
        assert!(near("refunds", "refund") > near("refunds", "camera") + 0.1);
    }

    #[test]
    fn scripts_without_spaces_have_words_too() {
        assert!(near("二重に請求されました", "請求が二重です") > 0.3);
        assert!(near("二重に請求されました", "天気がいいですね") < 0.2);
    }

    #[test]
    fn shortening_slices_and_normalises() {
        let long = embed("release notes for the billing service", 2560);
        let short = shorten(long.clone(), 1024);
        assert_eq!(short.len(), 1024);
        assert!((norm(&short) - 1.0).abs() < 1e-5);
        let scale = short.iter().zip(&long).find(|(_, l)| **l != 0.0).map(|(s, l)| s / l);
        for (s, l) in short.iter().zip(&long) {
            assert!((s - l * scale.expect("a value that is not zero")).abs() < 1e-6);
        }
        assert_eq!(shorten(long.clone(), 4096), long);
        // A slice without any feature is still a vector.
        let mut late = vec![0.0; 8];
        late[7] = 1.0;
        assert_eq!(shorten(late, 2), vec![1.0, 0.0]);
    }
}
