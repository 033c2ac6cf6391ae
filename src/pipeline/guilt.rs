//! What a failed call means for the records in it: again, smaller, taken apart, or a dead letter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::charge::{Accused, Charge, Doubt};
use super::publish::Outcome;
use super::work::{Entry, Work};
use super::{Pipeline, Sink, now};
use crate::domain::bisect::{Search, Step};
use crate::domain::record::RejectReason;
use crate::provider::{Attempts, CallOutcome, Embedder, Failure, SuspendReason, Verdict};

/// So many refusals at the door, with successes of others between them, are not the door's.
const PATIENCE: u32 = 12;

/// So many of them are no chance: nobody else waits for it, and the half of a search is bad.
const ITS_OWN: u32 = 3;

/// The longest back-off of a batch that fails while others succeed.
const SOON: Duration = Duration::from_secs(5);

/// The longest pause between calls that fail one after the other.
const REST: Duration = Duration::from_secs(1);

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
        self.ask_canary_sometimes(now);
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
        let before = work.patience.counted();
        let counted = work.patience.failed(self.successes);
        if hold_off && outcome != CallOutcome::RateLimited && counted >= ITS_OWN {
            // Others get through the door, so it is kept shut for this batch only.
        } else if hold_off {
            self.hold_off(after, now);
        } else {
            self.rest(now);
        }
        if charge.otherwise == SuspendReason::Timeout {
            self.gate.congested();
        }
        // While others succeed, time heals little.
        work.due = now + if counted > before && after.is_none() { delay.min(SOON) } else { delay };
        let most = match attempts {
            Attempts::Unlimited if work.is_lone() && outcome == CallOutcome::RateLimited => {
                // It says nothing about a record. If it lasts it is told as an outage.
                self.note_failure(charge.otherwise, &charge.message);
                if let Some(mut search) = work.search.take() {
                    // The others are not to wait for it.
                    search.succeeded();
                    self.go_on(search, work.attempts, None, now);
                }
                self.waiting.push_back(work);
                return;
            }
            // Nor does this, unless it is this batch alone, again and again.
            Attempts::Unlimited if work.search.is_some() && !work.is_lone() => ITS_OWN,
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
            } else if work.refusals < charge.doubt.refusals()
                || !work.is_refused_for(charge.doubt.time(), now)
            {
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
    pub(super) fn convict(&mut self, mut work: Work, charge: &Charge, now: Instant) {
        if work.entries.len() < work.sent {
            // The bad one may be among those that left meanwhile.
            self.waiting.push_back(work);
            return;
        }
        self.uncut(&work);
        if work.is_lone() && work.search.is_none() {
            work.refusals += 1;
            work.refused_since.get_or_insert(now);
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
                        work.refused_since = Some(now);
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
