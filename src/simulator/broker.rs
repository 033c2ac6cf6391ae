//! An embedded broker: librdkafka's mock cluster, in this process and without persistence.
//!
//! It speaks enough Kafka for groups, commits and idempotent producers. It keeps 5 MiB or 100,000 records a partition and drops the
//! oldest beyond that, and its transactions prove nothing.

use std::fmt;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaErrorCode;

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Order = Box<dyn FnOnce(&Cluster) + Send>;

/// A mock cluster that runs. Dropping it ends it, and every record in it is gone.
pub struct Broker {
    servers: String,
    /// The cluster holds raw pointers and stays on its own thread; what is to be done with it goes there.
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts `brokers` brokers with these topics, each with so many partitions.
    ///
    /// # Errors
    /// What librdkafka says, such as a topic's name that is not one.
    pub fn start(brokers: i32, topics: &[(&str, i32)]) -> KafkaResult<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let (started, start) = mpsc::sync_channel::<KafkaResult<String>>(1);
        let serve = move || {
            let cluster = match MockCluster::new(brokers) {
                Ok(cluster) => cluster,
                Err(error) => return answer(&started, Err(error)),
            };
            answer(&started, Ok(cluster.bootstrap_servers()));
            // Ends when the broker is dropped.
            for order in inbox {
                order(&cluster);
            }
        };
        let thread = std::thread::Builder::new().name("mock-cluster".into()).spawn(serve);
        let thread = thread.map_err(|_| failed())?;
        let servers = start.recv().map_err(|_| failed())??;
        let broker = Self { servers, orders: Some(orders), thread: Some(thread) };
        for (topic, partitions) in topics {
            broker.create_topic(topic, *partitions)?;
        }
        Ok(broker)
    }

    /// The brokers' addresses, as `bootstrap.servers` wants them.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Creates a topic. A topic that nobody created appears with four partitions when it is first asked for.
    ///
    /// # Errors
    /// What librdkafka says: no topic's name, no partition, a topic that exists.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> KafkaResult<()> {
        if partitions < 1 {
            // librdkafka takes it, and the topic can never be used.
            return Err(KafkaError::MockCluster(RDKafkaErrorCode::InvalidPartitions));
        }
        let topic = topic.to_owned();
        self.order(move |cluster| cluster.create_topic(&topic, partitions, 1))
    }

    /// Takes a broker down (they count from 1): its connections close, and it accepts none until [`Self::up`].
    ///
    /// # Errors
    /// No such broker.
    pub fn down(&self, broker: i32) -> KafkaResult<()> {
        self.order(move |cluster| cluster.broker_down(broker))
    }

    /// Brings a broker up again, with its records.
    ///
    /// # Errors
    /// No such broker.
    pub fn up(&self, broker: i32) -> KafkaResult<()> {
        self.order(move |cluster| cluster.broker_up(broker))
    }

    /// Makes a broker take this long for each request.
    ///
    /// # Errors
    /// No such broker.
    pub fn set_round_trip(&self, broker: i32, time: Duration) -> KafkaResult<()> {
        self.order(move |cluster| cluster.broker_round_trip_time(broker, time))
    }

    /// Does anything else the mock cluster can do, on its thread: request errors, leaders, coordinators.
    ///
    /// # Errors
    /// What the order returns, or that the cluster is gone.
    pub fn order<R: Send + 'static>(
        &self,
        order: impl FnOnce(&MockCluster<'static, DefaultProducerContext>) -> KafkaResult<R> + Send + 'static,
    ) -> KafkaResult<R> {
        let (done, result) = mpsc::sync_channel(1);
        let order: Order = Box::new(move |cluster| answer(&done, order(cluster)));
        self.orders.as_ref().ok_or_else(failed)?.send(order).map_err(|_| failed())?;
        result.recv().map_err(|_| failed())?
    }
}

/// Who asked waits for it; nobody waits only if that thread is ending.
fn answer<R>(to: &mpsc::SyncSender<KafkaResult<R>>, result: KafkaResult<R>) {
    if to.send(result).is_err() {
        tracing::debug!("nobody waits for the mock cluster's answer");
    }
}

fn failed() -> KafkaError {
    KafkaError::MockCluster(RDKafkaErrorCode::Fail)
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the mock cluster's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::message::Message as _;
    use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};

    use super::*;

    const SHORT: Duration = Duration::from_secs(10);

    fn client(broker: &Broker) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", broker.servers())
            .set("group.id", "g")
            .set("auto.offset.reset", "earliest");
        config
    }

    #[test]
    fn topics_have_their_partitions_and_records_pass_through() {
        let broker = Broker::start(1, &[("in", 3), ("out", 2)]).unwrap();
        let consumer: BaseConsumer = client(&broker).create().unwrap();
        for (topic, partitions) in [("in", 3), ("out", 2)] {
            let metadata = consumer.fetch_metadata(Some(topic), SHORT).unwrap();
            assert_eq!(metadata.topics()[0].partitions().len(), partitions);
        }
        let producer: ThreadedProducer<DefaultProducerContext> = client(&broker).create().unwrap();
        producer.send(BaseRecord::to("in").key("k").payload("v").partition(2)).map_err(|(e, _)| e).unwrap();
        producer.flush(SHORT).unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset("in", 2, rdkafka::Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let message = consumer.poll(SHORT).unwrap().unwrap();
        assert_eq!((message.key(), message.payload()), (Some(&b"k"[..]), Some(&b"v"[..])));
    }

    #[test]
    fn it_says_what_cannot_be() {
        let broker = Broker::start(1, &[("in", 1)]).unwrap();
        assert!(broker.create_topic("in", 1).is_err(), "exists");
        assert!(broker.down(9).is_err(), "no such broker");
        assert!(Broker::start(1, &[("none", 0)]).is_err(), "no partition");
        broker.down(1).unwrap();
        broker.up(1).unwrap();
    }

    #[test]
    fn it_can_move_between_threads() {
        fn is_send_and_sync<T: Send + Sync>() {}
        is_send_and_sync::<Broker>();
    }
}
