//! A limit that nobody tells the worker: 300,000 tokens a minute, with and without `Retry-After`. How much of it is used over 120 s, how many
//! calls are refused after the first 20 s; and after it fell to a third for 60 s and came back, how much is used from 20 s on after each.
//! `cargo bench --bench hidden`; ends with an error when less than 90 % is used or 2 % and more of the calls are refused.

#[expect(dead_code, unused_imports, unused_macros, reason = "the tests use more of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use embedstream::simulator::{Hints, Ledger, Settings};
use support::broker::Broker;
use support::line::Line;
use support::records::Outgoing;
use support::within;
use tokio::time::Instant;

const TOKENS: u64 = 300_000;

struct Stream {
    name: &'static str,
    hints: Hints,
    /// Words a record; about a token each, and the JSON's own.
    words: usize,
    records: usize,
}

const STREAMS: [Stream; 6] = [
    Stream { name: "short records, no hints", hints: Hints::None, words: 20, records: 90_000 },
    Stream { name: "short records, Retry-After", hints: Hints::RetryAfter, words: 20, records: 90_000 },
    Stream { name: "longer records, no hints", hints: Hints::None, words: 60, records: 40_000 },
    Stream { name: "longer records, Retry-After", hints: Hints::RetryAfter, words: 60, records: 40_000 },
    // Some 11,000 tokens a call.
    Stream { name: "long records, no hints", hints: Hints::None, words: 160, records: 16_000 },
    Stream { name: "long records, Retry-After", hints: Hints::RetryAfter, words: 160, records: 16_000 },
];

fn main() -> ExitCode {
    println!(
        "{:<28} {:>10} {:>14} {:>12} {:>12} {:>8}",
        "stream", "used 120 s", "429 after 20 s", "used, third", "used, back", "calls"
    );
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
        tokens_per_minute: Some(TOKENS),
        hints: Some(stream.hints),
        dimensions: 64,
        ..Settings::default()
    };
    let line = Line::new(&broker, 3, settings);
    broker.produce(&line.input, (0..stream.records).map(|n| outgoing(n, stream.words)));
    let _worker = line.ready_worker();
    let (start, since) = (line.simulator.ledger(), Instant::now());
    pause(20);
    let early = line.simulator.ledger();
    pause(100);
    let late = line.simulator.ledger();
    let whole = used(&start, &late, TOKENS, since.elapsed());
    let refused = (late.limited - early.limited) as f64 / (late.requests - early.requests).max(1) as f64;
    line.simulator.set_limits(None, Some(TOKENS / 3));
    pause(20);
    let third = used_in(&line, 40, TOKENS / 3);
    line.simulator.set_limits(None, Some(TOKENS));
    pause(20);
    let back = used_in(&line, 40, TOKENS);
    println!(
        "{:<28} {:>8.1} % {:>12.2} % {:>10.1} % {:>10.1} % {:>8}",
        stream.name,
        whole * 100.0,
        refused * 100.0,
        third * 100.0,
        back * 100.0,
        late.requests - early.requests,
    );
    whole >= 0.9 && refused < 0.02 && third >= 0.9 && back >= 0.9
}

fn used_in(line: &Line, seconds: u64, limit: u64) -> f64 {
    let (before, since) = (line.simulator.ledger(), Instant::now());
    pause(seconds);
    used(&before, &line.simulator.ledger(), limit, since.elapsed())
}

fn used(before: &Ledger, after: &Ledger, limit: u64, time: Duration) -> f64 {
    (after.tokens - before.tokens) as f64 / (limit as f64 / 60.0 * time.as_secs_f64())
}

fn pause(seconds: u64) {
    within(Duration::from_secs(seconds), || None::<()>);
}

fn outgoing(n: usize, words: usize) -> Outgoing {
    let body = "river ".repeat(words);
    Outgoing::new(format!("key {n}"), serde_json::json!({"id": n, "title": "Note", "body": body}).to_string())
}
