//! The provider's routes. One call goes through: authorisation, validation, the cache, limits, the fault script, the work, the latency.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Response, Uri};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::answer::{self, Good};
use super::cache;
use super::calls::{Pending, cost_usd};
use super::connection::Switch;
use super::faults::Then;
use super::limits::{self, Headers};
use super::probes::{self, nowhere};
use super::profile::{Hints, Permits, Profile};
use super::reply::{Reply, reply};
use super::request::Request;
use super::shape::{self, Problem};
use super::shared::Shared;

/// A body above this is not even read.
const LARGEST_BODY: usize = 64 << 20;

/// The routes, with and without the prefixes that clients put before them.
pub(super) fn app(shared: Arc<Shared>) -> Router {
    let profile = shared.profile;
    let mut router = Router::new()
        .route("/health", get(|| async { reply(200, &json!({"status": "ok"})).into_response() }))
        .route("/ledger", get(ledger));
    for prefix in ["", "/v1", "/api/v1"] {
        router = router
            .route(&format!("{prefix}/embeddings"), post(embeddings))
            .route(&format!("{prefix}/models"), get(models))
            .route(&format!("{prefix}/models/{{author}}/{{slug}}/endpoints"), get(probes::endpoints))
            .route(&format!("{prefix}/key"), get(probes::key));
    }
    if profile == Profile::Azure {
        router = router
            .route("/openai/v1/embeddings", post(embeddings))
            .route("/openai/deployments/{name}/embeddings", post(embeddings));
    }
    router.fallback(move || async move { nowhere(profile) }).with_state(shared)
}

async fn ledger(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let ledger = shared.ledger().clone();
    reply(200, &json!(ledger)).into_response()
}

async fn models(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let model = json!({
        "id": super::MODEL,
        "object": "model",
        "owned_by": "simulator",
        "context_length": super::request::CONTEXT,
        "pricing": {"prompt": shared.price_of_a_token()},
    });
    reply(200, &json!({"object": "list", "data": [model]})).into_response()
}

async fn embeddings(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let present = Present::arrive(&shared);
    let answered = match accept(&shared, &uri, &headers, body).await {
        Ok(accepted) => respond(&shared, accepted).await,
        Err(refused) => Some(refused),
    };
    drop(present);
    match answered {
        Some(reply) => {
            if reply.fault.as_ref().is_some_and(|fault| fault.close_at_reuse) {
                switch.reset_at_reuse();
            }
            reply.into_response()
        }
        None => {
            switch.reset();
            // Not a byte of it is sent: the connection is gone.
            Response::new(Body::empty())
        }
    }
}

/// A call in flight, until it is answered or the client hangs up.
struct Present<'a>(&'a Shared);

impl<'a> Present<'a> {
    fn arrive(shared: &'a Shared) -> Self {
        shared.ledger().arrived();
        Self(shared)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.ledger().left();
    }
}

/// Room for a call's inputs, until it is answered or the client hangs up.
struct Room<'a>(&'a Shared, u64);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.controls().inputs_here -= self.1;
    }
}

/// A call that will be worked on.
struct Accepted<'a> {
    request: Arc<Request>,
    caller: usize,
    fault: Option<Arc<Then>>,
    latency: Duration,
    headers: Headers,
    /// The request before.
    last: Option<Arc<Request>>,
    /// The body, if the answer is to be kept, and for how long.
    keep: Option<(Bytes, Duration)>,
    /// It was answered before.
    cached: bool,
    room: Option<Room<'a>>,
}

/// Authorises, reads, counts, takes from the limits and asks the script. What is refused is answered at once, without the latency.
async fn accept<'a>(
    shared: &'a Arc<Shared>,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Accepted<'a>, Reply> {
    let read = async {
        let caller = shared.authorise(headers, uri)?;
        let body = axum::body::to_bytes(body, LARGEST_BODY).await;
        let body = body.map_err(|_| shared.refuse(&Problem::Body))?;
        let keep = cache::wanted(headers).filter(|_| shared.profile == Profile::OpenRouter);
        let keep = keep.map(|ttl| (body.clone(), ttl));
        let (native, traits) = (shared.dimensions, shared.traits);
        match tokio::task::spawn_blocking(move || Request::read(&body, native, &traits)).await {
            Ok(Ok(request)) => Ok((caller, Arc::new(request), keep)),
            Ok(Err(problem)) => Err(shared.refuse(&problem)),
            Err(_) => Err(shared.error(500, None)),
        }
    };
    let accepted = read.await.and_then(|(caller, request, keep)| shared.admit(caller, request, keep));
    accepted.inspect_err(|refused| shared.ledger().answered(refused.status))
}

impl Shared {
    fn admit(
        &self,
        caller: usize,
        request: Arc<Request>,
        keep: Option<(Bytes, Duration)>,
    ) -> Result<Accepted<'_>, Reply> {
        let now = Instant::now();
        let mut controls = self.controls();
        let latency = controls.latency;
        let hit = keep.as_ref().and_then(|(body, _)| controls.cache.find(caller, body, now));
        if let Some(request) = hit {
            return Ok(Accepted {
                request,
                caller,
                fault: None,
                latency: Duration::ZERO,
                headers: Vec::new(),
                last: None,
                keep: None,
                cached: true,
                room: None,
            });
        }
        let inputs = request.inputs.len() as u64;
        let full = match self.traits.permits {
            Permits::Unlimited => false,
            Permits::Inputs(most) => controls.inputs_here + inputs > most,
            Permits::Calls(most) => self.ledger().in_flight > most,
        };
        if full {
            let (status, message) = match self.profile {
                Profile::Ollama => (503, "server busy, please try again.  maximum pending requests exceeded"),
                _ => (429, "Model is overloaded"),
            };
            return Err(self.error(status, Some(message)));
        }
        let (headers, taken) = controls.limits.take(caller, request.tokens, now);
        if let Err(refusal) = taken {
            drop(controls);
            self.ledger().limited += 1;
            let (headers, body) = limits::refused(self.profile, self.hints, refusal, &request, headers);
            return Err(Reply { headers, ..reply(429, &body) });
        }
        let headers = if matches!(self.hints, Hints::All | Hints::OpenAi) { headers } else { Vec::new() };
        let fault = controls.script.next(&request.inputs, now);
        controls.inputs_here += inputs;
        let room = Some(Room(self, inputs));
        let last = controls.last.replace(Arc::clone(&request));
        drop(controls);
        Ok(Accepted { request, caller, fault, latency, headers, last, keep, cached: false, room })
    }
}

/// Works, waits, answers. `None`: the connection is reset.
async fn respond(shared: &Arc<Shared>, mut accepted: Accepted<'_>) -> Option<Reply> {
    let fault = accepted.fault.take().inspect(|_| shared.ledger().faulted += 1).unwrap_or_default();
    let here = u32::try_from(shared.ledger().in_flight).unwrap_or(u32::MAX);
    let each = fault.delay_each.unwrap_or_default().saturating_mul(here);
    let latency = accepted.latency.saturating_add(fault.delay.unwrap_or_default()).saturating_add(each);
    if fault.reset || fault.hang {
        shared.ledger().unanswered(fault.reset);
        tokio::time::sleep(latency).await;
        if fault.hang {
            std::future::pending::<()>().await;
        }
        return None;
    }
    let (mut reply, pending) = match failed(shared.profile, &fault) {
        Some(reply) => (reply, None),
        None => work(shared, &accepted, &fault).await,
    };
    shared.ledger().answered(reply.status);
    reply.headers.splice(0..0, std::mem::take(&mut accepted.headers));
    reply.headers.extend(fault.retry_after.iter().map(|value| ("retry-after".to_owned(), value.to_string())));
    reply.headers.extend(fault.headers.iter().map(|(name, value)| (name.clone(), value.to_string())));
    reply.fault = Some(fault);
    tokio::time::sleep(latency).await;
    if let Some(pending) = pending {
        pending.read();
    }
    drop(accepted.room);
    Some(reply)
}

/// The answer that a fault puts in place of the good one.
fn failed(profile: Profile, fault: &Then) -> Option<Reply> {
    if fault.html {
        let status = fault.status.unwrap_or(200);
        return Some(Reply::new(status, "text/html; charset=utf-8", answer::PAGE));
    }
    if let Some(error) = &fault.error_in_200 {
        return Some(reply(200, &json!({"error": error})));
    }
    let status = fault.status?;
    Some(match &fault.body {
        None => reply(status, &shape::error(profile, status, None, None)),
        Some(body) => reply(status, body),
    })
}

async fn work<'a>(
    shared: &'a Arc<Shared>,
    accepted: &Accepted<'_>,
    fault: &Arc<Then>,
) -> (Reply, Option<Pending<'a>>) {
    let request = Arc::clone(&accepted.request);
    let (inputs, price) = (request.inputs.len(), shared.usd_per_million_tokens);
    let tokens = if accepted.cached { 0 } else { request.tokens };
    let (native, call) = (shared.dimensions, shared.ledger().requests);
    let cost = (shared.profile == Profile::OpenRouter).then(|| cost_usd(tokens, price));
    let other = accepted.last.clone().filter(|_| fault.previous);
    let bend = Arc::clone(fault);
    let body = tokio::task::spawn_blocking(move || {
        let texts = &other.as_ref().unwrap_or(&request).inputs;
        answer::embeddings(&Good { request: &request, texts, native, tokens, cost, call }, &bend)
    });
    let Ok(body) = body.await else { return (shared.error(500, None), None) };
    let mut reply = Reply::new(200, "application/json", body);
    let label = shared.label(accepted.caller);
    if accepted.cached {
        shared.ledger().hit(label);
        return (reply.header("x-openrouter-cache-status", "HIT"), None);
    }
    shared.ledger().billed(label, inputs, tokens, price);
    if let Some((body, ttl)) = &accepted.keep {
        reply = reply.header("x-openrouter-cache-status", "MISS");
        if !fault.changes_a_good_answer() {
            let request = Arc::clone(&accepted.request);
            shared.controls().cache.keep(accepted.caller, body.clone(), request, Instant::now() + *ttl);
        }
    }
    let outcome = if fault.changes_a_good_answer() { "bent" } else { "good" };
    (reply, Some(Pending::new(&shared.ledger, outcome, inputs, tokens, price)))
}
