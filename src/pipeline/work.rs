//! One batch's life: its records, its bytes, its attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::domain::batcher::Size;
use crate::domain::bisect::Search;
use crate::domain::estimate::Shape;
use crate::domain::ledger::SlotId;
use crate::domain::record::{Record, Text};
use crate::domain::retry::Patience;
use crate::provider::Embedder;

/// A text on its way to the provider.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: SlotId,
    pub(super) record: Arc<Record>,
    pub(super) text: Text,
    /// Of the text and what is sent before it.
    pub(super) bytes: u64,
    /// What its tokens are estimated by, where they are.
    pub(super) shape: Option<Shape>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// What is sent as one call, again and again until it is done. Not shown by `Debug`: its body holds texts.
pub(super) struct Work {
    pub(super) entries: Vec<Arc<Entry>>,
    /// Retries send the same bytes: a provider's cache may answer them for free.
    pub(super) body: Bytes,
    pub(super) tokens: u64,
    /// Calls so far in which these records were sent.
    pub(super) attempts: u32,
    /// Records in the last call: more than `entries` if some have left since.
    pub(super) sent: usize,
    /// Failures in a row of these bytes: the back-off's exponent.
    pub(super) failures: u32,
    pub(super) patience: Patience,
    /// While the bad records of a refused batch are being looked for.
    pub(super) search: Option<Search<Arc<Entry>>>,
    /// If it is a part of a batch that was too big: which.
    pub(super) part_of: Option<u64>,
    /// How often it was refused alone, each time with a success after it.
    pub(super) refusals: u32,
    /// Since when.
    pub(super) refused_since: Option<Instant>,
    /// Whether it was taken back from a call that hung.
    pub(super) given_up: bool,
    pub(super) due: Instant,
}

impl Work {
    pub(super) fn new<E: Embedder>(
        embedder: &E,
        entries: Vec<Arc<Entry>>,
        attempts: u32,
        search: Option<Search<Arc<Entry>>>,
        successes: u64,
        due: Instant,
    ) -> Self {
        let (body, tokens) = write(embedder, &entries);
        let patience = Patience::new(successes);
        Self {
            entries,
            body,
            tokens,
            attempts,
            sent: 0,
            failures: 0,
            patience,
            search,
            part_of: None,
            refusals: 0,
            refused_since: None,
            given_up: false,
            due,
        }
    }

    /// Leaves out what was given up. `false`: nothing is left to send.
    pub(super) fn keep<E: Embedder>(&mut self, embedder: &E, mut keep: impl FnMut(&Entry) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| keep(entry));
        if let Some(search) = &mut self.search {
            search.remove(|entry| !keep(entry));
        }
        if self.entries.len() != before && !self.entries.is_empty() {
            (self.body, self.tokens) = write(embedder, &self.entries);
            // It is smaller than the part that was cut: that this is taken says nothing.
            self.part_of = None;
        }
        !self.entries.is_empty()
    }

    pub(super) fn size(&self) -> Size {
        let bytes = self.entries.iter().map(|entry| entry.bytes).sum();
        Size { tokens: self.tokens, records: self.entries.len(), bytes }
    }

    /// Whether its refusals alone began so long ago.
    pub(super) fn is_refused_for(&self, time: Duration, now: Instant) -> bool {
        self.refused_since.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }

    /// Whether it is one record.
    pub(super) fn is_lone(&self) -> bool {
        self.entries.len() == 1
    }
}

fn write<E: Embedder>(embedder: &E, entries: &[Arc<Entry>]) -> (Bytes, u64) {
    let texts: Vec<&str> = entries.iter().map(|entry| entry.text.text.as_str()).collect();
    (embedder.body(&texts), entries.iter().map(|entry| u64::from(entry.text.tokens)).sum())
}
