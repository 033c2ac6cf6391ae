//! What happened: the figures, whether they agree with each other, and how they are told.

use std::fmt::Write as _;

use serde::Serialize;

use super::screen::{WIDTH, cut, thousands};
use super::shelf::{Hit, Shelf};
use crate::metrics::Metrics;
use crate::simulator::corpus::Counts;

/// The longest bar.
const BAR: usize = 30;

/// The figures. As JSON, the line that `--json` ends with: its names are a contract.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    pub(super) records_in: u64,
    pub(super) embedded: u64,
    pub(super) tombstones: u64,
    pub(super) skipped: u64,
    pub(super) dead_lettered: u64,
    pub(super) batches: u64,
    pub(super) calls: u64,
    pub(super) tokens: u64,
    /// The mean of the worker's `embedstream_batch_fill_ratio`: the largest of a batch's shares of the limits on tokens, records
    /// and bytes.
    pub(super) batch_fill: f64,
    /// From the first record fed to the last outcome acknowledged.
    pub(super) seconds: f64,
    pub(super) records_per_second: f64,
    /// From the timestamp of an input record to the timestamp of its output record.
    pub(super) latency_p50_ms: u64,
    pub(super) latency_p99_ms: u64,
    pub(super) cost_usd: f64,
    /// Records behind the committed positions, as the broker says.
    pub(super) committed_lag: i64,
    pub(super) query: String,
    pub(super) hits: Vec<Hit>,
}

/// What the figures are held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Records in the input topic.
    pub(super) fed: u64,
    /// What becomes of them, where that is known.
    pub(super) counts: Option<Counts>,
    /// Whether the demo was ended before everything had its outcome.
    pub(super) interrupted: bool,
}

impl Summary {
    /// Reads the figures.
    pub(super) fn new(
        metrics: &Metrics,
        shelf: &Shelf,
        query: &str,
        seconds: f64,
        committed_lag: i64,
        hits: usize,
    ) -> Self {
        let totals = metrics.figures().totals;
        let fill = &metrics.batch_fill_ratio;
        Self {
            records_in: totals.records_consumed,
            embedded: totals.embedded,
            tombstones: totals.tombstones,
            skipped: totals.skipped,
            dead_lettered: totals.dead_lettered,
            batches: totals.batches,
            calls: totals.calls,
            tokens: totals.tokens_billed,
            batch_fill: rounded(fill.get_sample_sum() / fill.get_sample_count().max(1) as f64, 4),
            seconds: rounded(seconds, 3),
            records_per_second: rounded(totals.records_consumed as f64 / seconds.max(0.001), 1),
            latency_p50_ms: shelf.latencies.percentile(0.5),
            latency_p99_ms: shelf.latencies.percentile(0.99),
            cost_usd: rounded(totals.cost_usd, 9),
            committed_lag,
            query: query.to_owned(),
            hits: shelf.nearest(hits),
        }
    }

    fn outcomes(&self) -> u64 {
        self.embedded + self.tombstones + self.skipped + self.dead_lettered
    }

    /// Everything in which the figures contradict each other, the topics' contents or what the worker promises.
    pub(super) fn contradictions(&self, shelf: &Shelf, expected: &Expected) -> Vec<String> {
        let mut found = Vec::new();
        let mut equal = |one: u64, what: &str, other: u64, than: &str| {
            if one != other {
                found.push(format!("{what}: {one}, but {than}: {other}"));
            }
        };
        equal(shelf.embedded, "vectors in the output topic", self.embedded, "records embedded");
        equal(shelf.tombstones, "deletes in the output topic", self.tombstones, "deletes forwarded");
        equal(shelf.dead_lettered, "records in the dead-letter topic", self.dead_lettered, "dead letters");
        equal(shelf.unreadable, "output values that cannot be read", 0, "expected");
        if !expected.interrupted {
            equal(self.records_in, "records read", expected.fed, "records fed");
            equal(self.outcomes(), "outcomes", self.records_in, "records read");
            if let Some(counts) = expected.counts {
                let of = |count: usize| count as u64;
                equal(self.embedded, "records embedded", of(counts.embedded), "texts fed");
                equal(self.tombstones, "deletes forwarded", of(counts.tombstones), "deletes fed");
                equal(self.skipped, "records skipped", of(counts.skipped), "blank records fed");
                equal(self.dead_lettered, "dead letters", of(counts.dead_lettered), "poison records fed");
            }
            if self.committed_lag != 0 {
                found.push(format!("{} records lie behind the committed positions", self.committed_lag));
            }
        }
        found
    }

    /// The last line of `--json`.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and finite numbers always serialise")
    }

    /// For people, at most 80 columns wide.
    pub(super) fn text(&self, shelf: &Shelf, call_seconds: f64, live: bool) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            writeln!(text, "  {name:<9} {value}").expect("a String takes every write");
        };
        let n = thousands;
        row(
            "records",
            &format!(
                "{} in {:.1} s: {:.0} a second",
                n(self.records_in),
                self.seconds,
                self.records_per_second
            ),
        );
        row("", &format!("{} embedded, {} deletes passed on,", n(self.embedded), n(self.tombstones)));
        row("", &format!("{} blank skipped, {} dead letters", n(self.skipped), n(self.dead_lettered)));
        row(
            "batches",
            &format!("{} {:.0} % full on average", gauge(self.batch_fill), self.batch_fill * 100.0),
        );
        row("calls", &self.calls_text(call_seconds));
        let paid = if live { "" } else { " it would have cost" };
        row("tokens", &format!("{} billed: ${:.6}{paid}", n(self.tokens), self.cost_usd));
        row("committed", &self.committed_text());
        row(
            "latency",
            &format!(
                "p50 {} ms, p99 {} ms from a record's timestamp to its output's",
                self.latency_p50_ms, self.latency_p99_ms
            ),
        );
        let bars = shelf.latencies.bars();
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
        for bar in bars {
            let length = (bar.count as f64 / most as f64 * BAR as f64).ceil() as usize;
            let range = format!("{}-{} ms", n(bar.from), n(bar.to));
            row("", &format!("{range:>16} {:<BAR$} {}", "#".repeat(length), n(bar.count)));
        }
        text.push('\n');
        text.push_str(&self.hits_text(shelf, live));
        text
    }

    fn calls_text(&self, call_seconds: f64) -> String {
        let more = self.calls.saturating_sub(self.batches);
        let for_what = match (self.dead_lettered, more) {
            (_, 0) => String::new(),
            (0, more) => format!(", {} repeated", thousands(more)),
            (1, more) => format!(", {} more to find the bad record", thousands(more)),
            (bad, more) => format!(", {} more to find {} bad records", thousands(more), thousands(bad)),
        };
        let (calls, batches) = (thousands(self.calls), thousands(self.batches));
        format!("{calls} of {:.0} ms: one a batch ({batches}){for_what}", call_seconds * 1e3)
    }

    fn committed_text(&self) -> String {
        match self.committed_lag {
            0 => "everything, asked of the broker".to_owned(),
            lag => {
                format!("all but {} records, which the next start would read", thousands(lag.unsigned_abs()))
            }
        }
    }

    fn hits_text(&self, shelf: &Shelf, live: bool) -> String {
        let mut text = cut(&format!("Nearest to \"{}\"", self.query), WIDTH);
        writeln!(
            text,
            "\n(cosine over the {} keys that the output topic holds)\n",
            thousands(shelf.keys() as u64)
        )
        .expect("a String takes every write");
        for hit in &self.hits {
            let line = cut(&format!("  {:.2}  {:<16} {}", hit.score, hit.key, hit.title), WIDTH);
            writeln!(text, "{line}").expect("a String takes every write");
        }
        if self.hits.is_empty() {
            text.push_str("  nothing: no vector was published\n");
        }
        if !live {
            text.push_str(
                "\nThe simulated vectors are lexical (hashed words and character n-grams): what\n\
                 is near shares words with the query. A model's vectors would know its meaning.\n",
            );
        }
        text
    }
}

/// A share as a bar.
fn gauge(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * 20.0).round() as usize;
    format!("[{:<20}]", "#".repeat(full))
}

/// To so many decimals; what is no number is 0.
fn rounded(value: f64, decimals: i32) -> f64 {
    let power = 10_f64.powi(decimals);
    if value.is_finite() { (value * power).round() / power } else { 0.0 }
}

#[cfg(test)]
mod tests;
