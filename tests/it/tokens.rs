//! How tokens are counted, by the whole line: estimates that learn from what is billed, and a prefix.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use embedstream::admin::Health;
use embedstream::config::{Config, Size};
use embedstream::domain::tokens::Tokenizer;
use embedstream::metrics::Metrics;
use embedstream::pipeline::Ended;
use embedstream::provider::{Answer, Embedder, Embeddings, Failure};
use embedstream::simulator::{Settings, corpus};
use embedstream::worker;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::support::broker::Broker;
use crate::support::line::Line;
use crate::support::records::{Outgoing, Received};
use crate::support::{eventually, unique};

const BUDGET: u64 = 8_192;
const RECORDS: usize = 9_000;
/// From then on no call is over the budget.
const LEARNED: usize = 50;
const SENTENCE: &str = "The customer was charged twice for the annual plan and wants a refund. ";
const DONE: Duration = Duration::from_secs(120);

/// Bills by a tokenizer that the worker does not use, or by characters as infinity does.
#[derive(Default)]
struct Biller {
    bills: Mutex<Vec<u64>>,
    by_characters: bool,
}

impl Embedder for Biller {
    fn body(&self, texts: &[&str]) -> Bytes {
        serde_json::to_vec(texts).expect("strings").into()
    }

    async fn send(&self, body: Bytes) -> Result<Answer, Failure> {
        tokio::task::yield_now().await;
        Ok(Answer { status: 200, headers: Vec::new(), body })
    }

    fn read(&self, answer: &Answer, count: usize) -> Result<Embeddings, Failure> {
        let texts: Vec<String> = serde_json::from_slice(&answer.body).expect("what was sent");
        let tokens = texts.iter().map(|text| match self.by_characters {
            true => text.trim().chars().count() as u64,
            false => u64::from(Tokenizer::qwen3().count(text)),
        });
        let tokens = tokens.sum();
        self.bills.lock().expect("no panic").push(tokens);
        Ok(Embeddings {
            vectors: vec![vec![1.0, 0.0]; count],
            model: None,
            tokens: Some(tokens),
            cost_usd: None,
        })
    }
}

/// Parts of the demo's documents in all their languages, no two texts alike.
fn texts() -> impl Iterator<Item = String> {
    let documents: Vec<String> = corpus::records()
        .iter()
        .filter_map(|record| record.document.as_ref())
        .map(|document| document.text())
        .collect();
    let mut random = fastrand::Rng::with_seed(11);
    (0..RECORDS).map(move |number| {
        let mut text = format!("{number}\n");
        for _ in 0..random.usize(1..=4) {
            let part = &documents[random.usize(..documents.len())];
            text.push_str(&part[part.floor_char_boundary(random.usize(..=part.len() / 2))..]);
        }
        text
    })
}

/// Embeds these texts, their tokens estimated, and gives the worker's figures and what was published.
fn run(
    biller: &Arc<Biller>,
    texts: Vec<String>,
    change: impl FnOnce(&mut Config),
) -> (Arc<Metrics>, Vec<Value>) {
    let broker = Broker::mock();
    let (input, output) = (broker.create_topic("tokens-in", 3), broker.create_topic("tokens-out", 3));
    let dead = broker.create_topic("tokens-dead", 1);
    let records = texts.len() as u64;
    broker.produce(&input, texts.into_iter().map(Outgoing::keyless));
    let mut config = Config::default();
    config.kafka.brokers = broker.address();
    config.kafka.group_id = unique("tokens");
    config.kafka.input_topics = vec![input];
    config.kafka.output_topic.clone_from(&output);
    config.kafka.dead_letter_topic = dead;
    config.batch.max_records = 1_000;
    config.batch.max_bytes = Size(1 << 20);
    config.limits.in_flight = 4;
    config.provider.tokenizer = "estimate".to_owned();
    change(&mut config);
    let config = Arc::new(config);
    let metrics = Arc::new(Metrics::new(&config.kafka.group_id, "model"));
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let worker = runtime.spawn(worker::run(
        Arc::clone(&config),
        Arc::clone(biller),
        Arc::clone(&metrics),
        Arc::new(Health::new()),
        worker::intake(&config).expect("an estimate needs nothing"),
        async move { stopped.await.unwrap_or(()) },
    ));
    eventually(DONE, "every record has an outcome", || {
        let totals = metrics.figures().totals;
        (totals.embedded + totals.skipped + totals.dead_lettered == records).then_some(())
    });
    stop.send(()).expect("the worker waits for it");
    let ended = runtime.block_on(worker).expect("it does not panic").expect("it started");
    assert_eq!(ended, Ended::Drained);
    let outputs = broker.read(&output).iter().map(Received::json).collect();
    (metrics, outputs)
}

#[test]
fn an_estimate_keeps_the_budget_after_50_batches_and_fills_it() {
    let biller = Arc::new(Biller::default());
    let (metrics, _) = run(&biller, texts().collect(), |config| {
        config.batch.max_tokens = BUDGET;
        config.batch.linger = Duration::from_secs(3);
    });

    let bills = biller.bills.lock().expect("no panic").clone();
    // The last one closed because nothing more came.
    let learned = &bills[LEARNED..bills.len() - 1];
    assert!(learned.len() > 50, "{} calls", bills.len());
    let fill = learned.iter().sum::<u64>() as f64 / (learned.len() as u64 * BUDGET) as f64;
    let fullest = learned.iter().copied().max().expect("some") as f64 / BUDGET as f64;
    println!(
        "{} calls; the first {:?}; after {LEARNED}: fill {fill:.3}, fullest {fullest:.3}",
        bills.len(),
        &bills[..8]
    );
    assert!(bills.iter().all(|tokens| *tokens <= BUDGET), "none is over the budget, from the first on");
    assert!(fill >= 0.9, "{fill}");
    let ratio = metrics.token_estimate_ratio.with_label_values(&["model"]);
    assert_eq!(ratio.get_sample_count(), bills.len() as u64);
}

/// A character is no token: whoever takes it for one cuts texts to a quarter of what the model takes.
#[test]
fn a_bill_of_characters_teaches_nothing() {
    let biller = Arc::new(Biller { by_characters: true, ..Biller::default() });
    let texts: Vec<String> = (0..200).map(|n| format!("{n} {} ", SENTENCE.repeat(10))).collect();
    let tokens = Tokenizer::qwen3().count(&texts[199]);
    let (metrics, outputs) = run(&biller, texts, |config| {
        config.batch.max_records = 16;
        config.provider.context_tokens = 400;
    });
    assert_eq!((outputs.len(), metrics.records_truncated_total.get()), (200, 0), "{tokens} tokens in a text");
    let billed = metrics.tokens_total.with_label_values(&["model", "billed"]).get();
    let characters: u64 = biller.bills.lock().expect("no panic").iter().sum();
    assert!(billed < characters / 2, "{billed} tokens, {characters} characters");
}

#[test]
fn a_prefix_is_sent_and_billed_and_never_published() {
    const PREFIX: &str = "Instruct: Given a question, find \"answers\"\nQuery:";
    let broker = Broker::mock();
    let line = Line::new(&broker, 1, Settings { dimensions: 64, ..Settings::default() });
    let document =
        |n: usize| serde_json::json!({"id": n, "title": format!("title {n}"), "body": "text"}).to_string();
    broker.produce(&line.input, (0..100).map(|n| Outgoing::new(format!("{n}"), document(n))));
    let admin = crate::support::http::free_address();
    let settings = line.settings(admin);
    let mut process =
        crate::support::process::Process::worker(&settings, &[("EMBEDSTREAM__PROVIDER__PREFIX", PREFIX)]);
    process.wait_ready(admin, DONE);
    line.wait_committed(100, DONE);
    let outputs = broker.read(&line.output);
    assert_eq!(outputs.len(), 100);
    let mut tokens = 0;
    for output in &outputs {
        let value = output.json();
        let text = value["text"].as_str().expect("a text");
        assert!(text.starts_with("title "), "{text}");
        let counted = Tokenizer::qwen3().count(&format!("{PREFIX}{text}"));
        assert_eq!(value["tokens"], counted);
        tokens += u64::from(counted);
    }
    assert_eq!(line.simulator.ledger().tokens, tokens, "what was counted is what was billed");
}
