//! What a failed call means for the records in it: again, smaller, taken apart, or a dead letter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::charge::{Accused, Charge, Doubt};
use super::publish::Outcome;
use super::work::{Entry, Work};
use super::{Pipeline, Sink, now};
use crate::domain::batcher::Size;
use crate::domain::bisect::{Search, Step};
use crate::domain::caps::Kind;
use crate::domain::record::RejectReason;
use crate::provider::{Attempts, CallOutcome, Cap, Embedder, Failure, SuspendReason, Verdict};

/// So many refusals at the door, with successes of others between them, are not the door's.
const PATIENCE: u32 = 12;

/// The longest back-off of a batch that fails while others succeed.
const SOON: Duration = Duration::from_secs(5);

/// The longest pause between calls that fail one after the other.
const REST: Duration = Duration::from_secs(1);

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
    /// Acts on a failed call. `before` is how many calls had succeeded when it was sent.
    pub(super) fn failed(&mut self, mut work: Work, failure: Failure, before: u64) {
        let now = now();
        if !self.taken_back(&mut work) {
            self.go_on_without(work, now);
            return;
        }
        if !self.accused.is_empty() && work.search.is_none() && failure.outcome != CallOutcome::RateLimited {
            // A search is expected to fail; where others do as well it may be an outage.
            self.ask_canary(now);
        }
        match failure.verdict {
            Verdict::Retry { after, hold_off, attempts, then, meanwhile } => {
                let doubt = match attempts {
                    Attempts::Unlimited => Doubt::Grave,
                    Attempts::Few(_) => Doubt::Some,
                    Attempts::Configured if hold_off => Doubt::Some,
                    Attempts::Configured => Doubt::Slight,
                };
                let charge = Charge { reason: then, otherwise: meanwhile, message: failure.message, doubt };
                self.again(work, failure.outcome, attempts, (after, hold_off), charge, now);
            }
            Verdict::Shrink(cap) => self.shrink(work, cap, &failure.message, now),
            Verdict::Bisect { reason, clear, otherwise } => {
                // A server that fails may do so by chance; one that refuses has looked.
                let failed = failure.outcome == CallOutcome::ServerError;
                let doubt = if failed { Doubt::Some } else { Doubt::Slight };
                let charge = Charge { reason, otherwise, message: failure.message, doubt };
                if clear || work.is_lone() || work.search.is_some() || self.successes > before {
                    self.convict(work, &charge, now);
                } else {
                    self.accuse(work, charge);
                    self.ask_canary(now);
                }
            }
            Verdict::Suspend { why, .. } if why.may_be_a_records() => {
                self.suspect(work, why, failure.message, now);
            }
            Verdict::Suspend { why, fatal_at_start } => {
                work.due = now;
                self.waiting.push_back(work);
                self.suspend(why, &failure.message, fatal_at_start, now);
            }
        }
    }

    /// What speaks of the settings or of access may be about one record's words: a firewall's page, a text that is quoted back. The canary
    /// tells.
    fn suspect(&mut self, work: Work, why: SuspendReason, message: String, now: Instant) {
        self.note_failure(why, &message);
        self.rest(now);
        let charge = Charge { reason: RejectReason::Rejected, otherwise: why, message, doubt: Doubt::Grave };
        if work.is_lone() {
            self.convict(work, &charge, now);
        } else {
            self.accuse(work, charge);
        }
        self.ask_canary(now);
    }

    /// Takes a call's records back from the wire, without those that left meanwhile. `false`: none is left.
    pub(super) fn taken_back(&mut self, work: &mut Work) -> bool {
        for entry in &work.entries {
            self.ledger.unsent(entry.id);
        }
        let ledger = &self.ledger;
        work.keep(&*self.embedder, |entry| ledger.is_open(entry.id))
    }

    /// The same bytes once more, unless its attempts are used up while others succeed.
    fn again(
        &mut self,
        mut work: Work,
        outcome: CallOutcome,
        attempts: Attempts,
        (after, hold_off): (Option<Duration>, bool),
        charge: Charge,
        now: Instant,
    ) {
        work.failures += 1;
        let delay = self.backoff.delay(work.failures, after, self.jitter.f64());
        let labels = [self.metrics.model(), outcome.as_str()];
        self.metrics.api_retries_total.with_label_values(&labels).inc();
        if hold_off {
            self.hold_off(after, now);
        } else {
            self.rest(now);
        }
        if charge.otherwise == SuspendReason::Timeout {
            self.gate.congested();
        }
        let before = work.patience.counted();
        let counted = work.patience.failed(self.successes);
        // While others succeed, time heals little.
        work.due = now + if counted > before && after.is_none() { delay.min(SOON) } else { delay };
        let most = match attempts {
            Attempts::Unlimited if work.is_lone() && outcome == CallOutcome::RateLimited => {
                // It says nothing about a record. If it lasts it is told as an outage.
                self.note_failure(charge.otherwise, &charge.message);
                self.waiting.push_back(work);
                return;
            }
            // Nor does this, unless it is this batch alone, again and again.
            Attempts::Unlimited => PATIENCE,
            // A half that only seems bad costs its search a few calls. Retries would cost some at every turn. An overload makes all
            // seem bad, one after the other down to single records.
            _ if work.search.is_some() && !work.is_lone() && !hold_off => 1,
            Attempts::Configured => self.config.retry.attempts,
            Attempts::Few(retries) => retries.saturating_add(1),
        };
        self.note_failure(charge.otherwise, &charge.message);
        if counted >= most {
            self.convict(work, &charge, now);
            return;
        }
        let told_nothing = work.failures > 1 && counted == before;
        let is_alone = self.running.is_empty() && (work.failures > 1 || work.search.is_some());
        let may_ask = attempts != Attempts::Unlimited || after.is_none();
        if (told_nothing || is_alone) && may_ask && self.suspension.is_none() {
            // Nothing else is tried that could tell an outage from a bad record.
            self.ask_canary_sometimes(now);
        }
        self.waiting.push_back(work);
    }

    /// Where calls fail and none has succeeded since, none starts for as long as that has lasted, up to a second: fewer calls are in vain, and
    /// records that come meanwhile fill batches.
    fn rest(&mut self, now: Instant) {
        if let Some((since, Some(_))) = &self.failing {
            let lasted = now.saturating_duration_since(*since).min(REST);
            self.gate.rest(now + lasted.mul_f64(1.0 - self.jitter.f64() / 2.0));
        }
    }

    /// No call starts for a while: longer, if it was said or if nothing has succeeded since the last time. One that is refused again and
    /// again while others succeed slows nobody down but itself.
    pub(super) fn hold_off(&mut self, hint: Option<Duration>, now: Instant) {
        if self.gate.held(now).is_none() {
            self.congested = self.congested.saturating_add(1);
        }
        let delay = self.backoff.delay(self.congested, hint, self.jitter.f64());
        match hint {
            Some(_) => self.gate.hold_off_as_asked(now + delay),
            None => self.gate.hold_off(now + delay),
        }
    }

    /// Cuts a batch that is too big. What the provider takes is concluded once it has taken the parts: from what it told, or from their size.
    fn shrink(&mut self, work: Work, cap: Cap, message: &str, now: Instant) {
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
    fn uncut(&mut self, work: &Work) {
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

    fn accuse(&mut self, work: Work, charge: Charge) {
        self.accused.push(Accused { work, charge, after: self.ids });
    }

    /// Whether the last accused waits for the canary: no call is on the wire that was sent after its error came, or a drain waits.
    pub(super) fn needs_the_canary(&self) -> bool {
        let Some(last) = self.accused.last() else { return false };
        let is_newer = |call: &u64| *call > last.after;
        !self.running.keys().any(is_newer) || !self.revokes.is_empty()
    }

    /// A call succeeded: whoever was accused before it was sent is guilty.
    pub(super) fn proven(&mut self, call: u64, now: Instant) {
        for accused in self.accused.extract_if(.., |accused| accused.after < call).collect::<Vec<_>>() {
            let Accused { mut work, charge, .. } = accused;
            if !work.is_lone() || work.sent > 1 {
                self.convict(work, &charge, now);
            } else if work.refusals < charge.doubt.refusals() {
                // Perhaps all were refused for a moment.
                work.due = match charge.doubt {
                    Doubt::Grave => now + self.backoff.delay(work.refusals, None, self.jitter.f64()),
                    Doubt::Slight | Doubt::Some => now,
                };
                self.waiting.push_back(work);
            } else if let Some(entry) = work.entries.pop() {
                self.reject(entry, &charge, work.attempts, now);
            }
        }
    }

    /// A call's records are bad, or the error is nobody's: one is a dead letter once that is proven, of many the bad ones are looked
    /// for.
    fn convict(&mut self, mut work: Work, charge: &Charge, now: Instant) {
        if work.entries.len() < work.sent {
            // The bad one may be among those that left meanwhile.
            self.waiting.push_back(work);
            return;
        }
        self.uncut(&work);
        if work.is_lone() && work.search.is_none() {
            work.refusals += 1;
            self.accuse(work, charge.clone());
            return;
        }
        let entries = std::mem::take(&mut work.entries);
        let search = match work.search.take() {
            None => Search::new(entries),
            Some(mut search) => {
                search.failed(entries);
                search
            }
        };
        self.go_on(search, work.attempts, Some(charge), now);
    }

    /// Takes a search to its next call.
    pub(super) fn go_on(
        &mut self,
        mut search: Search<Arc<Entry>>,
        attempts: u32,
        charge: Option<&Charge>,
        now: Instant,
    ) {
        // What left while the others were on the wire is not paid for.
        search.remove(|entry| !self.ledger.is_open(entry.id));
        loop {
            match search.next_step() {
                Step::Done => return,
                Step::Bad(entry) => match charge {
                    // The rest of the search goes on meanwhile, and may prove it.
                    Some(charge) => {
                        let mut work =
                            Work::new(&*self.embedder, vec![entry], attempts, None, self.successes, now);
                        work.refusals = charge.doubt.searched();
                        self.accuse(work, charge.clone());
                    }
                    // Only a failed call makes a lone record bad, and a failed call brings its charge.
                    None => self.once_more(entry, attempts, now),
                },
                Step::Try(entries) => {
                    let work =
                        Work::new(&*self.embedder, entries, attempts, Some(search), self.successes, now);
                    self.waiting.push_back(work);
                    return;
                }
            }
        }
    }

    /// Takes a search on whose records on trial were given up: it goes on with the other half.
    pub(super) fn go_on_without(&mut self, mut work: Work, now: Instant) {
        if let Some(mut search) = work.search.take() {
            search.succeeded();
            self.go_on(search, work.attempts, None, now);
        }
    }

    fn reject(&mut self, entry: Arc<Entry>, charge: &Charge, attempts: u32, now: Instant) {
        if !self.ledger.is_open(entry.id) {
            return;
        }
        if !self.dead_letter_rate.allows(now) {
            let message = format!("too many dead letters, the last: {}", charge.message);
            self.once_more(entry, attempts, now);
            self.suspend(SuspendReason::DeadLetterRate, &message, false, now);
            return;
        }
        let record = &entry.record;
        warn!(
            topic = &*record.topic,
            partition = record.partition,
            offset = record.offset.0,
            reason = charge.reason.as_str(),
            why = charge.message,
            "dead letter"
        );
        let outcome = Outcome::dead_letter(record, charge.reason, &charge.message, attempts);
        let outcome = self.placed(outcome);
        // A lane that closed meanwhile was asked for above.
        self.ledger.ready(entry.id, outcome).ok();
    }

    fn once_more(&mut self, entry: Arc<Entry>, attempts: u32, now: Instant) {
        let work = Work::new(&*self.embedder, vec![entry], attempts, None, self.successes, now);
        self.waiting.push_back(work);
    }
}
