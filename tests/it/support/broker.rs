//! A broker to test against: librdkafka's mock cluster in this process, or a real Apache Kafka.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::node::Node;
use super::raw;
use super::records::{self, Outgoing, Received};
use super::script::Skip;
use super::{eventually, unique};

/// How long one request to a broker may take on a busy machine.
pub(super) const REQUEST: Duration = Duration::from_secs(30);

/// Where a test's topics live.
pub(crate) enum Broker {
    /// Three brokers in this process, private to the test. It can be told to fail (see [`MockCluster`]), but it keeps at
    /// most 5 MiB or 100,000 records a partition (older ones vanish), knows no compaction and hides no aborted record:
    /// keep a test's topics small, or spread over partitions. It belongs to the thread that made it.
    Mock(MockCluster<'static, DefaultProducerContext>),
    /// One real broker. It may be shared: a test keeps to topics and groups with names of its own.
    Real(RealBroker),
}

/// A real Kafka: one that this process started, or one that somebody named.
#[derive(Clone)]
pub(crate) struct RealBroker {
    address: String,
    /// Kept alive; `None` when it is not ours.
    _node: Option<Arc<Node>>,
}

impl Broker {
    /// A new mock cluster.
    pub(crate) fn mock() -> Self {
        Self::Mock(MockCluster::new(3).expect("a mock cluster needs nothing but loopback"))
    }

    /// The real broker that the tests of this process share: that of `EMBEDSTREAM_TEST_BROKERS` if it is set, else one
    /// that is started now and ends with the process.
    ///
    /// # Panics
    /// When `EMBEDSTREAM_TEST_BROKERS` names a broker that does not answer: whoever set it wants to know.
    pub(crate) fn real() -> Result<Self, Skip> {
        static SHARED: OnceLock<Result<RealBroker, Skip>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match std::env::var("EMBEDSTREAM_TEST_BROKERS") {
            Ok(address) => {
                let broker = RealBroker { address, _node: None };
                if let Err(error) = consumer(&broker.address, None).fetch_metadata(None, REQUEST) {
                    panic!("EMBEDSTREAM_TEST_BROKERS is {}: {error}", broker.address);
                }
                Ok(broker)
            }
            Err(_) => Node::start(&[])
                .map(|node| RealBroker { address: node.address().to_owned(), _node: Some(Arc::new(node)) }),
        });
        shared.clone().map(Self::Real)
    }

    /// A real broker for one test alone, which may kill and restart it by the [`Node`]. Both are needed to keep it alive no
    /// longer than the test.
    pub(crate) fn own() -> Result<(Self, Arc<Node>), Skip> {
        let node = Arc::new(Node::start(&[])?);
        let broker = RealBroker { address: node.address().to_owned(), _node: Some(Arc::clone(&node)) };
        Ok((Self::Real(broker), node))
    }

    /// `bootstrap.servers`.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Mock(cluster) => cluster.bootstrap_servers(),
            Self::Real(broker) => broker.address.clone(),
        }
    }

    /// Creates a topic whose name starts with `label` and is nobody else's; returns the name when it can be used.
    pub(crate) fn create_topic(&self, label: &str, partitions: i32) -> String {
        self.create_topic_with(label, partitions, &[])
    }

    /// Like [`Self::create_topic`], with Kafka's topic settings. The mock cluster has none and ignores them.
    pub(crate) fn create_topic_with(
        &self,
        label: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> String {
        let name = unique(label);
        self.create(&name, partitions, settings);
        name
    }

    /// Creates a topic of that name; returns when it can be used.
    pub(crate) fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        match self {
            Self::Mock(cluster) => cluster.create_topic(name, partitions, 1).expect("the name is new"),
            Self::Real(_) => {
                let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
                for (key, value) in settings {
                    topic = topic.set(key, value);
                }
                let answer =
                    self.administer(async |client, options| client.create_topics([&topic], options).await);
                assert_eq!(answer, Ok(vec![Ok(name.to_owned())]));
            }
        }
        eventually(REQUEST, "a new topic's partitions have leaders", || {
            (self.partitions(name).len() == partitions as usize).then_some(())
        });
    }

    /// Deletes a topic. The mock cluster cannot, and does nothing: it ends with the test.
    pub(crate) fn delete_topic(&self, name: &str) {
        if let Self::Real(_) = self {
            let answer =
                self.administer(async |client, options| client.delete_topics(&[name], options).await);
            assert_eq!(answer, Ok(vec![Ok(name.to_owned())]));
        }
    }

    /// Publishes in transactions, each committed or aborted. A real broker's only.
    pub(crate) fn produce_in_transactions<O: IntoIterator<Item = Outgoing>>(
        &self,
        topic: &str,
        transactions: impl IntoIterator<Item = (bool, O)>,
    ) {
        records::produce_in_transactions(&self.address(), topic, transactions);
    }

    /// Publishes within a transaction that stays open until what is returned is called: then it is aborted. A real broker's only.
    pub(crate) fn open_transaction(&self, topic: &str, outgoing: Vec<Outgoing>) -> impl FnOnce() + use<> {
        records::open_transaction(&self.address(), topic, outgoing)
    }

    /// Deletes what is in a topic, as retention does. A real broker's only.
    pub(crate) fn delete_all_records(&self, topic: &str) {
        let mut until = TopicPartitionList::new();
        for partition in self.partitions(topic) {
            until.add_partition_offset(topic, partition, Offset::End).expect("it is a position");
        }
        let answer = self.administer(async |client, options| client.delete_records(&until, options).await);
        let deleted = answer.expect("it answers");
        for partition in deleted.elements() {
            assert_eq!(partition.error(), Ok(()), "{topic}");
        }
    }

    /// Publishes `outgoing` in order, each acknowledged by the broker when this returns.
    ///
    /// # Panics
    /// When one is not.
    pub(crate) fn produce(&self, topic: &str, outgoing: impl IntoIterator<Item = Outgoing>) {
        records::produce(&self.address(), topic, outgoing);
    }

    /// Publishes one record to partition 0 whose only header has a name of any bytes.
    pub(crate) fn produce_with_header(&self, topic: &str, key: &str, value: &str, header: &[u8]) {
        let metadata = consumer(&self.address(), None).fetch_metadata(Some(topic), REQUEST);
        let metadata = metadata.expect("the broker answers");
        let leader = metadata.topics()[0].partitions().iter().find(|partition| partition.id() == 0);
        let leader = leader.expect("there is a partition 0").leader();
        let leader = metadata.brokers().iter().find(|broker| broker.id() == leader).expect("it is known");
        let address = format!("{}:{}", leader.host(), leader.port());
        raw::produce(&address, topic, key.as_bytes(), value.as_bytes(), header);
    }

    /// Every record of `topic` from its beginning to its end as of now: in offset order per partition, partitions mixed.
    /// Records of open or aborted transactions are left out (by a real broker).
    pub(crate) fn read(&self, topic: &str) -> Vec<Received> {
        records::read(&self.address(), topic, &self.partitions(topic))
    }

    /// Per partition, the offset that the next record will get.
    pub(crate) fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let client = consumer(&self.address(), None);
        let ends = self.partitions(topic).into_iter().map(|partition| {
            let (_, end) = client.fetch_watermarks(topic, partition, REQUEST).expect("the partition exists");
            (partition, end)
        });
        ends.collect()
    }

    /// Per partition, the position that `group` committed; partitions without one are left out.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let client = consumer(&self.address(), Some(group));
        let mut wanted = TopicPartitionList::new();
        for partition in self.partitions(topic) {
            wanted.add_partition(topic, partition);
        }
        // A new coordinator is found, and loads its groups, only while it is asked.
        let committed = eventually(REQUEST, "the group's coordinator answers", || {
            client.committed_offsets(wanted.clone(), REQUEST).ok()
        });
        let positions = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(position) => Some((element.partition(), position)),
            _ => None,
        });
        positions.collect()
    }

    /// Commits a position for a group without members.
    pub(crate) fn commit(&self, group: &str, topic: &str, partition: i32, position: i64) {
        let mut positions = TopicPartitionList::new();
        let at = Offset::Offset(position);
        positions.add_partition_offset(topic, partition, at).expect("it is an offset");
        let client = consumer(&self.address(), Some(group));
        client.commit(&positions, CommitMode::Sync).expect("a group without members takes a commit");
    }

    /// The partitions of `topic` that have a leader now.
    fn partitions(&self, topic: &str) -> Vec<i32> {
        let metadata = consumer(&self.address(), None).fetch_metadata(Some(topic), REQUEST);
        let metadata = metadata.expect("the broker answers");
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        partitions.filter(|partition| partition.leader() >= 0).map(|partition| partition.id()).collect()
    }

    /// Runs one request of the admin client, on a thread of its own: callers may be inside a runtime already.
    fn administer<T: Send>(
        &self,
        request: impl AsyncFnOnce(&AdminClient<DefaultClientContext>, &AdminOptions) -> T + Send,
    ) -> T {
        let client: AdminClient<_> = settings(&self.address()).create().expect("the settings are fixed");
        let options = AdminOptions::new().operation_timeout(Some(REQUEST)).request_timeout(Some(REQUEST));
        std::thread::scope(|scope| {
            let answer = scope.spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().build().expect("a thread is enough");
                runtime.block_on(request(&client, &options))
            });
            answer.join().expect("a request does not panic")
        })
    }
}

/// The client settings that every test client begins with.
pub(super) fn settings(address: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", address).set("message.max.bytes", "10485760");
    settings
}

/// A consumer that only asks; it joins no group.
fn consumer(address: &str, group: Option<&str>) -> BaseConsumer {
    let mut settings = settings(address);
    if let Some(group) = group {
        settings.set("group.id", group);
    }
    settings.create().expect("the settings are fixed")
}
