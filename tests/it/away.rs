//! The worker while a part of Kafka is away, or is not what its position says.

use std::time::Duration;

use embedstream::simulator::Settings;

use crate::support::broker::Broker;
use crate::support::line::{Line, Worker};
use crate::support::process::{Process, Signal};
use crate::support::records::Outgoing;
use crate::support::{eventually, http, on_a_real_broker, on_each_broker};

const SOON: Duration = Duration::from_secs(60);

on_each_broker! {
    begins_at_the_end_if_asked_to,
    goes_on_at_the_first_record_where_its_position_is_lost,
}
on_a_real_broker! {
    has_no_lag_where_nothing_is_left_to_read,
}

fn settings() -> Settings {
    Settings { latency: Duration::from_millis(50), dimensions: 64, ..Settings::default() }
}

fn documents(from: usize, to: usize) -> impl Iterator<Item = Outgoing> {
    (from..to).map(|n| {
        Outgoing::new(format!("key {n}"), format!(r#"{{"id":{n},"title":"Note {n}","body":"A text."}}"#))
    })
}

/// A worker with other settings of `kafka` as well.
fn worker(line: &Line<'_>, kafka: &str) -> Worker {
    let admin = http::free_address();
    let settings = line.settings(admin).replacen("kafka:\n", &format!("kafka:\n{kafka}"), 1);
    Worker { process: Process::worker(&settings, &[]), admin }
}

/// Waits until `/readyz` says so.
fn wait_readiness(worker: &Worker, status: u16, word: &str) {
    eventually(SOON, &format!("readiness says {status} {word}"), || {
        let answer = http::get(worker.admin, "/readyz").ok()?;
        (answer.status == status && answer.body.contains(word)).then_some(())
    });
}

fn begins_at_the_end_if_asked_to(broker: &Broker) {
    let line = Line::new(broker, 2, settings());
    broker.produce(&line.input, documents(0, 20));
    let ends = broker.ends(&line.input);
    let mut first = worker(&line, "  start: latest\n");
    first.process.wait_ready(first.admin, SOON);
    eventually(SOON, "the first positions are committed", || {
        (broker.committed(&line.group, &line.input) == ends).then_some(())
    });
    broker.produce(&line.input, documents(20, 30));
    line.wait_done(SOON, &first);
    assert_eq!(broker.read(&line.output).len(), 10);
    first.process.signal(Signal::Kill);
    first.process.wait(SOON);
    // A group with positions goes on from them.
    broker.produce(&line.input, documents(30, 35));
    let second = worker(&line, "  start: latest\n");
    line.wait_done(SOON, &second);
    assert_eq!(broker.read(&line.output).len(), 15);
}

fn goes_on_at_the_first_record_where_its_position_is_lost(broker: &Broker) {
    for start in ["earliest", "latest"] {
        let line = Line::new(broker, 1, settings());
        broker.produce(&line.input, documents(0, 5));
        broker.commit(&line.group, &line.input, 0, 1_000);
        let mut worker = worker(&line, &format!("  start: {start}\n"));
        line.wait_done(SOON, &worker);
        assert_eq!(broker.read(&line.output).len(), 5, "start: {start}");
        let resets = format!("embedstream_kafka_offset_resets_total{{group=\"{}\"}}", line.group);
        assert_eq!(worker.metric(&resets), 1.0);
        let log = worker.process.stderr();
        assert_eq!(log.matches("a position is no longer in its topic").count(), 1, "{log}");
        worker.process.signal(Signal::Term);
        assert_eq!(worker.process.wait(SOON).code(), Some(0));
    }
}

#[test]
fn is_not_ready_while_no_broker_is_connected() {
    let (broker, node) = match Broker::own() {
        Ok(own) => own,
        Err(skip) => return skip.report("away::is_not_ready_while_no_broker_is_connected"),
    };
    let mut line = Line::new(&broker, 1, settings());
    line.session = 30_000;
    let worker = line.ready_worker();
    node.kill();
    wait_readiness(&worker, 503, "no Kafka broker is connected");
    node.restart();
    wait_readiness(&worker, 200, "true");
    broker.produce(&line.input, documents(0, 5));
    line.wait_done(SOON, &worker);
}

#[test]
fn is_not_ready_while_its_topic_is_deleted() {
    let broker = match Broker::real() {
        Ok(broker) => broker,
        Err(skip) => return skip.report("away::is_not_ready_while_its_topic_is_deleted"),
    };
    let line = Line::new(&broker, 2, settings());
    let fast = "  client: {topic.metadata.refresh.interval.ms: 1000}\n";
    let start = || worker(&line, fast);
    let mut worker = start();
    broker.produce(&line.input, documents(0, 5));
    line.wait_done(SOON, &worker);
    // Of three members of a group one has no partition of two.
    let mut others = [start(), start()];
    for other in &mut others {
        other.process.wait_ready(other.admin, SOON);
    }
    broker.delete_topic(&line.input);
    wait_readiness(&worker, 503, "is missing");
    broker.create(&line.input, 2, &[]);
    for worker in others.iter().chain([&worker]) {
        wait_readiness(worker, 200, "true");
    }
    broker.produce(&line.input, documents(0, 7));
    line.wait_done(SOON, &worker);
    assert_eq!(broker.read(&line.output).len(), 12);
    for worker in others.iter_mut().chain([&mut worker]) {
        worker.process.signal(Signal::Term);
        assert_eq!(worker.process.wait(SOON).code(), Some(0), "{}", worker.process.stderr());
    }
}

#[test]
fn a_drain_without_brokers_ends_in_its_time() {
    let (broker, node) = match Broker::own() {
        Ok(own) => own,
        Err(skip) => return skip.report("away::a_drain_without_brokers_ends_in_its_time"),
    };
    let mut line = Line::new(&broker, 1, Settings { latency: Duration::from_millis(1_500), ..settings() });
    line.session = 30_000;
    line.extra = "shutdown_deadline: 6s\n".to_owned();
    let mut worker = line.ready_worker();
    broker.produce(&line.input, documents(0, 5_000));
    line.wait_committed(100, SOON);
    node.kill();
    assert!(line.simulator.ledger().in_flight > 0, "there are calls whose answers cannot be published");
    let asked = tokio::time::Instant::now();
    worker.process.signal(Signal::Term);
    let status = worker.process.wait(SOON);
    let took = asked.elapsed();
    // The end of the process is one of its threads' own: the signals' would end it 2 s later.
    let log = worker.process.stderr();
    assert_eq!(status.code(), Some(75), "after {took:?}; {log}");
    assert!(!log.contains("the drain has not ended within its time"), "{log}");
}

/// What is shown to no reader has offsets, and would be lag for ever: markers of transactions, what was aborted, what was deleted unread.
fn has_no_lag_where_nothing_is_left_to_read(broker: &Broker) {
    let line = Line::new(broker, 2, settings());
    broker.produce_in_transactions(&line.input, [(true, documents(0, 20)), (false, documents(20, 120))]);
    let ends: i64 = broker.ends(&line.input).values().sum();
    assert!(ends > 120, "markers have offsets: {ends}");
    let mut first = line.ready_worker();
    line.wait_done(SOON, &first);
    assert_eq!(broker.read(&line.output).len(), 20);
    first.process.signal(Signal::Term);
    assert_eq!(first.process.wait(SOON).code(), Some(0));

    broker.produce(&line.input, documents(120, 220));
    broker.delete_all_records(&line.input);
    let second = line.ready_worker();
    line.wait_done(SOON, &second);
    assert_eq!(broker.read(&line.output).len(), 20);
    // It goes on behind them.
    broker.produce(&line.input, documents(220, 230));
    line.wait_done(SOON, &second);
    assert_eq!(broker.read(&line.output).len(), 30);
}
