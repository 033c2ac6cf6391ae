//! A bounded run: `run --until-end` ends by itself when everything is done that was there when it began.

use std::fs;
use std::process::Command;
use std::time::Duration;

use embedstream::simulator::{Faults, Settings};
use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::http;
use crate::support::line::Line;
use crate::support::process::{Process, Signal};
use crate::support::records::Outgoing;
use crate::support::{eventually, on_a_real_broker, on_each_broker};

const SOON: Duration = Duration::from_secs(60);

on_each_broker! {
    ends_when_all_is_done,
    ends_when_another_member_has_done_it,
    is_not_through_where_it_was_told_to_end,
    takes_no_missing_topic_for_an_empty_one,
    takes_no_position_beyond_the_end_for_a_done_one,
}
on_a_real_broker! {
    does_what_is_deleted_while_it_is_under_way,
    is_not_kept_by_what_no_reader_is_shown,
    waits_for_an_open_transaction,
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

/// Starts a bounded run.
fn start(line: &Line<'_>, change: impl Fn(String) -> String) -> Process {
    let directory = TempDir::new().expect("there is room for a test's files");
    let file = directory.path().join("config.yaml");
    fs::write(&file, change(line.settings(http::free_address()))).expect("there is room for a test's files");
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedstream"));
    // Twice, as a chart and its user may give it.
    command.args(["run", "--until-end", "--until-end", "--config"]).arg(file);
    Process::spawn(command, &[], directory)
}

/// Runs to the end; gives back the log.
fn run(line: &Line<'_>) -> String {
    let mut process = start(line, |settings| settings);
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
    assert!(!log.contains("Statistics"), "{log}");
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

/// Kubernetes counts a Job as complete whose evicted pod ends with 0.
fn is_not_through_where_it_was_told_to_end(broker: &Broker) {
    let line = line(broker);
    broker.produce(&line.input, documents(0, 300));
    // The provider takes no call: nothing can be done.
    line.simulator.set_faults(Faults::parse("- then: {status: 503}").expect("a script"));
    let mut process = start(&line, |settings| settings);
    eventually(SOON, "it says how much there is to do", || {
        process.stderr().contains("this run ends when these are done").then_some(())
    });
    process.signal(Signal::Term);
    assert_eq!(process.wait(SOON).code(), Some(75), "{}", process.stderr());
    line.simulator.set_faults(Faults::none());
    run(&line);
    assert_eq!((line.committed(), broker.read(&line.output).len()), (300, 300));
}

fn takes_no_missing_topic_for_an_empty_one(broker: &Broker) {
    let line = line(broker);
    for topic in [&line.input, &line.output] {
        let mut process = start(&line, |settings| settings.replace(topic, "missing"));
        assert_eq!(process.wait(SOON).code(), Some(69), "{}", process.stderr());
        assert!(process.stderr().contains("topic `missing`"), "{}", process.stderr());
    }
}

/// As after a topic was deleted and created anew.
fn takes_no_position_beyond_the_end_for_a_done_one(broker: &Broker) {
    let line = line(broker);
    broker.produce(&line.input, documents(0, 10));
    broker.commit(&line.group, &line.input, 0, 9_999);
    run(&line);
    assert_eq!((broker.read(&line.output).len(), line.committed()), (10, 10));
}

/// Two transactions; what the second one holds, which is aborted, and the markers of both have offsets.
fn is_not_kept_by_what_no_reader_is_shown(broker: &Broker) {
    let line = line(broker);
    broker.produce_in_transactions(&line.input, [(true, documents(0, 10)), (false, documents(10, 14))]);
    let ends: i64 = broker.ends(&line.input).values().sum();
    assert!(ends > 14, "markers have offsets: {ends}");
    let log = run(&line);
    assert_eq!(broker.read(&line.output).len(), 10, "{log}");
    assert_eq!(line.committed(), ends, "a run leaves no lag: {log}");
    assert!(!log.contains("ERROR"), "{log}");
}

/// Readers of committed records stop before it: their end is not that of the topic.
fn waits_for_an_open_transaction(broker: &Broker) {
    let line = line(broker);
    broker.produce(&line.input, documents(0, 2));
    let abort = broker.open_transaction(&line.input, documents(2, 4).collect());
    broker.produce(&line.input, documents(4, 44));
    let mut process = start(&line, |settings| settings);
    eventually(SOON, "it says what it waits for", || {
        assert_eq!(process.ended(), None, "{}", process.stderr());
        process.stderr().contains("a transaction is open").then_some(())
    });
    assert_eq!(broker.read(&line.output).len(), 2);
    abort();
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.stderr());
    assert_eq!(broker.read(&line.output).len(), 42, "{}", process.stderr());
}

/// The worker has their text: that retention deletes them makes them no less unfinished.
fn does_what_is_deleted_while_it_is_under_way(broker: &Broker) {
    let line = line(broker);
    broker.produce(&line.input, documents(0, 20));
    line.simulator.set_faults(Faults::parse("- then: {status: 503}").expect("a script"));
    let mut process = start(&line, |settings| settings);
    eventually(SOON, "a call", || (line.simulator.ledger().requests > 0).then_some(()));
    broker.delete_all_records(&line.input);
    eventually(SOON, "it says that it goes on", || {
        assert_eq!(process.ended(), None, "{}", process.stderr());
        process.stderr().contains("going on").then_some(())
    });
    line.simulator.set_faults(Faults::none());
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.stderr());
    assert_eq!((broker.read(&line.output).len(), line.committed()), (20, 20), "{}", process.stderr());
}
