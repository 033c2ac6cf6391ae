//! The figures: one struct, one registry, every instrument with its help text.
//!
//! Passed on as an `Arc`; nothing is global. Labels are closed sets, topics, partitions, the group and the model: never a key, a
//! text, an address or an error's message.

mod figures;
mod instruments;
mod process;
#[cfg(test)]
mod tests;

use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, exponential_buckets, linear_buckets,
};

use crate::domain::record::{RejectReason, SkipReason};
pub use figures::{Buffered, Figures, Totals};
pub use instruments::Instrument;
use instruments::instruments;

/// Upper bounds of the seconds between a record's timestamp and the acknowledgement of its output.
const END_TO_END: [f64; 15] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Upper bounds of the seconds in one stage: from a decode of some microseconds to a minute in the queue.
const STAGES: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0];

/// Upper bounds of the seconds between a batch's first record and its close.
const BATCH_WAIT: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of billed tokens by counted ones: exact, a few percent off, another tokenizer, a server that cuts.
const ESTIMATE_RATIO: [f64; 14] =
    [0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.999, 1.001, 1.02, 1.05, 1.1, 1.25, 1.5, 2.0];

instruments! {
    /// Records received from the input topics.
    records_consumed_total: IntCounterVec by ["topic"];
    /// Records by their one final outcome (embedded, tombstone, skipped, dead_letter), counted when the broker has acknowledged it.
    records_processed_total: IntCounterVec by ["group", "outcome"];
    /// Records skipped on purpose.
    records_skipped_total: IntCounterVec by ["reason"];
    /// Records written to the dead-letter topic.
    dead_letters_total: IntCounterVec by ["group", "reason"];
    /// Records whose text was cut to the context of the model.
    records_truncated_total: IntCounter;
    /// Records between the committed position and the end of an assigned partition.
    kafka_consumer_lag: IntGaugeVec by ["group", "topic", "partition"];
    /// Age in seconds of the oldest record of an assigned partition that is not committed; 0 when caught up.
    kafka_consumer_lag_seconds: GaugeVec by ["group", "topic", "partition"];
    /// Partitions assigned to this worker; 0 is an idle replica.
    kafka_assigned_partitions: IntGaugeVec by ["group"];
    /// Rebalances by what they did to this worker (assigned, revoked, lost).
    kafka_rebalances_total: IntCounterVec by ["group", "event"];
    /// Offset commits by their result (ok, error).
    kafka_commits_total: IntCounterVec by ["group", "result"];
    /// Positions that their topic no longer held: records were deleted before they were read, or the topic was created anew.
    kafka_offset_resets_total: IntCounterVec by ["group"];
    /// Errors of the Kafka client, by the name of their code and whether they are fatal.
    kafka_client_errors_total: IntCounterVec by ["code", "fatal"];
    /// Unix time in seconds at which a record last reached its outcome; 0 before the first.
    last_progress_timestamp_seconds: Gauge;
    /// Tokens of a record's text, as it is sent.
    record_tokens: Histogram in exponential_buckets(1.0, 4.0, 10)?;
    /// Records in a batch.
    batch_records: Histogram in exponential_buckets(1.0, 2.0, 12)?;
    /// Tokens in a batch.
    batch_tokens: Histogram in exponential_buckets(64.0, 2.0, 13)?;
    /// How full a closed batch is: the largest of its shares of the limits on tokens, records and bytes.
    batch_fill_ratio: Histogram in linear_buckets(0.1, 0.1, 10)?.into_iter().map(|bound| (bound * 10.0).round() / 10.0).collect();
    /// What a batch may have of records, tokens and bytes: as configured, or less where the provider takes less.
    batch_limit: IntGaugeVec by ["limit"];
    /// Seconds between the first record of a batch and its close.
    batch_wait_seconds: Histogram in BATCH_WAIT.to_vec();
    /// Batches by why they were closed (tokens, records, bytes, linger). What is not sent when a partition leaves is dropped, unclosed.
    batches_closed_total: IntCounterVec by ["reason"];
    /// Calls to the provider by outcome.
    api_requests_total: IntCounterVec by ["model", "outcome"];
    /// Seconds of a call to the provider, from its first byte out to its last byte in.
    api_request_duration_seconds: HistogramVec by ["model", "outcome"] in exponential_buckets(0.01, 2.0, 14)?;
    /// Calls on the wire now.
    api_inflight_requests: IntGaugeVec by ["model"];
    /// Calls that may be on the wire at once, as adapted to the provider.
    api_concurrency_limit: IntGaugeVec by ["model"];
    /// Calls sent again, by the outcome of the call before.
    api_retries_total: IntCounterVec by ["model", "reason"];
    /// Seconds in which a closed batch was held back, by what held it (requests, tokens, slots, hold_off, found).
    api_throttle_wait_seconds_total: CounterVec by ["model", "limit"];
    /// What a provider limits in a minute: as it states in headers, and tokens as found out from what it refuses; 0: unknown.
    provider_limit_per_minute: GaugeVec by ["source", "limit"];
    /// Tokens as the provider billed them, as we estimated them (each record once, when it is first sent), and of calls whose answer was of no use (wasted).
    tokens_total: IntCounterVec by ["model", "kind"];
    /// What was billed for a call as a part of what was counted or estimated: 1 where tokens are counted exactly; far below it, the server cuts texts.
    token_estimate_ratio: HistogramVec by ["model"] in ESTIMATE_RATIO.to_vec();
    /// US dollars spent, as the provider reported them or as estimated from tokens and price.
    cost_usd_total: CounterVec by ["model", "source"];
    /// Records handed to the broker by result (ok: acknowledged; refused: the record itself, twice before it is a dead letter; error: not delivered, tried again).
    records_produced_total: IntCounterVec by ["topic", "result"];
    /// Bytes of keys, values and headers that the broker acknowledged.
    output_bytes_total: IntCounterVec by ["topic"];
    /// Seconds from the timestamp of an input record to the acknowledgement of its output.
    end_to_end_latency_seconds: HistogramVec by ["topic"] in END_TO_END.to_vec();
    /// Seconds in each stage of the line (decode, queue, embed, produce, commit).
    stage_duration_seconds: HistogramVec by ["stage"] in STAGES.to_vec();
    /// Calls whose answer held a vector that was refused (non_finite: not finite or zero; wrong_dimensions: another length).
    vectors_invalid_total: IntCounterVec by ["model", "reason"];
    /// Bytes of memory charged to records between consumption and acknowledgement.
    buffered_bytes: IntGauge;
    /// Records between consumption and acknowledgement.
    buffered_records: IntGauge;
    /// Tokens of records that wait for an embedding.
    buffered_tokens: IntGauge;
    /// Results thrown away because their partition had left this worker; their tokens count as wasted.
    results_stale_total: IntCounter;
    /// 1 while the worker is suspended for this reason.
    suspended: IntGaugeVec by ["reason"];
    /// 1, labelled with the version.
    build_info: IntGaugeVec by ["version"];
}

/// The labels that are known only above this module: what [`Metrics::expect`] makes series of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The input topics.
    pub inputs: &'a [String],
    /// The output topic and the dead-letter topic.
    pub outputs: &'a [&'a str],
    /// How a call to the provider can end.
    pub call_outcomes: &'a [&'a str],
    /// Why the worker can be suspended.
    pub suspend_reasons: &'a [&'a str],
}

impl Metrics {
    /// Makes the instruments and all series whose labels are a closed set.
    pub fn new(group: &str, model: &str) -> Self {
        let metrics = Self::registered(Registry::new(), group, model)
            .expect("names, labels and buckets are constants above, and a test makes them all");
        metrics.expect_closed_sets();
        metrics
    }

    /// The consumer group: the label of the series that have one.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The model: the label of the series that have one.
    pub fn model(&self) -> &str {
        &self.model
    }

    fn expect_closed_sets(&self) {
        let (group, model) = (self.group.as_str(), self.model.as_str());
        let count = |vec: &IntCounterVec, first: Option<&str>, names: &[&str]| {
            for name in names {
                match first {
                    Some(first) => vec.with_label_values(&[first, name]),
                    None => vec.with_label_values(&[*name]),
                };
            }
        };
        let reject = RejectReason::ALL.map(RejectReason::as_str);
        count(
            &self.records_processed_total,
            Some(group),
            &["embedded", "tombstone", "skipped", "dead_letter"],
        );
        count(&self.records_skipped_total, None, &SkipReason::ALL.map(SkipReason::as_str));
        count(&self.dead_letters_total, Some(group), &reject);
        count(&self.kafka_rebalances_total, Some(group), &["assigned", "revoked", "lost"]);
        count(&self.kafka_commits_total, Some(group), &["ok", "error"]);
        count(&self.batches_closed_total, None, &["tokens", "records", "bytes", "linger"]);
        count(&self.tokens_total, Some(model), &["billed", "estimated", "wasted"]);
        let invalid = [RejectReason::NonFinite, RejectReason::WrongDimensions].map(RejectReason::as_str);
        count(&self.vectors_invalid_total, Some(model), &invalid);
        for limit in ["requests", "tokens", "slots", "hold_off", "found"] {
            self.api_throttle_wait_seconds_total.with_label_values(&[model, limit]);
        }
        for (source, limit) in [("stated", "requests"), ("stated", "tokens"), ("found", "tokens")] {
            self.provider_limit_per_minute.with_label_values(&[source, limit]);
        }
        for limit in ["records", "tokens", "bytes"] {
            self.batch_limit.with_label_values(&[limit]);
        }
        for source in ["reported", "estimated"] {
            self.cost_usd_total.with_label_values(&[model, source]);
        }
        for stage in ["decode", "queue", "embed", "produce", "commit"] {
            self.stage_duration_seconds.with_label_values(&[stage]);
        }
        self.kafka_offset_resets_total.with_label_values(&[group]);
        self.kafka_assigned_partitions.with_label_values(&[group]);
        self.api_inflight_requests.with_label_values(&[model]);
        self.api_concurrency_limit.with_label_values(&[model]);
        self.token_estimate_ratio.with_label_values(&[model]);
        self.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    }

    /// Makes the series of labels that only the caller knows, so that they too begin with 0.
    pub fn expect(&self, known: &Known<'_>) {
        let model = self.model.as_str();
        for topic in known.inputs {
            self.records_consumed_total.with_label_values(&[topic]);
        }
        for topic in known.outputs {
            for result in ["ok", "refused", "error"] {
                self.records_produced_total.with_label_values(&[*topic, result]);
            }
            self.output_bytes_total.with_label_values(&[*topic]);
            self.end_to_end_latency_seconds.with_label_values(&[*topic]);
        }
        for outcome in known.call_outcomes {
            self.api_requests_total.with_label_values(&[model, outcome]);
            self.api_request_duration_seconds.with_label_values(&[model, outcome]);
            if *outcome != "ok" {
                self.api_retries_total.with_label_values(&[model, outcome]);
            }
        }
        for reason in known.suspend_reasons {
            self.suspended.with_label_values(&[*reason]);
        }
    }

    /// Removes the series of a partition that left this worker: its lag is now another's to tell.
    pub fn drop_partition(&self, topic: &str, partition: i32) {
        let partition = partition.to_string();
        let labels = [self.group.as_str(), topic, &partition];
        // A partition may leave before its lag was ever known: an absent series is what is wanted, not an error.
        for removed in [
            self.kafka_consumer_lag.remove_label_values(&labels),
            self.kafka_consumer_lag_seconds.remove_label_values(&labels),
        ] {
            removed.unwrap_or_default();
        }
    }

    /// Writes everything in Prometheus' text format 0.0.4, the process' own figures at the end.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(64 * 1024);
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        process::append(&mut text);
        text
    }
}
