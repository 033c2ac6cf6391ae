//! Calls: what may start now, what runs, what came back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::learning::counts_characters;
use super::publish::{Kind, Outcome};
use super::work::{Entry, Work};
use super::{Pipeline, Sink, now};
use crate::config::Provider;
use crate::domain::batcher::Batch;
use crate::output::{self, Outgoing};
use crate::provider::stated::Stated;
use crate::provider::{CallOutcome, Embedder, Failure, SuspendReason, Verdict};

/// The text that tells a bad record from a bad configuration. Never published.
const CANARY: &str = "ping";
/// What the canary costs, by estimate.
const CANARY_TOKENS: u64 = 2;
/// A canary that hangs says as much as one that fails; a whole call's timeout would be a long time to wait for the word.
const CANARY_DEADLINE: Duration = Duration::from_secs(10);

/// How much of the slowest answer so far counts after the next one: what was slow a thousand calls ago says little.
const FORGETS: f64 = 0.995;

/// A call on the wire, or its answer being read.
pub(super) struct Running {
    /// `None`: the canary.
    pub(super) work: Option<Work>,
    estimate: u64,
    pub(super) sent: Instant,
    /// Whether the whole answer is here, and its slot free.
    received: bool,
    call: Option<AbortHandle>,
    /// Successes when it was sent: more of them later prove that the configuration is fine.
    pub(super) successes: u64,
}

impl Running {
    /// Whether its work was taken back from a call that hung, once before.
    pub(super) fn was_given_up(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.given_up)
    }
}

/// What a call tells the loop.
pub(super) enum Called {
    /// The last byte is here: the slot is free. What the provider states about its limits came with it.
    Received(u64, Instant, Stated),
    /// The answer is read.
    Finished(u64, Result<Answered, Failure>),
}

/// A good answer.
pub(super) struct Answered {
    outputs: Vec<Outgoing>,
    /// What was billed, if it is known in tokens.
    tokens: Option<u64>,
    /// Whether the bill is one of characters, and left out.
    by_characters: bool,
    cost_usd: Option<f64>,
}

impl<E: Embedder, S: Sink> Pipeline<E, S> {
    /// Starts what is due, as far as slots and limits allow: first what waits for another attempt, then batches.
    pub(super) fn start_calls(&mut self, now: Instant) {
        if self.suspension.is_some() || self.draining || self.publishing.is_paused(now) {
            return;
        }
        loop {
            if let Some(index) = self.waiting.iter().position(|work| work.due <= now) {
                let tokens = self.waiting[index].tokens;
                if !self.admits(tokens, now) {
                    return;
                }
                if let Some(work) = self.waiting.remove(index) {
                    self.send(work, now);
                }
            } else if let Some(size) = self.batcher.due(now) {
                if !self.admits(size.tokens, now) {
                    return;
                }
                if let Some(batch) = self.batcher.close(now) {
                    let work = self.closed(batch, now);
                    self.send(work, now);
                }
            } else {
                return;
            }
        }
    }

    /// Asks the gate, and counts the time that a due batch is held back.
    fn admits(&mut self, tokens: u64, now: Instant) -> bool {
        if let Some((since, limit)) = self.throttled.take() {
            let waited = now.saturating_duration_since(since).as_secs_f64();
            let labels = [self.metrics.model(), limit];
            self.metrics.api_throttle_wait_seconds_total.with_label_values(&labels).inc_by(waited);
        }
        if self.gate.admit(tokens, now) {
            return true;
        }
        if let Some(limit) = self.gate.waiting_for(tokens, now) {
            self.throttled = Some((now, limit.as_str()));
        }
        false
    }

    fn closed(&mut self, batch: Batch<Arc<Entry>>, now: Instant) -> Work {
        for entry in &batch.entries {
            for (id, outcome) in self.aside.taken(entry.id.generation) {
                self.settle_aside(id, outcome);
            }
        }
        let metrics = &self.metrics;
        metrics.batch_records.observe(batch.size.records as f64);
        metrics.batch_tokens.observe(batch.size.tokens as f64);
        metrics.batch_fill_ratio.observe(batch.size.fill(self.batcher.limits()).min(1.0));
        let waited = now.saturating_duration_since(batch.since).as_secs_f64();
        metrics.batch_wait_seconds.observe(waited);
        metrics.stage_duration_seconds.with_label_values(&["queue"]).observe(waited);
        metrics.batches_closed_total.with_label_values(&[batch.cause.as_str()]).inc();
        let work = Work::new(&*self.embedder, batch.entries, 0, None, self.successes, now);
        self.weighed(work, &batch.size)
    }

    fn send(&mut self, mut work: Work, now: Instant) {
        if work.attempts == 0 {
            let labels = [self.metrics.model(), "estimated"];
            self.metrics.tokens_total.with_label_values(&labels).inc_by(work.tokens);
        }
        work.attempts += 1;
        work.sent = work.entries.len();
        for entry in &work.entries {
            self.ledger.sent(entry.id);
        }
        self.failing.get_or_insert((now, None));
        let (body, entries, estimate) = (work.body.clone(), work.entries.clone(), work.tokens);
        let id = self.remember(Some(work), estimate, now);
        self.gate.sent(id, estimate, now);
        let (embedder, done) = (Arc::clone(&self.embedder), self.called.clone());
        let config = Arc::clone(&self.config);
        let call = tokio::spawn(async move {
            let answer = embedder.send(body).await;
            let stated =
                answer.as_ref().map_or_else(|_| Stated::default(), |answer| Stated::read(&answer.headers));
            tell(&done, Called::Received(id, super::now(), stated));
            let result = match answer {
                Err(failure) => Err(failure),
                Ok(answer) => {
                    let reading = move || read(&*embedder, &answer, &entries, &config.provider);
                    match beside(reading).await {
                        Ok(result) => result,
                        // A panic ends the process (the panic hook); a cancelled task means that it is ending.
                        Err(_) => return,
                    }
                }
            };
            tell(&done, Called::Finished(id, result));
        });
        if let Some(running) = self.running.get_mut(&id) {
            running.call = Some(call.abort_handle());
        }
    }

    /// Sends the canary, past the gate: it is what opens it.
    pub(super) fn send_canary(&mut self, now: Instant) {
        self.gate.passed(CANARY_TOKENS);
        let id = self.remember(None, CANARY_TOKENS, now);
        let (embedder, done) = (Arc::clone(&self.embedder), self.called.clone());
        let body = embedder.body(&[CANARY]);
        tokio::spawn(async move {
            let result = match tokio::time::timeout(CANARY_DEADLINE, embedder.probe(body)).await {
                Err(_) => {
                    Err(hangs(format!("no answer to the probe within {} s", CANARY_DEADLINE.as_secs())))
                }
                Ok(Err(failure)) => Err(failure),
                Ok(Ok(answer)) => embedder.read(&answer, 1).map(|vectors| Answered {
                    outputs: Vec::new(),
                    tokens: vectors.tokens,
                    by_characters: false,
                    cost_usd: vectors.cost_usd,
                }),
            };
            tell(&done, Called::Finished(id, result));
        });
    }

    fn remember(&mut self, work: Option<Work>, estimate: u64, now: Instant) -> u64 {
        self.ids += 1;
        let running =
            Running { work, estimate, sent: now, received: false, call: None, successes: self.successes };
        self.running.insert(self.ids, running);
        self.ids
    }

    pub(super) fn called(&mut self, called: Called) {
        match called {
            Called::Received(id, at, stated) => {
                self.stated(stated);
                if let Some(running) = self.running.get_mut(&id) {
                    running.received = true;
                    self.gate.release();
                    let seconds = at.saturating_duration_since(running.sent).as_secs_f64();
                    self.metrics.stage_duration_seconds.with_label_values(&["embed"]).observe(seconds);
                }
            }
            Called::Finished(id, result) => {
                let Some(running) = self.running.remove(&id) else { return };
                self.count_call(id, &running, &result);
                match (running.work, result) {
                    (None, Ok(_)) => {}
                    (None, Err(failure)) => self.canary_failed(failure, running.successes, now()),
                    (Some(work), Ok(answered)) => self.embedded(work, answered),
                    (Some(work), Err(failure)) => self.failed(work, failure, running.successes),
                }
            }
        }
    }

    /// Shows what the provider states about its limits; obeys it if the settings say so.
    fn stated(&mut self, stated: Stated) {
        if !self.gate.stated(stated, self.config.limits.follow_headers, now()) {
            return;
        }
        info!(requests = stated.requests, tokens = stated.tokens, "the provider states its limits a minute");
        let least = self.gate.least_followed();
        if self.config.limits.follow_headers && stated.tokens.is_some_and(|tokens| tokens < least) {
            warn!(least, "the provider states too few tokens a minute to be obeyed: this many are sent");
        }
        for (limit, amount) in [("requests", stated.requests), ("tokens", stated.tokens)] {
            if let Some(amount) = amount {
                self.metrics
                    .provider_limit_per_minute
                    .with_label_values(&["stated", limit])
                    .set(amount as f64);
            }
        }
    }

    /// Tells the gate what a call says about the provider's rate.
    fn rate_seen(&mut self, id: u64, running: &Running, outcome: CallOutcome) {
        if running.work.is_none() {
            return;
        }
        let limited = match outcome {
            CallOutcome::Ok => Some(false),
            CallOutcome::RateLimited => Some(true),
            _ => None,
        };
        let before = self.gate.found_per_minute();
        self.gate.ended(id, (running.estimate, running.sent), limited, now());
        let found = self.gate.found_per_minute();
        if let (None, Some(found)) = (before, found) {
            info!(tokens_per_minute = found.round(), "the provider's limit was found: calls are paced");
        }
        let found = found.unwrap_or(0.0);
        self.metrics.provider_limit_per_minute.with_label_values(&["found", "tokens"]).set(found);
    }

    fn count_call(&mut self, id: u64, running: &Running, result: &Result<Answered, Failure>) {
        let outcome = result.as_ref().map_or_else(|failure| failure.outcome, |_| CallOutcome::Ok);
        self.rate_seen(id, running, outcome);
        let outcome = outcome.as_str();
        let metrics = &self.metrics;
        let model = metrics.model();
        let took = now().saturating_duration_since(running.sent);
        let seconds = took.as_secs_f64();
        metrics.api_requests_total.with_label_values(&[model, outcome]).inc();
        metrics.api_request_duration_seconds.with_label_values(&[model, outcome]).observe(seconds);
        let tokens =
            |kind: &str, count: u64| metrics.tokens_total.with_label_values(&[model, kind]).inc_by(count);
        match result {
            Ok(answered) => {
                let billed = answered.tokens.unwrap_or(running.estimate);
                tokens("billed", billed);
                let (source, cost) = match answered.cost_usd {
                    Some(cost) => ("reported", cost),
                    None => {
                        let price = self.config.provider.usd_per_million_tokens;
                        ("estimated", billed as f64 * price / 1e6)
                    }
                };
                if cost.is_finite() && cost > 0.0 {
                    metrics.cost_usd_total.with_label_values(&[model, source]).inc_by(cost);
                }
                if let Some(work) = &running.work {
                    self.gate.settle(running.estimate, answered.tokens);
                    // More calls at a time would take still longer, and find no answer in the end.
                    if seconds * 2.0 <= self.config.provider.timeout.as_secs_f64() {
                        self.gate.succeeded();
                    }
                    self.learn(work, running.estimate, answered.tokens);
                    self.slowest = took.max(self.slowest.mul_f64(FORGETS));
                    self.billed_by_characters(answered.by_characters);
                }
                self.call_succeeded(id, running.work.is_none(), now());
            }
            Err(failure) => {
                // The answer may have been paid for all the same.
                if matches!(failure.outcome, CallOutcome::Timeout | CallOutcome::InvalidResponse) {
                    tokens("wasted", running.estimate);
                }
                if let Some(reason) = failure.invalid_vector() {
                    metrics.vectors_invalid_total.with_label_values(&[model, reason]).inc();
                }
                self.health.failed(outcome);
                debug!(outcome, status = failure.status, why = failure.message, "a call failed");
            }
        }
    }

    /// Gives up calls that hang since an outage, of those without an answer yet: theirs will hardly come. They are sent again.
    pub(super) fn give_up_calls(&mut self, now: Instant, hangs_since: impl Fn(&Running) -> bool) {
        let hanging = |running: &Running| !running.received && running.call.is_some() && hangs_since(running);
        let given_up: Vec<_> = self.running.extract_if(.., |_, running| hanging(running)).collect();
        for (id, running) in given_up {
            if let Some(call) = &running.call {
                call.abort();
            }
            self.gate.release();
            self.count_call(
                id,
                &running,
                &Err(hangs("no answer to a call since before an outage".to_owned())),
            );
            let labels = [self.metrics.model(), CallOutcome::Timeout.as_str()];
            self.metrics.api_retries_total.with_label_values(&labels).inc();
            let Some(mut work) = running.work else { continue };
            if self.taken_back(&mut work) {
                self.waiting.push_back(Work { due: now, given_up: true, ..work });
            } else {
                self.go_on_without(work, now);
            }
        }
    }

    fn embedded(&mut self, work: Work, answered: Answered) {
        let now = now();
        self.dead_letter_rate.embedded(work.entries.len(), now);
        self.part_taken(&work, now);
        let mut stale: u64 = 0;
        for (entry, outgoing) in work.entries.iter().zip(answered.outputs) {
            let outcome = self.placed(Outcome::new(&entry.record, Kind::Embedded, Some(outgoing)));
            if self.ledger.ready(entry.id, outcome).is_err() {
                stale += 1;
                let labels = [self.metrics.model(), "wasted"];
                self.metrics.tokens_total.with_label_values(&labels).inc_by(u64::from(entry.text.tokens));
            }
        }
        self.metrics.results_stale_total.inc_by(stale);
        self.go_on_without(work, now);
    }
}

fn read<E: Embedder>(
    embedder: &E,
    answer: &crate::provider::Answer,
    entries: &[Arc<Entry>],
    provider: &Provider,
) -> Result<Answered, Failure> {
    let embeddings = embedder.read(answer, entries.len())?;
    let by_characters =
        embeddings.tokens.is_some_and(|billed| counts_characters(billed, entries, &provider.prefix));
    let outputs = entries
        .iter()
        .zip(&embeddings.vectors)
        .map(|(entry, vector)| output::embedded(&entry.record, &entry.text, vector, &provider.model))
        .collect();
    let tokens = embeddings.tokens.filter(|_| !by_characters);
    Ok(Answered { outputs, tokens, by_characters, cost_usd: embeddings.cost_usd })
}

/// Runs CPU work beside the runtime's threads.
#[cfg(not(test))]
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}

/// Runs CPU work inline: a seed must replay, and another thread comes when it will.
#[cfg(test)]
async fn beside<T>(work: impl FnOnce() -> T) -> Result<T, tokio::task::JoinError> {
    Ok(work())
}

fn hangs(message: String) -> Failure {
    let why = SuspendReason::Timeout;
    Failure {
        verdict: Verdict::Suspend { why, fatal_at_start: false },
        outcome: CallOutcome::Timeout,
        message,
        status: None,
    }
}

/// The loop is gone only when the process ends.
fn tell(done: &UnboundedSender<Called>, called: Called) {
    done.send(called).ok();
}
