//! Who calls, and each caller's own limits.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::bucket::{Bucket, Buckets, Limit, Refusal};
use super::profile::{Hints, Profile};
use super::request::Request;
use super::shape;

/// Callers beyond so many share the last one's limits.
const MOST_CALLERS: usize = 1024;

/// Response headers.
pub(super) type Headers = Vec<(String, String)>;

/// The limits, for each key that has called; a call without a key has its own too.
#[derive(Debug)]
pub(super) struct Limits {
    per_minute: (Option<u64>, Option<u64>),
    bursts: (u64, u64),
    callers: Vec<Caller>,
}

struct Caller {
    key: Option<Vec<u8>>,
    buckets: Buckets,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("buckets", &self.buckets).finish_non_exhaustive()
    }
}

impl Limits {
    /// Requests and tokens a minute, and how much of each may come at once.
    pub(super) fn new(per_minute: (Option<u64>, Option<u64>), bursts: (u64, u64)) -> Self {
        Self { per_minute, bursts, callers: Vec::new() }
    }

    /// Other limits, with full buckets.
    pub(super) fn set(&mut self, per_minute: (Option<u64>, Option<u64>), now: Instant) {
        self.per_minute = per_minute;
        let bursts = self.bursts;
        for caller in &mut self.callers {
            caller.buckets = buckets(per_minute, bursts, now);
        }
    }

    /// The number of the caller with this key.
    pub(super) fn caller(&mut self, key: Option<&[u8]>, now: Instant) -> usize {
        if let Some(at) = self.callers.iter().position(|caller| caller.key.as_deref() == key) {
            return at;
        }
        if self.callers.len() < MOST_CALLERS {
            let buckets = buckets(self.per_minute, self.bursts, now);
            self.callers.push(Caller { key: key.map(<[u8]>::to_vec), buckets });
        }
        self.callers.len() - 1
    }

    /// What a caller is called where its key may not be shown.
    pub(super) fn label(&self, caller: usize) -> String {
        match self.callers.get(caller) {
            Some(Caller { key: None, .. }) => "no key".to_owned(),
            _ => format!("key {}", caller + 1),
        }
    }

    /// Takes one request and its tokens; gives OpenAI's headers as they are then.
    pub(super) fn take(
        &mut self,
        caller: usize,
        tokens: u64,
        now: Instant,
    ) -> (Headers, Result<(), (Limit, Refusal)>) {
        let Some(caller) = self.callers.get_mut(caller) else { return (Vec::new(), Ok(())) };
        let taken = caller.buckets.take(tokens, now);
        let headers = caller.buckets.headers(now);
        (headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(), taken)
    }
}

fn buckets(per_minute: (Option<u64>, Option<u64>), bursts: (u64, u64), now: Instant) -> Buckets {
    Buckets {
        requests: per_minute.0.map(|rate| Bucket::new(rate, bursts.0, now)),
        tokens: per_minute.1.map(|rate| Bucket::new(rate, bursts.1, now)),
    }
}

/// The headers and the body of a 429. Waits are told in whole seconds, rounded up as `Retry-After` wants them.
pub(super) fn refused(
    profile: Profile,
    hints: Hints,
    (limit, refusal): (Limit, Refusal),
    request: &Request,
    mut headers: Headers,
) -> (Headers, Value) {
    let name = match limit {
        Limit::Requests => "requests",
        Limit::Tokens => "tokens",
    };
    let suffix = format!("limit-{name}");
    let rate = headers.iter().find(|(header, _)| header.ends_with(&suffix)).map(|(_, value)| value.clone());
    let rate = rate.unwrap_or_else(|| "0".into());
    if !matches!(hints, Hints::All | Hints::OpenAi) {
        headers.clear();
    }
    let Refusal::Wait(wait) = refusal else {
        let message = format!(
            "Request too large for {} on {name} per min: Limit {rate}, Requested {}.",
            request.model, request.tokens
        );
        return (headers, shape::error(profile, 429, Some(&message), None));
    };
    if hints == Hints::None {
        return (headers, shape::error(profile, 429, None, None));
    }
    let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + wait;
    let copy = [
        ("X-RateLimit-Limit", rate.clone()),
        ("X-RateLimit-Remaining", "0".to_owned()),
        ("X-RateLimit-Reset", reset.as_millis().to_string()),
    ];
    if hints == Hints::OpenRouter {
        headers.extend(copy.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    } else {
        let seconds = (wait.as_millis() as u64).div_ceil(1000).max(1);
        headers.push(("retry-after".to_owned(), seconds.to_string()));
    }
    let copy = matches!(hints, Hints::All | Hints::OpenRouter)
        .then(|| copy.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect());
    let message = format!("Rate limit exceeded: {name} per min, limit {rate}");
    (headers, shape::error(profile, 429, Some(&message), copy))
}
