//! The ledger of calls: what a provider's bill would be based on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
    /// Calls answered from the response cache, unbilled.
    pub hits: u64,
    /// What each key was billed, by a name that does not show it: `key 1`, in the order of their first calls, or `no key`.
    pub keys: BTreeMap<String, Bill>,
    /// What was billed, by what came of it: `good`; `bent` by the fault script; `unread`, for which the client hung up before it came.
    pub outcomes: BTreeMap<&'static str, Bill>,
}

/// What was billed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bill {
    /// Calls.
    pub calls: u64,
    /// Texts embedded.
    pub inputs: u64,
    /// Their tokens.
    pub tokens: u64,
    /// What they cost, in USD.
    pub cost_usd: f64,
    /// Calls answered from the response cache beside them.
    pub hits: u64,
}

impl Bill {
    fn add(&mut self, inputs: usize, tokens: u64, usd_per_million_tokens: f64) {
        self.calls += 1;
        self.inputs += inputs as u64;
        self.tokens += tokens;
        self.cost_usd = cost_usd(self.tokens, usd_per_million_tokens);
    }
}

/// A billed answer on its way to the client.
pub(super) struct Pending<'a> {
    ledger: &'a Mutex<Ledger>,
    outcome: &'static str,
    bill: (usize, u64, f64),
    read: bool,
}

impl<'a> Pending<'a> {
    pub(super) fn new(
        ledger: &'a Mutex<Ledger>,
        outcome: &'static str,
        inputs: usize,
        tokens: u64,
        usd_per_million_tokens: f64,
    ) -> Self {
        Self { ledger, outcome, bill: (inputs, tokens, usd_per_million_tokens), read: false }
    }

    /// The client is still there when the answer is sent.
    pub(super) fn read(mut self) {
        self.read = true;
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let outcome = if self.read { self.outcome } else { "unread" };
        let (inputs, tokens, price) = self.bill;
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.outcomes.entry(outcome).or_default().add(inputs, tokens, price);
    }
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

    pub(super) fn hit(&mut self, key: String) {
        self.hits += 1;
        self.keys.entry(key).or_default().hits += 1;
    }

    pub(super) fn billed(&mut self, key: String, inputs: usize, tokens: u64, usd_per_million_tokens: f64) {
        self.keys.entry(key).or_default().add(inputs, tokens, usd_per_million_tokens);
        self.inputs += inputs as u64;
        self.tokens += tokens;
        self.cost_usd = cost_usd(self.tokens, usd_per_million_tokens);
    }
}

pub(super) fn cost_usd(tokens: u64, usd_per_million_tokens: f64) -> f64 {
    tokens as f64 * usd_per_million_tokens / 1e6
}
