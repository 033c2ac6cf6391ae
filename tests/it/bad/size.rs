//! Records of 5 MB, and outputs that their topic does not take.

use std::fmt::Write as _;
use std::time::Duration;

use embedstream::simulator::Settings;

use crate::support::broker::Broker;
use crate::support::line::Line;
use crate::support::process::Signal;
use crate::support::records::Outgoing;
use crate::support::{eventually, http, on_a_real_broker, on_each_broker};

const DONE: Duration = Duration::from_secs(120);
const LARGE: usize = 5_000_000;

// The mock cluster takes whatever comes.
on_a_real_broker! { a_dead_letter_that_is_refused_holds_its_partition_only }

on_each_broker! {
    a_long_text_of_5_mb_is_cut,
    an_unreadable_record_of_5_mb_is_a_dead_letter_as_it_was,
    an_output_that_its_topic_refuses_is_a_dead_letter,
}

fn line(broker: &Broker) -> Line<'_> {
    let mut line = Line::new(broker, 1, Settings { dimensions: 64, ..Settings::default() });
    let large = [("max.message.bytes", "10485760")];
    line.input = broker.create_topic_with("large-in", 1, &large);
    line.output = broker.create_topic_with("large-out", 1, &[("max.message.bytes", "1000000")]);
    line.dead = broker.create_topic_with("large-dead", 1, &large);
    line.extra = "retry: {dead_letter_cap: 100%/1min}".to_owned();
    line
}

/// One record, and one behind it that must go on.
fn through(line: &Line<'_>, value: &[u8]) {
    line.broker.produce(&line.input, [Outgoing::new("large", value).header("kept", None)]);
    let begun = tokio::time::Instant::now();
    let mut worker = line.worker();
    line.wait_done(DONE, &worker);
    println!("{} bytes took {:?}", value.len(), begun.elapsed());
    line.broker.produce(&line.input, [Outgoing::new("small", r#"{"title":"small"}"#)]);
    line.wait_done(DONE, &worker);
    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(DONE).code(), Some(0), "{}", worker.process.stderr());
}

/// Also one that has no end of a word, which a tokenizer may take ages for.
fn a_long_text_of_5_mb_is_cut(broker: &Broker) {
    for part in ["All work and no play. ", "x", "=", "abcdefghij", "字", "🦀", "e\u{301}"] {
        let line = line(broker);
        // Up to 4 MiB its tokens are counted; beyond, a text has too many of them by its size alone.
        let bytes = if part.len() == 1 { 4_000_000 } else { LARGE };
        let text = part.repeat(bytes / part.len());
        through(&line, format!("{{\"title\":\"{text}\",\"id\":7}}").as_bytes());
        let outputs = broker.read(&line.output);
        let [large, small] = outputs.as_slice() else { panic!("{} outputs", outputs.len()) };
        let json = large.json();
        let cut = json["text"].as_str().expect("a text");
        // What is cut is cut in its composed form.
        let whole = text.replace("e\u{301}", "é");
        assert!(cut.len() > 10_000 && cut.len() < whole.len() && whole.starts_with(cut), "{part}");
        assert!((32_000..=32_768).contains(&json["tokens"].as_u64().expect("a number")), "{part}");
        assert_eq!((&json["payload"]["id"], &small.json()["text"]), (&7.into(), &"small".into()));
        assert_eq!(broker.read(&line.dead), []);
    }
}

fn an_unreadable_record_of_5_mb_is_a_dead_letter_as_it_was(broker: &Broker) {
    let line = line(broker);
    let value = noise();
    through(&line, &value);
    let letters = broker.read(&line.dead);
    let [letter] = letters.as_slice() else { panic!("{} dead letters", letters.len()) };
    assert_eq!(letter.header("embedstream-error-reason"), Some("invalid_input"));
    assert!(letter.value.as_deref() == Some(&value[..]), "not as it was");
    assert_eq!(letter.headers[0], ("kept".to_owned(), None));
    assert_eq!(broker.read(&line.output).len(), 1);
}

/// The mock cluster has no limit; there it is an output as any.
fn an_output_that_its_topic_refuses_is_a_dead_letter(broker: &Broker) {
    let line = line(broker);
    // The payload is kept whole, and cannot be compressed to less than half.
    let mut id = String::new();
    for byte in &noise()[..1_500_000] {
        write!(id, "{byte:02x}").expect("a string takes all");
    }
    let value = format!("{{\"title\":\"x\",\"id\":\"{id}\"}}");
    through(&line, value.as_bytes());
    let (outputs, letters) = (broker.read(&line.output), broker.read(&line.dead));
    if let Broker::Mock(_) = broker {
        assert_eq!((outputs.len(), letters.len()), (2, 0));
        return;
    }
    assert_eq!((outputs.len(), letters.len()), (1, 1));
    let letter = &letters[0];
    assert_eq!(letter.header("embedstream-error-reason"), Some("output_refused"));
    let message = letter.header("embedstream-error-message").expect("a message");
    assert!(message.contains("max.message.bytes"), "{message}");
    assert!(letter.value.as_deref() == Some(value.as_bytes()), "not as it was");
}

/// Bytes that no compression makes less.
fn noise() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(5);
    (0..LARGE).map(|_| random.u8(..)).collect()
}

/// A dead letter that its topic refuses holds its partition, which is said; nothing is lost, and the others go on.
fn a_dead_letter_that_is_refused_holds_its_partition_only(broker: &Broker) {
    let mut line = line(broker);
    line.input = broker.create_topic_with("held-in", 2, &[("max.message.bytes", "10485760")]);
    line.dead = broker.create_topic_with("held-dead", 1, &[("max.message.bytes", "1000000")]);
    let good = |partition| Outgoing::new("good", r#"{"title":"good"}"#).partition(partition);
    broker.produce(&line.input, [Outgoing::new("large", noise()).partition(0), good(0)]);
    broker.produce(&line.input, (0..100).map(|_| good(1)));
    let mut worker = line.worker();
    let held = eventually(DONE, "the worker is unready for it", || {
        let answer = http::get(worker.admin, "/readyz").ok()?;
        (answer.status == 503 && answer.body.contains("\"output_refused\"")).then_some(answer.body)
    });
    for words in ["/0 is held", "offset 0", "max.message.bytes"] {
        assert!(held.contains(words), "no {words} in {held}");
    }
    let committed = || broker.committed(&line.group, &line.input);
    eventually(DONE, "the other partition goes on", || (committed().get(&1) == Some(&100)).then_some(()));
    assert_eq!(committed().get(&0).copied().unwrap_or(0), 0, "the record is not lost");
    worker.process.signal(Signal::Term);
    let status = worker.process.wait(DONE);
    assert_eq!(broker.read(&line.dead), []);
    assert!(status.code() == Some(0) || status.code() == Some(75), "{status}: {}", worker.process.stderr());
}
