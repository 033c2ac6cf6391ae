//! What bad records cost: throughput with poison as a share of the throughput without, and calls for each poison record.
//!
//! `cargo bench --bench poison` needs a real broker (`tests/kafka/kafka` starts one). 20,000 records of 1 KB in 3 partitions, the simulated
//! provider at 200 ms; rounds of none, 0.01 % and 0.1 % poison follow one another, so that a noisy machine is noisy for all.
//! `FAULTS=0` leaves out the one call in ten that fails otherwise; `ROUNDS` (3) and `RECORDS` (20000) can be set.

#[expect(dead_code, unused_imports, unused_macros, reason = "the tests use more of it")]
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::Duration;

use embedstream::simulator::{Faults, Settings};
use support::broker::Broker;
use support::laws::{self, Promise};
use support::line::Line;
use support::process::Signal;
use support::stream::{FAILS_ONE_IN_TEN, REFUSES_POISON, Stream};
use tokio::time::Instant;

const DONE: Duration = Duration::from_secs(300);
const END: Duration = Duration::from_secs(40);

/// Records a second, and calls beyond one for each batch.
struct Run {
    rate: f64,
    calls: u64,
    refused: u64,
    poison: usize,
}

fn main() {
    let broker = match Broker::real() {
        Ok(broker) => broker,
        Err(skip) => return skip.report("the poison bench"),
    };
    let number = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let records = number("RECORDS", 20_000);
    let others = if number("FAULTS", 1) == 1 { FAILS_ONE_IN_TEN } else { "" };
    let script = format!("rules:{REFUSES_POISON}{others}");
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(), Vec::new(), Vec::new()];
    for round in 0..number("ROUNDS", 3) {
        for (kind, poison_every) in [0, 10_000, 1_000].into_iter().enumerate() {
            let stream = Stream { records, bytes: 1_024, poison_every, seed: round as u64 };
            let run = run(&broker, stream, &script);
            println!(
                "round {round}  poison {:>6}  {:>6.0} records/s  {:>4} calls  {:>4} refused",
                run.poison, run.rate, run.calls, run.refused
            );
            runs[kind].push(run);
        }
    }
    let median = |runs: &[Run]| {
        let mut rates: Vec<f64> = runs.iter().map(|run| run.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let without = median(&runs[0]);
    for (kind, name) in [(1, "0.01 %"), (2, "0.1 %")] {
        let refused: u64 = runs[kind].iter().map(|run| run.refused).sum();
        let poison: usize = runs[kind].iter().map(|run| run.poison).sum();
        println!(
            "{name:>7} poison: {:>5.1} % of the throughput without; {:.1} refused calls a poison record",
            100.0 * median(&runs[kind]) / without,
            refused as f64 / poison.max(1) as f64
        );
    }
}

fn run(broker: &Broker, stream: Stream, script: &str) -> Run {
    let settings = Settings {
        latency: Duration::from_millis(200),
        dimensions: 64,
        faults: Faults::parse(script).expect("a script"),
        ..Settings::default()
    };
    let line = Line::new(broker, 3, settings);
    broker.produce(&line.input, stream.outgoing());
    let ends = broker.ends(&line.input);
    let mut worker = line.worker();
    support::eventually(DONE, "the first call", || (line.simulator.ledger().requests > 0).then_some(()));
    let start = Instant::now();
    let done = || (broker.committed(&line.group, &line.input) == ends).then_some(());
    support::eventually(DONE, "the end is committed", done);
    let seconds = start.elapsed().as_secs_f64();
    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(END).code(), Some(0));
    let (inputs, outputs) = (broker.read(&line.input), broker.read(&line.output));
    let seen = laws::check(&inputs, &outputs, &broker.read(&line.dead), Promise::Key);
    assert_eq!((seen.dead_letters, seen.repeated), (stream.poison(), 0));
    let ledger = line.simulator.ledger();
    let refused = ledger.statuses.get(&400).copied().unwrap_or(0);
    Run { rate: stream.records as f64 / seconds, calls: ledger.requests, refused, poison: stream.poison() }
}
