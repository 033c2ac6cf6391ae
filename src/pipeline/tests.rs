//! The loop with its ends held by a test, under paused time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

mod counters;
mod drain;
mod outage;
mod search;
mod shrink;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Ended, Ends, Pipeline, Sink};
use crate::admin::Health;
use crate::config::Config;
use crate::domain::ledger::{Progress, Publication};
use crate::domain::record::{Content, Generation, Offset, Record, RejectReason, Text, TopicPartition};
use crate::kafka::budget::Budget;
use crate::kafka::event::{Assigned, Event, Received, Revoke};
use crate::kafka::sink::{Delivery, Refusal};
use crate::metrics::Metrics;
use crate::output::{Destination, Outgoing};
use crate::provider::{Answer, Attempts, CallOutcome, Embedder, Embeddings, Failure, SuspendReason, Verdict};

const LATENCY: Duration = Duration::from_secs(1);
/// So many turns of the loop at one moment mean that it spins.
const SPINS: u64 = 50_000;

type Sent = Arc<Mutex<Vec<(Outgoing, Publication)>>>;

/// Records what is published; the test answers.
struct Recorder(Sent);

impl Sink for Recorder {
    fn topic(&self, destination: Destination) -> &str {
        match destination {
            Destination::Output => "output",
            Destination::DeadLetter => "dead-letters",
        }
    }

    fn send(&self, outgoing: &Outgoing, publication: Publication) -> Result<(), Refusal> {
        self.0.lock().unwrap().push((outgoing.clone(), publication));
        Ok(())
    }
}

/// Fails with this verdict whenever a text is the poison; remembers every call.
struct Provider {
    verdict: Verdict,
    calls: Mutex<Vec<String>>,
    /// Calls with more texts fail as well.
    takes: AtomicUsize,
    /// When it is done with what it was asked so far, if it answers in turn.
    free: Mutex<Option<tokio::time::Instant>>,
}

impl Provider {
    fn calls_with(&self, text: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.contains(text)).count()
    }
}

impl Embedder for Provider {
    fn body(&self, texts: &[&str]) -> Bytes {
        texts.join(",").into()
    }

    async fn send(&self, body: Bytes) -> Result<Answer, Failure> {
        self.calls.lock().unwrap().push(String::from_utf8_lossy(&body).into_owned());
        outage::latency(self, &body).await?;
        Ok(Answer { status: 200, headers: Vec::new(), body })
    }

    fn read(&self, answer: &Answer, count: usize) -> Result<Embeddings, Failure> {
        let body = String::from_utf8_lossy(&answer.body);
        let is_unlucky = |text| text == "unlucky" && self.calls_with(text) <= search::UNLUCKY;
        let is_poisoned = body.split(',').any(|text| text == "poison" || is_unlucky(text));
        if is_poisoned || count > self.takes.load(Ordering::Relaxed) {
            return Err(Failure {
                verdict: self.verdict.clone(),
                outcome: CallOutcome::InvalidResponse,
                message: "it is bad".to_owned(),
                status: Some(200),
            });
        }
        Ok(Embeddings { vectors: vec![vec![1.0]; count], model: None, tokens: None, cost_usd: None })
    }
}

struct Line {
    events: mpsc::UnboundedSender<Event>,
    answers: mpsc::UnboundedSender<Delivery>,
    progress: watch::Receiver<Vec<Progress>>,
    sent: Sent,
    provider: Arc<Provider>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    budget: Arc<Budget>,
    running: JoinHandle<Ended>,
}

impl Line {
    fn start(verdict: Verdict, max_records: usize) -> Self {
        let mut config = Config::default();
        config.batch.max_records = max_records;
        config.limits.share = crate::config::Share::None;
        let (events, events_in) = mpsc::unbounded_channel();
        let (answers, deliveries) = mpsc::unbounded_channel();
        let (progress_out, progress) = watch::channel(Vec::new());
        let sent = Sent::default();
        let budget = Arc::new(Budget::new(1 << 20));
        let ends = Ends {
            events: events_in,
            progress: progress_out,
            sink: Recorder(Arc::clone(&sent)),
            deliveries,
            budget: Arc::clone(&budget),
            leave: Box::new(|| ()),
        };
        let provider = Arc::new(Provider {
            verdict,
            calls: Mutex::default(),
            takes: usize::MAX.into(),
            free: Mutex::default(),
        });
        let metrics = Arc::new(Metrics::new("group", "model"));
        let health = Arc::new(Health::new());
        let (told, shown) = (Arc::clone(&health), Arc::clone(&metrics));
        let pipeline = Pipeline::new(Arc::new(config), Arc::clone(&provider), shown, told, ends, 2, 7);
        let running = tokio::spawn(watched(pipeline.run()));
        Self { events, answers, progress, sent, provider, metrics, health, budget, running }
    }

    fn assign(&self, generation: u64) {
        let partition = TopicPartition { topic: "input".into(), partition: partition(generation) };
        let assigned = Assigned { generation: Generation(generation), partition };
        self.events.send(Event::Assigned(vec![assigned])).unwrap();
    }

    fn receive(&self, records: &[(u64, i64, &str)]) {
        let text = |text: &str| Text { text: text.to_owned(), tokens: 1, truncated: false, payload: None };
        let records = records.iter().map(|(generation, offset, value)| {
            (Generation(*generation), received(*generation, *offset, Content::Text(text(value))))
        });
        self.tell(records.collect());
    }

    /// What intake made of the first generation's records, one by one.
    fn receive_contents(&self, contents: impl IntoIterator<Item = Content>) {
        let records =
            (0..).zip(contents).map(|(offset, content)| (Generation(1), received(1, offset, content)));
        self.tell(records.collect());
    }

    fn tell(&self, records: Vec<(Generation, Received)>) {
        self.budget.charge(records.iter().map(|(_, received)| received.bytes).sum());
        self.events.send(Event::Records(records)).unwrap();
    }

    /// The broker takes whatever is published, from the `first` on, until nothing more is.
    async fn accept(&self, first: usize) {
        let mut index = first;
        while index < self.sent() {
            self.answer(index, Ok(()));
            pass(LATENCY).await;
            index += 1;
        }
    }

    fn reason(&self) -> Option<&'static str> {
        self.health.readiness().why.map(|why| why.reason)
    }

    fn lose(&self, generation: u64) {
        self.events.send(Event::Lost(vec![Generation(generation)])).unwrap();
    }

    fn revoke(&self, generation: u64, within: Duration) -> std::sync::mpsc::Receiver<Vec<Progress>> {
        self.let_go(generation, within, false)
    }

    fn let_go(
        &self,
        generation: u64,
        within: Duration,
        leaving: bool,
    ) -> std::sync::mpsc::Receiver<Vec<Progress>> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        let generations = vec![Generation(generation)];
        self.events.send(Event::Revoked(Revoke { generations, within, leaving, reply })).unwrap();
        answer
    }

    fn answer(&self, index: usize, result: Result<(), Refusal>) {
        let publication = self.sent.lock().unwrap()[index].1;
        self.answers.send(Delivery { publication, result }).unwrap();
    }

    fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }

    fn dead_letters(&self) -> usize {
        let sent = self.sent.lock().unwrap();
        sent.iter().filter(|(outgoing, _)| outgoing.destination == Destination::DeadLetter).count()
    }

    fn calls_with(&self, text: &str) -> usize {
        self.provider.calls_with(text)
    }
}

fn received(generation: u64, offset: i64, content: Content) -> Received {
    let record = Arc::new(Record {
        topic: "input".into(),
        partition: partition(generation),
        offset: Offset(offset),
        timestamp: Some(1),
        key: Some(offset.to_string().into_bytes()),
        value: Some(b"value".to_vec()),
        headers: Vec::new(),
    });
    Received { record, content, bytes: 10 }
}

/// Fails instead of turning for ever at one moment, which paused time would never leave.
pub(super) async fn watched(line: impl Future<Output = Ended>) -> Ended {
    let mut line = std::pin::pin!(line);
    let (mut turns, mut last) = (0, tokio::time::Instant::now());
    std::future::poll_fn(|context| {
        if tokio::time::Instant::now() == last {
            turns += 1;
        } else {
            (turns, last) = (0, tokio::time::Instant::now());
        }
        if turns > SPINS {
            return Poll::Ready(Ended::Fatal("the loop spins".to_owned()));
        }
        line.as_mut().poll(context)
    })
    .await
}

fn partition(generation: u64) -> i32 {
    i32::try_from(generation).unwrap()
}

/// Lets this much paused time pass, and everything happen that is due in it.
async fn pass(time: Duration) {
    assert!(tokio::time::timeout(time, std::future::pending::<()>()).await.is_err());
}

fn clear(reason: RejectReason) -> Verdict {
    Verdict::Bisect { reason, clear: true, otherwise: SuspendReason::BadRequest }
}

fn again(hold_off: bool, attempts: Attempts, meanwhile: SuspendReason) -> Verdict {
    Verdict::Retry { after: None, hold_off, attempts, then: RejectReason::ProviderError, meanwhile }
}

fn once_more() -> Verdict {
    Verdict::Retry {
        after: None,
        hold_off: false,
        attempts: Attempts::Few(1),
        then: RejectReason::NonFinite,
        meanwhile: SuspendReason::MalformedResponse,
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_that_left_does_not_slow_the_others() {
    let line = Line::start(clear(RejectReason::Rejected), 64);
    line.assign(1);
    line.assign(2);
    line.receive(&[(1, 0, "one")]);
    pass(LATENCY * 2).await;
    line.answer(0, Err(Refusal::Record("too large".to_owned())));
    pass(LATENCY).await;
    assert_eq!(line.sent(), 2, "it is tried again, alone");
    line.lose(1);
    pass(LATENCY).await;
    line.answer(1, Ok(()));
    line.receive(&[(2, 0, "two"), (2, 1, "three")]);
    pass(LATENCY * 2).await;
    assert_eq!(line.sent(), 4, "two at once again");
}

#[tokio::test(start_paused = true)]
async fn a_held_partition_that_left_no_longer_makes_the_worker_unready() {
    let line = Line::start(clear(RejectReason::Rejected), 64);
    line.assign(1);
    line.receive(&[(1, 0, "poison")]);
    pass(LATENCY * 8).await;
    for index in 0..2 {
        line.answer(index, Err(Refusal::Record("too large".to_owned())));
        pass(LATENCY).await;
    }
    let refused = || line.metrics.suspended.with_label_values(&["output_refused"]).get();
    assert_eq!((refused(), line.health.readiness().ready), (1, false));
    let produced =
        |result| line.metrics.records_produced_total.with_label_values(&["dead-letters", result]).get();
    assert_eq!((produced("refused"), produced("error")), (2, 0), "nothing is wrong with the topic");
    line.lose(1);
    pass(LATENCY).await;
    assert_eq!((refused(), line.health.readiness().ready), (0, true));
    assert!(!line.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_provider_and_a_topic_that_both_refuse_do_not_hide_one_another() {
    let verdict = Verdict::Suspend { why: SuspendReason::Unreachable, fatal_at_start: false };
    let line = Line::start(verdict, 64);
    line.assign(1);
    line.receive(&[(1, 0, "one")]);
    pass(LATENCY * 2).await;
    line.receive(&[(1, 1, "poison")]);
    pass(LATENCY + Duration::from_millis(100)).await;
    assert_eq!(line.reason(), Some("unreachable"));
    line.answer(0, Err(Refusal::Topic("not authorised".to_owned())));
    pass(Duration::from_millis(100)).await;
    assert_eq!(line.reason(), Some("unreachable"), "the first reason");
    // The probe is answered after two seconds, and the poison is on its way again.
    pass(LATENCY * 2).await;
    assert_eq!(line.reason(), Some("output_refused"), "one is left");
    line.answer(1, Ok(()));
    pass(Duration::from_millis(100)).await;
    assert_eq!(line.reason(), None);
    let refused = line.metrics.suspended.with_label_values(&["output_refused"]).get();
    assert_eq!(refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_accepts_does_not_speak_for_the_one_that_refuses() {
    let line = Line::start(clear(RejectReason::Rejected), 1);
    line.assign(1);
    line.assign(2);
    line.receive(&[(1, 0, "poison"), (2, 0, "fine")]);
    pass(LATENCY * 8).await;
    assert_eq!((line.sent(), line.dead_letters()), (2, 1));
    let dead = usize::from(line.sent.lock().unwrap()[0].0.destination != Destination::DeadLetter);
    line.answer(dead, Err(Refusal::Topic("unknown".to_owned())));
    line.answer(1 - dead, Ok(()));
    pass(Duration::from_millis(500)).await;
    assert_eq!((line.sent(), line.reason()), (2, Some("output_refused")), "it rests");
    pass(LATENCY).await;
    line.answer(2, Err(Refusal::Again("the connection broke".to_owned())));
    pass(LATENCY).await;
    assert_eq!((line.sent(), line.reason()), (4, Some("output_refused")));
    line.lose(1);
    pass(LATENCY).await;
    assert_eq!(line.reason(), None, "what it refused is another's now");
}

#[tokio::test(start_paused = true)]
async fn the_loop_sleeps_while_what_failed_once_is_on_its_way_again() {
    let line = Line::start(clear(RejectReason::Rejected), 64);
    line.assign(1);
    line.receive(&[(1, 0, "one")]);
    pass(LATENCY * 2).await;
    line.answer(0, Err(Refusal::Again("cut".to_owned())));
    pass(LATENCY).await;
    assert_eq!(line.sent(), 2);
    pass(LATENCY).await;
    assert!(!line.running.is_finished(), "it does not spin until the answer is here");
}

#[tokio::test(start_paused = true)]
async fn the_loop_sleeps_while_it_leaves_for_wrong_settings() {
    let why = SuspendReason::Unreachable;
    let line = Line::start(Verdict::Suspend { why, fatal_at_start: true }, 1);
    line.assign(1);
    line.receive(&[(1, 0, "poison"), (1, 1, "poison")]);
    pass(LATENCY * 3).await;
    assert!(!line.running.is_finished(), "it waits for the poll thread, and does not spin");
    line.events.send(Event::Closed { committed: true }).unwrap();
    assert!(matches!(line.running.await.unwrap(), Ended::Misconfigured(..)));
}

#[tokio::test(start_paused = true)]
async fn a_record_is_not_found_guilty_of_what_one_did_that_left() {
    let line = Line::start(clear(RejectReason::Rejected), 2);
    line.assign(1);
    line.assign(2);
    line.receive(&[(1, 0, "poison"), (2, 0, "fine")]);
    pass(LATENCY / 2).await;
    line.lose(1);
    pass(LATENCY * 3).await;
    assert_eq!((line.sent(), line.dead_letters()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_line_is_no_outage_though_its_last_call_failed() {
    let line = Line::start(once_more(), 1);
    line.assign(1);
    line.receive(&[(1, 0, "fine"), (1, 1, "poison")]);
    for _ in 0..200 {
        pass(LATENCY / 2).await;
        assert!(line.health.readiness().ready);
    }
    assert_eq!(line.dead_letters(), 1);
}
