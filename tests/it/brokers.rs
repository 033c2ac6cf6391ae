//! The test brokers and the real process do what the other tests rely on.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::process::{Process, Signal};
use crate::support::records::Outgoing;
use crate::support::{eventually, http, on_each_broker, unique};

const SOON: Duration = Duration::from_secs(10);

on_each_broker! {
    keeps_a_thousand_records,
    keeps_keys_values_and_headers_as_they_are,
    keeps_a_record_of_5_mb,
    remembers_what_a_group_committed,
}

fn keeps_a_thousand_records(broker: &Broker) {
    let topic = broker.create_topic("thousand", 3);
    assert_eq!(broker.read(&topic), []);
    broker
        .produce(&topic, (0..1000).map(|n| Outgoing::new(format!("key {}", n % 100), format!("value {n}"))));
    let received = broker.read(&topic);
    let values: BTreeSet<_> =
        received.iter().map(|record| record.value.clone().expect("none is a tombstone")).collect();
    assert_eq!((received.len(), values.len()), (1000, 1000));
    assert_eq!(broker.ends(&topic).values().sum::<i64>(), 1000);
    assert_eq!(broker.ends(&topic).len(), 3);
    broker.delete_topic(&topic);
}

fn keeps_keys_values_and_headers_as_they_are(broker: &Broker) {
    let topic = broker.create_topic_with("as-they-are", 2, &[("cleanup.policy", "compact")]);
    let record = Outgoing::new(b"\0\xff", r#"{"n":1}"#)
        .partition(1)
        .header("text", Some(b"first"))
        .header("text", Some(b"second"))
        .header("binary", Some(b"\xff"))
        .header("empty", Some(b""))
        .header("absent", None);
    let timestamp = Some(1_700_000_000_000);
    broker.produce(&topic, [Outgoing { timestamp, ..record.clone() }]);
    broker.produce(&topic, [Outgoing::tombstone("gone").partition(1)]);
    let received = broker.read(&topic);
    let [first, second] = received.as_slice() else { panic!("two records, not {received:?}") };
    assert_eq!((first.partition, first.offset, first.timestamp), (1, 0, timestamp));
    assert_eq!((&first.key, &first.value, &first.headers), (&record.key, &record.value, &record.headers));
    assert_eq!(first.json()["n"], 1);
    assert_eq!(
        (first.header("text"), first.header("binary"), first.header("none")),
        (Some("second"), None, None)
    );
    assert_eq!((second.offset, second.key.as_deref(), &second.value), (1, Some(&b"gone"[..]), &None));
}

fn keeps_a_record_of_5_mb(broker: &Broker) {
    let topic = broker.create_topic("large", 1);
    broker.produce(&topic, [Outgoing::keyless(vec![b'x'; 5_000_000])]);
    let received = broker.read(&topic);
    assert_eq!(received.len(), 1);
    assert_eq!((&received[0].key, received[0].value.as_ref().map(Vec::len)), (&None, Some(5_000_000)));
}

fn remembers_what_a_group_committed(broker: &Broker) {
    let topic = broker.create_topic("committed", 2);
    let group = unique("group");
    assert!(broker.committed(&group, &topic).is_empty());
    broker.commit(&group, &topic, 1, 7);
    assert_eq!(broker.committed(&group, &topic), [(1, 7)].into());
}

#[test]
fn a_killed_broker_comes_back_with_its_records() {
    let (broker, node) = match Broker::own() {
        Ok(own) => own,
        Err(skip) => return skip.report("a_killed_broker_comes_back_with_its_records"),
    };
    let topic = broker.create_topic("killed", 1);
    broker.produce(&topic, (0..100).map(|n| Outgoing::keyless(format!("{n}"))));
    let before = broker.read(&topic);
    node.kill();
    node.restart();
    assert_eq!(broker.read(&topic), before);
    assert_eq!(before.len(), 100);
}

/// A process that is not ours: these tests are about the test support.
fn shell(script: &str, environment: &[(&str, &str)]) -> Process {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script);
    Process::spawn(command, environment, TempDir::new().expect("there is room"))
}

#[test]
fn a_process_is_signalled_and_heard() {
    // Not SIGINT: a shell cannot trap what was ignored when it started, as in the background of another.
    let script = "trap 'echo term >&2; kill $!; exit 3' TERM; \
                  echo $GREETING; while :; do sleep 60 & wait; kill $!; done";
    let mut process = shell(script, &[("GREETING", "hello")]);
    eventually(SOON, "the greeting", || (process.stdout() == "hello\n").then_some(()));
    assert!(process.ended().is_none());
    assert!(process.peak_resident_bytes() > 100_000);
    assert!(process.cpu_time() < SOON);
    process.signal(Signal::Stop);
    process.signal(Signal::Continue);
    process.signal(Signal::Term);
    assert_eq!(process.wait(SOON).code(), Some(3));
    assert_eq!(process.stderr(), "term\n");
    process.signal(Signal::Kill);
    assert_eq!(process.ended().and_then(|status| status.code()), Some(3));
}

/// Answers each request with the next of `responses`, then listens no more.
fn serve(responses: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind(http::free_address()).expect("nobody listens there");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for response in responses {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            let mut request = [0; 1024];
            let length = stream.read(&mut request).expect("a request comes");
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.0\r\n"));
            stream.write_all(response.as_bytes()).expect("the asker listens");
        }
    });
    address
}

#[test]
fn a_worker_is_awaited_until_it_is_ready() {
    let admin = serve(&[
        "HTTP/1.0 503 Service Unavailable\r\n\r\n{}",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: y\r\n\r\nbody",
    ]);
    let mut process = shell("exec sleep 60", &[]);
    process.wait_ready(admin, SOON);
    let response = http::get(admin, "/readyz").expect("it listens still");
    assert_eq!((response.status, &*response.headers, &*response.body), (200, "x: y", "body"));
    process.signal(Signal::Kill);
    process.wait(SOON);
}

#[test]
#[should_panic(expected = "before it was ready; its log:\nno such topic")]
fn a_worker_that_ends_is_not_awaited() {
    let mut process = shell("echo no such topic >&2; exit 69", &[]);
    process.wait_ready(http::free_address(), SOON);
}

#[test]
fn the_binary_runs_and_ends() {
    let mut process = Process::start(&["--version"], &[]);
    process.wait(SOON);
    let mut process = Process::worker("{}", &[]);
    assert!(process.directory().join("config.yaml").exists());
    process.signal(Signal::Kill);
    process.wait(SOON);
}
