//! The whole line: topics, the simulated provider, and workers that are the real binary.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use embedstream::simulator::{Running, Settings, Simulator};

use super::broker::Broker;
use super::process::Process;
use super::{eventually, http, unique};

const READY: Duration = Duration::from_secs(60);

/// Topics of its own, a group of its own, a provider of its own.
pub(crate) struct Line<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) dead: String,
    pub(crate) group: String,
    pub(crate) simulator: Running,
    /// The provider lives in it.
    pub(crate) runtime: tokio::runtime::Runtime,
    /// YAML that comes after the settings of [`Self::settings`]; its sections must be others than `kafka` and `provider`.
    pub(crate) extra: String,
    /// `kafka.order`.
    pub(crate) order: &'static str,
    /// After how many milliseconds a dead member's partitions are given to another.
    pub(crate) session: u32,
}

/// A worker that runs.
pub(crate) struct Worker {
    pub(crate) process: Process,
    pub(crate) admin: SocketAddr,
}

impl<'a> Line<'a> {
    /// Topics of `partitions` partitions, and a provider with these settings.
    pub(crate) fn new(broker: &'a Broker, partitions: i32, settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let simulator = runtime.block_on(Simulator::start(listen, settings)).expect("loopback has a port");
        Self {
            broker,
            input: broker.create_topic("line-in", partitions),
            output: broker.create_topic("line-out", partitions),
            dead: broker.create_topic("line-dead", 1),
            group: unique("line"),
            simulator,
            runtime,
            extra: String::new(),
            order: "key",
            session: 6_000,
        }
    }

    /// The settings of a worker that answers at `admin`.
    pub(crate) fn settings(&self, admin: SocketAddr) -> String {
        let mut yaml = String::new();
        write!(
            yaml,
            "kafka:
  brokers: {}
  group_id: {}
  input_topics: [{}]
  output_topic: {}
  dead_letter_topic: {}
  order: {}
  consumer: {{session.timeout.ms: {}, heartbeat.interval.ms: 500}}
input: {{format: json, text: [/title, /body], payload: [/id]}}
provider: {{url: \"{}\", dimensions: 64, response_cache: false}}
admin: {{listen: \"{admin}\"}}
{}",
            self.broker.address(),
            self.group,
            self.input,
            self.output,
            self.dead,
            self.order,
            self.session,
            self.simulator.url(),
            self.extra
        )
        .expect("a string takes all");
        yaml
    }

    /// Starts a worker.
    pub(crate) fn worker(&self) -> Worker {
        let admin = http::free_address();
        Worker { process: Process::worker(&self.settings(admin), &[]), admin }
    }

    /// Starts a worker and waits until it is ready.
    pub(crate) fn ready_worker(&self) -> Worker {
        let mut worker = self.worker();
        worker.process.wait_ready(worker.admin, READY);
        worker
    }

    /// Records of the input that the group has committed.
    pub(crate) fn committed(&self) -> i64 {
        self.broker.committed(&self.group, &self.input).values().sum()
    }

    /// Outputs and dead letters of records that are not committed: what was in flight, and is repeated if the worker dies now. (Tombstones say
    /// not where they are from; all that could be are counted.)
    pub(crate) fn ahead_of_positions(&self) -> usize {
        let committed = self.broker.committed(&self.group, &self.input);
        let outputs = self.broker.read(&self.output);
        let letters = self.broker.read(&self.dead);
        let inputs = self.broker.read(&self.input);
        let is_ahead = |partition: i32, offset: i64| committed.get(&partition).is_none_or(|at| offset >= *at);
        let vectors = outputs.iter().filter(|record| record.value.is_some()).filter(|record| {
            let source = &record.json()["source"];
            let partition = source["partition"].as_i64().and_then(|partition| i32::try_from(partition).ok());
            is_ahead(partition.expect("a partition"), source["offset"].as_i64().expect("an offset"))
        });
        let number = |letter: &super::records::Received, name: &str| -> i64 {
            letter.header(name).expect("it says where it is from").parse().expect("a number")
        };
        let dead = letters.iter().filter(|letter| {
            let partition = i32::try_from(number(letter, "embedstream-error-partition"));
            is_ahead(partition.expect("a partition"), number(letter, "embedstream-error-offset"))
        });
        let tombstones = inputs.iter().filter(|record| record.value.is_none());
        let tombstones = tombstones.filter(|record| is_ahead(record.partition, record.offset));
        vectors.count() + dead.count() + tombstones.count()
    }

    /// Waits until the group has committed the end of every partition.
    pub(crate) fn wait_done(&self, deadline: Duration, worker: &Worker) {
        let ends = self.broker.ends(&self.input);
        let done = || (self.broker.committed(&self.group, &self.input) == ends).then_some(());
        if super::within(deadline, done).is_none() {
            panic!(
                "committed {:?} of {ends:?} within {deadline:?}; the worker's log:\n{}",
                self.broker.committed(&self.group, &self.input),
                worker.process.stderr()
            );
        }
    }

    /// Waits until at least so many records are committed.
    pub(crate) fn wait_committed(&self, records: i64, deadline: Duration) {
        eventually(deadline, "the group commits", || (self.committed() >= records).then_some(()));
    }
}

impl Worker {
    /// A counter or gauge by its name and labels as `/metrics` shows them.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let metrics = http::get(self.admin, "/metrics").expect("the worker answers").body;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().expect("a number")
    }
}
