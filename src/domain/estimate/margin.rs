//! How far estimates are off.

use std::collections::VecDeque;

/// Batches that are remembered.
const WINDOW: usize = 128;
/// The part of them that the margin covers.
const QUANTILE: f64 = 0.99;
/// The margin before anything was seen.
const FIRST: f64 = 0.25;
/// The least margin: a quantile of what was seen says little of what comes.
const LEAST: f64 = 0.045;
/// Beyond the quantile.
const BEYOND: f64 = 0.02;
/// A batch so much smaller than the largest says nothing of full ones: its error is greater.
const TELLING: f64 = 0.4;

/// A factor on estimates, from the errors of the last batches.
#[derive(Clone, Debug, Default)]
pub(super) struct Margin {
    ratios: VecDeque<f64>,
    factor: Option<f64>,
}

impl Margin {
    pub(super) fn factor(&self) -> f64 {
        self.factor.unwrap_or(1.0 + FIRST)
    }

    /// Takes in what was billed for a batch, as a part of what was expected. `weight`: its size, as a part of the largest.
    pub(super) fn observe(&mut self, ratio: f64, weight: f64) {
        if weight < TELLING {
            return;
        }
        if self.ratios.len() == WINDOW {
            self.ratios.pop_front();
        }
        self.ratios.push_back(ratio);
        let mut sorted: Vec<f64> = self.ratios.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at = ((sorted.len() as f64 * QUANTILE) as usize).min(sorted.len() - 1);
        let seen = (sorted[at] - 1.0 + BEYOND).max(LEAST);
        // The fewer were seen, the less their worst says.
        let few = FIRST / (1.0 + sorted.len() as f64 / 3.0);
        self.factor = Some(1.0 + seen.max(few).min(1.0));
    }
}

/// Calls whose ratio is averaged.
const CALLS: usize = 20;
/// How far the average may be from 1.
const TOLERANCE: f64 = 0.1;

/// What was billed beside what was counted, over the last calls: far from 1 for an exact tokenizer, it is the wrong one, or the server cuts texts.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    calls: VecDeque<(u64, u64)>,
    said: bool,
}

/// What [`Drift`] has to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// So much of what was counted was billed: less.
    Less(f64),
    /// So much of what was counted was billed: more.
    More(f64),
}

impl Drift {
    /// Takes in a call; says once that the average of the last 20 is off by more than a tenth.
    pub fn observe(&mut self, billed: u64, counted: u64) -> Option<Seen> {
        if self.said || billed == 0 || counted == 0 {
            return None;
        }
        self.calls.push_back((billed, counted));
        if self.calls.len() > CALLS {
            self.calls.pop_front();
        }
        if self.calls.len() < CALLS {
            return None;
        }
        let sum =
            |part: fn(&(u64, u64)) -> u64| self.calls.iter().map(part).fold(0, u64::saturating_add) as f64;
        let ratio = sum(|call| call.0) / sum(|call| call.1);
        let seen = if ratio < 1.0 - TOLERANCE {
            Seen::Less(ratio)
        } else if ratio > 1.0 + TOLERANCE {
            Seen::More(ratio)
        } else {
            return None;
        };
        self.said = true;
        self.calls.clear();
        Some(seen)
    }
}
