//! The provider's routes. One call goes through: authorisation, validation, limits, the fault script, the work, the latency.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Settings;
use super::answer;
use super::body::Pieces;
use super::bucket::{Bucket, Buckets, Limit, Refusal};
use super::calls::Ledger;
use super::connection::Switch;
use super::faults::{Script, Then};
use super::request::Request;

type Headers = Vec<(String, String)>;

/// A body above this is refused with 413.
const LARGEST_BODY: usize = 64 << 20;

/// What all calls share.
pub(super) struct Shared {
    dimensions: usize,
    usd_per_million_tokens: f64,
    bursts: (u64, u64),
    controls: Mutex<Controls>,
    ledger: Mutex<Ledger>,
}

/// What can be changed while the provider runs.
struct Controls {
    latency: Duration,
    key: Option<String>,
    buckets: Buckets,
    script: Script,
}

impl Shared {
    pub(super) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let bursts = (settings.burst_requests, settings.burst_tokens);
        let controls = Controls {
            latency: settings.latency,
            key: settings.key,
            buckets: buckets(settings.requests_per_minute, settings.tokens_per_minute, bursts, now),
            script: Script::new(settings.faults, now),
        };
        Self {
            dimensions: settings.dimensions,
            usd_per_million_tokens: settings.usd_per_million_tokens,
            bursts,
            controls: Mutex::new(controls),
            ledger: Mutex::default(),
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A count is right or wrong by one after a panic; that is no reason to panic again.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn controls(&self) -> MutexGuard<'_, Controls> {
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
        self.controls().buckets =
            buckets(requests_per_minute, tokens_per_minute, self.bursts, Instant::now());
    }
}

fn buckets(requests: Option<u64>, tokens: Option<u64>, bursts: (u64, u64), now: Instant) -> Buckets {
    Buckets {
        requests: requests.map(|rate| Bucket::new(rate, bursts.0, now)),
        tokens: tokens.map(|rate| Bucket::new(rate, bursts.1, now)),
    }
}

/// The routes, with and without the prefixes that clients put before them.
pub(super) fn app(shared: Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/health", get(|| async { reply(200, &json!({"status": "ok"})).into_response() }))
        .route("/ledger", get(ledger));
    for prefix in ["", "/v1", "/api/v1"] {
        router = router
            .route(&format!("{prefix}/embeddings"), post(embeddings))
            .route(&format!("{prefix}/models"), get(models));
    }
    router
        .fallback(|| async { reply(404, &answer::error(404, Some("Not Found"), None)).into_response() })
        .with_state(shared)
}

async fn ledger(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let ledger = shared.ledger().clone();
    reply(200, &json!(ledger)).into_response()
}

async fn models(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let price = shared.usd_per_million_tokens / 1e6;
    let model = json!({
        "id": super::MODEL,
        "object": "model",
        "owned_by": "simulator",
        "context_length": super::request::CONTEXT,
        "pricing": {"prompt": price.to_string()},
    });
    reply(200, &json!({"object": "list", "data": [model]})).into_response()
}

async fn embeddings(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let present = Present::arrive(&shared);
    let answered = match accept(&shared, &headers, body).await {
        Ok(accepted) => respond(&shared, accepted).await,
        Err(refused) => Some(refused),
    };
    drop(present);
    match answered {
        Some(reply) => reply.into_response(),
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

/// A call that will be worked on.
struct Accepted {
    request: Request,
    fault: Option<Arc<Then>>,
    latency: Duration,
    headers: Headers,
}

/// Authorises, reads, counts, takes from the limits and asks the script. What is refused is answered at once, without the latency.
async fn accept(shared: &Arc<Shared>, headers: &HeaderMap, body: Body) -> Result<Accepted, Reply> {
    let read = async {
        shared.authorise(headers)?;
        let body = axum::body::to_bytes(body, LARGEST_BODY).await;
        let body = body.map_err(|_| reply(413, &answer::error(413, None, None)))?;
        let native = shared.dimensions;
        match tokio::task::spawn_blocking(move || Request::read(&body, native)).await {
            Ok(Ok(request)) => Ok(request),
            Ok(Err(refused)) => Err(reply(400, &refused.body())),
            Err(_) => Err(reply(500, &answer::error(500, None, None))),
        }
    };
    let accepted = read.await.and_then(|request| shared.admit(request));
    accepted.inspect_err(|refused| shared.ledger().answered(refused.status))
}

impl Shared {
    fn authorise(&self, headers: &HeaderMap) -> Result<(), Reply> {
        let Some(key) = self.controls().key.clone() else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if given == Some(format!("Bearer {key}").as_bytes()) {
            return Ok(());
        }
        Err(reply(401, &answer::error(401, given.map(|_| "User not found."), None)))
    }

    fn admit(&self, request: Request) -> Result<Accepted, Reply> {
        let now = Instant::now();
        let mut controls = self.controls();
        let taken = controls.buckets.take(request.tokens, now);
        let headers: Headers =
            controls.buckets.headers(now).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let Err((limit, refusal)) = taken else {
            let fault = controls.script.next(&request.inputs, now);
            return Ok(Accepted { request, fault, latency: controls.latency, headers });
        };
        drop(controls);
        self.ledger().limited += 1;
        let (retry_after, body) = limited(limit, refusal, &request, &headers);
        let mut refused = reply(429, &body);
        refused.headers = headers;
        refused.headers.extend(retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
        Err(refused)
    }
}

/// The hint in whole seconds, rounded up as `Retry-After` wants it, and a body that carries OpenRouter's copy of it.
fn limited(limit: Limit, refusal: Refusal, request: &Request, headers: &Headers) -> (Option<u64>, Value) {
    let name = match limit {
        Limit::Requests => "requests",
        Limit::Tokens => "tokens",
    };
    let rate =
        headers.iter().find(|(header, _)| header.ends_with(&format!("limit-{name}"))).map(|(_, value)| value);
    let rate = rate.map_or("0", String::as_str);
    let Refusal::Wait(wait) = refusal else {
        let message = format!(
            "Request too large for {} on {name} per min: Limit {rate}, Requested {}.",
            request.model, request.tokens
        );
        return (None, answer::error(429, Some(&message), None));
    };
    let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + wait;
    let copy = json!({
        "X-RateLimit-Limit": rate,
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": reset.as_millis().to_string(),
    });
    let message = format!("Rate limit exceeded: {name} per min, limit {rate}");
    (Some((wait.as_millis() as u64).div_ceil(1000).max(1)), answer::error(429, Some(&message), Some(copy)))
}

/// Works, waits, answers. `None`: the connection is reset.
async fn respond(shared: &Arc<Shared>, accepted: Accepted) -> Option<Reply> {
    let Accepted { request, fault, latency, headers } = accepted;
    let fault = fault.inspect(|_| shared.ledger().faulted += 1).unwrap_or_default();
    let latency = latency.saturating_add(fault.delay.unwrap_or_default());
    if fault.reset || fault.hang {
        shared.ledger().unanswered(fault.reset);
        tokio::time::sleep(latency).await;
        if fault.hang {
            std::future::pending::<()>().await;
        }
        return None;
    }
    let mut reply = match failed(&fault) {
        Some(reply) => reply,
        None => work(shared, request, &fault).await,
    };
    shared.ledger().answered(reply.status);
    reply.headers.splice(0..0, headers);
    reply.headers.extend(fault.retry_after.iter().map(|value| ("retry-after".to_owned(), value.to_string())));
    reply.headers.extend(fault.headers.iter().map(|(name, value)| (name.clone(), value.to_string())));
    reply.fault = Some(fault);
    tokio::time::sleep(latency).await;
    Some(reply)
}

/// The answer that a fault puts in place of the good one.
fn failed(fault: &Then) -> Option<Reply> {
    if fault.html {
        let status = fault.status.unwrap_or(200);
        return Some(Reply::new(status, "text/html; charset=utf-8", answer::PAGE));
    }
    if let Some(error) = &fault.error_in_200 {
        return Some(reply(200, &json!({"error": error})));
    }
    let status = fault.status?;
    Some(match &fault.body {
        None => reply(status, &answer::error(status, None, None)),
        Some(Value::String(text)) => Reply::new(status, "text/plain; charset=utf-8", text.clone()),
        Some(body) => reply(status, body),
    })
}

async fn work(shared: &Arc<Shared>, request: Request, fault: &Arc<Then>) -> Reply {
    let (inputs, tokens) = (request.inputs.len(), request.tokens);
    let (native, price) = (shared.dimensions, shared.usd_per_million_tokens);
    let call = shared.ledger().requests;
    let bend = Arc::clone(fault);
    let body =
        tokio::task::spawn_blocking(move || answer::embeddings(&request, native, price, call, &bend)).await;
    match body {
        Ok(body) => {
            shared.ledger().billed(inputs, tokens, price);
            Reply::new(200, "application/json", body)
        }
        Err(_) => reply(500, &answer::error(500, None, None)),
    }
}

/// An answer before it becomes HTTP.
struct Reply {
    status: u16,
    kind: &'static str,
    headers: Headers,
    body: Bytes,
    fault: Option<Arc<Then>>,
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply::new(status, "application/json", body.to_string())
}

impl Reply {
    fn new(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, kind, headers: Vec::new(), body: body.into(), fault: None }
    }

    fn into_response(self) -> Response<Body> {
        let fault = self.fault.unwrap_or_default();
        let body = match (fault.cut_body_at, fault.trickle) {
            (Some(length), _) => Body::new(Pieces::cut(self.body, length)),
            (None, Some(trickle)) => Body::new(Pieces::trickle(self.body, trickle)),
            (None, None) => Body::from(self.body),
        };
        let mut response = Response::new(body);
        // The script was checked when it was read.
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
