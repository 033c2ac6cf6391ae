//! The batcher: records wait here, and nowhere else, until a batch of them may be sent.
//!
//! A batch is closed late: the caller asks for the size of the batch that is due, finds out whether it may be sent, and only
//! then closes it. Until then more records may join. First in, first out; a record that alone exceeds a limit is a
//! batch of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What bounds a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of all texts.
    pub max_tokens: u64,
    /// Texts.
    pub max_records: usize,
    /// Bytes of all texts.
    pub max_bytes: u64,
    /// How long the oldest record waits for company.
    pub linger: Duration,
}

/// What closed a batch: the label of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The next record's tokens do not fit.
    Tokens,
    /// The most records a batch may have.
    Records,
    /// The next record's bytes do not fit.
    Bytes,
    /// The oldest record has waited long enough.
    Linger,
}

impl Cause {
    /// The cause as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Records => "records",
            Self::Bytes => "bytes",
            Self::Linger => "linger",
        }
    }
}

/// The size of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Tokens of all texts.
    pub tokens: u64,
    /// Texts.
    pub records: usize,
    /// Bytes of all texts.
    pub bytes: u64,
}

impl Size {
    /// How full a batch is by the limit that binds it, in `0..=1` (above 1 for a record that alone exceeds a limit).
    pub fn fill(&self, limits: &Limits) -> f64 {
        let ratio = |part: f64, whole: f64| part / whole.max(1.0);
        ratio(self.tokens as f64, limits.max_tokens as f64)
            .max(ratio(self.records as f64, limits.max_records as f64))
            .max(ratio(self.bytes as f64, limits.max_bytes as f64))
    }
}

/// A closed batch.
#[derive(Debug)]
pub struct Batch<T> {
    /// The records, in the order they came.
    pub entries: Vec<T>,
    /// Their size.
    pub size: Size,
    /// What closed it.
    pub cause: Cause,
    /// When its oldest record came.
    pub since: Instant,
}

#[derive(Debug)]
struct Waiting<T> {
    entry: T,
    tokens: u64,
    bytes: u64,
    since: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Batcher<T> {
    limits: Limits,
    queue: VecDeque<Waiting<T>>,
    total: Size,
}

impl<T> Batcher<T> {
    /// An empty batcher. A limit of zero counts as one.
    pub fn new(limits: Limits) -> Self {
        Self { limits: at_least_one(limits), queue: VecDeque::new(), total: Size::default() }
    }

    /// Takes in a record.
    pub fn push(&mut self, entry: T, tokens: u64, bytes: u64, now: Instant) {
        self.total.tokens += tokens;
        self.total.bytes += bytes;
        self.total.records += 1;
        self.queue.push_back(Waiting { entry, tokens, bytes, since: now });
    }

    /// The size of the batch that is due now: full, or its oldest record has lingered.
    pub fn due(&self, now: Instant) -> Option<Size> {
        self.cut(now).map(|(size, _)| size)
    }

    /// Closes the batch that is due now.
    pub fn close(&mut self, now: Instant) -> Option<Batch<T>> {
        let (size, cause) = self.cut(now)?;
        let since = self.queue.front()?.since;
        self.total.tokens -= size.tokens;
        self.total.bytes -= size.bytes;
        self.total.records -= size.records;
        let entries = self.queue.drain(..size.records).map(|waiting| waiting.entry).collect();
        Some(Batch { entries, size, cause, since })
    }

    /// When the oldest record has lingered; `None` also for a linger beyond the clock's end.
    pub fn deadline(&self) -> Option<Instant> {
        self.queue.front()?.since.checked_add(self.limits.linger)
    }

    /// Takes out every record for which `given_up` holds.
    pub fn remove(&mut self, mut given_up: impl FnMut(&T) -> bool) -> usize {
        let before = self.queue.len();
        let total = &mut self.total;
        self.queue.retain(|waiting| {
            let keep = !given_up(&waiting.entry);
            if !keep {
                total.tokens -= waiting.tokens;
                total.bytes -= waiting.bytes;
                total.records -= 1;
            }
            keep
        });
        before - self.queue.len()
    }

    /// Other tokens for what waits.
    pub fn weigh(&mut self, tokens: impl Fn(&T) -> u64) {
        self.total.tokens = 0;
        for waiting in &mut self.queue {
            waiting.tokens = tokens(&waiting.entry);
            self.total.tokens += waiting.tokens;
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Other limits from now on, for what waits as well. A limit of zero counts as one.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = at_least_one(limits);
    }

    /// What waits.
    pub fn total(&self) -> Size {
        self.total
    }

    fn cut(&self, now: Instant) -> Option<(Size, Cause)> {
        let mut size = Size::default();
        for waiting in &self.queue {
            if size.records > 0 {
                if size.records == self.limits.max_records {
                    return Some((size, Cause::Records));
                }
                if size.tokens + waiting.tokens > self.limits.max_tokens {
                    return Some((size, Cause::Tokens));
                }
                if size.bytes + waiting.bytes > self.limits.max_bytes {
                    return Some((size, Cause::Bytes));
                }
            }
            size.tokens += waiting.tokens;
            size.bytes += waiting.bytes;
            size.records += 1;
        }
        // Everything fits. It is full if nothing more can: then there is nothing to linger for.
        if size.records >= self.limits.max_records {
            return Some((size, Cause::Records));
        }
        if size.tokens >= self.limits.max_tokens {
            return Some((size, Cause::Tokens));
        }
        if size.bytes >= self.limits.max_bytes {
            return Some((size, Cause::Bytes));
        }
        (now >= self.deadline()?).then_some((size, Cause::Linger))
    }
}

fn at_least_one(limits: Limits) -> Limits {
    Limits {
        max_tokens: limits.max_tokens.max(1),
        max_records: limits.max_records.max(1),
        max_bytes: limits.max_bytes.max(1),
        linger: limits.linger,
    }
}

#[cfg(test)]
mod tests;
