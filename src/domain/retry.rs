//! How long to wait, and how often to try: decided from numbers alone.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Exponential back-off with full jitter; a server's hint comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first wait; it doubles with each attempt.
    pub base: Duration,
    /// The highest bound.
    pub cap: Duration,
    /// The longest hint that is obeyed; longer ones count as this.
    pub hint_cap: Duration,
}

/// A longer hint is never lengthened.
const LEAST_HEEDED: Duration = Duration::from_secs(5);

impl Backoff {
    /// How long to wait before the next attempt, after `failures` of them (from 1). `jitter` is drawn by the caller from
    /// `[0, 1)`. Without a hint the wait is uniform in `(0, min(cap, base × 2^(failures − 1)))` ("full jitter", AWS
    /// Architecture Blog, 2015); with one it is the hint and up to a tenth more, so that a crowd does not return at once, and from the second
    /// failure on no less than the wait without it (of up to five seconds): hints of a millisecond were seen.
    /// No settings are too large: what exceeds the longest `Duration` counts as that.
    pub fn delay(&self, failures: u32, hint: Option<Duration>, jitter: f64) -> Duration {
        let jitter = if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) };
        let own = |failures: u32| {
            let doublings = failures.saturating_sub(1).min(31);
            times(self.base.saturating_mul(1 << doublings).min(self.cap), jitter)
        };
        match hint {
            None => own(failures),
            Some(hint) => {
                let asked = times(hint.min(self.hint_cap), 1.0 + jitter / 10.0);
                if failures < 2 { asked } else { asked.max(own(failures - 1).min(LEAST_HEEDED)) }
            }
        }
    }
}

/// `Duration::mul_f64` without its panic. The factor is positive and finite.
fn times(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// Outage or poison? A failed attempt counts against a batch only if something else succeeded since its previous one:
/// while nobody succeeds it is an outage, and waiting is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    counted: u32,
    seen: u64,
}

impl Patience {
    /// Starts counting; `successes` is how many calls have succeeded so far.
    pub fn new(successes: u64) -> Self {
        Self { counted: 0, seen: successes }
    }

    /// How many failures count so far.
    pub fn counted(&self) -> u32 {
        self.counted
    }

    /// Notes a failure; returns how many count so far.
    pub fn failed(&mut self, successes: u64) -> u32 {
        if successes > self.seen {
            self.counted += 1;
        }
        self.seen = successes;
        self.counted
    }
}

/// The share of records that may become dead letters for the provider's sake. A worker that rejects more is not finding bad
/// records: something else is wrong.
///
/// Outcomes of one sixtieth of the window are remembered together, by the first of them: memory is bounded whatever the rate of
/// calls, and an outcome is forgotten at the window's end or up to a sixtieth of it earlier.
#[derive(Clone, Debug)]
pub struct DeadLetterRate {
    share: f64,
    window: Duration,
    buckets: VecDeque<Bucket>,
    all: usize,
    rejected: usize,
}

/// Outcomes that came nearly at once.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    since: Instant,
    all: usize,
    rejected: usize,
}

/// Parts of the window: there is at most one bucket more.
const PARTS: u32 = 60;

/// Below this many outcomes a share says nothing.
const ENOUGH: usize = 20;

impl DeadLetterRate {
    /// `share` in `0..=1` of the outcomes within `window`.
    pub fn new(share: f64, window: Duration) -> Self {
        Self { share, window, buckets: VecDeque::new(), all: 0, rejected: 0 }
    }

    /// Notes that this many records were embedded.
    pub fn embedded(&mut self, records: usize, now: Instant) {
        self.note(records, false, now);
    }

    /// Whether one more dead letter stays within the share; if so it is noted.
    pub fn allows(&mut self, now: Instant) -> bool {
        self.expire(now);
        let (all, rejected) = (self.all + 1, self.rejected + 1);
        if all >= ENOUGH && rejected as f64 > self.share * all as f64 {
            return false;
        }
        self.note(1, true, now);
        true
    }

    /// Forgets what was: the provider was found to work.
    pub fn reset(&mut self) {
        self.buckets.clear();
        (self.all, self.rejected) = (0, 0);
    }

    fn note(&mut self, records: usize, rejected: bool, now: Instant) {
        self.expire(now);
        let rejected = if rejected { records } else { 0 };
        self.all += records;
        self.rejected += rejected;
        let width = (self.window / PARTS).max(Duration::from_nanos(1));
        match self.buckets.back_mut() {
            Some(bucket) if now.saturating_duration_since(bucket.since) < width => {
                bucket.all += records;
                bucket.rejected += rejected;
            }
            _ => self.buckets.push_back(Bucket { since: now, all: records, rejected }),
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(bucket) = self.buckets.front().copied()
            && now.saturating_duration_since(bucket.since) > self.window
        {
            self.buckets.pop_front();
            self.all -= bucket.all;
            self.rejected -= bucket.rejected;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff {
        base: Duration::from_millis(500),
        cap: Duration::from_secs(60),
        hint_cap: Duration::from_secs(60),
    };

    #[test]
    fn back_off_doubles_up_to_its_cap() {
        assert_eq!(BACKOFF.delay(1, None, 1.0), Duration::from_millis(500));
        assert_eq!(BACKOFF.delay(2, None, 1.0), Duration::from_secs(1));
        assert_eq!(BACKOFF.delay(8, None, 1.0), Duration::from_secs(60));
        assert_eq!(BACKOFF.delay(u32::MAX, None, 1.0), Duration::from_secs(60));
        assert_eq!(BACKOFF.delay(3, None, 0.0), Duration::ZERO);
    }

    #[test]
    fn a_hint_is_obeyed_up_to_its_cap() {
        assert_eq!(BACKOFF.delay(9, Some(Duration::from_secs(2)), 0.0), Duration::from_secs(2));
        assert_eq!(BACKOFF.delay(1, Some(Duration::from_secs(86_400)), 0.0), Duration::from_secs(60));
        assert!(BACKOFF.delay(1, Some(Duration::from_secs(10)), 0.99) < Duration::from_secs(11));
        let soon = Some(Duration::from_millis(1));
        assert!(BACKOFF.delay(1, soon, 0.5) < Duration::from_millis(2));
        assert_eq!(BACKOFF.delay(2, soon, 0.5), Duration::from_millis(250), "it was not enough");
        assert_eq!(BACKOFF.delay(20, soon, 1.0), Duration::from_secs(5));
    }

    #[test]
    fn no_duration_is_too_long_to_be_waited_for() {
        let endless = Backoff { base: Duration::MAX, cap: Duration::MAX, hint_cap: Duration::MAX };
        assert_eq!(endless.delay(1, None, 1.0), Duration::MAX);
        assert_eq!(endless.delay(u32::MAX, None, 1.0), Duration::MAX);
        assert_eq!(endless.delay(1, Some(Duration::MAX), 0.5), Duration::MAX);
        assert!(endless.delay(1, None, 0.5) < Duration::MAX);
        assert_eq!(BACKOFF.delay(2, None, f64::NAN), Duration::from_secs(1), "no number counts as 1");
    }

    #[test]
    fn failures_count_only_while_others_succeed() {
        let mut patience = Patience::new(10);
        assert_eq!(patience.failed(10), 0);
        assert_eq!(patience.failed(10), 0);
        assert_eq!(patience.failed(11), 1);
        assert_eq!(patience.failed(11), 1);
        assert_eq!(patience.failed(40), 2);
    }

    #[test]
    fn a_jitter_out_of_range_counts_as_its_nearest_end() {
        assert_eq!(BACKOFF.delay(1, None, 7.0), Duration::from_millis(500));
        assert_eq!(BACKOFF.delay(1, None, -7.0), Duration::ZERO);
        assert_eq!(BACKOFF.delay(0, None, 1.0), Duration::from_millis(500), "no failure counts as the first");
    }

    #[test]
    fn an_outage_of_any_length_counts_nothing_and_its_end_counts_once() {
        let mut patience = Patience::new(0);
        for _ in 0..10_000 {
            assert_eq!(patience.failed(0), 0);
        }
        assert_eq!(patience.failed(1_000), 1, "many successes are one reason to suspect this batch");
        assert_eq!(patience.failed(1_000), 1, "nobody has succeeded since");
    }

    #[test]
    fn below_twenty_outcomes_a_share_says_nothing() {
        let now = start();
        let mut rate = DeadLetterRate::new(0.0, WINDOW);
        for _ in 0..19 {
            assert!(rate.allows(now));
        }
        assert!(!rate.allows(now), "the twentieth is held to the share");
        assert!(!rate.allows(now + WINDOW), "the window includes its end");
        assert!(rate.allows(now + WINDOW + Duration::from_nanos(1)));
    }

    #[test]
    fn dead_letters_are_allowed_up_to_the_share_exactly() {
        let now = start();
        let mut rate = DeadLetterRate::new(0.2, WINDOW);
        rate.embedded(80, now);
        for dead_letter in 1..=20 {
            assert!(rate.allows(now), "{dead_letter} of {}", 80 + dead_letter);
        }
        assert!(!rate.allows(now), "21 of 101");
        rate.embedded(4, now);
        assert!(rate.allows(now), "21 of 105: what was refused was not counted");
    }

    #[test]
    fn a_reset_forgets_what_was() {
        let now = start();
        let mut rate = DeadLetterRate::new(0.0, WINDOW);
        rate.embedded(100, now);
        assert!(!rate.allows(now));
        rate.reset();
        assert!(rate.allows(now));
        rate.embedded(1, now + WINDOW * 2);
        assert_eq!((rate.all, rate.rejected, rate.buckets.len()), (1, 0, 1));
    }

    #[test]
    fn what_is_remembered_of_a_window_is_bounded() {
        let (mut now, mut rate) = (start(), DeadLetterRate::new(0.5, WINDOW));
        for _ in 0..100_000 {
            now += Duration::from_millis(1);
            rate.embedded(64, now);
            rate.allows(now);
        }
        assert!(rate.buckets.len() <= 61, "{}", rate.buckets.len());
        let (most, least) = (60_000 * 65, 59_000 * 65);
        assert!(rate.all <= most && rate.all >= least, "the last 59 to 60 s: {}", rate.all);
    }

    const WINDOW: Duration = Duration::from_secs(60);

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    proptest! {
        #[test]
        fn back_off_stays_within_its_bound_and_a_hint_within_a_tenth(
            (base, cap, hint) in (0..10_000_u64, 0..1_000_000_u64, 0..1_000_000_u64),
            failures in any::<u32>(),
            jitter in 0.0..1.0_f64,
        ) {
            let (base, cap) = (Duration::from_millis(base), Duration::from_millis(cap));
            let backoff = Backoff { base, cap, hint_cap: Duration::from_secs(60) };
            let delay = backoff.delay(failures, None, jitter);
            prop_assert!(delay <= cap);
            let doubled = (1..failures.min(40)).fold(base, |bound, _| bound.saturating_mul(2));
            prop_assert!(delay <= doubled);
            let hint = Duration::from_millis(hint);
            let obeyed = hint.min(backoff.hint_cap);
            let delay = backoff.delay(failures, Some(hint), jitter);
            let own = if failures < 2 { Duration::ZERO } else { doubled.min(cap).min(LEAST_HEEDED) };
            prop_assert!(delay >= obeyed && delay <= obeyed.mul_f64(1.1).max(own));
        }

        /// Beside a plain list of what happened, at whole seconds: no bucket of a second holds two of them.
        #[test]
        fn the_dead_letter_rate_looks_at_its_window_and_nothing_else(
            share in 0.0..1.0_f64,
            steps in prop::collection::vec((0..8_u64, prop::option::of(0..20_usize)), 1..200),
        ) {
            let (mut now, mut rate) = (start(), DeadLetterRate::new(share, WINDOW));
            let mut outcomes: Vec<(Instant, usize, usize)> = Vec::new();
            for (wait, embedded) in steps {
                now += Duration::from_secs(wait);
                if let Some(records) = embedded {
                    rate.embedded(records, now);
                    outcomes.push((now, records, 0));
                    continue;
                }
                let recent = || outcomes.iter().filter(|(at, ..)| now - *at <= WINDOW);
                let all = recent().map(|(_, records, _)| records).sum::<usize>() + 1;
                let rejected = recent().map(|(.., rejected)| rejected).sum::<usize>() + 1;
                let allowed = all < 20 || rejected as f64 <= share * all as f64;
                prop_assert_eq!(rate.allows(now), allowed, "{} of {}", rejected, all);
                if allowed {
                    outcomes.push((now, 1, 1));
                }
            }
        }
    }
}
