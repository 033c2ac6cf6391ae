//! Outages of a minute, with the probe at its defaults: the worker waits, says why, and goes on by itself. Nothing is lost, nothing is published
//! twice, and nothing becomes a dead letter.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use embedstream::simulator::{Faults, Settings};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::broker::Broker;
use crate::support::laws::{self, Promise};
use crate::support::line::{Line, Worker};
use crate::support::network::{Cut, Network};
use crate::support::process::{Process, Signal};
use crate::support::records::Outgoing;
use crate::support::{http, within};

const READY: Duration = Duration::from_secs(60);
const DONE: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(30);
/// All goes well for so long, before and after.
const WELL: Duration = Duration::from_secs(5);
/// What a suspended worker may publish of what it had embedded before.
const SETTLES: Duration = Duration::from_secs(2);
/// Records of a batch.
const AT_ONCE: usize = 5;
/// Each comes again and again, so that their order can be seen.
const KEYS: usize = 60;
const BEFORE: &str = "sk-or-v1-before";
const AFTER: &str = "sk-or-v1-after";

const EMPTY: &str = r#"
- then: {status: 402, body: {error: {code: 402, message: "Insufficient credits. Add more using https://openrouter.ai/settings/credits", metadata: null}, user_id: u}}
"#;

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// The provider answers in this way.
    Answers(&'static str),
    /// The provider takes another key only, and the worker's again at the end.
    Revoked,
    /// The provider takes another key only, which the worker is given at the end.
    Rotated,
    /// Between the two.
    Network(Cut),
}

/// An outage, and what may be said of it.
struct Case {
    name: &'static str,
    outage: Outage,
    lasts: Duration,
    /// Records of one moment, before it: they open many connections.
    burst: usize,
    /// A batch of records comes so often.
    every: Duration,
    reasons: &'static [&'static str],
    /// When it must be told at the latest.
    told: Duration,
    /// From its end until records are published again.
    resumes: Duration,
    /// The most calls that may come to nothing.
    wasted: u64,
}

const MINUTE: Case = Case {
    name: "",
    outage: Outage::Revoked,
    lasts: Duration::from_secs(60),
    burst: 0,
    every: Duration::from_millis(250),
    reasons: &["unauthorized"],
    told: Duration::from_secs(5),
    resumes: Duration::from_secs(15),
    wasted: 40,
};

/// `unready_after`, and what a busy machine needs.
const UNANSWERED: Duration = Duration::from_secs(33);

const CASES: [Case; 11] = [
    Case { name: "key revoked, then taken again", ..MINUTE },
    Case { name: "key revoked, another put in its file", outage: Outage::Rotated, ..MINUTE },
    Case {
        name: "account empty (402)",
        outage: Outage::Answers(EMPTY),
        reasons: &["payment_required"],
        ..MINUTE
    },
    Case {
        name: "a page of HTML, status 200",
        outage: Outage::Answers("- then: {html: true}"),
        reasons: &["malformed_response"],
        ..MINUTE
    },
    Case {
        name: "a page of HTML, status 502",
        outage: Outage::Answers("- then: {status: 502, html: true}"),
        reasons: &["unreachable"],
        told: UNANSWERED,
        wasted: 300,
        ..MINUTE
    },
    Case {
        name: "503 without a hint",
        outage: Outage::Answers("- then: {status: 503}"),
        reasons: &["unreachable"],
        told: UNANSWERED,
        wasted: 100,
        ..MINUTE
    },
    Case {
        name: "network: reset and refused",
        outage: Outage::Network(Cut::Refused),
        reasons: &["unreachable"],
        told: UNANSWERED,
        wasted: 300,
        ..MINUTE
    },
    Case {
        name: "network: packets dropped",
        outage: Outage::Network(Cut::Silent),
        reasons: &["timeout", "unreachable"],
        told: UNANSWERED,
        wasted: 130,
        ..MINUTE
    },
    Case {
        name: "network: swallows, connections stay dead",
        outage: Outage::Network(Cut::Swallowed),
        reasons: &["timeout"],
        told: UNANSWERED,
        wasted: 40,
        ..MINUTE
    },
    // It takes all slots, and is over before it is told.
    Case {
        name: "  the same for 12 s",
        outage: Outage::Network(Cut::Swallowed),
        lasts: Duration::from_secs(12),
        reasons: &["timeout"],
        told: UNANSWERED,
        resumes: Duration::from_secs(25),
        wasted: 40,
        ..MINUTE
    },
    // It ends soon after it is told, and few of many open connections have been tried since.
    Case {
        name: "  the same for 36 s, on a quiet topic",
        outage: Outage::Network(Cut::Swallowed),
        lasts: Duration::from_secs(36),
        burst: 16 * 64,
        every: Duration::from_secs(4),
        reasons: &["timeout"],
        told: Duration::from_secs(38),
        wasted: 40,
        ..MINUTE
    },
];

/// What was seen of a case.
#[derive(Debug, Default)]
struct Seen {
    /// From the outage's begin until it was told.
    told: Option<Duration>,
    /// What `/readyz` said, in the order of its first time.
    reasons: Vec<String>,
    /// From the healing to the first output.
    resumed: Option<Duration>,
    records: usize,
    dead_letters: usize,
    /// Calls that came to nothing, and of these the probes.
    wasted: u64,
    /// Tokens of calls without an answer, by the worker's count.
    wasted_tokens: u64,
}

impl Seen {
    /// `/readyz` gives a reason.
    fn tells(&mut self, reason: String, since: Instant) {
        self.told.get_or_insert_with(|| since.elapsed());
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// A line with a network that can be cut.
struct Stage<'a> {
    line: Line<'a>,
    network: Network,
    directory: TempDir,
    worker: Worker,
    /// When the next records come, and how often they do.
    next: Instant,
    every: Duration,
    sent: usize,
}

impl<'a> Stage<'a> {
    fn new(broker: &'a Broker, every: Duration) -> Self {
        let settings = Settings {
            latency: Duration::from_millis(300),
            dimensions: 64,
            key: Some(BEFORE.to_owned()),
            ..Settings::default()
        };
        let line = Line::new(broker, 2, settings);
        let network = Network::new(&line.runtime, line.simulator.addr);
        let directory = TempDir::new().expect("there is room for a test's files");
        let file = directory.path().join("key");
        fs::write(&file, BEFORE).expect("there is room for a test's files");
        let url = format!("http://{}/v1", network.address);
        let environment = [
            ("EMBEDSTREAM__PROVIDER__URL", url.as_str()),
            ("EMBEDSTREAM__PROVIDER__API_KEY_FILE", file.to_str().expect("its name is text")),
        ];
        let admin = http::free_address();
        let process = Process::worker(&line.settings(admin), &environment);
        let mut worker = Worker { process, admin };
        worker.process.wait_ready(admin, READY);
        Self { line, network, directory, worker, next: Instant::now(), every, sent: 0 }
    }

    fn begin(&mut self, outage: Outage) {
        match outage {
            Outage::Answers(faults) => {
                self.line.simulator.set_faults(Faults::parse(faults).expect("a script"))
            }
            Outage::Revoked | Outage::Rotated => self.line.simulator.set_key(Some(AFTER.to_owned())),
            Outage::Network(cut) => self.network.set(cut),
        }
    }

    fn heal(&mut self, outage: Outage) {
        match outage {
            Outage::Answers(_) => self.line.simulator.set_faults(Faults::none()),
            Outage::Revoked => self.line.simulator.set_key(Some(BEFORE.to_owned())),
            Outage::Rotated => self.rotate(),
            Outage::Network(_) => self.network.set(Cut::None),
        }
    }

    /// As Kubernetes does: the new file takes the old one's name.
    fn rotate(&self) {
        let new: PathBuf = self.directory.path().join("new");
        fs::write(&new, AFTER).expect("there is room for a test's files");
        fs::rename(new, self.directory.path().join("key")).expect("it is the same directory");
    }

    /// Sends the records that are due.
    fn stream(&mut self) {
        let mut due = 0;
        while self.next <= Instant::now() {
            self.next += self.every;
            due += AT_ONCE;
        }
        if due > 0 {
            self.send(due);
        }
    }

    fn send(&mut self, records: usize) {
        let to = self.sent + records;
        self.line.broker.produce(&self.line.input, (self.sent..to).map(record));
        self.sent = to;
    }

    /// Streams for so long, or until `look` answers.
    fn for_a_time<T>(&mut self, time: Duration, mut look: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        within(time, || {
            self.stream();
            assert_eq!(self.worker.process.ended(), None, "it ended");
            look(self)
        })
    }

    fn published(&self) -> i64 {
        self.line.broker.ends(&self.line.output).values().sum()
    }

    /// Why it is not ready.
    fn reason(&self) -> Option<String> {
        let response = http::get(self.worker.admin, "/readyz").expect("it answers");
        let body: serde_json::Value = serde_json::from_str(&response.body).expect("it is JSON");
        assert_eq!(response.status == 200, body["ready"] == true, "{}", response.body);
        (response.status == 503).then(|| body["reason"].as_str().expect("a reason").to_owned())
    }

    /// Which reasons of a suspension the metric shows.
    fn shown(&self) -> BTreeSet<String> {
        let metrics = http::get(self.worker.admin, "/metrics").expect("it answers").body;
        let on = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix("embedstream_suspended{reason=\"")?;
            rest.strip_suffix("\"} 1").map(str::to_owned)
        });
        on.collect()
    }

    /// The sum of a counter's series in which `label` occurs.
    fn sum(&self, name: &str, label: impl Fn(&str) -> bool) -> f64 {
        let metrics = http::get(self.worker.admin, "/metrics").expect("it answers").body;
        let values = metrics.lines().filter_map(|line| {
            let (labels, value) = line.strip_prefix(name)?.strip_prefix('{')?.split_once("} ")?;
            label(labels).then(|| value.parse::<f64>().expect("a number"))
        });
        values.sum()
    }
}

fn record(n: usize) -> Outgoing {
    let value = serde_json::json!({"id": n, "title": format!("Note {n}"), "body": "as long as a note is"});
    Outgoing::new(format!("key {}", n % KEYS), value.to_string())
}

/// Plays a case; panics where it is not as it must be.
fn play(case: &Case, stage: &mut Stage<'_>, seen: &mut Seen) {
    stage.for_a_time(WELL, |_| None::<()>);
    assert!(stage.published() > 0 && stage.reason().is_none(), "it works before");
    if case.burst > 0 {
        stage.send(case.burst);
        let published = |stage: &mut Stage<'_>| (stage.published() == stage.sent as i64).then_some(());
        assert!(stage.for_a_time(WELL * 2, published).is_some(), "the burst is published");
    }

    stage.begin(case.outage);
    let since = Instant::now();
    let told = stage.for_a_time(case.told.min(case.lasts), |stage| stage.reason());
    let mut settled = stage.published();
    if let Some(reason) = told {
        seen.tells(reason, since);
        stage.for_a_time(SETTLES, |_| None::<()>);
        settled = stage.published();
        let left = case.lasts.saturating_sub(since.elapsed());
        stage.for_a_time(left, |stage| {
            let reason = stage.reason().expect("ready although nothing has healed");
            assert_eq!(stage.shown(), BTreeSet::from([reason.clone()]), "the metric says the same");
            seen.tells(reason, since);
            None::<()>
        });
    }
    assert_eq!(stage.published(), settled, "nothing is published during it");

    stage.heal(case.outage);
    let healed = Instant::now();
    let first = stage.for_a_time(case.resumes, |stage| {
        if let Some(reason) = stage.reason() {
            seen.tells(reason, since);
        }
        (stage.published() > settled).then_some(())
    });
    seen.resumed = Some(healed.elapsed());
    assert!(first.is_some(), "nothing is published within {:?} of the healing", case.resumes);
    let ready = stage.for_a_time(WELL, |stage| stage.reason().is_none().then_some(()));
    assert!(ready.is_some(), "not ready, and publishing");
    assert!(seen.told.is_some_and(|told| told <= case.told), "not told within {:?}", case.told);
    for reason in &seen.reasons {
        assert!(case.reasons.contains(&reason.as_str()), "{reason}");
    }
    stage.for_a_time(WELL, |_| None::<()>);
    judge(stage, case, seen);
}

/// After it.
fn judge(stage: &mut Stage<'_>, case: &Case, seen: &mut Seen) {
    let broker = stage.line.broker;
    stage.line.wait_done(DONE, &stage.worker);
    assert_eq!(stage.reason(), None, "ready at last");
    assert_eq!(stage.shown(), BTreeSet::new(), "and the metric says so");
    let calls =
        |stage: &Stage<'_>| stage.sum("embedstream_api_requests_total", |labels| !labels.contains("\"ok\""));
    seen.wasted = calls(stage) as u64;
    seen.wasted_tokens = stage.sum("embedstream_tokens_total", |labels| labels.contains("wasted")) as u64;
    let rebalances = stage.sum("embedstream_kafka_rebalances_total", |labels| !labels.contains("assigned"));
    assert_eq!(rebalances, 0.0, "it stays in its group");
    stage.worker.process.signal(Signal::Term);
    assert_eq!(stage.worker.process.wait(END).code(), Some(0));
    let log = stage.worker.process.stderr();
    assert_eq!(log.matches("suspended: nothing is sent").count(), 1, "it is told once");
    assert_eq!(log.matches("the probe succeeded").count(), 1, "so is its end");

    let letters = broker.read(&stage.line.dead);
    seen.records = stage.sent;
    seen.dead_letters = letters.len();
    assert_eq!(letters, [], "no dead letter");
    let outputs = broker.read(&stage.line.output);
    let found = laws::check(&broker.read(&stage.line.input), &outputs, &letters, Promise::Key);
    assert_eq!((found.vectors, found.repeated), (stage.sent, 0), "each once, in the order of its key");
    assert!(seen.wasted <= case.wasted, "{} calls came to nothing", seen.wasted);
}

fn row(case: &Case, seen: &Seen) -> String {
    let seconds = |time: Option<Duration>| {
        time.map_or_else(|| "-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
    };
    format!(
        "{:<44} {:>8} {:>8} {:>8} {:>5} {:>7} {:>7}  {}",
        case.name,
        seconds(seen.told),
        seconds(seen.resumed),
        seen.records,
        seen.dead_letters,
        seen.wasted,
        seen.wasted_tokens,
        seen.reasons.join(", ")
    )
}

#[test]
fn a_minute_of_any_outage_loses_nothing_and_heals_by_itself() {
    let only = std::env::var("EMBEDSTREAM_OUTAGES").unwrap_or_default();
    let todo: Vec<&Case> = CASES.iter().filter(|case| case.name.contains(&only)).collect();
    let (start, mut table, mut failed) = (Instant::now(), String::new(), 0);
    std::thread::scope(|scope| {
        let running: Vec<_> = todo
            .iter()
            .map(|case| {
                scope.spawn(|| {
                    let (broker, mut seen) = (Broker::mock(), Seen::default());
                    let mut stage = Stage::new(&broker, case.every);
                    let playing = || play(case, &mut stage, &mut seen);
                    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(playing));
                    if played.is_err() {
                        println!("{}; its log:\n{}", case.name, stage.worker.process.stderr());
                    }
                    (row(case, &seen), played.is_ok())
                })
            })
            .collect();
        for case in running {
            let (row, right) = case.join().expect("it is told above");
            failed += usize::from(!right);
            writeln!(table, "{} {row}", if right { "ok  " } else { "FAIL" }).expect("a String takes all");
        }
    });
    println!(
        "     {:<44} {:>8} {:>8} {:>8} {:>5} {:>7} {:>7}  reasons\n{table}{:.0} s",
        "outage",
        "told",
        "resumed",
        "records",
        "dead",
        "in vain",
        "tokens",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(failed, 0, "see above");
}
