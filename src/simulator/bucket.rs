//! A provider's rate limits: token buckets, as exact as arithmetic allows.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that fills by a rate up to its size.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_minute: u64,
    size: f64,
    level: f64,
    at: Instant,
}

/// Why a bucket did not give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refusal {
    /// It will have filled enough after this time.
    Wait(Duration),
    /// More than a whole minute's rate was asked for at once: never given.
    TooLarge,
}

impl Bucket {
    /// A full bucket that holds what flows in one second, or `burst` if that is more.
    pub fn new(per_minute: u64, burst: u64, now: Instant) -> Self {
        let size = (per_minute as f64 / 60.0).max(burst as f64).max(1.0);
        Self { per_minute, size, level: size, at: now }
    }

    /// What may be taken in a minute.
    pub fn per_minute(&self) -> u64 {
        self.per_minute
    }

    /// Whether `amount` would be given now.
    ///
    /// More than the bucket holds, but not more than a minute's rate, is given by a full bucket, which then owes the rest: over any
    /// longer time the rate holds all the same, and a call above the burst does not wait for ever.
    ///
    /// # Errors
    /// How long to wait, or that waiting is in vain.
    pub fn check(&mut self, amount: u64, now: Instant) -> Result<(), Refusal> {
        self.fill(now);
        if amount > self.per_minute && amount as f64 > self.size {
            return Err(Refusal::TooLarge);
        }
        let wanted = (amount as f64).min(self.size);
        // A bucket one billionth short of full would refuse, and say "wait 0 s".
        if self.level + 1e-6 >= wanted {
            return Ok(());
        }
        Err(Refusal::Wait(self.duration(wanted - self.level)))
    }

    /// Takes `amount`, which [`Self::check`] has allowed.
    pub fn take(&mut self, amount: u64, now: Instant) {
        self.fill(now);
        self.level -= amount as f64;
    }

    /// What is left now, rounded down.
    pub fn remaining(&mut self, now: Instant) -> u64 {
        self.fill(now);
        self.level.max(0.0) as u64
    }

    /// Until the bucket is full again.
    pub fn full_after(&mut self, now: Instant) -> Duration {
        self.fill(now);
        self.duration(self.size - self.level)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_minute as f64 / 60.0).min(self.size);
        self.at = self.at.max(now);
    }

    fn duration(&self, amount: f64) -> Duration {
        // A rate of 0 never fills: a day is as good as never.
        let seconds = amount * 60.0 / self.per_minute as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(DAY).min(DAY)
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Which limit refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests a minute.
    Requests,
    /// Tokens a minute.
    Tokens,
}

/// Requests and tokens a minute: a call takes from both or from none.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    /// Requests, unless unlimited.
    pub requests: Option<Bucket>,
    /// Tokens, unless unlimited.
    pub tokens: Option<Bucket>,
}

impl Buckets {
    /// Takes one request and its tokens.
    ///
    /// # Errors
    /// The limit that refuses (the longer wait, if both do). Nothing is taken then.
    pub fn take(&mut self, tokens: u64, now: Instant) -> Result<(), (Limit, Refusal)> {
        let requests = self.requests.as_mut().and_then(|bucket| bucket.check(1, now).err());
        let token = self.tokens.as_mut().and_then(|bucket| bucket.check(tokens, now).err());
        match (requests, token) {
            (None, None) => {}
            (Some(Refusal::Wait(a)), Some(Refusal::Wait(b))) if a > b => {
                return Err((Limit::Requests, Refusal::Wait(a)));
            }
            (_, Some(refusal)) => return Err((Limit::Tokens, refusal)),
            (Some(refusal), None) => return Err((Limit::Requests, refusal)),
        }
        if let Some(bucket) = &mut self.requests {
            bucket.take(1, now);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(tokens, now);
        }
        Ok(())
    }

    /// The headers `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as OpenAI sends them with every answer.
    pub fn headers(&mut self, now: Instant) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        if let Some(bucket) = &mut self.requests {
            headers.push(("x-ratelimit-limit-requests", bucket.per_minute().to_string()));
            headers.push(("x-ratelimit-remaining-requests", bucket.remaining(now).to_string()));
            headers.push(("x-ratelimit-reset-requests", go_duration(bucket.full_after(now))));
        }
        if let Some(bucket) = &mut self.tokens {
            headers.push(("x-ratelimit-limit-tokens", bucket.per_minute().to_string()));
            headers.push(("x-ratelimit-remaining-tokens", bucket.remaining(now).to_string()));
            headers.push(("x-ratelimit-reset-tokens", go_duration(bucket.full_after(now))));
        }
        headers
    }
}

/// A duration as Go prints it, to the millisecond and rounded up: `6m0s`, `2m59.56s`, `20ms`, `0s`.
pub fn go_duration(duration: Duration) -> String {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    if milliseconds == 0 {
        return "0s".into();
    }
    if milliseconds < 1000 {
        return format!("{milliseconds}ms");
    }
    let (hours, minutes, rest) =
        (milliseconds / 3_600_000, milliseconds / 60_000 % 60, milliseconds % 60_000);
    let mut text = String::new();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    text.push_str(&format!("{}{point}{fraction}s", rest / 1000));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_bucket_holds_one_second_or_the_burst() {
        let start = Instant::now();
        let mut second = Bucket::new(6_000, 2, start);
        assert_eq!(second.remaining(start), 100);
        let mut burst = Bucket::new(6_000, 500, start);
        assert_eq!(burst.remaining(start), 500);
        assert_eq!(burst.remaining(after(start, 60_000)), 500);
    }

    #[test]
    fn it_refuses_when_empty_and_says_until_when() {
        let start = Instant::now();
        let mut bucket = Bucket::new(600, 0, start); // 10 a second
        for _ in 0..10 {
            bucket.check(1, start).unwrap();
            bucket.take(1, start);
        }
        assert_eq!(bucket.check(1, start), Err(Refusal::Wait(Duration::from_millis(100))));
        assert!(bucket.check(1, after(start, 99)).is_err());
        assert_eq!(bucket.check(1, after(start, 100)), Ok(()));
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let start = after(Instant::now(), 10_000);
        let mut bucket = Bucket::new(600, 0, start);
        bucket.take(10, start);
        assert_eq!(bucket.remaining(start - Duration::from_secs(5)), 0);
        assert_eq!(bucket.remaining(after(start, 100)), 1);
    }

    #[test]
    fn more_than_the_burst_is_owed_and_more_than_a_minute_is_never_given() {
        let start = Instant::now();
        let mut bucket = Bucket::new(6_000, 0, start); // holds 100
        assert_eq!(bucket.check(300, start), Ok(()));
        bucket.take(300, start);
        // 200 owed, at 100 a second: full after 3 s.
        assert_eq!(bucket.check(300, start), Err(Refusal::Wait(Duration::from_secs(3))));
        assert!(bucket.check(1, after(start, 1_900)).is_err());
        assert_eq!(bucket.check(300, after(start, 3_000)), Ok(()));
        assert_eq!(bucket.check(6_001, after(start, 100_000)), Err(Refusal::TooLarge));
        // A burst above the minute's rate was granted on purpose.
        assert_eq!(Bucket::new(60, 100, start).check(100, start), Ok(()));
    }

    #[test]
    fn a_rate_of_zero_waits_for_a_day() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0, 1, start);
        bucket.take(1, start);
        assert_eq!(bucket.check(1, after(start, 5_000)), Err(Refusal::Wait(DAY)));
    }

    #[test]
    fn the_rate_is_exact_over_a_minute() {
        let start = Instant::now();
        let mut bucket = Bucket::new(600_000, 65_536, start);
        bucket.take(65_536, start);
        let mut given = 0;
        for millisecond in 0..=60_000 {
            while bucket.check(32_768, after(start, millisecond)).is_ok() {
                bucket.take(32_768, after(start, millisecond));
                given += 32_768;
            }
        }
        assert_eq!(given, 600_000 / 32_768 * 32_768);
    }

    #[test]
    fn a_refused_call_takes_from_neither() {
        let start = Instant::now();
        let mut buckets =
            Buckets { requests: Some(Bucket::new(60, 1, start)), tokens: Some(Bucket::new(6_000, 0, start)) };
        buckets.take(100, start).unwrap();
        // Both empty: the request comes back after 1 s, 50 tokens after 0.5 s.
        assert_eq!(buckets.take(50, start), Err((Limit::Requests, Refusal::Wait(Duration::from_secs(1)))));
        // A full bucket gives more than it holds, and owes it.
        assert_eq!(buckets.take(300, after(start, 1_000)), Ok(()));
        let wait = Duration::from_millis(1_500);
        assert_eq!(buckets.take(50, after(start, 2_000)), Err((Limit::Tokens, Refusal::Wait(wait))));
        assert_eq!(buckets.take(50, after(start, 3_500)), Ok(()));
        assert_eq!(buckets.take(7_000, after(start, 9_000)), Err((Limit::Tokens, Refusal::TooLarge)));
        assert!(Buckets::default().take(u64::MAX, start).is_ok());
    }

    #[test]
    fn the_headers_say_what_is_left() {
        let start = Instant::now();
        let mut buckets = Buckets {
            requests: Some(Bucket::new(3_000, 2, start)),
            tokens: Some(Bucket::new(600_000, 65_536, start)),
        };
        buckets.take(30_000, start).unwrap();
        let expected = [
            ("x-ratelimit-limit-requests", "3000"),
            ("x-ratelimit-remaining-requests", "49"),
            ("x-ratelimit-reset-requests", "20ms"),
            ("x-ratelimit-limit-tokens", "600000"),
            ("x-ratelimit-remaining-tokens", "35536"),
            ("x-ratelimit-reset-tokens", "3s"),
        ];
        assert_eq!(buckets.headers(start), expected.map(|(name, value)| (name, value.to_owned())));
        assert!(Buckets::default().headers(start).is_empty());
    }

    #[test]
    fn durations_look_like_go() {
        let text = |milliseconds| go_duration(Duration::from_millis(milliseconds));
        assert_eq!(text(0), "0s");
        assert_eq!(text(20), "20ms");
        assert_eq!(text(1_000), "1s");
        assert_eq!(text(360_000), "6m0s");
        assert_eq!(text(179_560), "2m59.56s");
        assert_eq!(text(3_600_000), "1h0m0s");
        assert_eq!(go_duration(Duration::from_micros(20_001)), "21ms");
    }
}
