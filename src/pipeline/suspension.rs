//! Suspension: the gate is closed, the provider is probed, nothing is judged; and the canary, which decides what an unclear
//! error means.

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::charge::{Accused, Doubt};
use super::{Ended, Pipeline, Sink, now};
use crate::admin::SuspendedBy;
use crate::provider::{Attempts, CallOutcome, Embedder, Failure, SuspendReason, Verdict};

/// A suspension that follows another within so many of its intervals is the same one.
const RECURS: u32 = 4;
/// The least time between a probe that failed late and the next, and between canaries for work that fails alone.
const LEAST_BETWEEN: Duration = Duration::from_secs(1);

/// Nothing is sent until a probe succeeds.
pub(super) struct Suspension {
    why: SuspendReason,
    message: String,
    next: Instant,
    interval: Duration,
    since: Instant,
    /// When the last probe that failed was sent.
    failed: Option<Instant>,
    /// The last call that was sent before: what succeeds of those says nothing.
    after: u64,
    /// Nobody succeeded: then any success ends it, not only the canary's.
    outage: bool,
}

impl Suspension {
    pub(super) fn probe_at(&self) -> Instant {
        self.next
    }
}

/// The one canary call that may be on its way.
#[derive(Debug, Default)]
pub(super) struct Canary {
    in_flight: bool,
    asked: Option<Instant>,
    /// Not for the accused's sake before this: it failed by chance.
    not_before: Option<Instant>,
    /// When it ended a suspension, and how long that one's probes waited for each other.
    resumed: Option<(Instant, Duration)>,
}

impl<E: Embedder, S: Sink> Pipeline<E, S> {
    /// Closes the gate. The first reason stands until a probe tells another.
    pub(super) fn suspend(&mut self, why: SuspendReason, message: &str, fatal_at_start: bool, now: Instant) {
        if fatal_at_start && self.successes == 0 {
            if self.ended.is_none() && !self.draining {
                self.misconfigured(why, message);
            }
            return;
        }
        if self.suspension.is_some() || self.draining {
            return;
        }
        let probe = &self.config.provider.probe;
        // Records are refused, not calls: a harmless word gets through whatever it is worth.
        let first = if why == SuspendReason::DeadLetterRate { probe.cap } else { probe.first };
        // A harmless word gets through where nothing else does: an account with a cent left.
        let first = match self.canary.resumed {
            Some((at, interval)) if now.saturating_duration_since(at) < interval * RECURS => {
                interval.saturating_mul(2).clamp(first, probe.cap.max(first))
            }
            _ => first,
        };
        let suspension = Suspension {
            why,
            message: message.to_owned(),
            next: now + first,
            interval: first,
            since: now,
            failed: None,
            after: self.ids,
            outage: false,
        };
        error!(reason = why.as_str(), why = message, "suspended: nothing is sent until a probe succeeds");
        self.metrics.suspended.with_label_values(&[why.as_str()]).set(1);
        self.suspension = Some(suspension);
        self.show_suspension();
    }

    fn misconfigured(&mut self, why: SuspendReason, message: &str) {
        error!(reason = why.as_str(), why = message, "the provider refuses the settings; the worker stops");
        self.draining = true;
        self.stopping = Some(Ended::Misconfigured(why, message.to_owned()));
        (self.ends.leave)();
    }

    fn show_suspension(&self) {
        if let Some(suspension) = &self.suspension {
            let next = Some(suspension.next.into());
            self.health.suspend(
                SuspendedBy::Provider,
                suspension.why.as_str(),
                suspension.message.clone(),
                next,
            );
        }
    }

    /// Sends the canary when a probe is due.
    pub(super) fn probe(&mut self, now: Instant) {
        let Some(suspension) = &mut self.suspension else { return };
        if now < suspension.next || self.draining {
            return;
        }
        if let Some(until) = self.gate.held_as_asked(now).filter(|_| suspension.outage) {
            // The provider said when to ask again.
            suspension.next = until;
            self.show_suspension();
            return;
        }
        // The next probe is set when this one has failed; this only keeps the deadline from being now.
        suspension.next = now + suspension.interval.max(Duration::from_secs(1));
        if !self.canary.in_flight {
            self.embedder.refresh_key();
            self.canary_leaves(now);
        }
    }

    /// Sends the canary if none is on its way. While suspended only a probe does, when it is due.
    pub(super) fn ask_canary(&mut self, now: Instant) {
        if self.suspension.is_none() {
            self.canary_leaves(now);
        }
    }

    fn canary_leaves(&mut self, now: Instant) {
        if !self.canary.in_flight {
            self.canary.in_flight = true;
            self.canary.asked = Some(now);
            self.send_canary(now);
        }
    }

    /// Asks now and then, for work that fails while nothing else is tried.
    pub(super) fn ask_canary_sometimes(&mut self, now: Instant) {
        let pause = self.least_between();
        let lately = |at: Instant| now.saturating_duration_since(at) < pause;
        if !self.canary.asked.is_some_and(lately) {
            self.ask_canary(now);
        }
    }

    fn least_between(&self) -> Duration {
        LEAST_BETWEEN.min(self.config.provider.probe.cap)
    }

    /// Asks for the accused's sake, where nothing else may prove them guilty.
    pub(super) fn ask_for_the_accused(&mut self, now: Instant) {
        if self.canary_due(now).is_some_and(|due| due <= now) {
            self.ask_canary(now);
        }
    }

    /// When the canary is to be asked for the accused's sake.
    pub(super) fn canary_due(&self, now: Instant) -> Option<Instant> {
        if self.suspension.is_some() || self.canary.in_flight || !self.needs_the_canary() {
            return None;
        }
        // Where all that is accused is nearly sure to be the settings', a word a second is enough.
        let grave = self.accused.iter().all(|accused| accused.charge.doubt == Doubt::Grave);
        let rested = self.canary.asked.filter(|_| grave).map(|asked| asked + self.least_between());
        Some(self.gate.held(now).max(self.canary.not_before).max(rested).unwrap_or(now))
    }

    /// Whoever is accused is tried again: a harmless word fares no better.
    /// `successes`: how many there had been when it was sent.
    pub(super) fn canary_failed(&mut self, failure: Failure, successes: u64, now: Instant) {
        self.canary.in_flight = false;
        let accused = std::mem::take(&mut self.accused);
        let otherwise = accused.first().map(|accused| accused.charge.otherwise);
        // Others were answered meanwhile: it stands behind them in a queue.
        let queued = failure.outcome == CallOutcome::Timeout && self.successes > successes;
        let may_pass = matches!(
            failure.verdict,
            Verdict::Retry { attempts: Attempts::Unlimited | Attempts::Configured, .. }
        );
        let by_chance = queued || may_pass;
        let (why, fatal) = reason(&failure, otherwise);
        let mut due = now;
        if fatal && self.successes == 0 {
            self.suspend(why, &failure.message, fatal, now);
        } else if self.suspension.is_some() {
            self.probe_failed(why, &failure.message, now);
        } else if by_chance {
            self.note_failure(why, &failure.message);
            due += self.backoff.delay(1, hint(&failure), 1.0);
            self.canary.not_before = Some(due);
            if failure.outcome == CallOutcome::RateLimited {
                self.hold_off(hint(&failure), now);
            }
        } else {
            // Neither chance nor a record: the words, or a page of a proxy, that everybody gets.
            self.suspend(why, &failure.message, fatal, now);
        }
        self.waiting.extend(accused.into_iter().map(|Accused { mut work, .. }| {
            work.due = due;
            if !by_chance {
                // It was refused as everything was.
                work.refusals = 0;
            }
            work
        }));
    }

    fn probe_failed(&mut self, why: SuspendReason, message: &str, now: Instant) {
        let cap = self.config.provider.probe.cap;
        let Some(suspension) = &mut self.suspension else { return };
        suspension.interval = suspension.interval.saturating_mul(2).min(cap);
        // From one probe to the next, not from a probe's end: one that hangs must not make the next late.
        let asked = self.canary.asked.unwrap_or(now);
        suspension.failed = Some(asked);
        suspension.next = (asked + suspension.interval).max(now + suspension.interval.min(LEAST_BETWEEN));
        if suspension.why != why {
            self.metrics.suspended.with_label_values(&[suspension.why.as_str()]).set(0);
            self.metrics.suspended.with_label_values(&[why.as_str()]).set(1);
            suspension.why = why;
        }
        message.clone_into(&mut suspension.message);
        self.show_suspension();
    }

    fn resume(&mut self, by_canary: bool, now: Instant) {
        let Some(suspension) = self.suspension.take() else { return };
        self.canary.resumed = Some((now, suspension.interval));
        self.metrics.suspended.with_label_values(&[suspension.why.as_str()]).set(0);
        let seconds = now.saturating_duration_since(suspension.since).as_secs_f64();
        info!(reason = suspension.why.as_str(), seconds, "the probe succeeded, going on");
        self.health.resume(SuspendedBy::Provider);
        if suspension.why != SuspendReason::DeadLetterRate {
            self.dead_letter_rate.reset();
        }
        self.failing = None;
        self.gate.end_hold_off();
        let slowest = self.slowest;
        if !by_canary {
            // A call from before is answered: so will be those behind it.
        } else if let Some(failed) = suspension.failed {
            // Nothing was answered then.
            self.give_up_calls(now, |call| call.sent < failed);
        } else if suspension.outage && !slowest.is_zero() {
            // It healed before it was told. A provider that has grown so slow is believed the second time.
            self.give_up_calls(now, |call| {
                let waited = now.saturating_duration_since(call.sent);
                call.sent < suspension.since && waited > slowest * 2 && !call.was_given_up()
            });
        }
        // Whatever was in back-off failed for the outage's sake.
        self.cuts.clear();
        for work in &mut self.waiting {
            work.due = now;
            work.failures = 0;
            work.part_of = None;
        }
    }

    /// No call succeeds for a while although some are tried: that is an outage, whatever each failure said.
    pub(super) fn watch_for_outage(&mut self, now: Instant) {
        if self.running.is_empty() && self.waiting.is_empty() && self.accused.is_empty() {
            // Nothing is tried: that nothing succeeds says nothing.
            self.failing = None;
        }
        if self.outage_deadline().is_none_or(|at| now < at) || self.suspension.is_some() {
            return;
        }
        let Some((_, last)) = &self.failing else { return };
        match last.clone() {
            Some((why, message)) => self.suspend(why, &message, false, now),
            None => {
                let seconds = self.config.provider.unready_after.as_secs();
                let message = format!("no call has been answered for {seconds} s");
                self.suspend(SuspendReason::Timeout, &message, false, now);
            }
        }
        if let Some(suspension) = &mut self.suspension {
            suspension.outage = true;
        }
    }

    /// A call succeeded: an outage is over, and if it was the canary so is any suspension. Who is guilty is seen after that, since it may
    /// suspend again.
    pub(super) fn call_succeeded(&mut self, id: u64, is_canary: bool, now: Instant) {
        self.successes += 1;
        self.congested = 0;
        self.failing = (!self.running.is_empty()).then_some((now, None));
        if is_canary {
            self.canary.in_flight = false;
        }
        let ends = |suspension: &Suspension| suspension.outage || (is_canary && id > suspension.after);
        if self.suspension.as_ref().is_some_and(ends) {
            self.resume(is_canary, now);
        }
        self.proven(id, now);
    }

    pub(super) fn outage_deadline(&self) -> Option<Instant> {
        let (since, _) = self.failing.as_ref()?;
        Some(*since + self.config.provider.unready_after)
    }

    /// Remembers why nothing succeeds.
    pub(super) fn note_failure(&mut self, why: SuspendReason, message: &str) {
        let since = self.failing.as_ref().map_or_else(now, |(since, _)| *since);
        self.failing = Some((since, Some((why, message.to_owned()))));
    }
}

fn hint(failure: &Failure) -> Option<Duration> {
    match failure.verdict {
        Verdict::Retry { after, .. } => after,
        _ => None,
    }
}

fn reason(failure: &Failure, otherwise: Option<SuspendReason>) -> (SuspendReason, bool) {
    match &failure.verdict {
        Verdict::Suspend { why, fatal_at_start } => (*why, *fatal_at_start),
        // A harmless word's vector is too short as well: no retry makes it longer.
        Verdict::Retry { meanwhile, .. } => (*meanwhile, *meanwhile == SuspendReason::WrongDimensions),
        // The same answer to a harmless word as to the record: a configuration error.
        Verdict::Bisect { otherwise, .. } => (*otherwise, true),
        Verdict::Shrink(_) => (otherwise.unwrap_or(SuspendReason::BadRequest), true),
    }
}
