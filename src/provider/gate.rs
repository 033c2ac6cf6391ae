//! The gate: requests and tokens per period, calls in flight, and the shared hold-off after a 429, a 503 or failures in a row.
//!
//! It is owned by one loop, knows no clock (`now` is passed in) and never waits: it says yes or no, and when to ask again. Its laws, whatever
//! happens: over any time `T` what is admitted is at most `burst + rate × T`; a refusal takes nothing (tokens are not lost when only requests are
//! missing, or the other way round); and what was billed beyond an estimate is paid before anything new is admitted, so that in the long
//! run the rate holds for what the provider counted.

mod bucket;
mod slots;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::bucket::Bucket;
use self::slots::Slots;
use super::stated::Stated;
use crate::config::{Limits, Rate};
use crate::domain::rate::HiddenRate;

/// The most that can be owed, in bursts: a server that reports absurd usage slows the worker down, and does not stop it for a day.
const MOST_OWED: i64 = 16;

/// The most requests that can be owed.
const MOST_REQUESTS_OWED: u32 = 16;

/// The most minutes that a full batch may take by a stated limit: with less, no call would come back to correct it.
const SLOWEST_BATCH: u64 = 10;

const MINUTE: Duration = Duration::from_secs(60);

/// When a call may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// `admit` is worth calling now.
    Now,
    /// `admit` is worth calling at this moment, not before. It may take more than one such moment where much is owed.
    At(Instant),
    /// All slots are taken: when one is given back.
    Slot,
}

/// What a call waits for: the label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Requests per period.
    Requests,
    /// Tokens per period.
    Tokens,
    /// Calls in flight.
    Slots,
    /// A hold-off that the provider asked for, or a pause of our own after failures.
    HoldOff,
    /// The rate that was found out, because nobody told it.
    Found,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 5] = [Self::Requests, Self::Tokens, Self::Slots, Self::HoldOff, Self::Found];

    /// The limit as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Slots => "slots",
            Self::HoldOff => "hold_off",
            Self::Found => "found",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Gate {
    /// Requests and tokens as the settings say.
    configured: (Option<Rate>, Option<Rate>),
    /// What the provider says about itself.
    stated: Stated,
    /// What it does not say.
    hidden: HiddenRate,
    requests: Option<(Rate, Bucket)>,
    tokens: Option<(Rate, Bucket)>,
    batch_tokens: u64,
    share: f64,
    /// Tokens still to pay for calls that are over; negative: paid in advance.
    owed: i64,
    /// Requests still to pay for calls that did not wait.
    requests_owed: u32,
    slots: Slots,
    held_until: Option<Instant>,
    /// Of that, what the provider asked for.
    asked_until: Option<Instant>,
}

impl Gate {
    /// A gate with nothing earned yet, for batches of up to `max_tokens_per_batch` tokens.
    pub fn new(limits: &Limits, max_tokens_per_batch: u64, now: Instant) -> Self {
        let (share, batch_tokens) = (1.0, max_tokens_per_batch);
        Self {
            configured: (limits.requests, limits.tokens),
            stated: Stated::default(),
            hidden: HiddenRate::default(),
            requests: limits.requests.map(|rate| (rate, Bucket::drained(rate, share, 1, now))),
            tokens: limits.tokens.map(|rate| (rate, Bucket::drained(rate, share, batch_tokens, now))),
            batch_tokens,
            share,
            owed: 0,
            requests_owed: 0,
            slots: Slots::new(limits.in_flight),
            held_until: None,
            asked_until: None,
        }
    }

    /// Lets one call of `tokens` (estimated) through, and takes its slot, its request and its tokens, with what is owed; or lets it wait.
    /// A refusal takes nothing, except where more than a burst is to pay: then parts of it are paid as they are earned.
    pub fn admit(&mut self, tokens: u64, now: Instant) -> bool {
        if self.held(now).is_some() || !self.slots.free() || !self.hidden.is_ready(now) {
            return false;
        }
        if !self.pay_excess(tokens, now) || !self.pay_requests(now) {
            return false;
        }
        if self.requests.as_ref().is_some_and(|(_, bucket)| bucket.ready_at(1, now).is_some()) {
            return false;
        }
        if let Some((_, bucket)) = &self.tokens {
            let Some(paid) = bucket.take(self.charge(tokens), now) else { return false };
            self.owed = self.owed.saturating_add(signed(tokens)).saturating_sub(signed(paid));
        }
        if let Some((_, bucket)) = &self.requests {
            bucket.take(1, now);
        }
        self.hidden.take(tokens);
        self.slots.take();
        true
    }

    /// When [`admit`](Self::admit) of `tokens` is worth calling.
    pub fn ready_at(&self, tokens: u64, now: Instant) -> Ready {
        if !self.slots.free() || self.hidden.awaits_answer() {
            return Ready::Slot;
        }
        let rates =
            self.requests_ready_at(now).max(self.tokens_ready_at(tokens, now)).max(self.hidden.ready_at(now));
        self.held(now).max(rates).map_or(Ready::Now, Ready::At)
    }

    /// What a call of `tokens` waits for; `None`: nothing.
    pub fn waiting_for(&self, tokens: u64, now: Instant) -> Option<Limit> {
        if self.held(now).is_some() {
            return Some(Limit::HoldOff);
        }
        if !self.slots.free() {
            return Some(Limit::Slots);
        }
        match (self.requests_ready_at(now), self.tokens_ready_at(tokens, now)) {
            (None, None) => {
                let found = self.hidden.awaits_answer() || self.hidden.ready_at(now).is_some();
                found.then_some(Limit::Found)
            }
            (requests, tokens) if requests > tokens => Some(Limit::Requests),
            _ => Some(Limit::Tokens),
        }
    }

    /// Settles what an answered call was billed against its estimate. The credit for too high an estimate is at most one burst.
    pub fn settle(&mut self, estimate: u64, usage: Option<u64>) {
        let (Some(usage), Some((_, bucket))) = (usage, &self.tokens) else { return };
        let burst = signed(bucket.burst());
        let owed = self.owed.saturating_add(signed(usage)).saturating_sub(signed(estimate));
        // What was paid in advance for a large call is no credit: it stays.
        self.owed = owed.max(self.owed.min(-burst)).min(burst.saturating_mul(MOST_OWED));
    }

    /// Counts a call of `tokens` that did not wait to be admitted: those after it wait the longer.
    pub fn passed(&mut self, tokens: u64) {
        if self.requests.is_some() {
            self.requests_owed = (self.requests_owed + 1).min(MOST_REQUESTS_OWED);
        }
        self.settle(0, Some(tokens));
    }

    /// Counts a call that was answered soon enough towards more slots.
    pub fn succeeded(&mut self) {
        self.slots.succeeded();
    }

    /// Takes a quarter of the slots away: once for all calls that were in flight then, since one overload makes many of them fail.
    pub fn congested(&mut self) {
        self.slots.congested();
    }

    /// Gives a call's slot back, however it ended.
    pub fn release(&mut self) {
        self.slots.give_back();
    }

    /// Lets no call start before `until`, and counts as [`congested`](Self::congested). A hold-off is never shortened by a later one.
    pub fn hold_off(&mut self, until: Instant) {
        self.rest(until);
        self.congested();
    }

    /// Lets no call start before `until`, though nobody is overloaded.
    pub fn rest(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }

    /// A hold-off that the provider asked for, not one of our own.
    pub fn hold_off_as_asked(&mut self, until: Instant) {
        self.asked_until = self.asked_until.max(Some(until));
        self.hold_off(until);
    }

    /// Ends a hold-off of our own, because the provider was found to work; one that it asked for stays.
    pub fn end_hold_off(&mut self) {
        self.held_until = self.asked_until;
    }

    /// Takes `share` (0 < share <= 1) of the rates and slots: new, drained limiters; the burst and what is owed stay, and so does one
    /// slot. The same share as before changes nothing. A share of 0 (no partitions) keeps the last one: there is nothing to send then but
    /// a probe or the end of a drain.
    pub fn set_share(&mut self, share: f64, now: Instant) {
        if !(share > 0.0 && share.is_finite()) || share.min(1.0) == self.share {
            return;
        }
        self.share = share.min(1.0);
        self.slots.set_share(self.share);
        for (part, batch) in [(&mut self.requests, 1), (&mut self.tokens, self.batch_tokens)] {
            if let Some((rate, bucket)) = part {
                *bucket = Bucket::drained(*rate, self.share, batch, now);
            }
        }
    }

    /// What the provider says about its own limits: obeyed if `follow`, where it is less than what is configured. Whether it is news.
    pub fn stated(&mut self, stated: Stated, follow: bool, now: Instant) -> bool {
        let merged = self.stated.merged(stated);
        if merged == self.stated {
            return false;
        }
        self.stated = merged;
        if follow {
            self.follow(now);
        }
        true
    }

    /// The least tokens a minute that are believed.
    pub fn least_followed(&self) -> u64 {
        self.batch_tokens / SLOWEST_BATCH
    }

    fn follow(&mut self, now: Instant) {
        let parts = [
            (&mut self.requests, self.configured.0, self.stated.requests, 1),
            (&mut self.tokens, self.configured.1, self.stated.tokens, self.batch_tokens),
        ];
        for (part, configured, stated, batch) in parts {
            let stated = stated.map(|amount| amount.max(batch / SLOWEST_BATCH));
            let Some(rate) = slower(configured, stated) else { continue };
            if part.as_ref().is_none_or(|(present, _)| *present != rate) {
                *part = Some((rate, Bucket::drained(rate, self.share, batch, now)));
            }
        }
    }

    /// Forgets the rate that was found out: the last calls of a drain have a deadline, and are few.
    pub fn unpaced(&mut self) {
        self.hidden = HiddenRate::default();
    }

    /// A call that was admitted is on the wire.
    pub fn sent(&mut self, id: u64, tokens: u64, now: Instant) {
        self.hidden.sent(id, tokens, now);
    }

    /// What became of a call: `Some(true)` if it was refused because of the rate, `None` if its end says nothing about the rate.
    pub fn ended(&mut self, id: u64, (tokens, sent): (u64, Instant), limited: Option<bool>, now: Instant) {
        match limited {
            Some(true) => self.hidden.refused(id, tokens, sent, now),
            Some(false) => self.hidden.taken(id, now),
            None => self.hidden.lost(id),
        }
    }

    /// Tokens a minute that were found out; `None`: nothing was.
    pub fn found_per_minute(&self) -> Option<f64> {
        self.hidden.per_second().map(|rate| rate * 60.0)
    }

    /// Calls in flight.
    pub fn in_flight(&self) -> usize {
        self.slots.in_flight()
    }

    /// How many calls may be in flight at present.
    pub fn slots(&self) -> usize {
        self.slots.limit()
    }

    /// Tokens still owed for calls that are over; negative: paid in advance.
    pub fn owed(&self) -> i64 {
        self.owed
    }

    /// Until when every call waits; `None`: the provider may be asked.
    pub fn held(&self, now: Instant) -> Option<Instant> {
        self.held_until.filter(|until| *until > now)
    }

    /// Until when every call waits because the provider said so.
    pub fn held_as_asked(&self, now: Instant) -> Option<Instant> {
        self.asked_until.filter(|until| *until > now)
    }

    fn charge(&self, tokens: u64) -> u64 {
        u64::try_from(self.owed.saturating_add(signed(tokens))).unwrap_or(0)
    }

    /// Pays what exceeds a burst, in pieces, first: the last piece then covers the whole call, so nothing paid lies idle while the
    /// bucket fills again.
    fn pay_excess(&mut self, tokens: u64, now: Instant) -> bool {
        while let Some((piece, bucket)) = self.excess(tokens) {
            let Some(paid) = bucket.take(piece, now) else { return false };
            self.owed = self.owed.saturating_sub(signed(paid));
        }
        true
    }

    fn pay_requests(&mut self, now: Instant) -> bool {
        let Some((_, bucket)) = &self.requests else { return true };
        while self.requests_owed > 0 {
            if bucket.take(1, now).is_none() {
                return false;
            }
            self.requests_owed -= 1;
        }
        true
    }

    fn excess(&self, tokens: u64) -> Option<(u64, &Bucket)> {
        let (_, bucket) = self.tokens.as_ref()?;
        let excess = self.charge(tokens).saturating_sub(bucket.burst());
        (excess > 0).then(|| (excess.min(bucket.burst()), bucket))
    }

    fn requests_ready_at(&self, now: Instant) -> Option<Instant> {
        self.requests.as_ref().and_then(|(_, bucket)| bucket.ready_at(1, now))
    }

    fn tokens_ready_at(&self, tokens: u64, now: Instant) -> Option<Instant> {
        match self.excess(tokens) {
            Some((piece, bucket)) => bucket.ready_at(piece, now),
            None => self.tokens.as_ref().and_then(|(_, bucket)| bucket.ready_at(self.charge(tokens), now)),
        }
    }
}

/// The slower of what is configured and what the provider says, the latter in units a minute.
fn slower(configured: Option<Rate>, stated: Option<u64>) -> Option<Rate> {
    let stated = stated.map(|amount| Rate { amount, period: MINUTE });
    match (configured, stated) {
        (Some(ours), Some(theirs)) => Some(if per_second(theirs) < per_second(ours) { theirs } else { ours }),
        (ours, theirs) => ours.or(theirs),
    }
}

fn per_second(rate: Rate) -> f64 {
    rate.amount as f64 / rate.period.as_secs_f64()
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
