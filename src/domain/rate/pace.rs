//! A pace that was found: kept, and tried upwards now and then.

use std::time::{Duration, Instant};

/// How long what is found of close calls is kept before it is tried upwards, and the growth a second then.
pub(super) const SETTLING: Duration = Duration::from_secs(3);
const SETTLING_GROWTH: f64 = 0.03;
/// What is asked of what was found.
pub(super) const MARGIN: f64 = 0.95;
/// How long a pace is kept before it is tried upwards.
pub(super) const QUIET: Duration = Duration::from_secs(110);
/// The same after the limit has fallen, at first.
pub(super) const QUIET_FALLEN: Duration = Duration::from_secs(4);
/// After a fall the wait is this part of the time since then.
const FALLEN_PART: u32 = 8;
/// Growth a second of a pace that is kept: what was found a little too low is made good, and a little too high is refused seldom.
const DRIFT: f64 = 0.0005;
/// Growth a second while trying upwards, at most, and after a fall.
const GROWTH: f64 = 0.25;
/// Growth a second at the beginning of a try; it doubles in `GROWTH_DOUBLES`.
const GROWTH_FIRST: f64 = 0.01;
const GROWTH_DOUBLES: f64 = 6.0;
/// A pace that this factor was added to without refusal says that the limit is another.
pub(super) const ANOTHER: f64 = 1.6;
/// Refusals with this many calls taken between them are not of one cause.
const FEW: u32 = 4;
/// So many refusals at what was found with calls taken between them are more than a rate found a little too high explains: each lowers it.
const ODD: u32 = 2;
/// How long a former rate must be taken before it is believed again.
const BELIEVED: Duration = Duration::from_secs(8);
/// A pace that held nobody back for this long is not what limits.
const UNBOUND: Duration = Duration::from_secs(3);
/// What may be saved up, in seconds of the pace.
const SAVED_UP: f64 = 0.5;

/// A pace that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Tokens a second, as found.
    pub(super) best: f64,
    /// The same, lowered by refusals since.
    pub(super) base: f64,
    /// Tokens a second at present: more than `base` while trying upwards.
    pub(super) rate: f64,
    /// Tokens saved up; negative: still to be waited for.
    pub(super) level: f64,
    pub(super) at: Instant,
    /// When it is tried upwards.
    pub(super) quiet_until: Instant,
    /// When it held a call back last.
    pub(super) bound_at: Instant,
    /// Since when the limit is less than it was, and what it was.
    pub(super) fallen: Option<(Instant, f64)>,
    /// Since when the former rate is tried.
    pub(super) former_since: Option<Instant>,
    /// Whether what was found is still to be made sure of.
    pub(super) settling: bool,
    /// Calls taken while trying upwards.
    pub(super) taken: u32,
    /// Refusals one after the other at what was found, and the calls taken since the last.
    pub(super) strikes: (u32, u32),
    /// Refusals at what was found with calls taken between them.
    pub(super) odd: u32,
    /// Whether calls are so large that one refusal is much: then what was found does not grow by itself.
    pub(super) coarse: bool,
}

/// What a refusal says.
pub(super) enum Judged {
    /// As much as before, or a little less.
    Same,
    /// Between what was found and what was tried.
    Measured,
    /// It is another limit: it has to be found again.
    Another,
    /// Nothing: calls are refused now and then, however slow they come.
    Chance,
}

impl Pace {
    pub(super) fn is_trying(&self) -> bool {
        self.rate > self.base * 1.02
    }

    pub(super) fn found(&mut self, base: f64, quiet: Duration, now: Instant) {
        self.best = base;
        self.again(base, quiet, now);
    }

    fn again(&mut self, base: f64, quiet: Duration, now: Instant) {
        (self.base, self.rate) = (base, base);
        self.quiet_until = now + quiet;
        (self.former_since, self.settling, self.taken) = (None, false, 0);
    }

    pub(super) fn refused(&mut self, now: Instant) -> Judged {
        let (trying, taken, grown) = (self.is_trying(), self.taken, self.rate / self.base);
        let again = self.strikes.1 < FEW;
        if trying && let Some((since, _)) = self.fallen {
            if taken >= 3 && grown > ANOTHER {
                return Judged::Another;
            }
            let quiet = now.saturating_duration_since(since) / FALLEN_PART;
            self.again(self.base, quiet.clamp(QUIET_FALLEN, QUIET), now);
            return Judged::Same;
        }
        if trying {
            return Judged::Measured;
        }
        self.odd += u32::from(!again);
        if self.odd > ODD {
            return Judged::Chance;
        }
        self.strikes = (if again { self.strikes.0 + 1 } else { 1 }, 0);
        let lower = match self.strikes.0 {
            1 => 0.97,
            2 => 0.9,
            _ => return Judged::Another,
        };
        let quiet = self.quiet_until.saturating_duration_since(now);
        self.again(self.base * lower, quiet, now);
        Judged::Same
    }

    /// Lets time pass: what is saved up, and a pace that is tried upwards.
    pub(super) fn pass(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.level = (self.level + seconds * self.rate).min(self.rate * SAVED_UP);
        let bound = now.saturating_duration_since(self.bound_at) < UNBOUND;
        if !bound {
            return;
        }
        if now < self.quiet_until {
            if self.fallen.is_none() && !self.coarse {
                self.base *= 1.0 + DRIFT * seconds.min(1.0);
                self.rate = self.base;
            }
            return;
        }
        match self.fallen {
            Some((_, former)) => {
                self.rate = (self.rate * (1.0 + GROWTH * seconds.min(1.0))).min(former);
                if self.rate >= former {
                    let since = *self.former_since.get_or_insert(now);
                    if now.saturating_duration_since(since) >= BELIEVED {
                        self.fallen = None;
                        // It was found coarsely, and a fall lasts longer than one refusal more.
                        self.found(former, if self.coarse { Duration::ZERO } else { QUIET }, now);
                        self.settling = self.coarse;
                    }
                }
            }
            None => {
                let trying = now.saturating_duration_since(self.quiet_until).as_secs_f64();
                let growth = (GROWTH_FIRST * (trying / GROWTH_DOUBLES).exp2()).min(GROWTH);
                let growth = if self.settling { growth.max(SETTLING_GROWTH) } else { growth };
                self.rate *= 1.0 + growth * seconds.min(1.0);
            }
        }
    }
}
