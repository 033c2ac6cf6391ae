//! The provider's limits, for a few seconds; `benches/limits.rs` measures how much of them is used, which takes more than a minute.

use std::time::Duration;

use embedstream::simulator::{Hints, Settings};
use tokio::time::Instant;

use crate::support::broker::Broker;
use crate::support::line::Line;
use crate::support::stream::Stream;
use crate::support::{eventually, within};

const TOKENS: u64 = 600_000;
const REQUESTS: u64 = 3_000;
const SPAN: Duration = Duration::from_secs(6);
const DONE: Duration = Duration::from_secs(60);

#[test]
fn a_backlog_meets_the_limits_and_never_breaks_them() {
    let broker = Broker::mock();
    let settings = Settings {
        latency: Duration::from_millis(100),
        requests_per_minute: Some(REQUESTS),
        tokens_per_minute: Some(TOKENS),
        dimensions: 64,
        ..Settings::default()
    };
    let mut line = Line::new(&broker, 3, settings);
    line.extra = format!("limits: {{requests: {REQUESTS}/min, tokens: {TOKENS}/min}}\n");
    let stream = Stream { records: 3_000, bytes: 1_024, poison_every: 0, seed: 7 };
    broker.produce(&line.input, stream.outgoing());
    let (start, worker) = (Instant::now(), line.ready_worker());
    eventually(DONE, "a first call is answered", || (line.simulator.ledger().tokens > 0).then_some(()));
    within(SPAN, || None::<()>);
    let (ledger, seconds) = (line.simulator.ledger(), start.elapsed().as_secs_f64());
    println!("{ledger:?} after {seconds:.1} s");
    assert_eq!(ledger.limited, 0, "the provider refuses nothing");
    // Two batches may be let through at once after a standstill, and not more.
    let most = TOKENS as f64 / 60.0 * seconds + 65_536.0;
    assert!((ledger.tokens as f64) < most, "{} tokens in {seconds} s", ledger.tokens);
    assert!(line.committed() < 3_000, "the limit is what bound it");
    let waited = worker.metric(&format!(
        "embedstream_api_throttle_wait_seconds_total{{limit=\"tokens\",model=\"{}\"}}",
        "qwen/qwen3-embedding-4b"
    ));
    assert!(waited > SPAN.as_secs_f64() / 4.0, "and it is told: {waited} s");
}

/// Nothing is configured: the limits come with the first answers, and hold from then on.
#[test]
fn limits_that_the_provider_states_are_obeyed_and_shown() {
    let broker = Broker::mock();
    let settings = Settings {
        latency: Duration::from_millis(100),
        requests_per_minute: Some(REQUESTS),
        tokens_per_minute: Some(TOKENS),
        hints: Some(Hints::OpenAi),
        dimensions: 64,
        ..Settings::default()
    };
    let mut line = Line::new(&broker, 3, settings);
    "limits: {follow_headers: true}\nbatch: {max_tokens: 4096}\n".clone_into(&mut line.extra);
    let stream = Stream { records: 8_000, bytes: 1_024, poison_every: 0, seed: 7 };
    broker.produce(&line.input, stream.outgoing());
    let worker = line.ready_worker();
    eventually(DONE, "a first call is answered", || (line.simulator.ledger().tokens > 0).then_some(()));
    within(SPAN, || None::<()>);
    let before = line.simulator.ledger();
    within(SPAN, || None::<()>);
    let after = line.simulator.ledger();
    println!("{before:?}, then {after:?}");
    assert_eq!(after.limited, before.limited, "once they are known nothing is refused");
    let used = (after.tokens - before.tokens) as f64 / (TOKENS as f64 / 60.0 * SPAN.as_secs_f64());
    assert!((0.8..1.2).contains(&used), "{used} of the limit");
    let metric = |limit: &str| {
        worker
            .metric(&format!("embedstream_provider_limit_per_minute{{limit=\"{limit}\",source=\"stated\"}}"))
    };
    assert_eq!((metric("requests"), metric("tokens")), (REQUESTS as f64, TOKENS as f64));
}
