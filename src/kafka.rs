//! Kafka: the client settings in one place, what is asked before the start, and the two ends of the line.
//!
//! Only `source` polls the consumer, and only its `committer` commits, but for the drain of a revoke; only `sink` produces.

pub mod backlog;
pub mod budget;
mod commits;
mod committer;
mod drain;
pub mod event;
mod marks;
mod membership;
mod message;
mod missing;
mod positions;
pub mod preflight;
pub mod refusal;
mod shared;
pub mod sink;
pub mod source;
mod tail;

pub use message::panic_is_caught;
use rdkafka::ClientConfig;

use crate::config::Kafka;

/// librdkafka's producer queue, in KiB: inside the memory bound (its default is 1 GiB).
const PRODUCER_QUEUE_KBYTES: u64 = 16 * 1024;
/// The largest record that is handed to the producer: it must fit its queue, or it would wait for ever.
const LARGEST_RECORD_BYTES: u64 = 15 * 1024 * 1024;
/// What all partitions together may prefetch, in KiB. librdkafka's limit is per partition once queues are split.
const PREFETCH_KBYTES: u64 = 32 * 1024;

fn client(settings: &Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "embedstream")
        .set("socket.keepalive.enable", "true")
        .set("allow.auto.create.topics", "false");
    for (name, value) in &settings.client {
        client.set(name, value);
    }
    client
}

/// The largest record that the worker hands to its producer, in bytes.
pub fn largest_record(settings: &Kafka) -> u64 {
    let own = settings.producer.get("message.max.bytes").or_else(|| settings.client.get("message.max.bytes"));
    own.and_then(|own| own.parse().ok()).unwrap_or(LARGEST_RECORD_BYTES).min(LARGEST_RECORD_BYTES)
}

/// The consumer's settings. `partitions` is how many the input topics have together.
fn consumer(settings: &Kafka, partitions: usize) -> ClientConfig {
    let prefetch = (PREFETCH_KBYTES / partitions.max(1) as u64).clamp(64, 1024);
    let mut consumer = client(settings);
    consumer
        .set("session.timeout.ms", "30000")
        .set("heartbeat.interval.ms", "3000")
        .set("max.poll.interval.ms", "120000")
        .set("isolation.level", "read_committed")
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", prefetch.to_string())
        .set("fetch.message.max.bytes", "524288")
        .set("fetch.max.bytes", "4194304")
        .set("fetch.queue.backoff.ms", "50")
        .set("fetch.wait.max.ms", "100")
        .set("check.crcs", "true")
        .set("statistics.interval.ms", "2000")
        .set("partition.assignment.strategy", "cooperative-sticky");
    for (name, value) in &settings.consumer {
        consumer.set(name, value);
    }
    // What the ledger relies on comes last: nothing overrides it.
    consumer
        .set("group.id", &settings.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "false")
        // Where a position is lost as much as is left is read. `start: latest` is no reset: see `positions`.
        .set("auto.offset.reset", "earliest");
    consumer
}

/// The producer's settings. A delivery has no deadline of its own: a local expiry would only produce duplicates.
fn producer(settings: &Kafka) -> ClientConfig {
    let mut producer = client(settings);
    producer
        .set("linger.ms", "1")
        .set("compression.type", "lz4")
        .set("message.timeout.ms", "0")
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.kbytes", PRODUCER_QUEUE_KBYTES.to_string())
        .set("queue.buffering.max.messages", "100000")
        .set("message.max.bytes", LARGEST_RECORD_BYTES.to_string());
    for (name, value) in &settings.producer {
        producer.set(name, value);
    }
    producer.set("enable.idempotence", "true").set("acks", "all");
    producer
}
