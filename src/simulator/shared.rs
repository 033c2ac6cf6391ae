//! What all calls share: the settings, what can be changed while the provider runs, the ledger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use tokio::time::Instant;

use super::Settings;
use super::cache::Cache;
use super::calls::Ledger;
use super::faults::Script;
use super::limits::Limits;
use super::profile::{Hints, Profile, Traits};
use super::reply::{Reply, reply};
use super::request::Request;
use super::shape::{self, Problem};

/// What all calls share.
pub(super) struct Shared {
    pub(super) dimensions: usize,
    pub(super) usd_per_million_tokens: f64,
    pub(super) profile: Profile,
    pub(super) traits: Traits,
    pub(super) hints: Hints,
    controls: Mutex<Controls>,
    pub(super) ledger: Mutex<Ledger>,
}

/// What can be changed while the provider runs.
pub(super) struct Controls {
    pub(super) latency: Duration,
    pub(super) key: Option<String>,
    pub(super) limits: Limits,
    pub(super) script: Script,
    pub(super) cache: Cache,
    /// The last request that was worked on.
    pub(super) last: Option<Arc<Request>>,
    /// Inputs of the calls that are here.
    pub(super) inputs_here: u64,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let bursts = (settings.burst_requests, settings.burst_tokens);
        let traits = settings.profile.traits();
        let controls = Controls {
            latency: settings.latency,
            key: settings.key,
            limits: Limits::new((settings.requests_per_minute, settings.tokens_per_minute), bursts),
            script: Script::new(settings.faults, Instant::now()),
            cache: Cache::default(),
            last: None,
            inputs_here: 0,
        };
        Self {
            dimensions: settings.dimensions,
            usd_per_million_tokens: settings.usd_per_million_tokens,
            profile: settings.profile,
            traits,
            hints: settings.hints.unwrap_or(traits.hints),
            controls: Mutex::new(controls),
            ledger: Mutex::default(),
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A count is right or wrong by one after a panic; that is no reason to panic again.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn controls(&self) -> MutexGuard<'_, Controls> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.controls().latency = latency;
    }

    pub(super) fn set_key(&self, key: Option<String>) {
        self.controls().key = key;
    }

    pub(super) fn set_script(&self, script: Script) {
        self.controls().script = script;
    }

    pub(super) fn set_limits(&self, requests_per_minute: Option<u64>, tokens_per_minute: Option<u64>) {
        self.controls().limits.set((requests_per_minute, tokens_per_minute), Instant::now());
    }

    pub(super) fn label(&self, caller: usize) -> String {
        self.controls().limits.label(caller)
    }

    /// In USD, as OpenRouter writes it.
    pub(super) fn price_of_a_token(&self) -> String {
        (self.usd_per_million_tokens / 1e6).to_string()
    }

    pub(super) fn refuse(&self, problem: &Problem) -> Reply {
        let words = problem.words(self.profile);
        reply(words.status, &words.body(self.profile))
    }

    pub(super) fn error(&self, status: u16, message: Option<&str>) -> Reply {
        reply(status, &shape::error(self.profile, status, message, None))
    }
}

impl Shared {
    /// The number of the caller, whose key is the right one.
    pub(super) fn authorise(&self, headers: &HeaderMap, uri: &Uri) -> Result<usize, Reply> {
        let azure = self.profile == Profile::Azure;
        if azure && uri.path().contains("/deployments/") && !asks_a_version(uri) {
            return Err(self.error(404, Some("Resource not found")));
        }
        let name = if azure { "api-key" } else { header::AUTHORIZATION.as_str() };
        let given = headers.get(name).map(HeaderValue::as_bytes);
        let mut controls = self.controls();
        let right = controls.key.as_ref().is_none_or(|key| {
            let expected = if azure { key.clone() } else { format!("Bearer {key}") };
            given == Some(expected.as_bytes())
        });
        if right {
            return Ok(controls.limits.caller(given, Instant::now()));
        }
        let message = match self.profile {
            Profile::Azure => Some("Access denied due to invalid subscription key or wrong API endpoint."),
            Profile::SiliconFlow => Some("Invalid token"),
            Profile::OpenRouter => given.map(|_| "User not found."),
            _ => Some("Incorrect API key provided."),
        };
        Err(self.error(401, message))
    }
}

/// Azure's `api-version=2024-10-21`.
fn asks_a_version(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("api-version=2")))
}
