//! What a provider takes in one call, learned from what it refuses.
//!
//! A number that it told is kept for the run. Without one nothing is concluded from the refusal alone, which may be an outage's or one
//! record's: only when the refused batch is taken in parts, all of them, has its size mattered, and the largest part is the new limit. Such
//! a guess is tried again: limits double now and then until they are what is configured, ever more rarely where that is refused.

use std::time::{Duration, Instant};

use super::batcher::{Limits, Size};

/// After how long a guessed limit is doubled at first.
const FIRST: Duration = Duration::from_secs(10);
/// The longest that grows to, doubled with each guess.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Which limit of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Texts.
    Records,
    /// Tokens of all texts.
    Tokens,
    /// Bytes of all texts.
    Bytes,
}

impl Kind {
    /// The kind as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Tokens => "tokens",
            Self::Bytes => "bytes",
        }
    }

    /// What a batch may have of it.
    pub fn limit(self, limits: &Limits) -> u64 {
        match self {
            Self::Records => limits.max_records as u64,
            Self::Tokens => limits.max_tokens,
            Self::Bytes => limits.max_bytes,
        }
    }

    /// The size of a call that this limit bounds.
    pub fn of(self, size: &Size) -> u64 {
        match self {
            Self::Records => size.records as u64,
            Self::Tokens => size.tokens,
            Self::Bytes => size.bytes,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Caps {
    /// What is configured, lowered by what was told.
    most: Limits,
    /// What is in force.
    limits: Limits,
    /// When the guesses are doubled next.
    grows: Option<Instant>,
    /// Whether they were since the last guess.
    grown: bool,
    /// How long the next guess holds.
    wait: Duration,
    guessed: Option<Instant>,
}

impl Caps {
    /// Nothing is learned yet.
    pub fn new(configured: Limits) -> Self {
        Self { most: configured, limits: configured, grows: None, grown: false, wait: FIRST, guessed: None }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The provider said that it takes this much and no more.
    pub fn told(&mut self, kind: Kind, most: u64) {
        lower(&mut self.most, kind, most);
        lower(&mut self.limits, kind, most);
    }

    /// A batch was refused and taken in parts of up to this size.
    pub fn taken(&mut self, kind: Kind, size: &Size, now: Instant) {
        if kind.of(size) >= kind.limit(&self.limits) {
            return;
        }
        lower(&mut self.limits, kind, kind.of(size));
        if self.grows.is_some() && !self.grown {
            // Another part of what was refused at the same size.
            return;
        }
        if self.guessed.is_some_and(|last| now.saturating_duration_since(last) > LONGEST * 2) {
            self.wait = FIRST;
        }
        (self.grows, self.grown, self.guessed) = (Some(now + self.wait), false, Some(now));
        self.wait = (self.wait * 2).min(LONGEST);
    }

    /// When [`Self::grow`] is due.
    pub fn grows_at(&self) -> Option<Instant> {
        self.grows
    }

    /// Doubles what was guessed, if it is due. `true`: the limits changed.
    pub fn grow(&mut self, now: Instant) -> bool {
        if self.grows.is_none_or(|at| now < at) {
            return false;
        }
        let (limits, most) = (&mut self.limits, &self.most);
        limits.max_records = limits.max_records.saturating_mul(2).min(most.max_records);
        limits.max_tokens = limits.max_tokens.saturating_mul(2).min(most.max_tokens);
        limits.max_bytes = limits.max_bytes.saturating_mul(2).min(most.max_bytes);
        // While nothing is refused the next doubling comes as soon as the first did.
        self.grows = (self.limits != self.most).then_some(now + FIRST);
        self.grown = true;
        true
    }
}

/// Never raises a limit, and none falls below one.
fn lower(limits: &mut Limits, kind: Kind, to: u64) {
    let to = to.max(1);
    match kind {
        Kind::Records => {
            limits.max_records = limits.max_records.min(usize::try_from(to).unwrap_or(usize::MAX));
        }
        Kind::Tokens => limits.max_tokens = limits.max_tokens.min(to),
        Kind::Bytes => limits.max_bytes = limits.max_bytes.min(to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: Limits =
        Limits { max_tokens: 8_000, max_records: 64, max_bytes: 100_000, linger: Duration::ZERO };

    fn start() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn size(records: usize) -> Size {
        Size { records, tokens: records as u64 * 100, bytes: records as u64 * 1_000 }
    }

    #[test]
    fn what_was_told_is_kept_for_the_run() {
        let mut caps = Caps::new(CONFIGURED);
        caps.told(Kind::Records, 10);
        caps.told(Kind::Records, 20);
        caps.told(Kind::Tokens, 0);
        assert_eq!(*caps.limits(), Limits { max_records: 10, max_tokens: 1, ..CONFIGURED });
        assert_eq!((caps.grows_at(), caps.grow(start() + LONGEST)), (None, false));
    }

    #[test]
    fn a_guess_grows_back_to_what_is_configured() {
        let (begun, mut caps) = (start(), Caps::new(CONFIGURED));
        caps.taken(Kind::Records, &size(1), begun);
        assert_eq!(*caps.limits(), Limits { max_records: 1, ..CONFIGURED });
        for records in [2, 4, 8, 16, 32, 64] {
            let due = caps.grows_at().expect("it grows");
            assert!(!caps.grow(due - Duration::from_nanos(1)) && caps.grow(due));
            assert_eq!(caps.limits().max_records, records);
        }
        assert_eq!(caps.grows_at(), None);
    }

    #[test]
    fn a_guess_that_holds_is_tried_ever_more_rarely_and_up_to_what_was_told() {
        let (mut now, mut caps) = (start(), Caps::new(CONFIGURED));
        caps.told(Kind::Records, 30);
        let mut waits = Vec::new();
        for _ in 0..12 {
            // It takes 20 in truth: 30 are refused, 15 are taken.
            caps.taken(Kind::Records, &size(15), now);
            assert_eq!(caps.limits().max_records, 15);
            let due = caps.grows_at().expect("it grows");
            waits.push((due - now).as_secs());
            assert!(caps.grow(due));
            assert_eq!((caps.limits().max_records, caps.grows_at()), (30, None));
            now = due;
        }
        assert_eq!(waits[..4], [10, 20, 40, 80]);
        assert_eq!(waits[11], LONGEST.as_secs());
        caps.taken(Kind::Records, &size(15), now + LONGEST * 3);
        assert_eq!(caps.grows_at(), Some(now + LONGEST * 3 + FIRST), "that was long ago");
    }

    #[test]
    fn parts_of_batches_that_were_refused_together_are_one_guess() {
        let (now, mut caps) = (start(), Caps::new(CONFIGURED));
        for kind in [Kind::Bytes, Kind::Bytes, Kind::Tokens] {
            caps.taken(kind, &size(16), now);
            caps.taken(kind, &size(32), now + FIRST / 2);
        }
        assert_eq!(*caps.limits(), Limits { max_bytes: 16_000, max_tokens: 1_600, ..CONFIGURED });
        assert_eq!(caps.grows_at(), Some(now + FIRST));
    }
}
