//! `embedstream demo`, as anybody would start it.

use std::time::Duration;

use serde_json::Value;

use crate::support::eventually;
use crate::support::process::{Process, Signal};

/// A whole demo on a busy machine, unoptimised.
const LONG: Duration = Duration::from_secs(120);

fn number(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or_else(|| panic!("{name} is no number in {line}"))
}

/// Starts it, waits for its end, and reads the line of JSON.
fn demo(arguments: &[&str]) -> Value {
    let mut process = Process::start(&[&["demo", "--json"], arguments].concat(), &[]);
    let status = process.wait(LONG);
    assert_eq!(status.code(), Some(0), "{}", process.stderr());
    last_line(&process)
}

fn last_line(process: &Process) -> Value {
    let stdout = process.stdout();
    assert_eq!(stdout.lines().count(), 1, "nothing else is on stdout: {stdout}");
    serde_json::from_str(&stdout).expect("one JSON object")
}

#[test]
fn every_record_has_one_outcome_and_batches_are_full() {
    let line = demo(&[]);
    let number = |name| number(&line, name);
    let outcomes = number("embedded") + number("tombstones") + number("skipped") + number("dead_lettered");
    assert_eq!((number("records_in"), outcomes), (3_480.0, 3_480.0), "{line}");
    assert_eq!((number("dead_lettered"), number("tombstones"), number("skipped")), (10.0, 60.0, 20.0));
    assert_eq!(number("committed_lag"), 0.0);
    assert!(number("calls") < number("records_in") / 8.0, "{line}");
    assert!((0.9..=1.0).contains(&number("batch_fill")), "{line}");
    assert!(number("calls") >= number("batches") && number("batches") >= 53.0, "{line}");
    assert!(number("tokens") > 100_000.0 && number("seconds") > 0.0, "{line}");
    assert!((number("cost_usd") - number("tokens") * 0.02 / 1e6).abs() < 1e-6, "{line}");
    assert!(number("latency_p50_ms") >= 60.0, "a call alone takes that long: {line}");
    assert!(number("latency_p99_ms") >= number("latency_p50_ms"), "{line}");
    assert_eq!(line["hits"][0]["title"], "Charged twice for the annual plan", "{line}");
}

#[test]
fn another_query_finds_another_record() {
    let line = demo(&["--records", "348", "--query", "camera crash on a tablet"]);
    assert_eq!(number(&line, "records_in"), 348.0);
    assert_eq!(number(&line, "dead_lettered"), 1.0);
    assert!(number(&line, "calls") < 348.0 / 8.0, "{line}");
    assert_eq!(line["query"], "camera crash on a tablet");
    let hits: Vec<_> = line["hits"].as_array().expect("a list").iter().map(|hit| &hit["key"]).collect();
    assert!(hits.contains(&&Value::from("ticket-4001")), "{hits:?}");
}

#[test]
fn an_interrupt_drains_and_tells_what_happened_so_far() {
    let mut process = Process::start(&["demo", "--json", "--rate", "50"], &[]);
    eventually(LONG, "the first batches are told of", || process.stderr().contains("% full").then_some(()));
    process.signal(Signal::Int);
    assert_eq!(process.wait(LONG).code(), Some(0), "{}", process.stderr());
    let line = last_line(&process);
    let outcomes: f64 =
        ["embedded", "tombstones", "skipped", "dead_lettered"].map(|name| number(&line, name)).iter().sum();
    assert!(outcomes > 0.0 && outcomes <= number(&line, "records_in"), "{line}");
    assert!(number(&line, "records_in") < 3_480.0, "{line}");
}

#[test]
fn what_cannot_be_has_its_code() {
    for (arguments, code, word) in [
        (&["--records", "0"][..], 64, "--records"),
        (&["--rate", "-1"], 64, "--rate"),
        (&["--rate", "NaN"], 64, "--rate"),
        (&["--query", ""], 64, "--query"),
        (&["--query", "a [[poison]] text"], 64, "--query"),
        (&["--live"], 78, "OPENROUTER_API_KEY"),
    ] {
        let mut process = Process::start(&[&["demo", "--json"], arguments].concat(), &[]);
        assert_eq!(process.wait(LONG).code(), Some(code), "{arguments:?}: {}", process.stderr());
        assert!(process.stderr().contains(word), "{arguments:?}: {}", process.stderr());
        assert_eq!(process.stdout(), "", "{arguments:?}");
    }
}
