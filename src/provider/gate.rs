//! The gate: requests and tokens per period, calls in flight, and the shared hold-off after a 429 or 503.
//!
//! governor's `per_minute(n)` lets a whole minute through at once and knows no refund. So the quota is the rate with a burst of
//! one batch or one second, whichever is more, it starts drained, and a signed `owed` settles what an estimate got wrong.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::config::{Limits, Rate};

/// governor's clock: the `now` that the caller passed in last.
#[derive(Clone, Debug)]
struct Passed(Arc<AtomicU64>);

impl Clock for Passed {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Ordering::Relaxed))
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Passed, NoOpMiddleware<Nanos>>;

/// One rate.
#[derive(Debug)]
struct Bucket {
    limiter: Limiter,
    burst: u64,
    /// Already taken for the call at the head.
    paid: u64,
}

impl Bucket {
    /// A drained bucket of `rate × share`; `None` where a rate is too high to be one.
    fn drained(rate: Rate, share: f64, burst: u64, clock: &Passed) -> Option<Self> {
        let each = rate.period.as_secs_f64() / (rate.amount as f64 * share);
        let quota = Quota::with_period(Duration::try_from_secs_f64(each).ok()?)?;
        let burst = u32::try_from(burst.max(1)).unwrap_or(u32::MAX);
        let most = NonZeroU32::new(burst)?;
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(most), clock.clone());
        // Emptied; a burst that was never earned is what a provider's own bucket refuses.
        limiter.check_n(most).ok()?.ok()?;
        Some(Self { limiter, burst: u64::from(burst), paid: 0 })
    }

    /// Takes what is missing of `need`; how long to wait where it cannot be had yet.
    fn pay(&mut self, need: u64, clock: &Passed) -> Result<(), Duration> {
        while self.paid < need {
            let piece = (need - self.paid).min(self.burst);
            let Some(count) = u32::try_from(piece).ok().and_then(NonZeroU32::new) else { break };
            match self.limiter.check_n(count) {
                Ok(Ok(())) => self.paid += piece,
                Ok(Err(not_yet)) => return Err(not_yet.wait_time_from(clock.now())),
                Err(_) => break,
            }
        }
        Ok(())
    }
}

/// When a call may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Now, as far as is known.
    Now,
    /// Not before this moment.
    At(Instant),
    /// When a slot is given back.
    Slot,
}

/// What a call waits for: the label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests per period.
    Requests,
    /// Tokens per period.
    Tokens,
    /// Calls in flight.
    Slots,
    /// The hold-off that a provider asked for.
    HoldOff,
}

impl Limit {
    /// The limit as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Slots => "slots",
            Self::HoldOff => "hold_off",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Gate {
    clock: Passed,
    origin: Instant,
    settings: (Option<Rate>, Option<Rate>),
    token_burst: u64,
    share: f64,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// Tokens that estimates fell short of (or, negative, exceeded) what was billed.
    owed: i64,
    slots: usize,
    in_flight: usize,
    hold_off: Option<Instant>,
    /// What the last refusal waits for, and until when.
    not_before: Option<(Limit, Instant)>,
}

impl Gate {
    /// A gate with drained limits. The burst of tokens is one batch or one second of the rate, whichever is more.
    pub fn new(limits: &Limits, max_tokens_per_batch: u64, now: Instant) -> Self {
        let mut gate = Self {
            clock: Passed(Arc::new(AtomicU64::new(0))),
            origin: now,
            settings: (limits.requests, limits.tokens),
            token_burst: max_tokens_per_batch.max(limits.tokens.map_or(0, one_second)),
            share: 1.0,
            requests: None,
            tokens: None,
            owed: 0,
            slots: limits.in_flight.max(1),
            in_flight: 0,
            hold_off: None,
            not_before: None,
        };
        gate.drain();
        gate
    }

    fn drain(&mut self) {
        let (requests, tokens) = self.settings;
        let (share, clock) = (self.share, &self.clock);
        self.requests = requests.and_then(|rate| Bucket::drained(rate, share, one_second(rate), clock));
        self.tokens = tokens.and_then(|rate| Bucket::drained(rate, share, self.token_burst, clock));
        self.not_before = None;
    }

    /// Lets a call in: takes a slot, one request and its tokens. What was paid for a call that must still wait is kept.
    pub fn admit(&mut self, tokens: u64, now: Instant) -> bool {
        self.set(now);
        if self.in_flight >= self.slots || self.hold_off.is_some_and(|until| now < until) {
            return false;
        }
        let charge = i64::try_from(tokens).unwrap_or(i64::MAX).saturating_add(self.owed);
        let need = u64::try_from(charge).unwrap_or(0);
        let paid = self.tokens.as_mut().map_or(Ok(()), |bucket| bucket.pay(need, &self.clock));
        let paid = paid.map_err(|wait| (Limit::Tokens, wait)).and_then(|()| {
            let requests = self.requests.as_mut();
            requests
                .map_or(Ok(()), |bucket| bucket.pay(1, &self.clock))
                .map_err(|wait| (Limit::Requests, wait))
        });
        if let Err((limit, wait)) = paid {
            self.not_before = Some((limit, now + wait));
            return false;
        }
        for (bucket, need) in [(&mut self.tokens, need), (&mut self.requests, 1)] {
            if let Some(bucket) = bucket {
                bucket.paid = bucket.paid.saturating_sub(need);
            }
        }
        self.owed = charge.min(0);
        self.not_before = None;
        self.in_flight += 1;
        true
    }

    /// When a call may start, from what the last `admit` found out.
    pub fn ready_at(&self, _tokens: u64, now: Instant) -> Ready {
        match (
            self.in_flight >= self.slots,
            self.hold_off.into_iter().chain(self.not_before.map(|(_, at)| at)).max(),
        ) {
            (true, _) => Ready::Slot,
            (false, Some(at)) if now < at => Ready::At(at),
            (false, _) => Ready::Now,
        }
    }

    /// What a call waits for now.
    pub fn waiting_for(&self, _tokens: u64, now: Instant) -> Option<Limit> {
        if self.in_flight >= self.slots {
            return Some(Limit::Slots);
        }
        if self.hold_off.is_some_and(|until| now < until) {
            return Some(Limit::HoldOff);
        }
        self.not_before.filter(|(_, at)| now < *at).map(|(limit, _)| limit)
    }

    /// Settles what a call was billed against what it was charged. Credit is at most one burst.
    pub fn settle(&mut self, estimate: u64, usage: Option<u64>) {
        let Some(usage) = usage else { return };
        let signed = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        let owed = self.owed.saturating_add(signed(usage)).saturating_sub(signed(estimate));
        self.owed = owed.max(-signed(self.token_burst));
    }

    /// Gives a slot back.
    pub fn release(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Lets nothing in before this moment.
    pub fn hold_off(&mut self, until: Instant) {
        self.hold_off = Some(self.hold_off.map_or(until, |other| other.max(until)));
    }

    /// Takes this share of the rates, in `(0, 1]`: new, drained limits; what is owed stays owed. Never of the burst or the slots.
    pub fn set_share(&mut self, share: f64, now: Instant) {
        if (share - self.share).abs() > f64::EPSILON {
            self.set(now);
            self.share = share.clamp(1e-6, 1.0);
            self.drain();
        }
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Calls that may be in flight.
    pub fn slots(&self) -> usize {
        self.slots
    }

    fn set(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        self.clock.0.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn one_second(rate: Rate) -> u64 {
    (rate.amount as f64 / rate.period.as_secs_f64().max(1e-9)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(requests: Option<u64>, tokens: Option<u64>, now: Instant) -> Gate {
        let rate = |amount: u64| Rate { amount, period: Duration::from_secs(60) };
        let limits = Limits {
            requests: requests.map(rate),
            tokens: tokens.map(rate),
            in_flight: 16,
            ..Limits::default()
        };
        Gate::new(&limits, 32_768, now)
    }

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[test]
    fn tokens_per_minute_hold_in_the_first_minute_and_are_used() {
        let start = start();
        let mut gate = gate(None, Some(600_000), start);
        let mut admitted = 0;
        for millis in 0..60_000 {
            let now = start + Duration::from_millis(millis);
            while gate.admit(20_000, now) {
                admitted += 20_000;
                gate.release();
            }
        }
        assert!((580_000..=600_000).contains(&admitted), "{admitted} tokens");
    }

    #[test]
    fn what_a_call_was_billed_is_settled() {
        let start = start();
        let mut gate = gate(None, Some(600_000), start);
        let mut billed = 0;
        for millis in 0..60_000 {
            let now = start + Duration::from_millis(millis);
            while gate.admit(10_000, now) {
                billed += 15_000;
                gate.settle(10_000, Some(15_000));
                gate.release();
            }
        }
        assert!((570_000..=615_000).contains(&billed), "{billed} tokens");
    }

    #[test]
    fn slots_and_hold_off_are_said() {
        let start = start();
        let mut gate = gate(None, None, start);
        for _ in 0..16 {
            assert!(gate.admit(1, start));
        }
        assert!(!gate.admit(1, start));
        assert_eq!(gate.ready_at(1, start), Ready::Slot);
        gate.release();
        let later = start + Duration::from_secs(5);
        gate.hold_off(later);
        assert!(!gate.admit(1, start));
        assert_eq!(gate.ready_at(1, start), Ready::At(later));
        assert_eq!(gate.waiting_for(1, start), Some(Limit::HoldOff));
        assert!(gate.admit(1, later));
    }

    #[test]
    fn a_share_divides_the_rate() {
        let start = start();
        let mut gate = gate(Some(6_000), None, start);
        gate.set_share(0.5, start);
        let admitted = (0..10_000)
            .filter(|millis| {
                let admitted = gate.admit(1, start + Duration::from_millis(*millis));
                gate.release();
                admitted
            })
            .count();
        assert!((480..=501).contains(&admitted), "{admitted} requests in 10 s of 50 a second");
    }
}
