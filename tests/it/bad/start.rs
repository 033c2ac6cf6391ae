//! What is not there at the start, and command lines that are none.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use embedstream::simulator::{Settings, Simulator};
use tempfile::TempDir;

use super::{HIDDEN, SOON, ended, says};
use crate::support::broker::Broker;
use crate::support::line::{Line, Worker};
use crate::support::process::{Process, Signal};
use crate::support::records::Outgoing;
use crate::support::{eventually, http, on_a_real_broker, on_each_broker, unique};

/// The promise for what the brokers do not give.
const MINUTE: Duration = Duration::from_secs(60);

// The mock cluster creates every topic that somebody asks for.
on_a_real_broker! { a_missing_topic_is_named_with_its_setting }

on_each_broker! {
    a_wrong_key_ends_the_worker_with_advice,
    dimensions_that_the_model_does_not_give_are_named,
    a_provider_that_is_not_there_is_waited_for,
}

fn small() -> Settings {
    Settings { dimensions: 64, ..Settings::default() }
}

/// `check --connect` on these settings.
fn connect(yaml: &str, environment: &[(&str, &str)]) -> (Process, TempDir) {
    let directory = TempDir::new().expect("there is room");
    let file = directory.path().join("config.yaml");
    fs::write(&file, yaml).expect("there is room");
    let file = file.to_str().expect("a path of ours");
    (Process::start(&["check", "--connect", "--config", file], environment), directory)
}

fn a_missing_topic_is_named_with_its_setting(broker: &Broker) {
    let line = Line::new(broker, 1, small());
    for (key, topic) in [
        ("kafka.input_topics", &line.input),
        ("kafka.output_topic", &line.output),
        ("kafka.dead_letter_topic", &line.dead),
    ] {
        let missing = unique("missing");
        let yaml = line.settings(http::free_address()).replace(topic.as_str(), &missing);
        let words = [missing.as_str(), key, "does not exist", "create it"];
        let mut worker = Process::worker(&yaml, &[]);
        let (mut check, _directory) = connect(&yaml, &[]);
        says(&ended(&mut worker, 69, MINUTE), &words);
        says(&ended(&mut check, 69, MINUTE), &["1 of 7 checks failed"]);
        let stdout = check.stdout();
        let failed: Vec<_> = stdout.lines().filter(|line| line.starts_with("FAILED")).collect();
        assert_eq!(failed.len(), 1, "{stdout}");
        says(failed[0], &words);
        let ok = stdout.lines().filter(|line| line.starts_with("ok ")).count();
        assert_eq!(ok, 6, "settings, tokens, brokers, two topics, provider:\n{stdout}");
    }
}

/// Nobody listens; a name that is none; somebody who listens and says nothing.
#[test]
fn unreachable_brokers_are_named_within_a_minute() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let silent = silent.local_addr().expect("it is bound").to_string();
    let addresses = [http::free_address().to_string(), "nowhere.invalid:9092".to_owned(), silent];
    let processes = addresses.map(|address| {
        let yaml = format!(
            "kafka: {{brokers: \"{address}\"}}\nprovider: {{url: \"http://127.0.0.1:1/v1\"}}\nadmin: {{listen: \"\"}}\n"
        );
        let check = connect(&yaml, &[]);
        (address, Process::worker(&yaml, &[]), check)
    });
    for (address, mut worker, (mut check, _directory)) in processes {
        let words = ["kafka.brokers: ", &address, "within 30 s", "check the address"];
        says(&ended(&mut worker, 69, MINUTE), &words);
        ended(&mut check, 69, MINUTE);
        says(&check.stdout(), &words);
    }
}

#[test]
fn an_admin_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let taken = taken.local_addr().expect("it is bound").to_string();
    let yaml = format!("provider: {{url: \"http://127.0.0.1:1/v1\"}}\nadmin: {{listen: \"{taken}\"}}\n");
    let stderr = ended(&mut Process::worker(&yaml, &[]), 69, SOON);
    says(&stderr, &["admin.listen", &taken, "in use", "choose another"]);
}

fn a_wrong_key_ends_the_worker_with_advice(broker: &Broker) {
    let line = Line::new(broker, 1, Settings { key: Some("right".to_owned()), ..small() });
    broker.produce(&line.input, [Outgoing::new("a", r#"{"title":"text"}"#)]);
    let key = [("EMBEDSTREAM__PROVIDER__API_KEY", HIDDEN)];
    let ways = ["401", "check the key", "EMBEDSTREAM__PROVIDER__API_KEY", "provider.api_key_file"];
    let mut worker = Process::worker(&line.settings(http::free_address()), &key);
    let (mut check, _directory) = connect(&line.settings(http::free_address()), &key);
    says(&ended(&mut worker, 78, MINUTE), &ways);
    ended(&mut check, 78, MINUTE);
    says(&check.stdout(), &ways);
    assert_eq!(line.committed(), 0, "the record waits for the right key");
    assert_eq!(broker.read(&line.dead), []);
}

fn dimensions_that_the_model_does_not_give_are_named(broker: &Broker) {
    let line = Line::new(broker, 1, Settings { dimensions: 32, ..Settings::default() });
    broker.produce(&line.input, [Outgoing::new("a", r#"{"title":"text"}"#)]);
    let (mut check, _directory) = connect(&line.settings(http::free_address()), &[]);
    let words = ["32 dimensions", "provider.dimensions is 64", "set provider.dimensions"];
    ended(&mut check, 78, MINUTE);
    says(&check.stdout(), &words);
    let mut worker = Process::worker(&line.settings(http::free_address()), &[]);
    says(&ended(&mut worker, 78, MINUTE), &words);
    assert_eq!((line.committed(), broker.read(&line.dead)), (0, vec![]));
}

fn a_provider_that_is_not_there_is_waited_for(broker: &Broker) {
    let line = Line::new(broker, 1, small());
    broker.produce(&line.input, [Outgoing::new("a", r#"{"title":"text"}"#)]);
    let address = http::free_address();
    let settings =
        |admin| line.settings(admin).replace(&line.simulator.addr.to_string(), &address.to_string());
    let (mut check, _directory) = connect(&settings(http::free_address()), &[]);
    ended(&mut check, 69, MINUTE);
    says(&check.stdout(), &["FAILED  provider", "no connection", "check provider.url"]);

    let admin = http::free_address();
    let mut worker = Worker { process: Process::worker(&settings(admin), &[]), admin };
    eventually(MINUTE, "it is unready, and says why", || {
        assert!(worker.process.ended().is_none(), "{}", worker.process.stderr());
        let answer = http::get(admin, "/readyz").ok()?;
        (answer.status == 503 && answer.body.contains("\"unreachable\"")).then_some(())
    });
    let _provider = line.runtime.block_on(Simulator::start(address, small())).expect("the port is free");
    line.wait_done(MINUTE, &worker);
    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(MINUTE).code(), Some(0));
    assert_eq!((broker.read(&line.output).len(), broker.read(&line.dead).len()), (1, 0));
}

#[test]
fn a_wrong_command_line_is_usage() {
    for (arguments, words) in [
        (&[][..], "Usage"),
        (&["walk"], "walk"),
        (&["rum"], "a similar subcommand exists: 'run'"),
        (&["run", "--confg", "x"], "a similar argument exists: '--config'"),
        (&["run", "--config"], "--config"),
        (&["check", "--conect"], "--connect"),
        (&["simulate", "--listen", "here"], "--listen"),
        (&["simulate", "--latency", "5x"], "--latency"),
        (&["simulate", "--dimensions", "0"], "--dimensions"),
        (&["simulate", "--dimensions", "20000"], "--dimensions"),
        (&["simulate", "--requests-per-minute", "0"], "--requests-per-minute"),
    ] {
        let mut process = Process::start(arguments, &[]);
        says(&ended(&mut process, 64, SOON), &[words]);
        assert_eq!(process.stdout(), "");
    }
}

#[test]
fn simulate_says_what_is_wrong_with_a_script_and_with_an_address() {
    let directory = TempDir::new().expect("there is room");
    for (script, words) in [
        ("rules: [{when: {evry: 1}, then: {status: 500}}]", ["evry", "`every`"]),
        ("- then: {status: 99}", ["rule 1", "between 200 and 599"]),
        ("- when: {after: 5}\n  then: {reset: true}", ["`5` is not a duration", "10s"]),
        ("- when: {every: 2}", ["then", "missing"]),
        ("[", ["line", "column"]),
        ("hello", ["hello", "a list of rules"]),
    ] {
        let file = directory.path().join("faults.yaml");
        fs::write(&file, script).expect("there is room");
        let file = file.to_str().expect("a path of ours");
        let mut process = Process::start(&["simulate", "--listen", "127.0.0.1:0", "--faults", file], &[]);
        let stderr = ended(&mut process, 78, SOON);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        says(&stderr, &[&[file][..], &words].concat());
    }
    let mut process = Process::start(&["simulate", "--faults", "/nowhere/faults.yaml"], &[]);
    says(&ended(&mut process, 78, SOON), &["/nowhere/faults.yaml", "No such file"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let taken = taken.local_addr().expect("it is bound").to_string();
    let mut process = Process::start(&["simulate", "--listen", &taken], &[]);
    says(&ended(&mut process, 69, SOON), &["--listen", &taken, "in use"]);
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("loopback has a port");
    let address = taken.local_addr().expect("it is bound");
    let directory = TempDir::new().expect("there is room");
    let file = directory.path().join("config.yaml");
    let yaml = format!("provider: {{url: \"http://127.0.0.1:9/v1\"}}\nadmin: {{listen: \"{address}\"}}\n");
    fs::write(&file, yaml).expect("there is room");
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedstream"));
    let status = command.arg("run").arg("--config").arg(&file).stdout(Stdio::null()).stderr(full).status();
    // The address is in use: that is what ends it, not its log.
    assert_eq!(status.expect("it starts").code(), Some(69));
}
