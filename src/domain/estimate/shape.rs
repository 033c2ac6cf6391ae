//! What a text's tokens are estimated from.

/// How many things are counted.
pub(super) const FEATURES: usize = 13;

const TEXTS: usize = 0;
const WORDS: usize = 1;
const LONG: usize = 2;
const CAPITALS: usize = 3;
const DIGITS: usize = 4;
const MARKS: usize = 5;
const SPACE: usize = 6;
const ACCENTED: usize = 7;
const ALPHABETS: usize = 8;
const HAN: usize = 9;
const HANGUL: usize = 10;
const OTHER: usize = 11;
const ASTRAL: usize = 12;

/// Letters of a Latin word that are usually one token; each one beyond counts as [`LONG`].
const SHORT_WORD: u32 = 5;

/// What each costs before anything was learned: more than with any usual vocabulary of many languages, so that the first batches are
/// rather small than over the budget.
pub(super) const GUESS: [f64; FEATURES] = [3.0, 1.35, 0.35, 0.4, 1.0, 1.0, 0.5, 1.0, 1.0, 2.0, 2.5, 2.5, 4.0];

/// Counts of what tokens are made of. Shapes of texts add up to the shape of their batch; counts saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape([u32; FEATURES]);

impl Shape {
    /// The shape of one text, which costs about a nanosecond a byte.
    pub fn of(text: &str) -> Self {
        let mut counts = [0_u32; FEATURES];
        counts[TEXTS] = 1;
        let (mut letters, mut space, mut capital) = (0_u32, false, false);
        for character in text.chars() {
            let mut is_letter = false;
            let mut is_space = false;
            let mut is_capital = false;
            let feature = match character {
                'a'..='z' => {
                    is_letter = true;
                    None
                }
                'A'..='Z' => {
                    is_letter = true;
                    is_capital = true;
                    // One at a word's beginning is usual; more of them, or one inside, break words.
                    (letters > 0).then_some(CAPITALS)
                }
                '0'..='9' => Some(DIGITS),
                // A single blank belongs to the word behind it.
                ' ' => {
                    is_space = true;
                    space.then_some(SPACE)
                }
                '\t' | '\n' | '\r' => {
                    is_space = true;
                    Some(SPACE)
                }
                '\0'..='\u{7f}' => Some(MARKS),
                '\u{80}'..='\u{2ff}' | '\u{1e00}'..='\u{1eff}' => {
                    is_letter = true;
                    Some(ACCENTED)
                }
                '\u{300}'..='\u{7ff}' => Some(ALPHABETS),
                '\u{1100}'..='\u{11ff}'
                | '\u{3130}'..='\u{318f}'
                | '\u{a960}'..='\u{a97f}'
                | '\u{ac00}'..='\u{d7ff}' => Some(HANGUL),
                '\u{2e80}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' => Some(HAN),
                '\u{800}'..='\u{ffff}' => Some(OTHER),
                _ => Some(ASTRAL),
            };
            if is_letter {
                letters += 1;
                if letters == 1 {
                    counts[WORDS] = counts[WORDS].saturating_add(1);
                } else if letters > SHORT_WORD {
                    counts[LONG] = counts[LONG].saturating_add(1);
                }
            } else {
                letters = 0;
            }
            if let Some(feature) = feature
                && !(feature == CAPITALS && capital)
            {
                counts[feature] = counts[feature].saturating_add(1);
            }
            (space, capital) = (is_space, is_capital);
        }
        Self(counts)
    }

    /// Adds a shape: of another text of the batch.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// Joins what stands before this text in the same string.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.add(before);
        self.0[TEXTS] = 1;
        self
    }

    /// The counts, each times its guess: what it is guessed to cost.
    pub(super) fn guesses(&self) -> [f64; FEATURES] {
        std::array::from_fn(|feature| f64::from(self.0[feature]) * GUESS[feature])
    }
}
