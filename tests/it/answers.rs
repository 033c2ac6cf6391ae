//! Every way an embeddings API can answer, and what the worker does: the table of `answers/rows.txt`, played to the real binary. In each row
//! nothing is lost, nothing is published twice, and the dead letters are the poison exactly.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use embedstream::simulator::{Faults, Profile, Settings, vectors};
use tokio::time::Instant;

use crate::support::broker::Broker;
use crate::support::line::{Line, Worker};
use crate::support::process::{Process, Signal};
use crate::support::records::{Outgoing, Received};
use crate::support::stream::POISON;
use crate::support::{http, within};
use rows::{Expect, Row};

/// Rows at a time: they mostly wait.
const LANES: usize = 16;
const READY: Duration = Duration::from_secs(60);
const DONE: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(30);
/// The worker has had an answer before the fault begins.
const BEFORE: usize = 12;
const RECORDS: usize = 120;
/// Where poison lies: the first two are in one batch.
const POISONED: [usize; 3] = [40, 43, 90];

/// What a row's worker was seen to do.
#[derive(Debug, Default)]
struct Seen {
    /// Calls since the fault began.
    calls: u64,
    /// Calls sent again, by why.
    retried: BTreeMap<String, u64>,
    /// Why it was suspended, as `/readyz` said.
    suspended: BTreeSet<String>,
    /// The smallest limit of a batch, where it is not the configured one.
    shrunk: BTreeMap<String, u64>,
    /// Dead letters by reason.
    dead: BTreeMap<String, usize>,
    seconds: f64,
}

impl Seen {
    /// In the words of the table.
    fn verdict(&self) -> String {
        let mut said = vec![format!("{} calls", self.calls)];
        let mut say = |what: &str, list: Vec<String>| {
            if !list.is_empty() {
                said.push(format!("{what} {}", list.join(", ")));
            }
        };
        say("retried", self.retried.iter().map(|(why, times)| format!("{times} {why}")).collect());
        say("shrunk to", self.shrunk.iter().map(|(limit, most)| format!("{most} {limit}")).collect());
        say("suspended", self.suspended.iter().cloned().collect());
        say("dead-lettered", self.dead.iter().map(|(reason, count)| format!("{count} {reason}")).collect());
        said.join("; ")
    }
}

fn record(n: usize, row: &Row) -> Outgoing {
    let poison = POISONED.iter().take(row.poison).any(|at| *at == n);
    // Two texts of one batch that are harmful together.
    let mark = match n {
        _ if poison => POISON,
        33 => "[[one]]",
        38 => "[[other]]",
        _ => "plain",
    };
    let value = serde_json::json!({"id": n, "title": format!("Record {n} {mark}"), "body": body(row)});
    Outgoing::new(format!("key {n}"), value.to_string())
}

fn body(row: &Row) -> String {
    vec!["word"; row.words].join(" ")
}

fn worker(line: &Line<'_>, row: &Row) -> Worker {
    let mut environment = vec![
        ("EMBEDSTREAM__PROVIDER__TIMEOUT", "2s"),
        ("EMBEDSTREAM__PROVIDER__CONNECT_TIMEOUT", "1s"),
        ("EMBEDSTREAM__PROVIDER__UNREADY_AFTER", "1s"),
        ("EMBEDSTREAM__PROVIDER__PROBE__FIRST", "200ms"),
        ("EMBEDSTREAM__PROVIDER__PROBE__CAP", "500ms"),
    ];
    environment.extend(row.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    loop {
        let admin = http::free_address();
        let mut process = Process::worker(&line.settings(admin), &environment);
        let begun = within(READY, || {
            let ready = http::get(admin, "/readyz").is_ok_and(|response| response.status == 200);
            (ready || process.ended().is_some()).then_some(())
        });
        assert!(begun.is_some(), "not ready; its log:\n{}", process.stderr());
        // Of so many workers at a time, one may have taken the address before.
        if process.ended().is_none() {
            return Worker { process, admin };
        }
        assert!(process.stderr().contains("Address already in use"), "{}", process.stderr());
    }
}

/// Plays one row.
///
/// # Errors
/// What is not as specified, with the worker's log.
fn play(broker: &Broker, row: &Row) -> Result<Seen, String> {
    let settings = Settings { dimensions: 64, profile: row.profile, ..Settings::default() };
    let mut line = Line::new(broker, 1, settings);
    "batch: {max_records: 16, linger: 20ms}\nretry: {base: 20ms, cap: 200ms, hint_cap: 1s}\nlimits: {in_flight: 4}\n"
        .clone_into(&mut line.extra);
    broker.produce(&line.input, (0..BEFORE).map(|n| record(n, row)));
    let mut worker = worker(&line, row);
    line.wait_committed(BEFORE as i64, DONE);
    let before = line.simulator.ledger().requests;
    let (configured, _) = figures(&worker);
    line.simulator.set_faults(Faults::parse(&row.faults).expect("the table's scripts are valid"));
    let start = Instant::now();
    broker.produce(&line.input, (BEFORE..RECORDS).map(|n| record(n, row)));
    let mut seen = Seen::default();
    let watched = watch(&line, &worker, row, &configured, &mut seen);
    seen.calls = line.simulator.ledger().requests - before;
    seen.seconds = start.elapsed().as_secs_f64();
    count(&worker, &mut seen);
    let judged = watched.and_then(|()| {
        worker.process.signal(Signal::Term);
        let code = worker.process.wait(END).code();
        if code != Some(0) {
            return Err(format!("it ended with {code:?}"));
        }
        outcomes(&line, row, &mut seen)?;
        judge(row, &seen)
    });
    judged.map_err(|why| {
        let log = worker.process.stderr();
        let tail: Vec<&str> = log.lines().rev().take(6).collect();
        format!("{why}\n      seen: {}\n      log: {}", seen.verdict(), tail.join("\n           "))
    })?;
    Ok(seen)
}

/// Watches until all is committed, and heals the fault once the worker is suspended as expected.
fn watch(
    line: &Line<'_>,
    worker: &Worker,
    row: &Row,
    configured: &BTreeMap<String, u64>,
    seen: &mut Seen,
) -> Result<(), String> {
    let ends = line.broker.ends(&line.input);
    let mut healed = false;
    let done = within(DONE, || {
        if let Some(reason) = unready(worker) {
            seen.suspended.insert(reason);
        }
        let (limits, done) = figures(worker);
        for (limit, most) in limits {
            if most < configured[&limit] {
                let least = seen.shrunk.entry(limit).or_insert(most);
                *least = most.min(*least);
            }
        }
        if let Expect::Suspended(reason) = &row.expect
            && !healed
            && seen.suspended.contains(reason)
        {
            healed = true;
            line.simulator.set_faults(Faults::none());
        }
        // Asking the broker costs more.
        (done == RECORDS as u64 && line.broker.committed(&line.group, &line.input) == ends).then_some(())
    });
    match done {
        Some(()) => Ok(()),
        None => Err(format!("committed {} of {RECORDS} in {DONE:?}", line.committed())),
    }
}

/// What a batch may have now, and how many records have their outcome.
fn figures(worker: &Worker) -> (BTreeMap<String, u64>, u64) {
    let metrics = http::get(worker.admin, "/metrics").expect("the worker answers").body;
    let values = |name: &'static str| {
        metrics.lines().filter_map(move |line| {
            let (labels, value) = line.strip_prefix(name)?.split_once("} ")?;
            let last = labels.split('"').rev().nth(1)?;
            Some((last.to_owned(), value.parse::<f64>().expect("a number") as u64))
        })
    };
    let done = values("embedstream_records_processed_total{").map(|(_, count)| count).sum();
    (values("embedstream_batch_limit{").collect(), done)
}

/// Why `/readyz` says that it is not ready.
fn unready(worker: &Worker) -> Option<String> {
    let response = http::get(worker.admin, "/readyz").ok().filter(|response| response.status == 503)?;
    let body: serde_json::Value = serde_json::from_str(&response.body).expect("it is JSON");
    Some(body["reason"].as_str().expect("a reason").to_owned())
}

fn count(worker: &Worker, seen: &mut Seen) {
    let Ok(metrics) = http::get(worker.admin, "/metrics") else { return };
    for line in metrics.body.lines() {
        let Some(rest) = line.strip_prefix("embedstream_api_retries_total{") else { continue };
        let Some((labels, value)) = rest.split_once("} ") else { continue };
        let reason = labels.split('"').rev().nth(1).unwrap_or_default();
        let times = value.parse::<f64>().expect("a number") as u64;
        if times > 0 {
            seen.retried.insert(reason.to_owned(), times);
        }
    }
}

/// Each record has exactly one outcome: a poison is a dead letter, all else a vector.
fn outcomes(line: &Line<'_>, row: &Row, seen: &mut Seen) -> Result<(), String> {
    let (outputs, letters) = (line.broker.read(&line.output), line.broker.read(&line.dead));
    let name =
        |record: &Received| String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
    for letter in &letters {
        let reason = letter.header("embedstream-error-reason").unwrap_or("none");
        *seen.dead.entry(reason.to_owned()).or_default() += 1;
    }
    let keys = |records: &[Received]| {
        let mut keys: Vec<String> = records.iter().map(name).collect();
        keys.sort();
        keys
    };
    let poisoned: BTreeSet<usize> = POISONED.iter().take(row.poison).copied().collect();
    let expected = |poison: bool| {
        let records = (0..RECORDS).filter(|n| poisoned.contains(n) == poison);
        let mut keys: Vec<String> = records.map(|n| format!("key {n}")).collect();
        keys.sort();
        keys
    };
    if keys(&letters) != expected(true) {
        return Err(format!("dead letters {:?}, not {:?}", keys(&letters), expected(true)));
    }
    if keys(&outputs) != expected(false) {
        let found = keys(&outputs);
        let missing: Vec<String> = expected(false).into_iter().filter(|key| !found.contains(key)).collect();
        return Err(format!("{} outputs for {}; missing {missing:?}", outputs.len(), expected(false).len()));
    }
    let titles = line.broker.read(&line.input);
    let titles =
        titles.iter().map(|record| (name(record), record.json()["title"].as_str().map(str::to_owned)));
    let sent: BTreeMap<String, String> = titles.filter_map(|(key, title)| Some((key, title?))).collect();
    for output in &outputs {
        let value = output.json();
        let vector: Vec<f64> =
            serde_json::from_value(value["vector"].clone()).map_err(|error| error.to_string())?;
        let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        if vector.len() != 64 || (norm - 1.0).abs() > 1e-3 {
            return Err(format!("a vector of {} values and length {norm}", vector.len()));
        }
        let title = &sent[&name(output)];
        let text = if row.words == 0 { title.clone() } else { format!("{title}\n\n{}", body(row)) };
        let right = vectors::embed(&text, 64);
        let cosine: f64 = right.iter().zip(&vector).map(|(a, b)| f64::from(*a) * b).sum();
        if cosine < 0.99 && !row.unchecked {
            return Err(format!("{}: the vector of another text, cosine {cosine}", name(output)));
        }
    }
    Ok(())
}

/// Whether it did what the row says.
fn judge(row: &Row, seen: &Seen) -> Result<(), String> {
    let reasons: Vec<&str> = seen.suspended.iter().map(String::as_str).collect();
    let mut allowed = Vec::new();
    let right = match &row.expect {
        Expect::Fine => seen.retried.is_empty() && seen.shrunk.is_empty(),
        Expect::Retried => !seen.retried.is_empty(),
        Expect::Shrunk(limit) => seen.shrunk.contains_key(limit),
        Expect::Dead(reason) => seen.dead.keys().eq([reason]),
        Expect::Suspended(reason) => {
            allowed.push(reason.as_str());
            seen.suspended.contains(reason)
        }
    };
    allowed.extend(row.also.iter().map(String::as_str));
    if !right {
        return Err(format!("expected {:?}", row.expect));
    }
    match reasons.iter().find(|reason| !allowed.contains(reason)) {
        Some(reason) => Err(format!("suspended: {reason}")),
        None => Ok(()),
    }
}

#[test]
fn every_answer_of_the_reference() {
    let rows = rows::read();
    let only = std::env::var("EMBEDSTREAM_ROWS").unwrap_or_default();
    let todo: Vec<&Row> = rows.iter().filter(|row| row.name.contains(&only)).collect();
    let next = Mutex::new(todo.iter().enumerate());
    let results = Mutex::new(BTreeMap::new());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let broker = Broker::mock();
                loop {
                    let Some((at, row)) = next.lock().expect("nobody panics with it").next() else { return };
                    let result =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&broker, row)));
                    let result = result.unwrap_or_else(|_| Err("the test panicked, see above".to_owned()));
                    results.lock().expect("nobody panics with it").insert(at, result);
                }
            });
        }
    });
    let results = results.into_inner().expect("nobody panics with it");
    let mut table = String::new();
    let mut failed = 0;
    for (at, row) in todo.iter().enumerate() {
        let (mark, told) = match &results[&at] {
            Ok(seen) => ("ok  ", format!("{} ({:.1} s)", seen.verdict(), seen.seconds)),
            Err(why) => {
                failed += 1;
                ("FAIL", why.clone())
            }
        };
        writeln!(table, "{mark} {:<80} {told}", row.name).expect("a String takes all");
    }
    println!("{table}{} rows, {failed} failed, {:.0} s", todo.len(), start.elapsed().as_secs_f64());
    assert_eq!(failed, 0, "rows are not as specified");
}

/// A success that comes after the deadline is paid for and lost; the call is made again, and each record is published once.
#[test]
fn a_success_after_the_deadline_is_paid_twice_and_published_once() {
    let broker = Broker::mock();
    let row = Row {
        name: "late".to_owned(),
        // A server without a response cache.
        profile: Profile::Vllm,
        faults: "- when: {times: 1}\n  then: {delay: 4s}\n".to_owned(),
        expect: Expect::Retried,
        ..Row::default()
    };
    let settings = Settings { dimensions: 64, profile: row.profile, ..Settings::default() };
    let mut line = Line::new(&broker, 1, settings);
    "batch: {max_records: 16, linger: 20ms}\nretry: {base: 20ms, cap: 200ms}\n".clone_into(&mut line.extra);
    broker.produce(&line.input, (0..BEFORE).map(|n| record(n, &row)));
    let mut worker = worker(&line, &row);
    line.wait_committed(BEFORE as i64, DONE);
    line.simulator.set_faults(Faults::parse(&row.faults).expect("a script"));
    broker.produce(&line.input, (BEFORE..RECORDS).map(|n| record(n, &row)));
    line.wait_done(DONE, &worker);

    let tokens = |kind: &str| {
        let model = embedstream::simulator::MODEL;
        worker.metric(&format!("embedstream_tokens_total{{kind=\"{kind}\",model=\"{model}\"}}")) as u64
    };
    let (wasted, billed) = (tokens("wasted"), tokens("billed"));
    let ledger = line.simulator.ledger();
    let unread = ledger.outcomes.get("unread").cloned().unwrap_or_default();
    println!("wasted {wasted}, billed {billed}, {ledger:?}");
    assert_eq!((unread.calls, unread.tokens), (1, wasted), "the lost answer's tokens are counted as wasted");
    assert!(wasted > 0);
    assert_eq!(ledger.tokens, wasted + billed, "both are billed");
    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(END).code(), Some(0));
    let mut seen = Seen::default();
    outcomes(&line, &row, &mut seen).expect("one outcome each");
    assert_eq!(seen.dead, BTreeMap::new());
}
