//! Batches that are too big for the provider: cut, and learned from.

use std::time::Instant;

use tracing::info;

use super::charge::{Charge, Doubt};
use super::work::Work;
use super::{Pipeline, Sink};
use crate::domain::batcher::Size;
use crate::domain::caps::Kind;
use crate::domain::record::RejectReason;
use crate::provider::{Cap, Embedder, SuspendReason};

/// A batch that was too big, and is sent in parts.
pub(super) struct Cut {
    kind: Kind,
    /// Records whose part is not taken yet.
    left: usize,
    /// The largest part that was taken.
    taken: Size,
    /// What the refusal told, and its message. It may be a text that was quoted back: the parts tell.
    told: Option<(u64, String)>,
}

impl<E: Embedder, S: Sink> Pipeline<E, S> {
    /// Cuts a batch that is too big. What the provider takes is concluded once it has taken the parts: from what it told, or from their size.
    pub(super) fn shrink(&mut self, work: Work, cap: Cap, message: &str, now: Instant) {
        if work.is_lone() || work.search.is_some() {
            let reason = RejectReason::TooLarge;
            let (otherwise, message) = (SuspendReason::BadRequest, message.to_owned());
            let charge = Charge { reason, otherwise, message, doubt: Doubt::Slight };
            self.convict(work, &charge, now);
            return;
        }
        let (kind, told) = match cap {
            Cap::Records(told) => (Kind::Records, told.map(|told| told as u64)),
            Cap::Tokens(told) => (Kind::Tokens, told),
            Cap::Bytes(told) => (Kind::Bytes, told.map(|told| told as u64)),
        };
        // A limit that this batch keeps is not why it was refused.
        let told = told.filter(|told| *told > 0 && *told < kind.of(&work.size()));
        let records = work.entries.len();
        let mut most = records.div_ceil(2);
        if let (Some(told), Kind::Records) = (told, kind) {
            most = usize::try_from(told).unwrap_or(most);
        }
        let told = told.map(|told| (told, message.to_owned()));
        let cut = match (told, work.part_of) {
            (None, Some(cut)) => Some(cut),
            (told, _) => {
                self.uncut(&work);
                Some(self.cut(kind, records, told))
            }
        };
        for part in work.entries.chunks(most) {
            let mut part =
                Work::new(&*self.embedder, part.to_vec(), work.attempts, None, self.successes, now);
            part.part_of = cut;
            self.waiting.push_back(part);
        }
    }

    fn cut(&mut self, kind: Kind, records: usize, told: Option<(u64, String)>) -> u64 {
        self.ids += 1;
        self.cuts.insert(self.ids, Cut { kind, left: records, taken: Size::default(), told });
        self.ids
    }

    /// One record of it is refused alone, or was given up: its size may have said nothing of the others.
    pub(super) fn uncut(&mut self, work: &Work) {
        if let Some(cut) = work.part_of {
            self.cuts.remove(&cut);
        }
    }

    /// A part of a refused batch was taken. Once all are, its size mattered.
    pub(super) fn part_taken(&mut self, work: &Work, now: Instant) {
        let Some(id) = work.part_of else { return };
        let Some(cut) = self.cuts.get_mut(&id) else { return };
        let size = work.size();
        cut.left = cut.left.saturating_sub(size.records);
        if cut.kind.of(&size) > cut.kind.of(&cut.taken) {
            cut.taken = size;
        }
        if cut.left > 0 {
            return;
        }
        let Some(cut) = self.cuts.remove(&id) else { return };
        let before = *self.caps.limits();
        let why = match cut.told {
            Some((told, why)) => {
                self.caps.told(cut.kind, told);
                why
            }
            None => {
                self.caps.taken(cut.kind, &cut.taken, now);
                "a larger batch was refused, its parts were taken".to_owned()
            }
        };
        if *self.caps.limits() != before {
            self.limits_changed(&why);
        }
    }

    /// Tries larger batches again, when that is due.
    pub(super) fn grow(&mut self, now: Instant) {
        if self.caps.grow(now) {
            self.limits_changed("the provider may take larger batches again");
        }
    }

    fn limits_changed(&mut self, why: &str) {
        let limits = *self.caps.limits();
        info!(
            records = limits.max_records,
            tokens = limits.max_tokens,
            bytes = limits.max_bytes,
            why,
            "batches have other limits from now on"
        );
        self.batcher.set_limits(limits);
        self.show_limits();
    }
}
