//! The sums that `/status` and the demo show, read from the same instruments: a number kept twice would diverge.

use prometheus::core::Collector;
use serde::Serialize;

use super::Metrics;

/// The figures of one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Calls on the wire.
    pub calls_in_flight: i64,
    /// Calls that may be on the wire at once.
    pub calls_in_flight_limit: i64,
    /// What is held in memory.
    pub buffered: Buffered,
    /// Sums since the start.
    pub totals: Totals,
}

/// What is held between consumption and acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Buffered {
    /// Records.
    pub records: i64,
    /// Bytes charged to the memory budget.
    pub bytes: i64,
    /// Tokens that wait for an embedding.
    pub tokens: i64,
}

/// Sums since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Records received.
    pub records_consumed: u64,
    /// Records embedded, acknowledged.
    pub embedded: u64,
    /// Tombstones forwarded, acknowledged.
    pub tombstones: u64,
    /// Records skipped on purpose.
    pub skipped: u64,
    /// Dead letters, acknowledged.
    pub dead_lettered: u64,
    /// Results of partitions that had left, thrown away.
    pub stale_results: u64,
    /// Batches closed.
    pub batches: u64,
    /// Calls to the provider, whatever their outcome.
    pub calls: u64,
    /// Calls that succeeded.
    pub calls_ok: u64,
    /// Tokens billed.
    pub tokens_billed: u64,
    /// Tokens of calls whose answer was of no use.
    pub tokens_wasted: u64,
    /// US dollars, reported or estimated.
    pub cost_usd: f64,
}

impl Metrics {
    /// Reads the figures of this moment.
    pub fn figures(&self) -> Figures {
        let outcome =
            |outcome| self.records_processed_total.with_label_values(&[self.group(), outcome]).get();
        let tokens = |kind| self.tokens_total.with_label_values(&[self.model(), kind]).get();
        Figures {
            calls_in_flight: self.api_inflight_requests.with_label_values(&[self.model()]).get(),
            calls_in_flight_limit: self.api_concurrency_limit.with_label_values(&[self.model()]).get(),
            buffered: Buffered {
                records: self.buffered_records.get(),
                bytes: self.buffered_bytes.get(),
                tokens: self.buffered_tokens.get(),
            },
            totals: Totals {
                records_consumed: whole(sum(&self.records_consumed_total)),
                embedded: outcome("embedded"),
                tombstones: outcome("tombstone"),
                skipped: outcome("skipped"),
                dead_lettered: outcome("dead_letter"),
                stale_results: self.results_stale_total.get(),
                batches: whole(sum(&self.batches_closed_total)),
                calls: whole(sum(&self.api_requests_total)),
                calls_ok: self.api_requests_total.with_label_values(&[self.model(), "ok"]).get(),
                tokens_billed: tokens("billed"),
                tokens_wasted: tokens("wasted"),
                cost_usd: sum(&self.cost_usd_total),
            },
        }
    }
}

/// The sum of a counter over all its labels.
fn sum(counter: &impl Collector) -> f64 {
    let families = counter.collect();
    families
        .iter()
        .flat_map(|family| family.get_metric())
        .map(|metric| metric.get_counter().get_value())
        .sum()
}

/// A sum of whole counts: exact up to 2^53.
fn whole(sum: f64) -> u64 {
    sum as u64
}
