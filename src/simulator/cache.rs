//! OpenRouter's response cache: the same body from the same key is answered again, unbilled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use tokio::time::Instant;

use super::request::Request;

/// The oldest gives way.
const MOST_ENTRIES: usize = 256;

/// Requests that were answered well and may be answered again. The answer is made anew: it is always the same.
#[derive(Debug, Default)]
pub(super) struct Cache(VecDeque<Entry>);

#[derive(Debug)]
struct Entry {
    caller: usize,
    body: Bytes,
    until: Instant,
    request: Arc<Request>,
}

/// How long a call wants its answer kept; `None`: it does not ask for the cache. A time out of range is the standard one.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("x-openrouter-cache").filter(|value| value.eq_ignore_ascii_case("true"))?;
    let seconds = text("x-openrouter-cache-ttl").and_then(|value| value.parse().ok());
    Some(Duration::from_secs(seconds.filter(|seconds| (1..=86_400).contains(seconds)).unwrap_or(300)))
}

impl Cache {
    /// The request of the same bytes that this caller made before.
    pub(super) fn find(&mut self, caller: usize, body: &Bytes, now: Instant) -> Option<Arc<Request>> {
        self.0.retain(|entry| entry.until > now);
        let entry = self.0.iter().find(|entry| entry.caller == caller && entry.body == body)?;
        Some(Arc::clone(&entry.request))
    }

    /// Keeps a request that was answered well.
    pub(super) fn keep(&mut self, caller: usize, body: Bytes, request: Arc<Request>, until: Instant) {
        if self.0.len() >= MOST_ENTRIES {
            self.0.pop_front();
        }
        self.0.push_back(Entry { caller, body, until, request });
    }
}
