//! Feeds the input topic: at a rate or as fast as it is emptied, never further ahead than the embedded broker keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::watch;
use tokio::time::Instant;

use super::settings::INPUT;
use crate::simulator::corpus::{CorpusRecord, Fate};

/// How often it looks again where nothing tells it.
const LOOK: Duration = Duration::from_millis(5);

/// Counts what the broker has.
#[derive(Clone, Debug, Default)]
pub(super) struct Fed {
    acknowledged: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Fed {
    /// Records that are in the input topic.
    pub(super) fn records(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

impl ClientContext for Fed {}

impl ProducerContext for Fed {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() { &self.acknowledged } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The feeding end.
pub(super) struct Feed {
    producer: ThreadedProducer<Fed>,
    fed: Fed,
    /// Records sent that something will come out for.
    sent: u64,
    /// Records that came out.
    read: watch::Receiver<u64>,
    /// How many may be between the two.
    window: u64,
    /// Records a second; none: as fast as possible.
    rate: Option<f64>,
}

impl Feed {
    /// A feed that has sent nothing.
    ///
    /// # Errors
    /// What librdkafka says.
    pub(super) fn new(
        servers: &str,
        rate: Option<f64>,
        window: u64,
        read: watch::Receiver<u64>,
    ) -> KafkaResult<Self> {
        let fed = Fed::default();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true")
            .set("linger.ms", if rate.is_some() { "1" } else { "10" })
            .set("message.timeout.ms", "30000")
            .create_with_context(fed.clone())?;
        Ok(Self { producer, fed, sent: 0, read, window, rate })
    }

    /// What is in the topic.
    pub(super) fn fed(&self) -> Fed {
        self.fed.clone()
    }

    /// Sends these records and waits until the broker has them.
    ///
    /// # Errors
    /// The broker refused a record.
    pub(super) async fn feed(&mut self, records: impl Iterator<Item = CorpusRecord>) -> KafkaResult<()> {
        let start = Instant::now();
        for (nth, record) in records.enumerate() {
            if let Some(rate) = self.rate {
                let due = Duration::try_from_secs_f64(nth as f64 / rate).unwrap_or(Duration::MAX);
                match start.checked_add(due) {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            }
            if record.fate() != Fate::Skipped {
                self.wait_for_room().await;
                self.sent += 1;
            }
            self.send(&record).await?;
        }
        while self.producer.in_flight_count() > 0 {
            tokio::time::sleep(LOOK).await;
        }
        if self.fed.refused.load(Ordering::Relaxed) > 0 {
            return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        }
        Ok(())
    }

    /// Waits while too much is on its way, until a quarter of the room is free: records come in batches then.
    async fn wait_for_room(&mut self) {
        let (sent, window) = (self.sent, self.window);
        let on_its_way = |read: u64| sent.saturating_sub(read);
        if on_its_way(*self.read.borrow()) >= window
            && self.read.wait_for(|read| on_its_way(*read) <= window / 4 * 3).await.is_err()
        {
            // The reader has ended, and with it the demo.
            std::future::pending::<()>().await;
        }
    }

    async fn send(&self, record: &CorpusRecord) -> KafkaResult<()> {
        let value = record.value();
        let mut message = BaseRecord::<str, str>::to(INPUT).key(record.key.as_str());
        message.payload = value.as_deref();
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => message = back,
                Err((error, _)) => return Err(error),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
