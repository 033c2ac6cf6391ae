//! Builds the parts from the settings, wires them, and lets them run until the group is left.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::admin::Health;
use crate::config::Config;
use crate::domain::record::Record;
use crate::input;
use crate::input::counting::{Counting, CountingError, Learned};
use crate::kafka::backlog::{Backlog, BacklogError};
use crate::kafka::budget::Budget;
use crate::kafka::event::Received;
use crate::kafka::preflight::{self, PreflightError};
use crate::kafka::refusal::Refused;
use crate::kafka::sink;
use crate::kafka::source::{Intake, Source};
use crate::metrics::{Known, Metrics};
use crate::output::{Destination, Outgoing};
use crate::pipeline::{Ended, Ends, Pipeline, Sink};
use crate::provider::{CallOutcome, Embedder, SuspendReason};

/// Why the worker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Brokers or topics.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// A setting that librdkafka refuses.
    #[error(transparent)]
    Kafka(#[from] Refused),
    /// Where the input topics begin and end.
    #[error(transparent)]
    Backlog(#[from] BacklogError),
    /// The question to the brokers was cut off.
    #[error("the check of brokers and topics was cut off")]
    CutOff,
}

impl Sink for sink::Sink {
    fn topic(&self, destination: Destination) -> &str {
        Self::topic(self, destination)
    }

    fn send(
        &self,
        outgoing: &Outgoing,
        publication: crate::domain::ledger::Publication,
    ) -> Result<(), sink::Refusal> {
        Self::send(self, outgoing, publication)
    }
}

/// The instruments of a worker with these settings: every series whose labels are known begins with 0.
pub fn metrics(config: &Config) -> Metrics {
    let kafka = &config.kafka;
    let metrics = Metrics::new(&kafka.group_id, &config.provider.model);
    metrics.expect(&Known {
        inputs: &kafka.input_topics,
        outputs: &[&kafka.output_topic, &kafka.dead_letter_topic],
        call_outcomes: &CallOutcome::ALL.map(CallOutcome::as_str),
        suspend_reasons: &SuspendReason::ALL.map(SuspendReason::as_str),
    });
    metrics
}

/// What reads records, and the estimates that it shares with the loop.
pub struct Reading {
    intake: Intake,
    learned: Option<Learned>,
}

/// A reader that counts tokens exactly.
impl<F: FnMut(Record) -> Received + Send + 'static> From<F> for Reading {
    fn from(intake: F) -> Self {
        Self { intake: Box::new(intake), learned: None }
    }
}

/// Counts tokens as the settings say.
///
/// # Errors
/// Settings: a `tokenizer.json` that is none, a prefix that leaves no room.
pub fn counting(config: &Config) -> Result<Counting, CountingError> {
    Counting::new(&config.provider, token_limit(config))
}

/// The most tokens of a text, its prefix included.
fn token_limit(config: &Config) -> u32 {
    u32::try_from(config.batch.max_tokens.min(config.provider.context_tokens)).unwrap_or(u32::MAX)
}

/// Intake as the settings say: what the poll thread calls for each record. A text is bounded by the batch and by the model's context.
///
/// # Errors
/// Those of [`counting`].
pub fn intake(config: &Config) -> Result<Reading, CountingError> {
    let counting = counting(config)?;
    let (learned, prefix) = (counting.learned().cloned(), counting.prefix_bytes() as u64);
    let intake = input::Intake::new(&config.input, counting, token_limit(config));
    let dimensions = config.provider.dimensions;
    let intake = Box::new(move |record| {
        let content = intake.read(&record);
        let bytes = input::charge(&record, &content, dimensions).saturating_add(prefix);
        Received { record: Arc::new(record), content, bytes }
    });
    Ok(Reading { intake, learned })
}

/// How often a bounded run looks how much is left, and how often it says so.
const LOOK: Duration = Duration::from_secs(1);
const SAY: Duration = Duration::from_secs(10);

/// What is in the input topics now.
///
/// # Errors
/// Brokers, topics or settings; no answer.
pub async fn backlog(config: Arc<Config>) -> Result<Backlog, StartError> {
    let asking = tokio::task::spawn_blocking(move || {
        preflight::ask(&config)?;
        Ok(Backlog::take(&config.kafka)?)
    });
    asking.await.map_err(|_| StartError::CutOff)?
}

/// Waits until the group has done all of it; says how far it is, and what keeps it.
pub async fn work_off(mut backlog: Backlog, health: Arc<Health>) {
    // When the first look was, and how much was left then.
    let mut begun: Option<(Instant, u64)> = None;
    let mut said = Instant::now();
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let left = backlog.look();
            (backlog, left)
        });
        // It cannot panic, and nothing else ends it but the runtime's end.
        let Ok((kept, left)) = looked.await else { return std::future::pending().await };
        backlog = kept;
        match left {
            Ok(0) => return info!("everything is done that was in the input topics at the start"),
            Ok(left) => {
                let (since, all) = *begun.get_or_insert_with(|| {
                    info!(records = left, "this run ends when these are done");
                    (Instant::now(), left)
                });
                if said.elapsed() >= SAY {
                    said = Instant::now();
                    let per_second = all.saturating_sub(left) as f64 / since.elapsed().as_secs_f64();
                    let seconds_left = (per_second > 0.0).then(|| (left as f64 / per_second).ceil());
                    let why = health.readiness().why.map(|why| why.message);
                    info!(left, of = all, per_second = per_second.round(), seconds_left, why, "going on");
                }
            }
            Err(failure) => warn!(error = %failure, "cannot ask how much is left, asking again"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs the line until `shutdown` is done and the group is left, or until a client cannot go on.
///
/// # Errors
/// Before the first record: brokers, topics or settings.
pub async fn run<E: Embedder>(
    config: Arc<Config>,
    embedder: Arc<E>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    reading: impl Into<Reading>,
    shutdown: impl Future<Output = ()>,
) -> Result<Ended, StartError> {
    let Reading { intake, learned } = reading.into();
    let asked = Arc::clone(&config);
    let asking = tokio::task::spawn_blocking(move || preflight::ask(&asked));
    tokio::pin!(shutdown);
    let topics = tokio::select! {
        answer = asking => answer.map_err(|_| StartError::CutOff)??,
        // Nothing was begun that would have to be finished.
        () = &mut shutdown => return Ok(Ended::Drained),
    };
    info!(partitions = topics.input_partitions, brokers = topics.brokers, "brokers and topics are there");
    let budget = Arc::new(Budget::new(config.limits.max_in_flight_bytes.0));
    let refused = |error| Refused::of(&config.kafka, &error);
    let (sink, deliveries) = sink::Sink::new(&config.kafka).map_err(refused)?;
    let beat = {
        let health = Arc::clone(&health);
        Box::new(move || health.beat_thread())
    };
    let (source, progress, events) = Source::start(
        &config,
        topics.input_partitions,
        Arc::clone(&budget),
        Arc::clone(&metrics),
        intake,
        beat,
    )
    .map_err(refused)?;
    let source = Arc::new(source);
    let leave = {
        let source = Arc::clone(&source);
        Box::new(move || source.leave())
    };
    let ends = Ends { events, progress, sink, deliveries, budget, leave };
    let seed = fastrand::u64(..);
    let line =
        Pipeline::new(config, embedder, metrics, Arc::clone(&health), ends, topics.input_partitions, seed);
    let line = line.learning(learned).run();
    tokio::pin!(line);
    tokio::select! {
        ended = &mut line => return Ok(ended),
        () = &mut shutdown => {}
    }
    info!("draining");
    health.draining();
    source.leave();
    Ok(line.await)
}
