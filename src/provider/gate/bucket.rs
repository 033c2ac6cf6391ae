//! One rate: a governor limiter that can be asked without being charged.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::config::Rate;

/// The finest grain, in nanoseconds, at which a unit of the limiter is replenished. governor counts whole nanoseconds a unit, so at
/// 10 us rounding costs at most 0.01 % of the rate; faster rates count several tokens as one unit.
const GRAIN: u128 = 10_000;
/// The longest time, in nanoseconds, in which a whole burst may be replenished (some 70 years): sums of it cannot overflow.
const SLOWEST_BURST: u128 = 1 << 61;
/// What may be saved up, in nanoseconds of the rate: one second, less what the way to the provider may squeeze together. With a whole
/// second, a provider whose bucket is one second refused a call after every stall.
const SAVED_UP: u128 = 950_000_000;
/// A share is counted in billionths, so that a rate is divided exactly and never rounded up.
const SHARE_PARTS: u128 = 1_000_000_000;

/// governor's clock: the `now` that the caller passed in.
#[derive(Debug, Default)]
struct Told(AtomicU64);

impl Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.load(Relaxed))
    }
}

#[derive(Debug, Default)]
struct State {
    /// When the bucket will be full again, in governor's terms the theoretical arrival time.
    full_at: AtomicU64,
    asking: AtomicBool,
}

/// governor's state, which is only written while nobody is merely asking: governor itself has no way to look without taking.
/// One owner uses it, so loads and stores need no ordering.
#[derive(Clone, Debug, Default)]
struct Store(Arc<State>);

impl StateStore for Store {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (measured, next) = measure(Some(Nanos::new(self.0.full_at.load(Relaxed))))?;
        if !self.0.asking.load(Relaxed) {
            self.0.full_at.store(next.as_u64(), Relaxed);
        }
        Ok(measured)
    }
}

/// A rate with a burst, empty when made.
#[derive(Debug)]
pub(super) struct Bucket {
    limiter: RateLimiter<NotKeyed, Store, Told, NoOpMiddleware<Nanos>>,
    store: Store,
    origin: Instant,
    /// How many requests or tokens are one unit of the limiter.
    unit: u64,
    burst: NonZeroU32,
}

impl Bucket {
    /// An empty bucket that is filled by `share` of `rate` up to `max(batch, 0.95 s of the whole rate)`.
    pub(super) fn drained(rate: Rate, share: f64, batch: u64, now: Instant) -> Self {
        let amount = u128::from(rate.amount.max(1));
        let period = rate.period.as_nanos().max(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=10^9")]
        let parts = (share * SHARE_PARTS as f64).floor().clamp(1.0, SHARE_PARTS as f64) as u128;
        let unit = (GRAIN * amount).div_ceil(period).max(1);
        let each = period
            .saturating_mul(unit)
            .saturating_mul(SHARE_PARTS)
            .div_ceil(amount.saturating_mul(parts))
            .clamp(1, SLOWEST_BURST);
        let second = amount.saturating_mul(SAVED_UP) / period;
        let burst = second.max(u128::from(batch)).div_ceil(unit).clamp(1, (SLOWEST_BURST / each).max(1));
        let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        let each = Duration::from_nanos(u64::try_from(each).unwrap_or(u64::MAX));
        // `with_period` has no answer to a period of 0 only, and `each` is at least 1 ns.
        let quota = Quota::with_period(each).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        let store = Store::default();
        let bucket = Self {
            limiter: RateLimiter::new(quota.allow_burst(burst), store.clone(), Told::default()),
            store,
            origin: now,
            unit: u64::try_from(unit).unwrap_or(u64::MAX),
            burst,
        };
        // Nothing was earned yet: a burst at the start is what makes the first minute twice the limit.
        bucket.take(bucket.burst(), now);
        bucket
    }

    /// The most that can be taken at once.
    pub(super) fn burst(&self) -> u64 {
        self.unit.saturating_mul(u64::from(self.burst.get()))
    }

    /// Takes `amount`, or nothing. Says what was taken: whole units, so it may be a little more.
    pub(super) fn take(&self, amount: u64, now: Instant) -> Option<u64> {
        let Some(units) = self.units(amount) else { return Some(0) };
        self.tell(now);
        matches!(self.limiter.check_n(units), Ok(Ok(())))
            .then(|| u64::from(units.get()).saturating_mul(self.unit))
    }

    /// When `amount` (at most the burst) can be taken; `None`: now.
    pub(super) fn ready_at(&self, amount: u64, now: Instant) -> Option<Instant> {
        let units = self.units(amount)?;
        self.tell(now);
        self.store.0.asking.store(true, Relaxed);
        let asked = self.limiter.check_n(units);
        self.store.0.asking.store(false, Relaxed);
        match asked {
            Ok(Ok(())) => None,
            Ok(Err(not_until)) => Some(now + not_until.wait_time_from(self.limiter.clock().now())),
            // More than the burst: never at once. `units` has seen to it that this is not asked.
            Err(_) => None,
        }
    }

    /// Units for an amount, never more than the burst; `None` for none.
    fn units(&self, amount: u64) -> Option<NonZeroU32> {
        let units = amount.div_ceil(self.unit);
        NonZeroU32::new(u32::try_from(units).unwrap_or(u32::MAX)).map(|units| units.min(self.burst))
    }

    fn tell(&self, now: Instant) {
        let nanos = now.saturating_duration_since(self.origin).as_nanos();
        // A clock that steps back is no reason to give anything out twice.
        self.limiter.clock().0.fetch_max(u64::try_from(nanos).unwrap_or(u64::MAX >> 1), Relaxed);
    }
}
