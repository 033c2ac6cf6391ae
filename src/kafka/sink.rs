//! The producing end: idempotent, one `send` at a time by the loop, answered through a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Message};
use tokio::sync::mpsc;

use crate::config::Kafka;
use crate::domain::ledger::Publication;
use crate::output::{Destination, Outgoing};

/// How long the thread of answers waits at a time. librdkafka counts whole milliseconds, and rdkafka asks again without waiting until
/// the rest is over: what is beyond a whole millisecond here is less than a wake-up takes, so that it never spins. (Its own
/// `ThreadedProducer` waits 100 ms sharp, and spins for the last one of them: 1 % of a core while nothing happens.)
const WAIT: Duration = Duration::from_micros(100_040);

/// The broker's answer to one publication.
#[derive(Debug)]
pub struct Delivery {
    /// Which.
    pub publication: Publication,
    /// Whether the broker has it.
    pub result: Result<(), Refusal>,
}

/// Why something was not published: one table for `send` and for deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The local queue is full: wait for an answer, then the same record first.
    Full,
    /// The topic is missing, or we may not write to it: nothing can be published before somebody acts.
    Topic(String),
    /// The record itself: too large, or invalid.
    Record(String),
    /// It may work the next time.
    Again(String),
    /// The producer cannot go on: the process ends.
    Fatal(String),
}

/// Classifies a producer's error, once.
fn classify(failure: &KafkaError) -> Refusal {
    let text = failure.to_string();
    match failure.rdkafka_error_code() {
        Some(Code::QueueFull) => Refusal::Full,
        Some(
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::Authentication
            | Code::SaslAuthenticationFailed,
        ) => Refusal::Topic(text),
        Some(Code::MessageSizeTooLarge) => {
            Refusal::Record(format!("{text}; the topic's max.message.bytes is less than it needs"))
        }
        Some(
            Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::BadMessage
            | Code::BadCompression
            | Code::UnsupportedForMessageFormat,
        ) => Refusal::Record(text),
        Some(
            Code::Fatal
            | Code::OutOfOrderSequenceNumber
            | Code::InvalidProducerEpoch
            | Code::ProducerFenced
            | Code::Fenced
            | Code::UnknownProducerId
            | Code::UnsupportedVersion,
        ) => Refusal::Fatal(text),
        _ => Refusal::Again(text),
    }
}

/// Hands answers on to the loop.
pub struct Answers {
    deliveries: mpsc::UnboundedSender<Delivery>,
}

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<Publication>;

    fn delivery(&self, result: &DeliveryResult<'_>, publication: Self::DeliveryOpaque) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((failure, message)) => {
                tracing::debug!(error = %failure, topic = message.topic(), "delivery failed");
                Err(classify(failure))
            }
        };
        // The loop is gone only when the process ends.
        self.deliveries.send(Delivery { publication: *publication, result }).ok();
    }
}

/// The thread on which answers arrive.
struct Answering {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    fn start(producer: Arc<BaseProducer<Answers>>) -> std::io::Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let thread = std::thread::Builder::new().name("answers".to_owned());
        let thread = thread.spawn(move || {
            while !ended.load(Ordering::Acquire) {
                producer.poll(WAIT);
            }
        })?;
        Ok(Self { ends, thread: Some(thread) })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        // A panic there ended the process already.
        self.thread.take().map(JoinHandle::join).transpose().ok();
    }
}

/// The producer of outputs and dead letters.
pub struct Sink {
    /// Ends before the producer, which it shares.
    _answering: Answering,
    producer: Arc<BaseProducer<Answers>>,
    output_topic: String,
    dead_letter_topic: String,
}

impl Sink {
    /// A producer, and where its answers arrive.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(settings: &Kafka) -> Result<(Self, mpsc::UnboundedReceiver<Delivery>), KafkaError> {
        let (deliveries, receiver) = mpsc::unbounded_channel();
        let producer: BaseProducer<_> =
            super::producer(settings).create_with_context(Answers { deliveries })?;
        let producer = Arc::new(producer);
        let answering = Answering::start(Arc::clone(&producer)).map_err(|failure| {
            KafkaError::ClientCreation(format!("cannot start the thread of the producer: {failure}"))
        })?;
        let sink = Self {
            _answering: answering,
            producer,
            output_topic: settings.output_topic.clone(),
            dead_letter_topic: settings.dead_letter_topic.clone(),
        };
        Ok((sink, receiver))
    }

    /// The topic of a destination.
    pub fn topic(&self, destination: Destination) -> &str {
        match destination {
            Destination::Output => &self.output_topic,
            Destination::DeadLetter => &self.dead_letter_topic,
        }
    }

    /// Queues a record; the answer arrives as a `Delivery`. Never waits.
    ///
    /// # Errors
    /// What keeps it from being queued.
    pub fn send(&self, outgoing: &Outgoing, publication: Publication) -> Result<(), Refusal> {
        let topic = self.topic(outgoing.destination);
        let mut record: BaseRecord<'_, [u8], [u8], Box<Publication>> =
            BaseRecord::with_opaque_to(topic, Box::new(publication));
        if let Some(key) = &outgoing.key {
            record = record.key(key);
        }
        if let Some(payload) = &outgoing.payload {
            record = record.payload(payload);
        }
        if let Some(partition) = outgoing.partition {
            record = record.partition(partition);
        }
        if !outgoing.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(outgoing.headers.len());
            let headers = outgoing
                .headers
                .iter()
                .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: value.as_ref() }));
            record = record.headers(headers);
        }
        self.producer.send(record).map_err(|(failure, _)| {
            self.producer.client().fatal_error().map_or_else(
                || classify(&failure),
                |(code, text)| Refusal::Fatal(format!("{code:?}: {text}")),
            )
        })
    }

    /// Records that are queued or on their way.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: Code) -> Refusal {
        classify(&KafkaError::MessageProduction(code))
    }

    #[test]
    fn every_kind_of_error_has_its_answer() {
        assert_eq!(refusal(Code::QueueFull), Refusal::Full);
        assert!(matches!(refusal(Code::UnknownTopicOrPartition), Refusal::Topic(_)));
        assert!(matches!(refusal(Code::TopicAuthorizationFailed), Refusal::Topic(_)));
        assert!(matches!(refusal(Code::MessageSizeTooLarge), Refusal::Record(_)));
        assert!(matches!(refusal(Code::InvalidRecord), Refusal::Record(_)));
        assert!(matches!(refusal(Code::Fatal), Refusal::Fatal(_)));
        assert!(matches!(refusal(Code::MessageTimedOut), Refusal::Again(_)));
        assert!(matches!(refusal(Code::PurgeQueue), Refusal::Again(_)));
    }
}
