//! The line under load and faults, between real processes: the worker is the binary, the provider the simulator.

use std::time::Duration;

use embedstream::simulator::{Faults, Settings};

use crate::support::broker::Broker;
use crate::support::laws::{self, Promise, Seen};
use crate::support::line::Line;
use crate::support::process::Signal;
use crate::support::stream::{FAILS_ONE_IN_TEN, REFUSES_POISON, Stream};
use crate::support::{eventually, on_a_real_broker, on_each_broker};

const DONE: Duration = Duration::from_secs(120);
const END: Duration = Duration::from_secs(40);

on_each_broker! {
    gives_every_record_one_outcome_while_calls_fail,
    keeps_the_order_of_partitions,
    needs_no_order,
    finishes_what_is_in_flight_on_sigterm,
    survives_joins_leaves_and_kills,
}

on_a_real_broker! {
    // The mock cluster does not count a commit as a heartbeat.
    keeps_its_session_through_a_long_drain,
}

/// Poison is refused, and one call in ten fails otherwise.
fn faults() -> String {
    format!(
        "seed: 11
rules:{REFUSES_POISON}{FAILS_ONE_IN_TEN}"
    )
}

fn settings(latency: u64, faults: &str) -> Settings {
    Settings {
        latency: Duration::from_millis(latency),
        dimensions: 64,
        faults: Faults::parse(faults).expect("a script"),
        ..Settings::default()
    }
}

/// The mock cluster keeps 5 MiB a partition.
fn stream(broker: &Broker, poison_every: usize) -> Stream {
    let (records, bytes) = match broker {
        Broker::Mock(_) => (3_000, 400),
        Broker::Real(_) => (20_000, 1_024),
    };
    Stream { records, bytes, poison_every, seed: 3 }
}

fn check(line: &Line<'_>, stream: Stream, promise: Promise) -> Seen {
    let inputs = line.broker.read(&line.input);
    assert_eq!(inputs.len(), stream.records, "the broker kept the input");
    let seen = laws::check(&inputs, &line.broker.read(&line.output), &line.broker.read(&line.dead), promise);
    assert_eq!(line.broker.committed(&line.group, &line.input), line.broker.ends(&line.input));
    seen
}

fn gives_every_record_one_outcome_while_calls_fail(broker: &Broker) {
    let line = Line::new(broker, 3, settings(200, &faults()));
    let stream = stream(broker, 1_000);
    broker.produce(&line.input, stream.outgoing());
    let mut worker = line.ready_worker();
    line.wait_done(DONE, &worker);
    let ledger = line.simulator.ledger();
    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(END).code(), Some(0));
    let seen = check(&line, stream, Promise::Key);
    assert_eq!(seen.dead_letters, stream.poison());
    assert_eq!(seen.repeated, 0);
    // A lone 400 says nothing of the batch: calls that held a poison.
    let poisoned = ledger.statuses.get(&400).copied().unwrap_or(0);
    println!("{seen:?} {ledger:?}");
    assert!(poisoned <= 9 * stream.poison() as u64, "{poisoned} calls for {} poisons", stream.poison());
}

fn keeps_the_order_of_partitions(broker: &Broker) {
    let mut line = Line::new(broker, 3, settings(50, &faults()));
    line.order = "partition";
    let stream = Stream { records: 2_000, ..stream(broker, 500) };
    broker.produce(&line.input, stream.outgoing());
    let worker = line.ready_worker();
    line.wait_done(DONE, &worker);
    let seen = check(&line, stream, Promise::Partition);
    assert_eq!((seen.dead_letters, seen.repeated), (stream.poison(), 0));
}

fn needs_no_order(broker: &Broker) {
    let mut line = Line::new(broker, 3, settings(50, &faults()));
    line.order = "none";
    let stream = Stream { records: 2_000, ..stream(broker, 500) };
    broker.produce(&line.input, stream.outgoing());
    let worker = line.ready_worker();
    line.wait_done(DONE, &worker);
    let seen = check(&line, stream, Promise::Nothing);
    assert_eq!((seen.dead_letters, seen.repeated), (stream.poison(), 0));
}

fn finishes_what_is_in_flight_on_sigterm(broker: &Broker) {
    let line = Line::new(broker, 3, settings(1_500, "[]"));
    let stream = Stream { records: 3_000, ..stream(broker, 0) };
    broker.produce(&line.input, stream.outgoing());
    let mut worker = line.ready_worker();
    line.wait_committed(200, DONE);
    assert!(line.simulator.ledger().in_flight > 0, "there are calls in flight");
    worker.process.signal(Signal::Term);
    let status = worker.process.wait(END);
    assert_eq!(status.code(), Some(0), "{}", worker.process.stderr());
    let committed = line.committed();
    assert!(committed < 3_000, "it was under load");
    assert_eq!(line.simulator.ledger().in_flight, 0);
    let paid = line.simulator.ledger().inputs;
    let published = line.broker.read(&line.output);
    let vectors = published.iter().filter(|record| record.value.is_some()).count() as u64;
    assert_eq!(paid, vectors, "what was paid for is published");
    let worker = line.ready_worker();
    line.wait_done(DONE, &worker);
    assert_eq!(check(&line, stream, Promise::Key).repeated, 0, "the next start repeats nothing");
}

fn keeps_its_session_through_a_long_drain(broker: &Broker) {
    // Longer than the session: whoever leaves sends no heartbeats any more.
    let line = Line::new(broker, 3, settings(9_000, "[]"));
    let stream = Stream { records: 600, ..stream(broker, 0) };
    broker.produce(&line.input, stream.outgoing());
    let mut worker = line.ready_worker();
    eventually(END, "calls in flight", || (line.simulator.ledger().in_flight > 0).then_some(()));
    worker.process.signal(Signal::Term);
    let status = worker.process.wait(END);
    assert_eq!(status.code(), Some(0), "{}", worker.process.stderr());
    let published = line.broker.read(&line.output).len();
    assert!(published > 0, "something was drained");
    assert_eq!(
        line.committed(),
        i64::try_from(published).expect("a number"),
        "what was published is committed"
    );
}

#[test]
fn stays_up_while_the_broker_is_killed_and_restarted() {
    let (broker, node) = match Broker::own() {
        Ok(own) => own,
        Err(skip) => return skip.report("load::stays_up_while_the_broker_is_killed_and_restarted"),
    };
    let mut line = Line::new(&broker, 3, settings(200, &faults()));
    // As by default: the broker is away for a shorter time than that.
    line.session = 30_000;
    let stream = stream(&broker, 1_000);
    broker.produce(&line.input, stream.outgoing());
    let mut worker = line.ready_worker();
    line.wait_committed(1_000, DONE);
    node.kill();
    let calls = line.simulator.ledger().requests;
    // It goes on with what it has, for a while at least.
    eventually(END, "calls without a broker", || {
        (line.simulator.ledger().requests >= calls + 8).then_some(())
    });
    node.restart();
    line.wait_done(DONE, &worker);
    assert_eq!(worker.process.ended(), None, "the worker stays up");
    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(END).code(), Some(0), "{}", worker.process.stderr());
    let seen = check(&line, stream, Promise::Key);
    assert_eq!(seen.dead_letters, stream.poison());
    assert_eq!(seen.repeated, 0, "one process repeats nothing");
}

fn survives_joins_leaves_and_kills(broker: &Broker) {
    // The mock cluster holds little: it has to last.
    let latency = if matches!(broker, Broker::Mock(_)) { 1_500 } else { 200 };
    let line = Line::new(broker, 3, settings(latency, &faults()));
    let stream = stream(broker, 1_000);
    broker.produce(&line.input, stream.outgoing());
    let mut first = line.ready_worker();
    line.wait_committed(100, DONE);
    let mut second = line.ready_worker();
    // What a rebalance does not wait for: outputs whose partition's position is not there yet.
    let mut may_repeat = line.ahead_of_positions();
    line.wait_committed(600, DONE);
    second.process.signal(Signal::Term);
    assert_eq!(second.process.wait(END).code(), Some(0), "{}", second.process.stderr());
    may_repeat += line.ahead_of_positions();
    line.wait_committed(1_200, DONE);
    first.process.signal(Signal::Kill);
    first.process.wait(END);
    may_repeat += line.ahead_of_positions();
    let third = line.ready_worker();
    line.wait_done(DONE, &third);
    let seen = check(&line, stream, Promise::Key);
    println!("{may_repeat} were ahead of the positions; {seen:?}");
    assert!(seen.repeated <= may_repeat, "{may_repeat} were ahead of the positions: {seen:?}");
}
