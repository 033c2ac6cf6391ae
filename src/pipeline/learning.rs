//! What a bill tells of token counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use super::work::{Entry, Work};
use super::{Pipeline, Sink};
use crate::domain::batcher::Size;
use crate::domain::estimate::{Drift, Seen, Shape};
use crate::domain::ledger::SlotId;
use crate::domain::record::{Record, Text};
use crate::input::counting::Learned;
use crate::provider::Embedder;

/// So many bills of characters one after another are no chance.
const NO_CHANCE: u32 = 3;

/// How tokens are counted, seen from the loop.
#[derive(Debug, Default)]
pub(super) struct Learning {
    /// `None`: they are counted exactly.
    estimates: Option<Learned>,
    prefix: Shape,
    drift: Drift,
    /// Bills of characters in a row.
    by_characters: u32,
}

/// Whether what was billed for these texts, sent with this before them, is their number of characters: infinity bills so unless it is started with
/// `--lengths-via-tokenize`. It strips white space first; somebody else may not.
pub(super) fn counts_characters(billed: u64, entries: &[Arc<Entry>], prefix: &str) -> bool {
    let count = |text: &str| text.chars().count() as u64;
    let tokens: u64 = entries.iter().map(|entry| u64::from(entry.text.tokens)).sum();
    if billed == tokens {
        return false;
    }
    let whole: u64 = entries.iter().map(|entry| count(prefix) + count(&entry.text.text)).sum();
    let start = prefix.trim_start();
    let stripped = entries.iter().map(|entry| match start {
        "" => count(entry.text.text.trim()),
        _ => count(start) + count(entry.text.text.trim_end()),
    });
    billed == whole || billed == stripped.sum::<u64>()
}

impl<E: Embedder, S: Sink> Pipeline<E, S> {
    /// With these estimates, which it teaches; `None`: tokens are counted exactly.
    #[must_use]
    pub fn learning(mut self, estimates: Option<Learned>) -> Self {
        let prefix = Shape::of(&self.config.provider.prefix);
        self.learning = Learning { estimates, prefix, ..Learning::default() };
        self
    }

    /// Puts a text where texts wait. Its tokens are estimated anew: much may have been learned since it was polled.
    pub(super) fn batch(&mut self, id: SlotId, record: Arc<Record>, text: Text, now: Instant) {
        let bytes = (text.text.len() + self.config.provider.prefix.len()) as u64;
        let (tokens, shape) = match &self.learning.estimates {
            None => (u64::from(text.tokens), None),
            Some(learned) => {
                let shape = Shape::of(&text.text).after(&self.learning.prefix);
                (u64::from(learned.estimates().tokens(&record.topic, &shape)), Some(shape))
            }
        };
        self.batcher.push(Arc::new(Entry { id, record, text, bytes, shape }), tokens, bytes, now);
    }

    /// Learns from what was billed for a call.
    pub(super) fn learn(&mut self, work: &Work, estimate: u64, billed: Option<u64>) {
        let Some(billed) = billed.filter(|billed| *billed > 0 && estimate > 0) else { return };
        let ratio = billed as f64 / estimate as f64;
        self.metrics.token_estimate_ratio.with_label_values(&[self.metrics.model()]).observe(ratio);
        let Some(learned) = &self.learning.estimates else {
            if let Some(seen) = self.learning.drift.observe(billed, estimate) {
                warn_of(seen);
            }
            return;
        };
        let mut parts: BTreeMap<Arc<str>, Shape> = BTreeMap::new();
        // Records that left since were billed all the same; which ones is not known any more.
        if work.sent != work.entries.len() {
            return;
        }
        for entry in &work.entries {
            if let Some(shape) = &entry.shape {
                parts.entry(Arc::clone(&entry.record.topic)).or_default().add(shape);
            }
        }
        let mut estimates = learned.estimates();
        if estimates.observe(&parts, billed) {
            let tokens = |entry: &Arc<Entry>| {
                let shape = entry.shape.as_ref();
                let tokens = shape.map(|shape| estimates.tokens(&entry.record.topic, shape));
                u64::from(tokens.unwrap_or(entry.text.tokens))
            };
            self.batcher.weigh(tokens);
        }
    }

    /// Says once that bills count characters.
    pub(super) fn billed_by_characters(&mut self, characters: bool) {
        let said = self.learning.by_characters >= NO_CHANCE;
        if said {
            return;
        }
        self.learning.by_characters = if characters { self.learning.by_characters + 1 } else { 0 };
        if self.learning.by_characters == NO_CHANCE {
            warn!(
                "the provider bills characters, not tokens: its bills are left aside, and tokens are counted here (infinity counts tokens with \
                 --lengths-via-tokenize)"
            );
        }
    }

    /// The tokens of a closed batch as the batcher knows them: newer than those of its texts.
    pub(super) fn weighed(&self, mut work: Work, size: &Size) -> Work {
        if self.learning.estimates.is_some() {
            work.tokens = size.tokens;
        }
        work
    }
}

fn warn_of(seen: Seen) {
    match seen {
        Seen::Less(ratio) => warn!(
            ratio = format_args!("{ratio:.2}"),
            "the provider bills fewer tokens than were counted: the model has another tokenizer (set provider.tokenizer), or the server cuts texts \
             without a word"
        ),
        Seen::More(ratio) => warn!(
            ratio = format_args!("{ratio:.2}"),
            "the provider bills more tokens than were counted: the model has another tokenizer (set provider.tokenizer), or the server puts something \
             before each text"
        ),
    }
}
