//! A bounded run: `run --until-end` ends by itself when everything is done that was there when it began.

use std::fs;
use std::time::Duration;

use embedstream::simulator::Settings;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::broker::Broker;
use crate::support::http;
use crate::support::line::Line;
use crate::support::process::Process;
use crate::support::records::Outgoing;
use crate::support::{on_a_real_broker, on_each_broker, unique};

const SOON: Duration = Duration::from_secs(60);

on_each_broker! {
    ends_when_all_is_done,
    ends_when_another_member_has_done_it,
}
on_a_real_broker! {
    is_not_kept_by_what_no_reader_is_shown,
}

fn documents(from: usize, to: usize) -> impl Iterator<Item = Outgoing> {
    (from..to).map(|n| {
        let partition = i32::try_from(n % 2).expect("it is small");
        let value = format!(r#"{{"id":{n},"title":"Note {n}","body":"A text."}}"#);
        Outgoing::new(format!("key {n}"), value).partition(partition)
    })
}

fn line(broker: &Broker) -> Line<'_> {
    // A third partition stays empty.
    Line::new(
        broker,
        3,
        Settings { latency: Duration::from_millis(50), dimensions: 64, ..Settings::default() },
    )
}

/// Runs to the end; gives back the log.
fn run(line: &Line<'_>) -> String {
    let directory = tempfile::TempDir::new().expect("there is room for a test's files");
    let file = directory.path().join("config.yaml");
    fs::write(&file, line.settings(http::free_address())).expect("there is room for a test's files");
    let file = file.to_str().expect("its name is text");
    // Twice, as a chart and its user may give it.
    let mut process = Process::start(&["run", "--until-end", "--config", file, "--until-end"], &[]);
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.stderr());
    process.stderr()
}

fn ends_when_all_is_done(broker: &Broker) {
    let line = line(broker);
    broker.produce(&line.input, documents(0, 300));
    let log = run(&line);
    assert_eq!(broker.read(&line.output).len(), 300, "{log}");
    assert_eq!(line.committed(), 300);
    assert!(log.contains("everything is done that was in the input topics at the start"), "{log}");
    // Nothing is left to do.
    run(&line);
    assert_eq!(broker.read(&line.output).len(), 300);
    broker.produce(&line.input, documents(300, 310));
    run(&line);
    assert_eq!(broker.read(&line.output).len(), 310);
}

fn ends_when_another_member_has_done_it(broker: &Broker) {
    let line = line(broker);
    let mut other = line.ready_worker();
    broker.produce(&line.input, documents(0, 300));
    let log = run(&line);
    assert_eq!(line.committed(), 300, "{log}");
    assert_eq!(other.process.ended(), None, "the other one goes on");
}

/// Two transactions; what the second one holds, which is aborted, and the markers of both have offsets.
fn is_not_kept_by_what_no_reader_is_shown(broker: &Broker) {
    let line = line(broker);
    let mut settings = rdkafka::ClientConfig::new();
    settings.set("bootstrap.servers", broker.address()).set("transactional.id", unique("upstream"));
    let producer: BaseProducer = settings.create().expect("the settings are fixed");
    producer.init_transactions(SOON).expect("the broker takes transactions");
    for (from, to) in [(0, 10), (10, 14)] {
        producer.begin_transaction().expect("none is open");
        for record in documents(from, to) {
            let mut outgoing = BaseRecord::<[u8], [u8]>::to(&line.input);
            outgoing.key = record.key.as_deref();
            outgoing.payload = record.value.as_deref();
            outgoing.partition = record.partition;
            producer.send(outgoing).map_err(|(failure, _)| failure).expect("there is room");
        }
        producer.flush(SOON).expect("the broker acknowledges");
        if from == 0 {
            producer.commit_transaction(SOON).expect("it is committed");
        } else {
            producer.abort_transaction(SOON).expect("it is aborted");
        }
    }
    let ends: i64 = broker.ends(&line.input).values().sum();
    assert!(ends > 14, "markers have offsets: {ends}");
    let log = run(&line);
    assert_eq!(broker.read(&line.output).len(), 10, "{log}");
    assert!(line.committed() < ends, "the position stands before them, or this shows nothing");
}
