//! Estimated token counts for models whose tokenizer is not here: learned from what the provider bills.
//!
//! Bytes say little: a token is 4 bytes of English, 2 of Russian, 1 of a serial number. So a text is described by its [`Shape`], some
//! dozen counts of cheap things. How many tokens each of them costs is learned by a regression, a weighted one over the last
//! hundred batches or so, whose weights are never negative and which falls back to a careful guess for what it has not seen.
//!
//! There is one for each input topic. A batch of several topics teaches each of them its share, as estimated before, of what was
//! billed: they then learn more slowly, and the same in the end.
//!
//! The regression is right on average, half of the batches would be over the budget. So each text is estimated by a `Margin` more: a
//! quantile of how far batches were off lately. A single text may be off by far more; only sums of many are promised.

mod margin;
mod regression;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::margin::Margin;
pub use self::margin::{Drift, Seen};
use self::regression::Regression;
pub use self::shape::Shape;

/// A bill of more than so many times the first guess is no count of tokens. A vocabulary of single bytes has up to five times as many;
/// a server that puts an instruction of its own before short texts has some twenty.
const ABSURD: f64 = 32.0;

/// A change of the estimates by less is not worth estimating again what waits.
const NOTABLE: f64 = 0.01;

/// Estimates for all topics. Bounded by the number of topics.
#[derive(Clone, Debug, Default)]
pub struct Estimates {
    topics: BTreeMap<Arc<str>, Regression>,
    margin: Margin,
    /// The largest batch so far, as estimated: a smaller one says less.
    largest: f64,
    /// The factor between estimates and the ones that were last found notable.
    moved: f64,
}

impl Estimates {
    /// The tokens of a text of this shape, with the margin: at least 1.
    pub fn tokens(&self, topic: &str, shape: &Shape) -> u32 {
        let tokens = (self.expected(topic, shape) * self.margin.factor()).ceil();
        // `as` saturates, and a sum of products of finite numbers is none of the odd ones.
        (tokens as u32).max(1)
    }

    /// The most bytes of a text that may have no more than `tokens`, by the estimate of a text of this shape: where to begin to cut.
    pub fn bytes(&self, topic: &str, shape: &Shape, bytes: usize, tokens: u32) -> usize {
        let share = f64::from(tokens) / f64::from(self.tokens(topic, shape));
        (bytes as f64 * share.min(1.0)) as usize
    }

    /// Learns from a batch: the sums of its texts' shapes by topic, and what was billed for it. A bill of 0 (a cached answer) says nothing,
    /// and an absurd one neither: it would make every text too long, and what is not sent is never billed right.
    /// `true`: the estimates have changed notably since this was last said.
    pub fn observe(&mut self, parts: &BTreeMap<Arc<str>, Shape>, billed: u64) -> bool {
        let expected = parts.iter().map(|(topic, shape)| self.expected(topic, shape)).sum::<f64>();
        let most = ABSURD * parts.values().map(regression::guess).sum::<f64>();
        if billed == 0 || expected <= 0.0 || billed as f64 > most {
            return false;
        }
        let before = expected * self.margin.factor();
        let ratio = billed as f64 / expected;
        self.largest = self.largest.max(expected);
        let weight = expected / self.largest;
        self.margin.observe(ratio, weight);
        for (topic, shape) in parts {
            let regression = self.topics.entry(Arc::clone(topic)).or_default();
            let share = regression.expected(shape) * ratio;
            regression.observe(shape, share, weight);
        }
        let after = parts.iter().map(|(topic, shape)| self.expected(topic, shape)).sum::<f64>();
        self.moved = self.moved.max((after * self.margin.factor() / before).ln().abs());
        if self.moved < NOTABLE {
            return false;
        }
        self.moved = 0.0;
        true
    }

    fn expected(&self, topic: &str, shape: &Shape) -> f64 {
        self.topics
            .get(topic)
            .map_or_else(|| regression::guess(shape), |regression| regression.expected(shape))
    }
}
