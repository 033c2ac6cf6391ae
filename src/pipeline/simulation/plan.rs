//! What a seed decides at the beginning: the settings, and how bad the world is.

use std::time::Duration;

use fastrand::Rng;

use crate::config::{Config, DeadLetterCap, Order, Rate, Share, Size};

/// See the module. Shares are in `0..=1`, of whatever they are about; half of all worlds know nothing of any one evil.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) partitions: usize,
    pub(super) operations: usize,
    /// Keys in a partition.
    pub(super) keys: i64,
    /// Of records: poison.
    pub(super) poison: f64,
    /// Whether poison is of every kind, or only such as a clear 400 finds.
    pub(super) all_poisons: bool,
    /// Of records: refused by the broker.
    pub(super) refused: f64,
    /// Of calls: failed for no lasting reason.
    pub(super) call_faults: f64,
    /// Of operations: the provider's weather changes.
    pub(super) weather: f64,
    /// Of publications: not delivered.
    pub(super) delivery_faults: f64,
    /// Of operations: a topic refuses everything for a while.
    pub(super) topic_faults: f64,
    /// Of operations: partitions are revoked or lost.
    pub(super) rebalances: f64,
    /// Whether partitions are lost, too.
    pub(super) losses: bool,
    /// Of operations: SIGTERM, or a crash.
    pub(super) restarts: f64,
    /// Whether there are crashes, too.
    pub(super) crashes: bool,
    /// Of commits: refused.
    pub(super) commit_faults: f64,
    /// The longest call and the longest way to the broker and back, in milliseconds.
    pub(super) latency: u64,
    pub(super) ack: u64,
    /// Records that the producer's queue holds.
    pub(super) queue: usize,
}

impl Plan {
    pub(super) fn drawn(random: &mut Rng) -> Self {
        let partitions = random.usize(1..=4);
        Self {
            config: settings(random),
            partitions,
            operations: if random.u8(..) < 230 { random.usize(100..500) } else { random.usize(500..3_000) },
            keys: random.i64(1..12),
            poison: some(random, 0.1),
            all_poisons: random.bool(),
            refused: some(random, 0.05),
            call_faults: some(random, 0.2),
            weather: some(random, 0.01),
            delivery_faults: some(random, 0.1),
            topic_faults: some(random, 0.005),
            rebalances: some(random, 0.05),
            losses: random.bool(),
            restarts: some(random, 0.01),
            crashes: random.bool(),
            commit_faults: some(random, 0.3),
            latency: random.u64(1..3_000),
            ack: random.u64(1..300),
            queue: if random.u8(..) < 60 { random.usize(1..8) } else { 10_000 },
        }
    }
}

fn some(random: &mut Rng, most: f64) -> f64 {
    if random.bool() { 0.0 } else { random.f64() * most }
}

fn settings(random: &mut Rng) -> Config {
    let mut config = Config::default();
    config.kafka.order = [Order::Key, Order::Key, Order::Partition, Order::None][random.usize(..4)];
    config.kafka.revoke_deadline = Duration::from_millis(random.u64(50..10_000));
    config.shutdown_deadline = Duration::from_millis(random.u64(50..25_000));
    config.batch.max_records = if random.bool() { random.usize(1..8) } else { random.usize(8..=64) };
    config.batch.max_tokens = random.u64(50..2_000);
    config.batch.max_bytes = Size(random.u64(40..4_000));
    config.batch.linger = Duration::from_millis(random.u64(0..200));
    config.limits.in_flight = random.usize(1..20);
    config.limits.max_uncommitted = random.usize(1..400);
    config.limits.max_in_flight_bytes = Size(random.u64(100..60_000));
    config.limits.share = if random.bool() { Share::Partitions } else { Share::None };
    let second = Duration::from_secs(1);
    config.limits.requests =
        (random.u8(..) < 40).then(|| Rate { amount: random.u64(10..200), period: second });
    config.limits.tokens =
        (random.u8(..) < 40).then(|| Rate { amount: random.u64(2_000..9_000), period: second });
    config.retry.attempts = random.u32(4..8);
    config.retry.cap = Duration::from_secs(random.u64(1..60));
    let share = if random.bool() { 1.0 } else { 0.2 };
    config.retry.dead_letter_cap = DeadLetterCap { share, window: Duration::from_secs(60) };
    config
}
