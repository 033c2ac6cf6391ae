//! Builds the parts from the settings, wires them, and lets them run until the group is left.

use std::future::Future;
use std::sync::Arc;

use thiserror::Error;
use tracing::info;

use crate::admin::Health;
use crate::config::Config;
use crate::kafka::budget::Budget;
use crate::kafka::preflight::{self, PreflightError};
use crate::kafka::sink;
use crate::kafka::source::{Intake, Source};
use crate::metrics::Metrics;
use crate::output::{Destination, Outgoing};
use crate::pipeline::{Ended, Ends, Pipeline, Sink};
use crate::provider::Embedder;

/// Why the worker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Brokers or topics.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// A setting that librdkafka refuses.
    #[error("the kafka settings are refused: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
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

/// Runs the line until `shutdown` is done and the group is left, or until a client cannot go on.
///
/// # Errors
/// Before the first record: brokers, topics or settings.
pub async fn run<E: Embedder>(
    config: Arc<Config>,
    embedder: Arc<E>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    intake: Intake,
    shutdown: impl Future<Output = ()>,
) -> Result<Ended, StartError> {
    let asked = Arc::clone(&config);
    let asking = tokio::task::spawn_blocking(move || preflight::ask(&asked));
    let topics = asking.await.map_err(|_| StartError::CutOff)??;
    info!(partitions = topics.input_partitions, brokers = topics.brokers, "brokers and topics are there");
    let budget = Arc::new(Budget::new(config.limits.max_in_flight_bytes.0));
    let (sink, deliveries) = sink::Sink::new(&config.kafka)?;
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
    )?;
    let source = Arc::new(source);
    let leave = {
        let source = Arc::clone(&source);
        Box::new(move || source.leave())
    };
    let ends = Ends { events, progress, sink, deliveries, budget, leave };
    let seed = fastrand::u64(..);
    let line =
        Pipeline::new(config, embedder, metrics, Arc::clone(&health), ends, topics.input_partitions, seed);
    let line = line.run();
    tokio::pin!(line);
    tokio::select! {
        ended = &mut line => return Ok(ended),
        () = shutdown => {}
    }
    info!("draining");
    health.draining();
    source.leave();
    Ok(line.await)
}
