//! What is seen from outside: the figures are the topics', and nothing shows the key or what users wrote.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use embedstream::simulator::{Faults, Settings};
use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::line::{Line, Worker};
use crate::support::process::{Process, Signal};
use crate::support::records::{Outgoing, Received};
use crate::support::script::Skip;
use crate::support::{eventually, http, on_each_broker};

const DONE: Duration = Duration::from_secs(120);
const READY: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(40);

on_each_broker! {
    counts_what_the_topics_hold_and_shows_nothing_private,
}

/// Each stands in one kind of thing that users wrote, and nowhere else.
const KEY: &str = "sk-canary-Quetzalcoatl77";
const PRIVATE: [&str; 9] = [
    KEY,
    "CanaryWombat",    // texts
    "CanaryOkapi",     // payload
    "CanaryNarwhal",   // keys
    "CanaryAxolotl",   // headers' values
    "canary-pangolin", // headers' names
    "CanaryPlatypus",  // what is refused by the provider
    "CanaryQuokka",    // what cannot be read
    "CanaryTapir",     // what is cut
];

/// The provider quotes what it refuses, as some do.
const FAULTS: &str = r#"
- when: {contains: "[[poison]]"}
  then: {status: 400, body: {error: {message: "bad input: CanaryPlatypus is not allowed", type: invalid_request_error, param: CanaryPlatypus, code: invalid_input}}}
- when: {every: 9}
  then: {status: 429, retry_after: 1}
- when: {every: 11}
  then: {status: 500, body: "CanaryWombat made me fail"}
- when: {every: 13}
  then: {reset: true}
- when: {every: 16, times: 2}
  then: {empty_data: true}
"#;

const REVOKED: &str = r#"
- then: {status: 401, body: {error: {message: "Incorrect API key provided: sk-canary-Quetzalcoatl77 (CanaryWombat)", code: invalid_api_key}}}
"#;

const RECORDS: usize = 2_000;

fn outgoing(n: usize) -> Outgoing {
    let key = format!("CanaryNarwhal {}", n % 700);
    let value = |title: &str, body: &str| {
        serde_json::json!({"id": format!("CanaryOkapi {n}"), "title": title, "body": body}).to_string()
    };
    let body = "the CanaryWombat crossed the river, ";
    let record = match n % 500 {
        17 | 118 => Outgoing::tombstone(key),
        30 => Outgoing { headers: Vec::new(), ..Outgoing::default() },
        60 => Outgoing::new(key, value("", " \n")),
        90 => Outgoing::new(key, "{\"title\": \"CanaryQuokka\", \"body\": CanaryQuokka}"),
        120 => Outgoing::new(key, "{\"heading\": \"CanaryQuokka\"}"),
        150 => {
            Outgoing::new(key, [b"{\"title\": \"CanaryQuokka\xff\xfe\"}".as_slice(), key_bytes(n)].concat())
        }
        180 => Outgoing::new(key, value("[[poison]] CanaryPlatypus", body)),
        210 => Outgoing::new(key, value("long", &"CanaryTapir is cut somewhere. ".repeat(600))),
        _ => Outgoing::new(key, value(&format!("Note {n}"), &body.repeat(1 + n % 9))),
    };
    record.header("canary-pangolin", Some(b"CanaryAxolotl"))
}

fn key_bytes(n: usize) -> &'static [u8] {
    if n.is_multiple_of(2) { b"CanaryQuokka" } else { b"" }
}

/// `/metrics`, read.
struct Figures(String);

impl Figures {
    fn of(worker: &Worker) -> Self {
        Self(page(worker, "/metrics"))
    }

    /// The sum of a name's series that carry all these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let series = self.0.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix("embedstream_")?.strip_prefix(name)?;
            let fits = (rest.is_empty() || rest.starts_with('{'))
                && labels.iter().all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")));
            fits.then(|| value.parse::<f64>().expect("a number"))
        });
        let found: Vec<f64> = series.collect();
        assert!(!found.is_empty(), "no embedstream_{name} with {labels:?} in\n{}", self.0);
        found.iter().sum()
    }

    #[track_caller]
    fn counts(&self, name: &str, labels: &[(&str, &str)], expected: usize) {
        assert_eq!(self.sum(name, labels), expected as f64, "{name} {labels:?}");
    }
}

fn page(worker: &Worker, path: &str) -> String {
    let answer = http::get(worker.admin, path).expect("the worker answers");
    format!("{}\n\n{}", answer.headers, answer.body).split_off(answer.headers.len() + 2)
}

/// Everything that the worker shows at one moment.
fn pages(worker: &Worker) -> String {
    ["/metrics", "/status", "/readyz", "/livez", "/", "/nothing?CanaryNone"]
        .map(|path| page(worker, path))
        .concat()
}

/// Asserts that none of the private words stands in `shown`, as text or as the numbers that a list of bytes is shown as.
#[track_caller]
fn is_public(what: &str, shown: &str) {
    let lower = shown.to_lowercase();
    for word in PRIVATE {
        let numbers = format!("{:?}", word.as_bytes());
        for form in [word.to_lowercase(), numbers.trim_matches(['[', ']']).to_owned()] {
            if let Some(at) = lower.find(&form) {
                let line = lower[..at].rfind('\n').map_or(0, |at| at + 1);
                panic!("{what} shows {word}: {}", lower[line..].lines().next().unwrap_or_default());
            }
        }
    }
}

/// Has promtool judge a page; says that it is skipped where there is no promtool.
fn lint(metrics: &str, directory: &Path) {
    let Some(promtool) = std::env::var_os("EMBEDSTREAM_PROMTOOL").filter(|path| !path.is_empty()) else {
        let skip = Skip("EMBEDSTREAM_PROMTOOL names no promtool".to_owned());
        return skip.report(concat!(module_path!(), " (promtool check metrics)"));
    };
    let file = directory.join("metrics");
    fs::write(&file, metrics).expect("there is room for a test's files");
    let output = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(File::open(&file).expect("it was just written"))
        .output()
        .expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

fn line(broker: &Broker) -> Line<'_> {
    let settings = Settings {
        latency: Duration::from_millis(30),
        dimensions: 64,
        faults: Faults::parse(FAULTS).expect("a script"),
        key: Some(KEY.to_owned()),
        ..Settings::default()
    };
    let mut line = Line::new(broker, 3, settings);
    line.extra = "batch: {max_tokens: 2048}
limits: {in_flight: 4}
retry: {base: 50ms, cap: 1s}
log: {level: debug}
"
    .to_owned();
    line
}

fn worker(line: &Line<'_>, directory: &Path) -> Worker {
    let file = directory.join("key");
    fs::write(&file, format!("{KEY}\n")).expect("there is room for a test's files");
    let file = file.to_str().expect("a temporary directory's name is text");
    let admin = http::free_address();
    let process = Process::worker(&line.settings(admin), &[("EMBEDSTREAM__PROVIDER__API_KEY_FILE", file)]);
    let mut worker = Worker { process, admin };
    worker.process.wait_ready(admin, READY);
    worker
}

fn counts_what_the_topics_hold_and_shows_nothing_private(broker: &Broker) {
    let line = line(broker);
    let directory = TempDir::new().expect("there is room for a test's files");
    broker.produce_with_header(&line.input, "CanaryNarwhal", "text", b"canary-pangolin\xff");
    broker.produce(&line.input, (0..RECORDS).map(outgoing));
    let mut worker = worker(&line, directory.path());
    let mut shown = pages(&worker);
    line.wait_committed(300, DONE);
    let busy = Figures::of(&worker);
    lint(&busy.0, directory.path());
    shown.push_str(&pages(&worker));

    // A key that is refused, and quoted by who refuses it.
    line.simulator.set_faults(Faults::parse(REVOKED).expect("a script"));
    eventually(READY, "the worker says that its key is refused", || {
        page(&worker, "/readyz").contains("unauthorized").then_some(())
    });
    shown.push_str(&pages(&worker));
    line.simulator.set_faults(Faults::parse(FAULTS).expect("a script"));
    line.wait_done(DONE, &worker);

    eventually(READY, "lag is seen to be nothing", || {
        let figures = Figures::of(&worker);
        (figures.sum("kafka_consumer_lag", &[]) == 0.0 && figures.sum("buffered_records", &[]) == 0.0)
            .then_some(())
    });
    let figures = Figures::of(&worker);
    lint(&figures.0, directory.path());
    shown.push_str(&pages(&worker));
    agree(&line, &figures);
    status_agrees(&figures, &page(&worker, "/status"));

    worker.process.signal(Signal::Term);
    assert_eq!(worker.process.wait(END).code(), Some(0), "{}", worker.process.stderr());
    is_public("an admin page", &shown);
    let log = worker.process.stderr();
    assert!(log.contains("\"DEBUG\"") && log.contains("dead letter"), "{log}");
    for line in log.lines() {
        // Of two fields of one name, readers of JSON keep either, or refuse the line.
        assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
    }
    is_public("the log", &log);
    is_public("stdout", &worker.process.stdout());
}

/// What is wrong with the settings is said without what is secret in them. None of these starts.
#[test]
fn says_what_is_wrong_without_what_is_secret() {
    let directory = TempDir::new().expect("there is room for a test's files");
    let file = directory.path().join("key");
    fs::write(&file, format!("{KEY}\n{KEY}\n")).expect("there is room for a test's files");
    let file = file.to_str().expect("a temporary directory's name is text");
    let password = "sasl.username: worker, sasl.password: CanaryWombat";
    for settings in [
        format!("provider: {{api_key_file: {file}}}"),
        format!("provider: {{api_key: {KEY}, api_kee: 1}}"),
        format!("provider: {{api_key: [{KEY}]}}"),
        format!("provider: {{api_key: {KEY}, url: \"http://worker:CanaryWombat@\"}}"),
        format!("provider: {{api_key: {KEY}, headers: {{\"X-Key\": \"{KEY}\\n\"}}, url: nothing}}"),
        format!("provider: {{api_key: \"{KEY}\\u0001\"}}"),
        format!(
            "provider: {{api_key: {KEY}}}\nkafka: {{client: {{sasl.mechanism: NONE, security.protocol: SASL_SSL, {password}}}}}"
        ),
        format!(
            "provider: {{api_key: {KEY}}}\nkafka: {{client: {{ssl.key.pem: CanaryWombat, security.protocol: ssl, {password}}}}}"
        ),
    ] {
        for command in ["run", "check"] {
            let config = directory.path().join("config.yaml");
            let text = format!("{settings}\nadmin: {{listen: \"\"}}\nlog: {{level: debug}}\n");
            fs::write(&config, text).expect("there is room for a test's files");
            let config = config.to_str().expect("a temporary directory's name is text");
            let mut process = Process::start(&[command, "--config", config], &[]);
            let code = process.wait(END).code();
            println!("{command} {code:?}: {}", process.stderr().trim());
            assert!(command == "check" || code == Some(78), "{settings}: {code:?}");
            is_public("an error", &process.stderr());
            is_public("stdout", &process.stdout());
        }
    }
}

/// The counters against what the topics hold and what the provider billed.
fn agree(line: &Line<'_>, figures: &Figures) {
    let inputs = line.broker.ends(&line.input).values().sum::<i64>() as usize;
    let (outputs, letters) = (line.broker.read(&line.output), line.broker.read(&line.dead));
    figures.counts("records_consumed_total", &[("topic", &line.input)], inputs);
    figures.counts("stage_duration_seconds_count", &[("stage", "decode")], inputs);

    let topics: String = outputs.iter().chain(&letters).map(whole).collect();
    for word in PRIVATE.iter().filter(|word| **word != KEY) {
        assert!(topics.contains(word), "{word} went through the worker");
    }

    let vectors = outputs.iter().filter(|output| output.value.is_some()).count();
    let outcome = |name| [("outcome", name)];
    figures.counts("records_processed_total", &outcome("embedded"), vectors);
    figures.counts("records_processed_total", &outcome("tombstone"), outputs.len() - vectors);
    figures.counts("records_processed_total", &outcome("dead_letter"), letters.len());
    figures.counts("records_processed_total", &outcome("skipped"), inputs - outputs.len() - letters.len());
    let blank = RECORDS / 500;
    figures.counts("records_skipped_total", &[("reason", "blank")], blank);
    figures.counts("records_skipped_total", &[("reason", "tombstone_without_key")], blank);
    figures.counts("records_truncated_total", &[], RECORDS / 500);

    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in &letters {
        *reasons.entry(letter.header("embedstream-error-reason").expect("a reason")).or_default() += 1;
        // What users wrote may stand in what they wrote only, not in what we add.
        let ours: String =
            letter.headers.iter().filter(|(name, _)| name.starts_with("embedstream-")).map(text).collect();
        is_public("a dead letter's header", &ours);
    }
    assert_eq!(
        reasons,
        BTreeMap::from([("invalid_input", 1 + 3 * RECORDS / 500), ("rejected", RECORDS / 500)])
    );
    figures.counts("dead_letters_total", &[], letters.len());
    for (reason, count) in reasons {
        figures.counts("dead_letters_total", &[("reason", reason)], count);
    }

    for (topic, records) in [(&line.output, &outputs), (&line.dead, &letters)] {
        figures.counts("records_produced_total", &[("result", "ok"), ("topic", topic)], records.len());
        figures.counts("records_produced_total", &[("result", "error"), ("topic", topic)], 0);
        figures.counts("output_bytes_total", &[("topic", topic)], records.iter().map(bytes).sum());
        figures.counts("end_to_end_latency_seconds_count", &[("topic", topic)], records.len());
    }
    assert_eq!(line.broker.committed(&line.group, &line.input), line.broker.ends(&line.input));
    assert!(figures.sum("kafka_commits_total", &[("result", "ok")]) >= 1.0);
    figures.counts("kafka_commits_total", &[("result", "error")], 0);
    figures.counts("kafka_assigned_partitions", &[], 3);
    for nothing in ["buffered_bytes", "buffered_records", "buffered_tokens", "api_inflight_requests"] {
        figures.counts(nothing, &[], 0);
    }
    bill_agrees(line, figures, &outputs);
}

fn bill_agrees(line: &Line<'_>, figures: &Figures, outputs: &[Received]) {
    let ledger = line.simulator.ledger();
    let with = |status| ledger.statuses.get(&status).copied().unwrap_or(0) as usize;
    let call = |outcome| [("outcome", outcome)];
    let useless = figures.sum("api_requests_total", &call("invalid_response")) as usize;
    println!("{ledger:?}, {useless} useless");
    assert!(useless > 0 && ledger.resets > 0 && with(500) > 0 && with(401) > 0, "every fault happened");
    figures.counts("api_requests_total", &[], ledger.requests as usize);
    figures.counts("api_requests_total", &call("ok"), with(200) - useless);
    figures.counts("api_requests_total", &call("client_error"), with(400));
    figures.counts("api_requests_total", &call("auth"), with(401));
    figures.counts("api_requests_total", &call("rate_limited"), with(429));
    figures.counts("api_requests_total", &call("server_error"), with(500));
    figures.counts("api_requests_total", &call("connect"), ledger.resets as usize);
    figures.counts("api_request_duration_seconds_count", &[], ledger.requests as usize);

    let tokens = |kind| figures.sum("tokens_total", &[("kind", kind)]) as u64;
    assert_eq!(tokens("billed") + tokens("wasted"), ledger.tokens, "{} wasted", tokens("wasted"));
    // A token more or less for the canary, which is no record.
    let embedded: u64 = outputs
        .iter()
        .filter(|output| output.value.is_some())
        .map(|output| output.json()["tokens"].as_u64().expect("a number"))
        .sum();
    assert!((embedded..embedded + 50).contains(&tokens("billed")), "{embedded} {}", tokens("billed"));
    let cost = figures.sum("cost_usd_total", &[]);
    let billed = ledger.cost_usd * tokens("billed") as f64 / ledger.tokens as f64;
    assert!((cost - billed).abs() < 1e-9, "{cost} is not {billed}");

    let batches = figures.sum("batches_closed_total", &[]);
    figures.counts("batch_records_count", &[], batches as usize);
    let embeddable = figures.sum("batch_records_sum", &[]) as usize;
    figures.counts("records_processed_total", &[("outcome", "embedded")], embeddable - RECORDS / 500);
    figures.counts("record_tokens_count", &[], embeddable);
}

/// `/status` tells the same sums.
fn status_agrees(figures: &Figures, status: &str) {
    let status: serde_json::Value = serde_json::from_str(status).expect("JSON");
    let totals = &status["totals"];
    for (name, counter, labels) in [
        ("records_consumed", "records_consumed_total", None),
        ("embedded", "records_processed_total", Some(("outcome", "embedded"))),
        ("tombstones", "records_processed_total", Some(("outcome", "tombstone"))),
        ("skipped", "records_processed_total", Some(("outcome", "skipped"))),
        ("dead_lettered", "records_processed_total", Some(("outcome", "dead_letter"))),
        ("batches", "batches_closed_total", None),
        ("calls", "api_requests_total", None),
        ("calls_ok", "api_requests_total", Some(("outcome", "ok"))),
        ("tokens_billed", "tokens_total", Some(("kind", "billed"))),
        ("tokens_wasted", "tokens_total", Some(("kind", "wasted"))),
    ] {
        let labels: Vec<_> = labels.into_iter().collect();
        assert_eq!(totals[name].as_f64(), Some(figures.sum(counter, &labels)), "{name} in {status}");
    }
}

fn whole(record: &Received) -> String {
    let parts = [record.key.as_deref(), record.value.as_deref()].map(Option::unwrap_or_default);
    let parts = parts.map(|part| String::from_utf8_lossy(part).into_owned());
    parts.into_iter().chain(record.headers.iter().map(text)).collect()
}

fn text((name, value): &(String, Option<Vec<u8>>)) -> String {
    format!("{name}: {}\n", String::from_utf8_lossy(value.as_deref().unwrap_or_default()))
}

fn bytes(record: &Received) -> usize {
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
    let (key, value) = (record.key.as_ref(), record.value.as_ref());
    key.map_or(0, Vec::len) + value.map_or(0, Vec::len) + headers.sum::<usize>()
}
