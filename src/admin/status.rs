//! What the worker tells about itself: written by the line, read by `/livez`, `/readyz` and `/status`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use crate::metrics::{Figures, Metrics};

/// The version of what `/status` answers: raised when a field leaves or changes its meaning.
const STATUS_VERSION: u32 = 1;

/// How old the last turn of the loop or the poll thread may be.
const LIVE: Duration = Duration::from_secs(30);

/// How long the first turn may take: before it, brokers and topics are looked for.
const LIVE_AT_START: Duration = Duration::from_secs(120);

/// Bytes of a message that are kept: it quotes a server, which may say much.
const MESSAGE: usize = 500;

/// The health of the worker: cheap to write from the loop and from the poll thread.
#[derive(Debug)]
pub struct Health {
    /// Where the beats count from.
    start: Instant,
    turned: Beat,
    polled: Beat,
    told: Mutex<Snapshot>,
}

/// What the line tells about itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The partitions assigned, in their order.
    pub partitions: Vec<Partition>,
    started: Time,
    joined: bool,
    /// What of Kafka is away since it was there, the oldest first.
    away: Vec<(Kafka, String, Time)>,
    draining: Option<Time>,
    /// The oldest first, one of each.
    suspended: Vec<(SuspendedBy, Suspended)>,
    last_error: Option<LastError>,
}

/// One assigned partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The next offset to receive, where one is known.
    pub position: Option<i64>,
    /// The position last committed, where one is known.
    pub committed: Option<i64>,
    /// Records between the committed position and the end, where both are known.
    pub lag: Option<i64>,
}

/// What suspends the worker: each goes on by itself, so each is told and ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuspendedBy {
    /// The provider.
    Provider,
    /// The output topic or the dead-letter topic.
    Topic,
    /// Partitions that are held because their dead letter is refused.
    HeldPartitions,
}

/// What a worker can lose, or is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kafka {
    /// Every connection.
    Brokers,
    /// An input topic.
    Topic,
    /// The consumer group.
    Group,
}

/// A suspension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Suspended {
    reason: &'static str,
    message: String,
    since: Time,
    next_probe: Option<Time>,
}

/// The last error: its class, how many of that class came in a row, when the last did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LastError {
    class: &'static str,
    count: u64,
    when: Time,
}

/// A moment of the calendar, written as RFC 3339 with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Time(SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_millis(self.0))
    }
}

impl Time {
    fn now() -> Self {
        Self(SystemTime::now())
    }

    /// The calendar's word for a moment of the clock, at most a year ahead.
    fn at(moment: Instant) -> Self {
        let ahead = moment.saturating_duration_since(Instant::now()).min(Duration::from_secs(365 * 86_400));
        Self(SystemTime::now() + ahead)
    }
}

/// The last turn of something: milliseconds since the start plus one, so that 0 says never.
#[derive(Debug, Default)]
struct Beat(AtomicU64);

impl Beat {
    fn beat(&self, start: Instant) {
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.0.store(millis + 1, Ordering::Relaxed);
    }

    /// Time since the last turn; before the first, `Err` with the time since the start.
    fn age(&self, start: Instant) -> Result<Duration, Duration> {
        let elapsed = start.elapsed();
        match self.0.load(Ordering::Relaxed) {
            0 => Err(elapsed),
            beat => Ok(elapsed.saturating_sub(Duration::from_millis(beat - 1))),
        }
    }
}

/// The answer of `/livez`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Liveness {
    /// Whether loop and thread turn.
    pub live: bool,
    /// Seconds since the loop turned; `None` before its first turn.
    pub loop_age_seconds: Option<f64>,
    /// Seconds since the poll thread turned; `None` before its first turn.
    pub thread_age_seconds: Option<f64>,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether the worker is in its group and works.
    pub ready: bool,
    /// Why not: `starting` (not in its group, or without Kafka), `draining` or the reason of the oldest suspension.
    #[serde(flatten)]
    pub why: Option<Why>,
}

/// Why the worker is not ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// One of a closed set.
    pub reason: &'static str,
    /// One line for people, without user text.
    pub message: String,
    since: Time,
}

/// The answer of `/status`.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    status_version: u32,
    version: &'static str,
    state: &'static str,
    #[serde(flatten)]
    readiness: Readiness,
    /// The oldest suspension.
    suspended: Option<Suspended>,
    group: String,
    model: String,
    started_at: Time,
    partitions: Vec<Partition>,
    #[serde(flatten)]
    figures: Figures,
    last_error: Option<LastError>,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// The health of a worker that starts now.
    pub fn new() -> Self {
        let told = Snapshot {
            partitions: Vec::new(),
            started: Time::now(),
            joined: false,
            away: Vec::new(),
            draining: None,
            suspended: Vec::new(),
            last_error: None,
        };
        Self {
            start: Instant::now(),
            turned: Beat::default(),
            polled: Beat::default(),
            told: Mutex::new(told),
        }
    }

    /// Says that the loop turned: one atomic store.
    pub fn beat_loop(&self) {
        self.turned.beat(self.start);
    }

    /// Says that the poll thread turned: one atomic store, from any thread.
    pub fn beat_thread(&self) {
        self.polled.beat(self.start);
    }

    /// Says that the group let this worker in: a first assignment came, even an empty one.
    pub fn joined(&self) {
        self.told().joined = true;
    }

    /// Says why a part of Kafka is away, or that it is back. Meanwhile the worker is not ready, as before it had joined. The first message
    /// stands.
    pub fn heard(&self, part: Kafka, away: Option<String>) {
        let mut told = self.told();
        let known = told.away.iter().any(|(other, ..)| *other == part);
        match away {
            None => told.away.retain(|(other, ..)| *other != part),
            Some(message) if !known => told.away.push((part, message, Time::now())),
            Some(_) => {}
        }
    }

    /// Says that nothing goes on until what suspends it ends. The same reason again keeps its beginning and renews the rest.
    /// The message must hold no user text; it is cut to 500 bytes.
    pub fn suspend(
        &self,
        by: SuspendedBy,
        reason: &'static str,
        mut message: String,
        next_probe: Option<Instant>,
    ) {
        message.truncate(message.floor_char_boundary(MESSAGE));
        let next_probe = next_probe.map(Time::at);
        let mut told = self.told();
        let same = told.suspended.iter_mut().find(|(other, before)| *other == by && before.reason == reason);
        if let Some((_, before)) = same {
            (before.message, before.next_probe) = (message, next_probe);
            return;
        }
        told.suspended.retain(|(other, _)| *other != by);
        told.suspended.push((by, Suspended { reason, message, since: Time::now(), next_probe }));
    }

    /// Says that this suspension is over. Others stay.
    pub fn resume(&self, by: SuspendedBy) {
        self.told().suspended.retain(|(other, _)| *other != by);
    }

    /// Says that the worker finishes what it has paid for and ends.
    pub fn draining(&self) {
        self.told().draining.get_or_insert_with(Time::now);
    }

    /// Says that something failed: a label of a closed set, such as a call's outcome.
    pub fn failed(&self, class: &'static str) {
        let mut told = self.told();
        let count = match &told.last_error {
            Some(last) if last.class == class => last.count.saturating_add(1),
            _ => 1,
        };
        told.last_error = Some(LastError { class, count, when: Time::now() });
    }

    /// Changes what is told about partitions. Short: readers wait.
    pub fn set(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.told());
    }

    /// Whether loop and thread turned within 30 s; before their first turn, whether the start is younger than two minutes.
    pub fn liveness(&self) -> Liveness {
        let (turned, polled) = (self.turned.age(self.start), self.polled.age(self.start));
        let lives = |age: &Result<Duration, Duration>| match age {
            Ok(age) => *age <= LIVE,
            Err(waiting) => *waiting <= LIVE_AT_START,
        };
        Liveness {
            live: lives(&turned) && lives(&polled),
            loop_age_seconds: turned.ok().map(|age| age.as_secs_f64()),
            thread_age_seconds: polled.ok().map(|age| age.as_secs_f64()),
        }
    }

    /// Whether the worker has joined its group, reaches Kafka, is not suspended and does not drain.
    pub fn readiness(&self) -> Readiness {
        self.told().readiness()
    }

    /// Everything, for `/status`.
    pub(super) fn status(&self, metrics: &Metrics) -> Status {
        let told = self.told().clone();
        Status {
            status_version: STATUS_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            state: told.state(),
            readiness: told.readiness(),
            group: metrics.group().to_owned(),
            model: metrics.model().to_owned(),
            started_at: told.started,
            figures: metrics.figures(),
            suspended: told.suspended.into_iter().next().map(|(_, suspended)| suspended),
            partitions: told.partitions,
            last_error: told.last_error,
        }
    }

    /// What was told. A panic elsewhere left it whole: each change is one assignment.
    fn told(&self) -> MutexGuard<'_, Snapshot> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Snapshot {
    fn state(&self) -> &'static str {
        if self.draining.is_some() {
            "draining"
        } else if !self.suspended.is_empty() {
            "suspended"
        } else if self.joined && self.away.is_empty() {
            "running"
        } else {
            "starting"
        }
    }

    fn readiness(&self) -> Readiness {
        let why = if let Some(since) = self.draining {
            Some(Why {
                reason: "draining",
                message: "finishes what is paid for, then ends".to_owned(),
                since,
            })
        } else if let Some((_, suspended)) = self.suspended.first() {
            let Suspended { reason, message, since, .. } = suspended.clone();
            Some(Why { reason, message, since })
        } else if let Some((_, message, since)) = self.away.first() {
            Some(Why { reason: "starting", message: message.clone(), since: *since })
        } else if self.joined {
            None
        } else {
            let message = "has not joined its consumer group yet".to_owned();
            Some(Why { reason: "starting", message, since: self.started })
        };
        Readiness { ready: why.is_none(), why }
    }
}

#[cfg(test)]
mod tests;
