//! Records of every kind through the whole line: each has its documented outcome, those behind it go on, all is committed.

mod json;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use embedstream::simulator::Settings;
use serde_json::value::RawValue;

use super::HIDDEN;
use crate::support::broker::Broker;
use crate::support::line::{Line, Worker};
use crate::support::process::{Process, Signal};
use crate::support::records::{Outgoing, Received};
use crate::support::{http, on_each_broker};

const DONE: Duration = Duration::from_secs(120);

on_each_broker! {
    json_records_have_their_outcome,
    texts_have_their_outcome,
    over_long_and_blank_texts_are_dead_letters_if_asked_for,
}

/// What becomes of a record.
#[derive(Clone, Debug)]
enum Outcome {
    /// Embedded, with this text.
    Vector(String),
    /// Embedded, with a text that is a beginning of this one, and shorter.
    Cut(String),
    /// Embedded; in the value, as they are, these bytes.
    Holds(String),
    Tombstone,
    Skipped,
    /// Dead-lettered, with this reason and words in the message.
    Dead(&'static str, &'static str),
}

use Outcome::{Cut, Dead, Holds, Skipped, Tombstone, Vector};

type Case = (Outgoing, Outcome);

fn vector(text: &str) -> Outcome {
    Vector(text.to_owned())
}

fn json_records_have_their_outcome(broker: &Broker) {
    // An escape that is no character may be in a name, where nobody looks for it.
    let input = "{format: json, text: [/title, /body], payload: [/id]}";
    through(broker, input, [json::cases(), headers(r#"{"title":"hunter2"}"#)].concat());
}

fn texts_have_their_outcome(broker: &Broker) {
    through(broker, "{format: text}", [text::cases(), headers("hunter2")].concat());
}

fn over_long_and_blank_texts_are_dead_letters_if_asked_for(broker: &Broker) {
    let input = "{format: text, too_long: dead_letter, blank: dead_letter}";
    let long = "hunter2 ".repeat(40_000);
    let cases = vec![
        (Outgoing::new("long", long), Dead("too_long", "limit")),
        (Outgoing::new("blank", " \t\r\n\u{3000}"), Dead("blank", "no visible")),
        (Outgoing::new("empty", ""), Dead("blank", "no visible")),
        (Outgoing::new("tombstone", "x"), vector("x")),
        (Outgoing::tombstone("tombstone"), Tombstone),
    ];
    through(broker, input, cases);
}

/// Keys and headers of every kind, on a value that is good and on one that is not UTF-8.
fn headers(good: &str) -> Vec<Case> {
    let bad = b"\xffhunter2".as_slice();
    let many = |mut record: Outgoing| {
        for number in 0..200 {
            record = record.header(&format!("header-{number}"), Some(format!("value {number}").as_bytes()));
        }
        record
    };
    let odd = |record: Outgoing| {
        record
            .header("binary", Some(b"\0\xff\xfe"))
            .header("null", None)
            .header("empty", Some(b""))
            .header("twice", Some(b"1"))
            .header("twice", Some(b"2"))
            .header("", Some(b"without a name"))
            .header("embedstream-error-reason", Some(b"an earlier pass"))
    };
    let mut cases = Vec::new();
    for (value, outcome) in
        [(good.as_bytes(), vector("hunter2")), (bad, Dead("invalid_input", "not valid UTF-8 at byte 0"))]
    {
        let records = [
            Outgoing::keyless(value),
            Outgoing::new("", value),
            Outgoing::new(b"\0\xff\xc3(", value),
            Outgoing::new("k".repeat(10_000), value),
            odd(Outgoing::new("headers", value)),
            odd(Outgoing::keyless(value)),
            many(Outgoing::new("many", value)),
            Outgoing::new("large header", value).header("large", Some(&[b'x'; 100_000])),
            Outgoing { timestamp: Some(0), ..Outgoing::new("1970", value) },
        ];
        cases.extend(records.map(|record| (record, outcome.clone())));
    }
    cases.push((many(Outgoing::tombstone("many")), Tombstone));
    cases.push((Outgoing::default(), Skipped));
    cases.push((Outgoing::tombstone(""), Skipped));
    cases
}

/// Sends the records through a worker and looks at each one's outcome.
fn through(broker: &Broker, input: &str, cases: Vec<Case>) {
    let mut line = Line::new(broker, 1, Settings { dimensions: 64, ..Settings::default() });
    // Most of them are dead letters, which is meant.
    line.extra = "retry: {dead_letter_cap: 100%/1min}\nlog: {level: debug}".to_owned();
    let admin = http::free_address();
    let settings =
        line.settings(admin).replace("{format: json, text: [/title, /body], payload: [/id]}", input);
    broker.produce(&line.input, cases.iter().map(|(record, _)| record.clone()));
    let mut worker = Worker { process: Process::worker(&settings, &[]), admin };
    line.wait_done(DONE, &worker);
    let status = http::get(admin, "/status").expect("the worker answers").body;
    worker.process.signal(Signal::Term);
    let ended = worker.process.wait(DONE);
    let log = worker.process.stderr();
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(!(log + &status).contains(HIDDEN), "a record's text is in the log or the status");

    let outputs = by_offset(broker.read(&line.output), |output| {
        let source = serde_json::from_slice::<Sourced<'_>>(output.value.as_deref()?).expect("JSON").source;
        Some(serde_json::from_str::<Source>(source.get()).expect("a source").offset)
    });
    let dead =
        by_offset(broker.read(&line.dead), |letter| letter.header("embedstream-error-offset")?.parse().ok());
    let tombstones = cases.iter().filter(|(_, outcome)| matches!(outcome, Tombstone)).count();
    assert_eq!(outputs.get(&None).map_or(0, Vec::len), tombstones);
    for (offset, (record, outcome)) in (0_i64..).zip(&cases) {
        let outputs = outputs.get(&Some(offset)).map_or(&[][..], Vec::as_slice);
        let letters = dead.get(&Some(offset)).map_or(&[][..], Vec::as_slice);
        check(offset, record, outcome, outputs, letters);
    }
}

#[derive(serde::Deserialize)]
struct Sourced<'a> {
    #[serde(borrow)]
    source: &'a RawValue,
}

#[derive(serde::Deserialize)]
struct Source {
    offset: i64,
}

fn by_offset(
    records: Vec<Received>,
    offset: impl Fn(&Received) -> Option<i64>,
) -> BTreeMap<Option<i64>, Vec<Received>> {
    let mut sorted: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records {
        sorted.entry(offset(&record)).or_default().push(record);
    }
    sorted
}

fn check(offset: i64, record: &Outgoing, outcome: &Outcome, outputs: &[Received], letters: &[Received]) {
    let shown = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map(|bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned())
    };
    let which = format!("record {offset}, {:?}: {:?}", shown(&record.key), shown(&record.value));
    match (outcome, outputs, letters) {
        (Tombstone | Skipped, [], []) => {}
        (Vector(_) | Cut(_) | Holds(_), [output], []) => {
            assert_eq!(output.key, record.key, "{which}");
            assert_eq!(output.headers[..record.headers.len()], record.headers, "{which}");
            assert_eq!(output.headers.len(), record.headers.len() + 3, "{which}");
            assert_eq!(output.header("embedstream-dimensions"), Some("64"), "{which}");
            let value = std::str::from_utf8(output.value.as_deref().expect("no tombstone")).expect("UTF-8");
            match outcome {
                Holds(bytes) => assert!(value.contains(bytes.as_str()), "{which}"),
                Vector(text) => assert_eq!(output.json()["text"], text.as_str(), "{which}"),
                Cut(text) => {
                    let json = output.json();
                    let cut = json["text"].as_str().expect("a text");
                    assert!(cut.len() < text.len() && text.starts_with(cut), "{which}");
                    let tokens = json["tokens"].as_u64().expect("a number");
                    assert!((32_000..=32_768).contains(&tokens), "{which}: {tokens} tokens");
                }
                _ => unreachable!("the pattern above"),
            }
        }
        (Dead(reason, words), [], [letter]) => {
            assert_eq!(letter.header("embedstream-error-reason"), Some(*reason), "{which}");
            let message = letter.header("embedstream-error-message").expect("a message");
            assert!(message.contains(words) && !message.contains(HIDDEN), "{which}: {message}");
            assert!(letter.key == record.key && letter.value == record.value, "{which}: not as it was");
            assert_eq!(letter.headers[..record.headers.len()], record.headers, "{which}");
        }
        _ => panic!(
            "{which} should be {outcome:?}, has {} outputs and {} dead letters {:?}",
            outputs.len(),
            letters.len(),
            letters.first().map(|letter| letter.header("embedstream-error-message"))
        ),
    }
}
