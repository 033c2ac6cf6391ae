//! What things cost in tokens, learned from sums.

use super::shape::{FEATURES, Shape};

/// What a batch's weight becomes with each one after it: the last hundred or so count.
const MEMORY: f64 = 0.99;
/// How strongly a thing that was hardly seen is held to the cost of the others, relative to their guesses. A batch that is all of one thing
/// weighs 1.
const HOLD: f64 = 0.02;
/// How strongly the common factor is held to the guess: it is learned from the first batch.
const HOLD_ALL: f64 = 0.05;
/// No thing becomes cheaper, relative to its guess: what the last batches had none of costs something all the same.
const LEAST: f64 = 0.02;
/// Rounds of the descent; it begins where it ended before.
const ROUNDS: usize = 30;

type Row = [f64; FEATURES];

/// A weighted least-squares fit with forgetting. Its weights are factors on the guesses, and batches are scaled to a guess of 1, so that relative
/// errors are what is made small.
#[derive(Clone, Debug)]
pub(super) struct Regression {
    gram: [Row; FEATURES],
    target: Row,
    /// Of the common factor: weight, and weight times ratio.
    common: (f64, f64),
    factors: Row,
}

impl Default for Regression {
    fn default() -> Self {
        Self {
            gram: [[0.0; FEATURES]; FEATURES],
            target: [0.0; FEATURES],
            common: (HOLD_ALL, HOLD_ALL),
            factors: [1.0; FEATURES],
        }
    }
}

/// The tokens of a shape before anything was learned.
pub(super) fn guess(shape: &Shape) -> f64 {
    shape.guesses().iter().sum()
}

impl Regression {
    /// The tokens of a shape, on average.
    pub(super) fn expected(&self, shape: &Shape) -> f64 {
        shape.guesses().iter().zip(self.factors).map(|(guess, factor)| guess * factor).sum()
    }

    /// Learns that a batch of this shape had so many tokens. `weight`: in `0..=1`.
    pub(super) fn observe(&mut self, shape: &Shape, tokens: f64, weight: f64) {
        let mut row = shape.guesses();
        let guess = row.iter().sum::<f64>();
        if guess <= 0.0 {
            return;
        }
        row.iter_mut().for_each(|part| *part /= guess);
        let ratio = tokens / guess;
        self.common = (self.common.0 * MEMORY + weight, self.common.1 * MEMORY + weight * ratio);
        for (one, line) in self.gram.iter_mut().enumerate() {
            for (other, product) in line.iter_mut().enumerate() {
                *product = *product * MEMORY + weight * row[one] * row[other];
            }
            self.target[one] = self.target[one] * MEMORY + weight * row[one] * ratio;
        }
        self.fit();
    }

    /// Coordinate descent: each factor in turn is set to its best, given the others, but never below the least.
    fn fit(&mut self) {
        let common = self.common.1 / self.common.0;
        for _ in 0..ROUNDS {
            for one in 0..FEATURES {
                let others: f64 = (0..FEATURES)
                    .filter(|other| *other != one)
                    .map(|other| self.gram[one][other] * self.factors[other])
                    .sum();
                let best = (self.target[one] - others + HOLD * common) / (self.gram[one][one] + HOLD);
                self.factors[one] = best.max(LEAST * common);
            }
        }
    }
}
