//! Reads the output topic and the dead letters while they are produced: the embedded broker keeps 5 MiB a partition.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::settings::{DEAD_LETTERS, OUTPUT};
use super::shelf::{Letter, Shelf};

/// How often the thread looks whether it should end.
const TURN: Duration = Duration::from_millis(50);
/// How long one question to the broker may take.
const ASK: Duration = Duration::from_secs(10);

/// A thread that reads. Dropped, it ends.
pub(super) struct Reader {
    shelf: Arc<Mutex<Shelf>>,
    read: watch::Receiver<u64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads both topics from their beginning on.
    ///
    /// # Errors
    /// What librdkafka says.
    pub(super) fn start(servers: &str, shelf: Shelf) -> KafkaResult<Self> {
        let consumer = consumer(servers, "demo-reader")?;
        let mut all = TopicPartitionList::new();
        for topic in [OUTPUT, DEAD_LETTERS] {
            for partition in partitions(&consumer, topic)? {
                all.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&all)?;
        let (sender, read) = watch::channel(0);
        let (shelf, stop) = (Arc::new(Mutex::new(shelf)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (shelf, stop) = (Arc::clone(&shelf), Arc::clone(&stop));
            let turn = move || {
                while !stop.load(Ordering::Acquire) {
                    match consumer.poll(TURN) {
                        None => {}
                        Some(Ok(message)) => {
                            let mut shelf = lock(&shelf);
                            take(&mut shelf, &message);
                            sender.send_replace(shelf.read());
                        }
                        Some(Err(error)) => tracing::warn!(%error, "the output topic cannot be read now"),
                    }
                }
            };
            std::thread::Builder::new().name("demo-reader".to_owned()).spawn(turn)
        };
        let failed = |error| KafkaError::ClientCreation(format!("cannot start the reader: {error}"));
        Ok(Self { shelf, read, stop, thread: Some(thread.map_err(failed)?) })
    }

    /// What was read so far. Short: the reader waits.
    pub(super) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }

    /// How many records were read, as it changes.
    pub(super) fn read(&self) -> watch::Receiver<u64> {
        self.read.clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the reader of the output topic panicked");
        }
    }
}

/// How many records of `topic` lie behind the positions that `group` has committed, as the broker says it. Blocks.
///
/// # Errors
/// What librdkafka says.
pub(super) fn lag(servers: &str, group: &str, topic: &str) -> KafkaResult<i64> {
    let consumer = consumer(servers, group)?;
    let mut all = TopicPartitionList::new();
    for partition in partitions(&consumer, topic)? {
        all.add_partition(topic, partition);
    }
    let mut lag = 0;
    for element in consumer.committed_offsets(all, ASK)?.elements() {
        let (first, end) = consumer.fetch_watermarks(topic, element.partition(), ASK)?;
        let position = match element.offset() {
            Offset::Offset(position) => position,
            // Nothing is committed: all of it is to be read.
            _ => first,
        };
        lag += end - position;
    }
    Ok(lag)
}

fn consumer(servers: &str, group: &str) -> KafkaResult<BaseConsumer> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", servers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "50")
        // A full queue is looked at again after this; the default, a second, would let the worker wait for the reader.
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", "16384");
    client.create()
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> KafkaResult<Vec<i32>> {
    let metadata = consumer.fetch_metadata(Some(topic), ASK)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    Ok(partitions.map(|partition| partition.id()).collect())
}

fn take(shelf: &mut Shelf, message: &BorrowedMessage<'_>) {
    let key = message.key().unwrap_or_default();
    if message.topic() == OUTPUT {
        shelf.take(key, message.payload(), message.timestamp().to_millis());
        return;
    }
    let header = |name: &str| {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let value = headers.filter(|header| header.key == name).find_map(|header| header.value);
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    shelf.take_letter(|| Letter {
        key: String::from_utf8_lossy(key).into_owned(),
        reason: header("embedstream-error-reason"),
        message: header("embedstream-error-message"),
        attempts: header("embedstream-error-attempts"),
    });
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}
