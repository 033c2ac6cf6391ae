//! The provider: latency, weather, bad luck, and texts that it does not like.

use std::time::Duration;

use bytes::Bytes;

use super::topic::{Nature, Poison};
use super::world::{Shared, Weather, World, lock};
use crate::domain::record::{Generation, RejectReason};
use crate::provider::{
    Answer, Attempts, CallOutcome, Cap, Embedder, Embeddings, Failure, SuspendReason, Verdict,
};

/// Longer than any call takes.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A record that is fine fails at most so often in a row, or it would be taken for poison, and rightly.
const UNLUCKY: u32 = 3;

pub(super) struct Provider {
    pub(super) world: Shared,
    pub(super) process: u64,
}

/// A call that takes itself off the wire, also when it is dropped.
struct OnWire<'a> {
    world: &'a Shared,
    id: u64,
}

impl Drop for OnWire<'_> {
    fn drop(&mut self) {
        lock(self.world).sky.on_wire.remove(&self.id);
    }
}

impl Embedder for Provider {
    fn body(&self, texts: &[&str]) -> Bytes {
        texts.join("\n").into()
    }

    async fn send(&self, body: Bytes) -> Result<Answer, Failure> {
        let (id, latency) = {
            let mut world = lock(&self.world);
            let id = world.next_call();
            let is_ours = world.process == self.process;
            let latency = world.begins(id, &body, is_ours);
            (id, latency)
        };
        let on_wire = OnWire { world: &self.world, id };
        tokio::time::sleep_until(tokio::time::Instant::now() + latency).await;
        let failure = lock(&self.world).ends(&body);
        drop(on_wire);
        match failure {
            Some(failure) if failure.status.is_none() => Err(failure),
            failure => {
                lock(&self.world).sky.answers.insert(id, failure);
                let headers = vec![("id".to_owned(), id.to_string())];
                Ok(Answer { status: 200, headers, body })
            }
        }
    }

    fn read(&self, answer: &Answer, count: usize) -> Result<Embeddings, Failure> {
        let id = answer.headers[0].1.parse().unwrap();
        match lock(&self.world).sky.answers.remove(&id).flatten() {
            Some(failure) => Err(failure),
            None => {
                Ok(Embeddings { vectors: vec![vec![1.0]; count], model: None, tokens: None, cost_usd: None })
            }
        }
    }
}

/// Generation, partition and offset of each text; none of the canary's.
fn records(body: &Bytes) -> Vec<(u64, usize, i64)> {
    let body = String::from_utf8_lossy(body);
    let read = |text: &str| {
        let mut parts = text.split('/');
        let mut number = || parts.next().and_then(|part| part.parse::<i64>().ok());
        let (generation, partition, offset) = (number()?, number()?, number()?);
        Some((u64::try_from(generation).ok()?, usize::try_from(partition).ok()?, offset))
    };
    body.split('\n').filter_map(read).collect()
}

impl World {
    /// A call begins; returns how long it takes.
    fn begins(&mut self, id: u64, body: &Bytes, is_ours: bool) -> Duration {
        let records = records(body);
        let named: Vec<(u64, i64)> =
            records.iter().map(|(generation, _, offset)| (*generation, *offset)).collect();
        if is_ours && !records.is_empty() {
            self.tell(|| format!("call {id} with {records:?}"));
            let (limits, batch) = (&self.plan.config.limits, &self.plan.config.batch);
            let most = limits.in_flight;
            let calls = self.sky.on_wire.len();
            if calls >= most {
                self.laws.breaks(format!("call {id} is one more than the {most} allowed"));
            }
            if records.len() > batch.max_records {
                self.laws.breaks(format!("call {id} has {} records", records.len()));
            }
            if self.is_on_wire(&named) {
                self.laws.breaks(format!("call {id} has a record that is on the wire already"));
            }
            let mut extra = true;
            for (generation, _, offset) in &records {
                extra &= self.laws.called(Generation(*generation), *offset);
            }
            self.laws.extra_calls += usize::from(extra);
            self.sky.on_wire.insert(id, named);
        }
        if self.sky.weather == Weather::Silent {
            return TIMEOUT;
        }
        Duration::from_micros(self.random.u64(1_000..=self.plan.latency * 1_000))
    }

    /// A call ends: what is wrong with it, if anything.
    fn ends(&mut self, body: &Bytes) -> Option<Failure> {
        let records = records(body);
        if let Some(failure) = self.weather() {
            return Some(failure);
        }
        let named: Vec<(u64, i64)> =
            records.iter().map(|(generation, _, offset)| (*generation, *offset)).collect();
        let luck = named.iter().map(|record| self.sky.unlucky.get(record).copied().unwrap_or(0)).max();
        if luck.unwrap_or(0) < UNLUCKY && self.happens(self.plan.call_faults) {
            let failure = self.bad_luck();
            if failure.outcome != CallOutcome::RateLimited {
                for record in named {
                    *self.sky.unlucky.entry(record).or_default() += 1;
                }
            }
            return Some(failure);
        }
        let poison = records.iter().find_map(|(_, partition, offset)| {
            match self.topic.input((*partition, *offset)).nature {
                Nature::Poison(poison) => Some(poison),
                _ => None,
            }
        });
        if let Some(poison) = poison {
            return Some(dislikes(poison));
        }
        for record in &named {
            self.sky.unlucky.remove(record);
        }
        None
    }

    fn weather(&mut self) -> Option<Failure> {
        if self.sky.until.is_some_and(|until| tokio::time::Instant::now() >= until) {
            (self.sky.weather, self.sky.until) = (Weather::Fine, None);
        }
        match self.sky.weather {
            Weather::Fine => None,
            Weather::Outage => Some(if self.random.bool() { server_error() } else { unreachable() }),
            Weather::RateLimited => Some(rate_limited(Some(Duration::from_secs(2)))),
            Weather::Unauthorized => {
                let why = SuspendReason::Unauthorized;
                Some(failed(Verdict::Suspend { why, fatal_at_start: true }, CallOutcome::Auth, Some(401)))
            }
            Weather::Silent => Some(timeout()),
        }
    }

    fn bad_luck(&mut self) -> Failure {
        match self.random.u8(..4) {
            0 => server_error(),
            1 => unreachable(),
            2 => timeout(),
            _ => {
                let after = self.random.bool().then(|| Duration::from_millis(self.random.u64(..3_000)));
                rate_limited(after)
            }
        }
    }
}

fn failed(verdict: Verdict, outcome: CallOutcome, status: Option<u16>) -> Failure {
    Failure { verdict, outcome, message: "it is so".to_owned(), status }
}

fn again(attempts: Attempts, then: RejectReason, meanwhile: SuspendReason) -> Verdict {
    Verdict::Retry { after: None, hold_off: false, attempts, then, meanwhile }
}

fn server_error() -> Failure {
    let verdict = again(Attempts::Configured, RejectReason::ProviderError, SuspendReason::Unreachable);
    failed(verdict, CallOutcome::ServerError, Some(500))
}

fn unreachable() -> Failure {
    let verdict = again(Attempts::Configured, RejectReason::ProviderError, SuspendReason::Unreachable);
    failed(verdict, CallOutcome::Connect, None)
}

fn timeout() -> Failure {
    let verdict = again(Attempts::Configured, RejectReason::ProviderError, SuspendReason::Timeout);
    failed(verdict, CallOutcome::Timeout, None)
}

fn rate_limited(after: Option<Duration>) -> Failure {
    let (then, meanwhile) = (RejectReason::ProviderError, SuspendReason::Unreachable);
    let verdict = Verdict::Retry { after, hold_off: true, attempts: Attempts::Unlimited, then, meanwhile };
    failed(verdict, CallOutcome::RateLimited, Some(429))
}

fn dislikes(poison: Poison) -> Failure {
    let bisect = |clear| {
        let (reason, otherwise) = (RejectReason::Rejected, SuspendReason::BadRequest);
        failed(Verdict::Bisect { reason, clear, otherwise }, CallOutcome::ClientError, Some(400))
    };
    match poison {
        Poison::Rejected => bisect(true),
        Poison::Unclear => bisect(false),
        Poison::NonFinite => failed(
            again(Attempts::Few(1), RejectReason::NonFinite, SuspendReason::MalformedResponse),
            CallOutcome::InvalidResponse,
            Some(200),
        ),
        Poison::Failing => server_error(),
        Poison::TooLarge => failed(Verdict::Shrink(Cap::Records(None)), CallOutcome::ClientError, Some(413)),
    }
}
