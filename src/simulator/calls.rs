//! The ledger of calls: what a provider's bill would be based on.

use std::collections::BTreeMap;

use serde::Serialize;

/// What was asked, answered and billed since the start. A call is counted when its answer is decided, before the latency: what the
/// client no longer waited for is billed all the same, as in life.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// Calls to the embeddings route, whatever came of them.
    pub requests: u64,
    /// Texts embedded.
    pub inputs: u64,
    /// Tokens billed for them.
    pub tokens: u64,
    /// What they cost, in USD.
    pub cost_usd: f64,
    /// Calls answered with another status than 200, or not at all.
    pub rejected: u64,
    /// Calls refused by the limits, of those.
    pub limited: u64,
    /// Calls to which a rule of the fault script happened, whatever it did.
    pub faulted: u64,
    /// Connections reset.
    pub resets: u64,
    /// Calls answered, by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
    /// Calls that are here now.
    pub in_flight: u64,
    /// The most that ever were.
    pub most_in_flight: u64,
}

impl Ledger {
    pub(super) fn arrived(&mut self) {
        self.requests += 1;
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
    }

    pub(super) fn left(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn answered(&mut self, status: u16) {
        *self.statuses.entry(status).or_default() += 1;
        if status != 200 {
            self.rejected += 1;
        }
    }

    pub(super) fn unanswered(&mut self, reset: bool) {
        self.rejected += 1;
        self.resets += u64::from(reset);
    }

    pub(super) fn billed(&mut self, inputs: usize, tokens: u64, usd_per_million_tokens: f64) {
        self.inputs += inputs as u64;
        self.tokens += tokens;
        self.cost_usd = cost_usd(self.tokens, usd_per_million_tokens);
    }
}

pub(super) fn cost_usd(tokens: u64, usd_per_million_tokens: f64) -> f64 {
    tokens as f64 * usd_per_million_tokens / 1e6
}
