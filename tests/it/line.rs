//! The whole line between real Kafka ends, with a provider in the process: every record has exactly one outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use embedstream::admin::Health;
use embedstream::config::{Config, DeadLetterCap, Probe, Size};
use embedstream::domain::record::{Content, Record, RejectReason, SkipReason, Text};
use embedstream::kafka::event::Received;
use embedstream::kafka::panic_is_caught;
use embedstream::metrics::Metrics;
use embedstream::pipeline::Ended;
use embedstream::provider::{Answer, CallOutcome, Embedder, Embeddings, Failure, SuspendReason, Verdict};
use embedstream::worker;
use tokio::sync::oneshot;

use crate::support::broker::Broker;
use crate::support::records::Outgoing;
use crate::support::{eventually, on_each_broker, unique};

const RECORDS: usize = 600;
const POISON: &str = "poison";

on_each_broker! {
    gives_every_record_one_outcome_and_commits_the_end,
    lets_a_header_name_that_is_no_text_harm_its_record_only,
}

/// Refuses a batch that holds the word, as a provider does that names no record.
struct Provider;

impl Embedder for Provider {
    fn body(&self, texts: &[&str]) -> Bytes {
        texts.join("\n").into()
    }

    async fn send(&self, body: Bytes) -> Result<Answer, Failure> {
        tokio::task::yield_now().await;
        Ok(Answer { status: 200, headers: Vec::new(), body })
    }

    fn read(&self, answer: &Answer, count: usize) -> Result<Embeddings, Failure> {
        if String::from_utf8_lossy(&answer.body).contains(POISON) {
            let (reason, otherwise) = (RejectReason::Rejected, SuspendReason::BadRequest);
            return Err(Failure {
                verdict: Verdict::Bisect { reason, clear: false, otherwise },
                outcome: CallOutcome::ClientError,
                message: "400".to_owned(),
                status: Some(400),
            });
        }
        Ok(Embeddings { vectors: vec![vec![1.0, 0.0]; count], model: None, tokens: None, cost_usd: None })
    }
}

fn config(broker: &Broker, input: &str, output: &str, dead: &str) -> Config {
    let mut config = Config::default();
    config.kafka.brokers = broker.address();
    config.kafka.group_id = unique("line");
    config.kafka.input_topics = vec![input.to_owned()];
    config.kafka.output_topic = output.to_owned();
    config.kafka.dead_letter_topic = dead.to_owned();
    config.kafka.revoke_deadline = Duration::from_secs(10);
    config.kafka.consumer.insert("session.timeout.ms".to_owned(), "6000".to_owned());
    config.kafka.consumer.insert("heartbeat.interval.ms".to_owned(), "500".to_owned());
    config.batch.max_tokens = 32_768;
    config.batch.max_records = 64;
    config.batch.max_bytes = Size(1 << 20);
    config.batch.linger = Duration::from_millis(50);
    config.provider.probe = Probe { first: Duration::from_secs(1), cap: Duration::from_secs(10) };
    config.provider.unready_after = Duration::from_secs(30);
    config.limits.in_flight = 4;
    config.limits.max_in_flight_bytes = Size(64 << 20);
    config.limits.max_uncommitted = 10_000;
    config.retry.base = Duration::from_millis(500);
    config.retry.cap = Duration::from_secs(60);
    config.retry.attempts = 5;
    config.retry.dead_letter_cap = DeadLetterCap { share: 0.2, window: Duration::from_secs(60) };
    config.shutdown_deadline = Duration::from_secs(25);
    config
}

/// Intake of plain text, as far as the test needs it.
fn take_in(record: Record) -> Received {
    let content = match &record.value {
        None => Content::Tombstone,
        Some(value) if value.is_empty() => Content::Skip(SkipReason::Blank),
        Some(value) => {
            let text = String::from_utf8_lossy(value).into_owned();
            Content::Text(Text { tokens: 3, text, truncated: false, payload: None })
        }
    };
    Received { record: Arc::new(record), content, bytes: 1_000 }
}

/// Number `n` of the input: ten records a key, one in a hundred blank, some tombstones, two poisons.
fn record(n: usize) -> Outgoing {
    let key = format!("key {}", n % 60);
    match n {
        _ if n % 100 == 99 => Outgoing::new(key, ""),
        _ if n % 50 == 17 => Outgoing::tombstone(key),
        200 | 411 => Outgoing::new(key, format!("{n} {POISON}")),
        _ => Outgoing::new(key, format!("{n} text")),
    }
}

/// Runs the worker until so many records have their outcome, drains it, and gives back its figures.
fn run(config: &Arc<Config>, records: u64) -> Arc<Metrics> {
    let metrics = Arc::new(Metrics::new(&config.kafka.group_id, "model"));
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let worker = runtime.spawn(worker::run(
        Arc::clone(config),
        Arc::new(Provider),
        Arc::clone(&metrics),
        Arc::new(Health::new()),
        Box::new(take_in),
        async move { stopped.await.unwrap_or(()) },
    ));
    eventually(Duration::from_secs(60), "every record has an outcome", || {
        let totals = metrics.figures().totals;
        let ended = totals.embedded + totals.tombstones + totals.skipped + totals.dead_lettered;
        (ended == records).then_some(())
    });
    stop.send(()).expect("the worker waits for it");
    let ended = runtime.block_on(worker).expect("it does not panic").expect("it started");
    assert_eq!(ended, Ended::Drained);
    metrics
}

fn gives_every_record_one_outcome_and_commits_the_end(broker: &Broker) {
    let input = broker.create_topic("line-in", 3);
    let output = broker.create_topic("line-out", 3);
    let dead = broker.create_topic("line-dead", 1);
    broker.produce(&input, (0..RECORDS).map(record));
    let config = Arc::new(config(broker, &input, &output, &dead));
    let metrics = run(&config, RECORDS as u64);
    let totals = metrics.figures().totals;

    let stage = |stage| metrics.stage_duration_seconds.with_label_values(&[stage]).get_sample_count();
    assert_eq!(stage("decode"), RECORDS as u64);
    let commits = |result| {
        let labels = [config.kafka.group_id.as_str(), result];
        metrics.kafka_commits_total.with_label_values(&labels).get()
    };
    assert!(commits("ok") > 0);
    assert_eq!(stage("commit"), commits("ok") + commits("error"));
    assert_eq!((totals.tombstones, totals.skipped, totals.dead_lettered), (12, 6, 2));
    assert_eq!(broker.committed(&config.kafka.group_id, &input), broker.ends(&input), "all is committed");
    let letters = broker.read(&dead);
    assert_eq!(letters.len(), 2);
    assert!(letters.iter().all(|letter| letter.header("embedstream-error-reason") == Some("rejected")));
    let mut newest: BTreeMap<(String, i64), i64> = BTreeMap::new();
    let outputs = broker.read(&output);
    assert_eq!(outputs.len(), RECORDS - 6 - 2);
    for record in outputs.iter().filter(|record| record.value.is_some()) {
        let value = record.json();
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let source = &value["source"];
        let partition = source["partition"].as_i64().expect("a partition");
        let offset = source["offset"].as_i64().expect("an offset");
        let before = newest.insert((key, partition), offset);
        assert!(
            before.is_none_or(|before| before < offset),
            "outputs of a key are in the order of its inputs"
        );
    }
}

/// rdkafka panics on such a name; the panic is caught, and the worker's panic hook is told so.
fn lets_a_header_name_that_is_no_text_harm_its_record_only(broker: &Broker) {
    static CAUGHT: AtomicUsize = AtomicUsize::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic_is_caught() {
            CAUGHT.fetch_add(1, Ordering::Relaxed);
        } else {
            before(panic);
        }
    }));
    let input = broker.create_topic("header-in", 1);
    let output = broker.create_topic("header-out", 1);
    let dead = broker.create_topic("header-dead", 1);
    broker.produce(&input, [Outgoing::new("one", "text")]);
    broker.produce_with_header(&input, "two", "text", b"caf\xe9");
    broker.produce_with_header(&input, "three", "text", "café".as_bytes());
    let config = Arc::new(config(broker, &input, &output, &dead));
    let totals = run(&config, 3).figures().totals;

    assert_eq!((totals.embedded, totals.dead_lettered), (2, 1));
    assert_ne!(CAUGHT.load(Ordering::Relaxed), 0, "the hook was called and knew");
    assert!(!panic_is_caught(), "nothing is caught on other threads");
    let letters = broker.read(&dead);
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"two"[..]), Some(&b"text"[..])));
    assert_eq!(letter.header("embedstream-error-reason"), Some("invalid_input"));
    assert_eq!(letter.header("embedstream-error-offset"), Some("1"));
    assert!(letter.header("embedstream-error-message").is_some_and(|message| message.contains("UTF-8")));
    let outputs = broker.read(&output);
    assert_eq!(outputs.iter().map(|record| record.header("café")).collect::<Vec<_>>(), [None, Some("x")]);
    assert_eq!(broker.committed(&config.kafka.group_id, &input), broker.ends(&input), "all is committed");
}
