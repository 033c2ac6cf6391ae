//! Nothing waits for what it need not wait for, and nothing grows: a slow call, a hot key, memory, an idle worker.

use std::collections::BTreeSet;
use std::time::Duration;

use embedstream::simulator::{Faults, Settings};
use tokio::time::Instant;

use crate::support::broker::Broker;
use crate::support::line::{Line, Worker};
use crate::support::process::{Process, Signal};
use crate::support::records::Outgoing;
use crate::support::stream::Stream;
use crate::support::{eventually, http, on_each_broker, within};

const DONE: Duration = Duration::from_secs(180);
const READY: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(40);
/// How long the slow call is out.
const SLOW: Duration = Duration::from_secs(20);
/// How long the idle worker is watched.
const IDLE: Duration = Duration::from_secs(20);
const HOT: &str = "hot";

on_each_broker! {
    gives_every_partition_its_turn_when_memory_is_short,
    goes_on_beside_a_hot_key_and_a_slow_batch,
    uses_next_to_nothing_when_idle,
}

const DELAY: &str = r#"
- when: {contains: "[[slow]]"}
  then: {delay: 20s}
"#;

fn document(n: usize, mark: &str) -> String {
    let body = "a valve of the engine room, its pressure and its ledger ".repeat(6);
    serde_json::json!({"id": n, "title": format!("Note {n} {mark}"), "body": body}).to_string()
}

/// Three records in ten have one key; the very first one, of that key, makes its batch slow.
fn outgoing(n: usize) -> Outgoing {
    let key = if n % 10 < 3 { HOT.to_owned() } else { format!("key {n}") };
    Outgoing::new(key, document(n, if n == 0 { "[[slow]]" } else { "" }))
}

fn gives_every_partition_its_turn_when_memory_is_short(broker: &Broker) {
    let settings = Settings { latency: Duration::from_millis(100), dimensions: 64, ..Settings::default() };
    let mut line = Line::new(broker, 3, settings);
    line.extra = "limits: {max_in_flight_bytes: 32KiB}\n".to_owned();
    let records = (0..3_000).map(|n| {
        let partition = i32::try_from(n % 3).expect("below three");
        Outgoing::new(format!("key {n}"), document(n, "")).partition(partition)
    });
    broker.produce(&line.input, records);
    let _worker = line.ready_worker();
    line.wait_committed(150, DONE);
    let committed = broker.committed(&line.group, &line.input);
    assert!((0..3).all(|partition| committed[&partition] >= 10), "{committed:?}");
}

fn goes_on_beside_a_hot_key_and_a_slow_batch(broker: &Broker) {
    const RECORDS: usize = 6_000;
    let settings = Settings {
        latency: Duration::from_millis(50),
        dimensions: 64,
        faults: Faults::parse(DELAY).expect("a script"),
        ..Settings::default()
    };
    let line = Line::new(broker, 3, settings);
    broker.produce(&line.input, (0..RECORDS).map(outgoing));
    let worker = line.ready_worker();
    let sent = eventually(READY, "the slow call is out", || {
        (line.simulator.ledger().faulted > 0).then(Instant::now)
    });
    // The batch that is out, and behind each of its records nothing, as their keys are their own.
    let others = RECORDS - RECORDS * 3 / 10;
    let produced = format!("embedstream_records_produced_total{{result=\"ok\",topic=\"{}\"}}", line.output);
    let published = || worker.metric(&produced) as usize;
    let went_on = within(SLOW * 9 / 10, || (published() >= others - 64).then(|| sent.elapsed()));
    let (count, ledger) = (published(), line.simulator.ledger());
    println!("{count} of {others} others after {went_on:?}; {} in flight", ledger.in_flight);
    assert!(sent.elapsed() < SLOW, "this machine is too slow to tell");
    assert!(went_on.is_some(), "only {count} of {others} outputs while one call was out");
    let keys = |outputs: &[crate::support::records::Received]| -> BTreeSet<Vec<u8>> {
        outputs.iter().filter_map(|output| output.key.clone()).collect()
    };
    let early = broker.read(&line.output);
    let hot = early.iter().filter(|output| output.key.as_deref() == Some(HOT.as_bytes())).count();
    // The partitions' hot key is one: nothing of it may overtake the slow one.
    assert_eq!(hot, 0, "the order of the hot key holds");
    assert!(keys(&early).len() >= others - 64);
    assert!(sent.elapsed() < SLOW, "this machine is too slow to tell");
    line.wait_done(DONE, &worker);
    let outputs = broker.read(&line.output);
    assert_eq!(outputs.len(), RECORDS);
    let offsets: Vec<i64> = outputs
        .iter()
        .filter(|output| output.key.as_deref() == Some(HOT.as_bytes()))
        .map(|output| output.json()["source"]["offset"].as_i64().expect("an offset"))
        .collect();
    assert_eq!(offsets.len(), RECORDS * 3 / 10);
    assert!(offsets.is_sorted(), "the hot key's outputs are in order");
}

fn uses_next_to_nothing_when_idle(broker: &Broker) {
    let line = Line::new(broker, 3, Settings { dimensions: 64, ..Settings::default() });
    broker.produce(&line.input, (1..200).map(outgoing));
    let mut worker = line.ready_worker();
    line.wait_done(DONE, &worker);
    // What comes after the last record (its commit, the first statistics) is not idleness.
    within(Duration::from_secs(3), || None::<()>);
    let (before, since) = (worker.process.cpu_time(), Instant::now());
    within(IDLE, || None::<()>);
    let used = worker.process.cpu_time() - before;
    let share = used.as_secs_f64() / since.elapsed().as_secs_f64();
    println!("idle: {:.2} % of a core", share * 100.0);
    assert!(share < 0.01, "an idle worker used {used:?} in {:?}", since.elapsed());
    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(END).code(), Some(0));
}

mod memory_stays_within_its_budget {
    use super::*;

    const BUDGET: u64 = 64 << 20;
    /// What a worker has resident beside the records in flight. Measured on two cores: 41 MiB before the first record (the tokenizer, mostly),
    /// 16 MiB of the producer's queue, 1 MiB a partition that is fetched ahead, up to 1.5 MiB for each answer that is being read, and what
    /// the allocator keeps: 30 to 50 MiB (10 with `MALLOC_ARENA_MAX=2`). All outputs together are 700 MiB.
    const BESIDE: u64 = 160 << 20;
    /// A record and its output, which the last one may be beyond.
    const ONE: f64 = 64.0 * 1024.0;

    #[test]
    fn real() {
        match Broker::real() {
            Ok(broker) => holds(&broker),
            Err(skip) => skip.report(concat!(module_path!(), "::real")),
        }
    }

    fn holds(broker: &Broker) {
        let settings = Settings { latency: Duration::from_millis(200), ..Settings::default() };
        let mut line = Line::new(broker, 3, settings);
        line.extra = "limits: {max_in_flight_bytes: 64MiB}\n".to_owned();
        let admin = http::free_address();
        let process =
            Process::worker(&line.settings(admin), &[("EMBEDSTREAM__PROVIDER__DIMENSIONS", "2560")]);
        let mut worker = Worker { process, admin };
        worker.process.wait_ready(admin, READY);
        let idle = worker.process.peak_resident_bytes();
        let stream = Stream { records: 20_000, bytes: 1_024, poison_every: 0, seed: 5 };
        broker.produce(&line.input, stream.outgoing());
        let ends = broker.ends(&line.input);
        let mut charged: f64 = 0.0;
        eventually(DONE, "all is committed", || {
            charged = charged.max(worker.metric("embedstream_buffered_bytes"));
            (broker.committed(&line.group, &line.input) == ends).then_some(())
        });
        let peak = worker.process.peak_resident_bytes();
        println!(
            "resident: {} MiB before the first record, at most {} MiB; charged: {} MiB",
            idle >> 20,
            peak >> 20,
            charged as u64 >> 20
        );
        assert!(charged > BUDGET as f64 / 2.0, "the budget was what bound it: {charged}");
        assert!(charged < BUDGET as f64 + ONE, "{charged} bytes charged");
        assert!(peak < BUDGET + BESIDE, "{peak} bytes resident");
    }
}
