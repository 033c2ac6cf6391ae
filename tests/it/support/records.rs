//! Records in and out of a topic, many and fast.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::broker::settings;

/// For all records of one call together.
const ALL: Duration = Duration::from_secs(120);
const TURN: Duration = Duration::from_millis(100);

/// A header as it is on the wire: its value may be absent, which is not the same as empty.
pub(crate) type RawHeader = (String, Option<Vec<u8>>);

/// A record to publish.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<RawHeader>,
    /// `None`: by the key, as Java clients do.
    pub(crate) partition: Option<i32>,
    /// Milliseconds since 1970; `None` is now.
    pub(crate) timestamp: Option<i64>,
}

impl Outgoing {
    pub(crate) fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self { key: Some(key.as_ref().to_vec()), value: Some(value.as_ref().to_vec()), ..Self::default() }
    }

    pub(crate) fn tombstone(key: impl AsRef<[u8]>) -> Self {
        Self { key: Some(key.as_ref().to_vec()), ..Self::default() }
    }

    pub(crate) fn keyless(value: impl AsRef<[u8]>) -> Self {
        Self { value: Some(value.as_ref().to_vec()), ..Self::default() }
    }

    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<RawHeader>,
}

impl Received {
    /// The value as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.value.as_deref().expect("a tombstone has no JSON"))
            .expect("the value is JSON")
    }

    /// The last header of that name, if its value is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rfind(|(known, _)| known == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// Counts what the broker acknowledged, and keeps the first refusal.
#[derive(Default)]
struct Deliveries {
    acknowledged: AtomicUsize,
    refused: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                self.refused.lock().expect("nobody panics with it").get_or_insert(error.clone());
            }
        }
    }
}

pub(super) fn produce(address: &str, topic: &str, outgoing: impl IntoIterator<Item = Outgoing>) {
    let mut settings = settings(address);
    settings.set("enable.idempotence", "true").set("linger.ms", "5").set("partitioner", "murmur2_random");
    let producer: BaseProducer<Deliveries> =
        settings.create_with_context(Deliveries::default()).expect("the settings are fixed");
    let mut sent = 0;
    for record in outgoing {
        send(&producer, topic, &record);
        sent += 1;
    }
    producer.flush(ALL).expect("the broker acknowledges in time");
    let deliveries = producer.context();
    assert_eq!(*deliveries.refused.lock().expect("nobody panics with it"), None);
    assert_eq!(deliveries.acknowledged.load(Ordering::Relaxed), sent);
}

pub(super) fn produce_in_transactions<O: IntoIterator<Item = Outgoing>>(
    address: &str,
    topic: &str,
    transactions: impl IntoIterator<Item = (bool, O)>,
) {
    let producer = transactional(address);
    for (commits, outgoing) in transactions {
        producer.begin_transaction().expect("none is open");
        for record in outgoing {
            send(&producer, topic, &record);
        }
        producer.flush(ALL).expect("the broker acknowledges in time");
        if commits { producer.commit_transaction(ALL) } else { producer.abort_transaction(ALL) }
            .expect("the broker ends a transaction");
    }
}

/// Publishes within a transaction that stays open; what is returned aborts it.
pub(super) fn open_transaction(address: &str, topic: &str, outgoing: Vec<Outgoing>) -> impl FnOnce() + use<> {
    let producer = transactional(address);
    producer.begin_transaction().expect("none is open");
    for record in outgoing {
        send(&producer, topic, &record);
    }
    producer.flush(ALL).expect("the broker acknowledges in time");
    move || producer.abort_transaction(ALL).expect("the broker ends a transaction")
}

fn transactional(address: &str) -> BaseProducer<Deliveries> {
    let mut settings = settings(address);
    settings.set("transactional.id", super::unique("upstream")).set("partitioner", "murmur2_random");
    let producer: BaseProducer<Deliveries> =
        settings.create_with_context(Deliveries::default()).expect("the settings are fixed");
    producer.init_transactions(ALL).expect("the broker takes transactions");
    producer
}

fn send(producer: &BaseProducer<Deliveries>, topic: &str, record: &Outgoing) {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic);
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    message.partition = record.partition;
    message.timestamp = record.timestamp;
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        message.headers =
            Some(record.headers.iter().fold(headers, |headers, (key, value)| {
                headers.insert(Header { key, value: value.as_ref() })
            }));
    }
    let start = Instant::now();
    // The local queue is bounded: wait for acknowledgements to make room.
    while let Err((error, rejected)) = producer.send(message) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
        assert!(start.elapsed() < ALL, "the broker acknowledges nothing");
        producer.poll(TURN);
        message = rejected;
    }
}

pub(super) fn read(address: &str, topic: &str, partitions: &[i32]) -> Vec<Received> {
    let consumer = reader(address, topic, partitions);
    let mut open: BTreeSet<i32> = partitions.iter().copied().collect();
    let mut received = Vec::new();
    let start = Instant::now();
    while !open.is_empty() {
        assert!(start.elapsed() < ALL, "no end of {topic} in sight after {} records", received.len());
        match consumer.poll(TURN) {
            // What came after a partition's end was not there yet when we were called.
            Some(Ok(message)) if open.contains(&message.partition()) => {
                received.push(Received::from_message(&message));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Ok(_)) | None => {}
            // A broker that was just restarted: the client reconnects by itself.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => panic!("reading {topic}: {error}"),
        }
    }
    received
}

fn reader(address: &str, topic: &str, partitions: &[i32]) -> BaseConsumer {
    let mut settings: ClientConfig = settings(address);
    settings
        .set("group.id", "unused: nothing is committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // The end of a partition is told by an empty answer: do not let the broker hold it back.
        .set("fetch.wait.max.ms", "10")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = settings.create().expect("the settings are fixed");
    let mut from_the_beginning = TopicPartitionList::new();
    for &partition in partitions {
        from_the_beginning
            .add_partition_offset(topic, partition, Offset::Beginning)
            .expect("the beginning is an offset");
    }
    consumer.assign(&from_the_beginning).expect("the partitions exist");
    consumer
}
