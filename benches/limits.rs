//! How much of a provider's limits is used, and whether they are ever broken: 600,000 tokens and 3,000 requests a minute, configured and
//! enforced by a bucket of max(one second, two batches), over 60 s after the first 10 s. `cargo bench --bench limits`; ends with an error when
//! less than 97 % of the limit that binds is used, or a 429 is seen.

#[expect(dead_code, unused_imports, unused_macros, reason = "the tests use more of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use embedstream::simulator::{Ledger, Settings};
use support::broker::Broker;
use support::line::Line;
use support::records::Outgoing;
use support::within;
use tokio::time::Instant;

const TOKENS: u64 = 600_000;
const REQUESTS: u64 = 3_000;
const LEAD: Duration = Duration::from_secs(10);
const SPAN: Duration = Duration::from_secs(60);
const LEAST: f64 = 0.97;

/// A kind of stream, and which limit binds it.
struct Stream {
    name: &'static str,
    /// Words a record; about a token each.
    words: fn(&mut fastrand::Rng) -> usize,
    records: usize,
    max_records: usize,
}

const STREAMS: [Stream; 4] = [
    Stream { name: "1 KB records, 64 a batch", words: |_| 170, records: 6_000, max_records: 64 },
    Stream {
        name: "short and long records",
        words: |rng| 2_usize.pow(rng.u32(3..11)),
        records: 5_000,
        max_records: 64,
    },
    Stream { name: "long records, full batches", words: |_| 2_500, records: 450, max_records: 64 },
    Stream { name: "one short record a call", words: |_| 8, records: 5_000, max_records: 1 },
];

fn main() -> ExitCode {
    println!(
        "{:<28} {:>12} {:>14} {:>16} {:>5}",
        "stream", "tokens used", "requests used", "calls in flight", "429s"
    );
    // Side by side: each waits for its limits most of the time.
    let good: Vec<bool> = std::thread::scope(|scope| {
        let running: Vec<_> = STREAMS.iter().map(|stream| scope.spawn(|| measure(stream))).collect();
        running.into_iter().map(|running| running.join().expect("it does not panic")).collect()
    });
    if good.iter().all(|good| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the stream, prints its row; whether it is good.
fn measure(stream: &Stream) -> bool {
    let broker = Broker::mock();
    let settings = Settings {
        latency: Duration::from_millis(200),
        requests_per_minute: Some(REQUESTS),
        tokens_per_minute: Some(TOKENS),
        dimensions: 64,
        ..Settings::default()
    };
    let mut line = Line::new(&broker, 3, settings);
    line.extra = format!(
        "limits: {{requests: {REQUESTS}/min, tokens: {TOKENS}/min}}\nbatch: {{max_records: {}}}\n",
        stream.max_records
    );
    let mut rng = fastrand::Rng::with_seed(1);
    broker.produce(&line.input, (0..stream.records).map(|n| outgoing(n, (stream.words)(&mut rng))));
    let _worker = line.ready_worker();
    pause(LEAD);
    let (before, since) = (line.simulator.ledger(), Instant::now());
    pause(SPAN);
    let (after, seconds) = (line.simulator.ledger(), since.elapsed().as_secs_f64());
    let share = |used: u64, limit: u64| used as f64 / (limit as f64 / 60.0 * seconds);
    let tokens = share(after.tokens - before.tokens, TOKENS);
    let requests = share(answered(&after) - answered(&before), REQUESTS);
    println!(
        "{:<28} {:>10.1} % {:>12.1} % {:>16} {:>5}",
        stream.name,
        tokens * 100.0,
        requests * 100.0,
        after.most_in_flight,
        after.limited
    );
    tokens.max(requests) >= LEAST && after.limited == 0
}

fn answered(ledger: &Ledger) -> u64 {
    ledger.statuses.values().sum()
}

fn pause(length: Duration) {
    within(length, || None::<()>);
}

fn outgoing(n: usize, words: usize) -> Outgoing {
    let body = "river ".repeat(words);
    Outgoing::new(format!("key {n}"), serde_json::json!({"id": n, "title": "Note", "body": body}).to_string())
}
