//! Suspension: the gate is closed, the provider is probed, nothing is judged; and the canary, which decides what an unclear
//! error means.

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::{Ended, Pipeline, Sink, now};
use crate::admin::SuspendedBy;
use crate::provider::{CallOutcome, Embedder, Failure, SuspendReason, Verdict};

/// How long the canary's word holds.
const WORD_HOLDS: Duration = Duration::from_secs(30);

/// Nothing is sent until a probe succeeds.
pub(super) struct Suspension {
    why: SuspendReason,
    message: String,
    next: Instant,
    interval: Duration,
    since: Instant,
    /// Nobody succeeded: then any success ends it, not only the canary's.
    outage: bool,
}

impl Suspension {
    pub(super) fn probe_at(&self) -> Option<Instant> {
        Some(self.next)
    }
}

/// The one canary call that may be on its way.
#[derive(Debug, Default)]
pub(super) struct Canary {
    in_flight: bool,
    succeeded: Option<Instant>,
    asked: Option<Instant>,
}

impl Canary {
    /// Whether it has succeeded lately.
    pub(super) fn vouches(&self, now: Instant) -> bool {
        self.succeeded.is_some_and(|at| now.saturating_duration_since(at) < WORD_HOLDS)
    }
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
        let first = self.config.provider.probe.first;
        let suspension = Suspension {
            why,
            message: message.to_owned(),
            next: now + first,
            interval: first,
            since: now,
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
        if let Some(until) = self.gate.held(now).filter(|_| suspension.outage) {
            // The provider said when to ask again.
            suspension.next = until;
            self.show_suspension();
            return;
        }
        // The next probe is set when this one has failed; this only keeps the deadline from being now.
        suspension.next = now + suspension.interval.max(Duration::from_secs(1));
        if !self.canary.in_flight {
            self.embedder.refresh_key();
            self.ask_canary(now);
        }
    }

    /// Sends the canary if none is on its way.
    pub(super) fn ask_canary(&mut self, now: Instant) {
        if !self.canary.in_flight {
            self.canary.in_flight = true;
            self.canary.asked = Some(now);
            self.send_canary(now);
        }
    }

    /// Asks now and then, for work that fails while nothing else is tried.
    pub(super) fn ask_canary_sometimes(&mut self, now: Instant) {
        let lately = |at: Instant| now.saturating_duration_since(at) < self.config.provider.probe.cap;
        if !self.canary.asked.is_some_and(lately) {
            self.ask_canary(now);
        }
    }

    pub(super) fn canary_answered(&mut self, result: Result<(), Failure>, now: Instant) {
        self.canary.in_flight = false;
        match result {
            Ok(()) => {
                self.canary.succeeded = Some(now);
                self.resume(now);
                for (work, charge) in std::mem::take(&mut self.accused) {
                    self.convict(work, &charge, now);
                }
            }
            Err(failure) => {
                let accused = std::mem::take(&mut self.accused);
                // The configuration is at fault: nobody is guilty, and what the canary's own failure says is the reason.
                let otherwise = accused.first().map(|(_, charge)| charge.otherwise);
                self.waiting.extend(accused.into_iter().map(|(work, _)| work));
                let (why, fatal) = reason(&failure, otherwise);
                if fatal && self.successes == 0 {
                    self.suspend(why, &failure.message, fatal, now);
                } else if self.suspension.is_some() {
                    self.probe_failed(why, &failure.message, now);
                } else if failure.outcome == CallOutcome::RateLimited {
                    // It says nothing about anybody: the accused are tried again.
                    self.gate.hold_off(now + self.backoff.delay(1, None, 1.0));
                } else if otherwise.is_some() || matches!(failure.verdict, Verdict::Suspend { .. }) {
                    self.suspend(why, &failure.message, fatal, now);
                }
            }
        }
    }

    fn probe_failed(&mut self, why: SuspendReason, message: &str, now: Instant) {
        let cap = self.config.provider.probe.cap;
        let Some(suspension) = &mut self.suspension else { return };
        suspension.interval = suspension.interval.saturating_mul(2).min(cap);
        suspension.next = now + suspension.interval;
        if suspension.why != why {
            self.metrics.suspended.with_label_values(&[suspension.why.as_str()]).set(0);
            self.metrics.suspended.with_label_values(&[why.as_str()]).set(1);
            suspension.why = why;
        }
        message.clone_into(&mut suspension.message);
        self.show_suspension();
    }

    fn resume(&mut self, now: Instant) {
        let Some(suspension) = self.suspension.take() else { return };
        self.metrics.suspended.with_label_values(&[suspension.why.as_str()]).set(0);
        let seconds = now.saturating_duration_since(suspension.since).as_secs_f64();
        info!(reason = suspension.why.as_str(), seconds, "the probe succeeded, going on");
        self.health.resume(SuspendedBy::Provider);
        if suspension.why != SuspendReason::DeadLetterRate {
            self.dead_letter_rate.reset();
        }
        self.failing = None;
        // Whatever was in back-off failed for the outage's sake.
        for work in &mut self.waiting {
            work.due = now;
            work.failures = 0;
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

    /// A call succeeded that was already on the wire: an outage is over.
    pub(super) fn call_succeeded(&mut self, now: Instant) {
        self.successes += 1;
        self.failing = (!self.running.is_empty()).then_some((now, None));
        if self.suspension.as_ref().is_some_and(|suspension| suspension.outage) {
            self.resume(now);
        }
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
