//! The HTTP client: one `POST {url}/embeddings` a call, bounded in time and size.
//!
//! It follows no redirect and uses no proxy of the environment, so the key meets no host but the configured one. It retries nothing: that is for
//! who knows the batch. Dropping a call's future cancels the request. Response headers are bounded by hyper: 100 of them in a
//! buffer of some 400 KiB with HTTP/1, 16 KiB with HTTP/2; the body by `body_cap`, while it is read, after decompression. The total timeout
//! covers everything from the connection to the last byte: a trickle does not outlive it. A body that pauses for half a minute is given up before. Interim
//! answers (1xx) are bounded by that timeout alone.

mod about;
mod key;
mod lost;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use tracing::{info, warn};
use url::Url;

pub use self::about::{About, KeyState, Upstream};
pub use self::key::KeyError;
use self::key::Keyring;
use super::triage::{self, Lost};
use super::wire::{self, Asks, Fault};
use super::{Answer, Embedder, Embeddings, Failure};
use crate::config;
use crate::domain::length::{Heard, Lengths};

/// Bytes a value can take in JSON: 24 digits and a comma.
const BYTES_PER_VALUE: usize = 25;
/// The native length is not known where vectors are shortened here; no usual model exceeds this.
const USUAL_DIMENSIONS: usize = 4096;
/// Beside the vectors.
const ENVELOPE_BYTES: usize = 1 << 20;
/// An idle connection is closed before the usual server or balancer does it just as we use it; and before an outage is told: a network that
/// was cut may have forgotten it, and a probe over it would hang.
const IDLE: Duration = Duration::from_secs(50);
/// No server was seen to pause so long within an answer, only before it.
const STALLED: Duration = Duration::from_secs(30);
/// HTTP/2 pings while calls are in flight, so that a dead network is found out before the total timeout.
const PING: Duration = Duration::from_secs(20);

/// Packets that nobody acknowledges for so long mean that the connection is dead. Calls on connections that a network forgot in a cut of 2 s were sent
/// again after 15 s; after 30 s with reqwest's own values, and without any at their own deadline of two minutes.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// A call that waits for its answer has nothing to be acknowledged but this.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// OpenRouter answers a repetition of the same bytes from its cache, for nothing, if both calls ask for it. So every call does: the first one
/// may be the one whose answer is lost.
const CACHE: &str = "x-openrouter-cache";

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not `http://host…` or `https://host…`.
    #[error("provider.url must be an http or https address with a host")]
    Url,
    /// Not the name of a header, or one the transport sets itself.
    #[error("provider.headers: {0:?} cannot be set")]
    HeaderName(String),
    /// A control character or the like. The value is not shown: it may be a key.
    #[error("provider.headers: the value of {0:?} cannot be sent in a header")]
    HeaderValue(String),
    /// A field that is ours.
    #[error("provider.body: {0:?} is set by the worker itself")]
    ReservedField(String),
    /// The key is not shown.
    #[error("the API key is empty or cannot be sent in a header")]
    Key,
    /// The key's source; what is wrong with it.
    #[error(transparent)]
    KeySource(KeyError),
    /// The TLS library or the system's certificates.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
}

/// An [`Embedder`] over HTTP.
pub struct Client {
    http: reqwest::Client,
    url: Url,
    /// Where the model's upstream servers are listed.
    endpoints: String,
    headers: HeaderMap,
    keyring: Keyring,
    request: wire::Request,
    asks: Asks,
    /// Whether `encoding_format` may be left out when the server refuses it, and whether it did.
    adapts: bool,
    refused_encoding: AtomicBool,
    dimensions: usize,
    /// Whether the provider is asked for that length.
    asks_length: bool,
    /// How long the server's own vectors are.
    native: Mutex<Lengths>,
    timeout: Duration,
    stalled: Duration,
    body_cap: usize,
    hint_cap: Duration,
}

impl Client {
    /// A client for calls of up to `max_records` texts, with server hints of up to `hint_cap`. The key is what `read_key` says, now and
    /// again at each [`refresh_key`](Embedder::refresh_key).
    ///
    /// # Errors
    /// Settings that cannot be sent, or a key that cannot be read.
    pub fn new<E: Into<KeyError>>(
        provider: &config::Provider,
        read_key: impl Fn() -> Result<Option<config::Secret>, E> + Send + Sync + 'static,
        max_records: usize,
        hint_cap: Duration,
    ) -> Result<Self, ClientError> {
        let mut url = address(AsRef::<str>::as_ref(&provider.url))?;
        if let Some(version) = &provider.api_version
            && !url.query_pairs().any(|(name, _)| name == "api-version")
        {
            url.query_pairs_mut().append_pair("api-version", version);
        }
        let mut headers = headers(&provider.headers)?;
        if provider.response_cache && !headers.contains_key(CACHE) {
            headers.insert(CACHE, HeaderValue::from_static("true"));
        }
        let key_header = HeaderName::from_bytes(provider.key_header.as_bytes());
        let key_header = key_header.map_err(|_| ClientError::HeaderName(provider.key_header.clone()))?;
        let asks_length = provider.shorten == config::Shorten::Remote;
        if let Some(field) = wire::RESERVED.iter().find(|field| provider.body.contains_key(**field)) {
            return Err(ClientError::ReservedField((*field).to_owned()));
        }
        let http = builder()
            .connect_timeout(provider.connect_timeout)
            .pool_idle_timeout(IDLE.min(provider.unready_after))
            .build()
            .map_err(ClientError::Setup)?;
        let values = max_records.max(1).saturating_mul(provider.dimensions.max(USUAL_DIMENSIONS));
        Ok(Self {
            http,
            url,
            endpoints: about::endpoints(&provider.model),
            headers,
            keyring: Keyring::new(key_header, read_key)?,
            request: wire::Request::new(
                &provider.model,
                asks_length.then_some(provider.dimensions),
                &body_fields(provider),
            )
            .with_prefix(&provider.prefix),
            asks: match provider.encoding {
                config::Encoding::Auto | config::Encoding::Base64 => Asks::Base64,
                config::Encoding::Float => Asks::Float,
                config::Encoding::Unasked => Asks::Nothing,
            },
            adapts: provider.encoding == config::Encoding::Auto,
            refused_encoding: AtomicBool::new(false),
            dimensions: provider.dimensions,
            asks_length,
            native: Mutex::default(),
            timeout: provider.timeout,
            stalled: STALLED,
            body_cap: values.saturating_mul(BYTES_PER_VALUE).saturating_add(ENVELOPE_BYTES),
            hint_cap,
        })
    }

    /// Where calls go. Never with a password.
    pub fn address(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", self.url.scheme(), self.url.path())
    }

    /// One call; once more without `encoding_format` where the server knows only that it does not know it. Both count as one, once
    /// a run (for each call that is in flight then).
    async fn call(&self, body: Bytes, cached: bool) -> Result<Answer, Lost> {
        let bare = if self.adapts { wire::without_encoding(&body) } else { None };
        let Some(bare) = bare else { return self.exchange(body, cached).await };
        if self.refused_encoding.load(Relaxed) {
            return self.exchange(bare, cached).await;
        }
        let answer = self.exchange(body, cached).await?;
        if !triage::refuses_encoding(&answer) {
            return Ok(answer);
        }
        let answer = self.exchange(bare, cached).await?;
        // Otherwise the field was not why: a text that is quoted back may name it.
        let helped = (200..300).contains(&answer.status) && !wire::holds_error(&answer.body);
        if helped && !self.refused_encoding.swap(true, Relaxed) {
            info!("the provider refuses encoding_format: it is left out from now on");
        }
        Ok(answer)
    }

    async fn exchange(&self, body: Bytes, cached: bool) -> Result<Answer, Lost> {
        let mut headers = self.headers.clone();
        if !cached {
            headers.remove(CACHE);
        }
        let request = self.http.post(self.url.clone()).body(body).headers(headers);
        self.answer(request, self.body_cap).await
    }

    async fn within(&self, call: impl Future<Output = Result<Answer, Lost>>) -> Result<Answer, Failure> {
        let called = tokio::time::timeout(self.timeout, call).await;
        called.unwrap_or(Err(Lost::Deadline(self.timeout))).map_err(triage::lost)
    }

    /// Sends a request with the key, and reads the answer as far as `body_cap`.
    async fn answer(&self, mut request: reqwest::RequestBuilder, body_cap: usize) -> Result<Answer, Lost> {
        if let Some((name, key)) = self.keyring.header()
            && !self.headers.contains_key(&name)
        {
            request = request.header(name, key);
        }
        let mut response = request.send().await.map_err(|error| lost::why(&error))?;
        let too_large = Lost::TooLarge(body_cap);
        if response.content_length().is_some_and(|length| length > body_cap as u64) {
            return Err(too_large);
        }
        let status = response.status().as_u16();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers();
        let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let expected = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut body = BytesMut::with_capacity(expected);
        loop {
            let chunk = tokio::time::timeout(self.stalled, response.chunk()).await;
            let chunk = chunk.map_err(|_| Lost::Stalled(self.stalled))?.map_err(|error| lost::why(&error))?;
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > body_cap {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body: body.freeze() })
    }

    fn checked(&self, answer: &Answer, count: usize) -> Result<Embeddings, Fault> {
        let (embeddings, length) = wire::read(&answer.body, count, self.dimensions)?;
        if self.asks_length && length > self.dimensions {
            return Err(Fault::Unshortened { got: length, asked: self.dimensions });
        }
        match self.native.lock().unwrap_or_else(PoisonError::into_inner).heard(length) {
            Heard::Same => Ok(embeddings),
            Heard::Overruled(before) => {
                warn!(
                    before,
                    length,
                    "the first answer's vectors had another length than those after it: they may be of another model"
                );
                Ok(embeddings)
            }
            Heard::Changed(before) => Err(Fault::Changed { got: length, before }),
        }
    }

    fn failure(&self, answer: &Answer, count: usize, fault: Option<&Fault>) -> Failure {
        let mut failure = triage::answer(answer, count, fault, self.hint_cap, SystemTime::now());
        // Behind the status stand the server's codes; what is before it is ours.
        if let Some((words, codes)) = failure.message.rsplit_once(" (status ") {
            let mut codes = self.keyring.redacted(codes.to_owned());
            for value in self.headers.values().filter(|value| value.is_sensitive()) {
                // A scheme before it, a name: only a part may come back.
                for part in String::from_utf8_lossy(value.as_bytes()).split([' ', '=', ';', ',']) {
                    codes = key::hidden(codes, part);
                }
            }
            failure.message = format!("{words} (status {codes}");
        }
        failure
    }
}

impl Embedder for Client {
    fn body(&self, texts: &[&str]) -> Bytes {
        let bare = self.refused_encoding.load(Relaxed);
        self.request.body(texts, if bare { Asks::Nothing } else { self.asks })
    }

    async fn send(&self, body: Bytes) -> Result<Answer, Failure> {
        self.within(self.call(body, true)).await
    }

    async fn probe(&self, body: Bytes) -> Result<Answer, Failure> {
        self.within(self.call(body, false)).await
    }

    fn read(&self, answer: &Answer, count: usize) -> Result<Embeddings, Failure> {
        if !(200..300).contains(&answer.status) {
            return Err(self.failure(answer, count, None));
        }
        let mut read =
            self.checked(answer, count).map_err(|fault| self.failure(answer, count, Some(&fault)))?;
        if is_cached(answer) {
            // `usage` tells what it cost the first time.
            (read.tokens, read.cost_usd) = (Some(0), Some(0.0));
        }
        Ok(read)
    }

    fn refresh_key(&self) {
        if let Err(error) = self.keyring.refresh() {
            warn!(%error, "the key stays as it was");
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// What does not depend on the settings.
fn builder() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("embedstream/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_keepalive(KEEP_ALIVE)
        .tcp_keepalive_interval(KEEP_ALIVE)
        .tcp_keepalive_retries(2)
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PING)
        // Several MiB come down one connection; the usual window of 64 KiB would take a round trip for each.
        .http2_adaptive_window(true);
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(UNACKNOWLEDGED);
    builder
}

/// Whether OpenRouter answered from its cache, which is not billed (OpenRouter docs, "Response caching").
fn is_cached(answer: &Answer) -> bool {
    answer
        .headers
        .iter()
        .any(|(name, value)| name == "x-openrouter-cache-status" && value.trim().eq_ignore_ascii_case("hit"))
}

/// `{url}/embeddings`, with the query kept (Azure's `api-version`), and as it is where it ends so already.
fn address(url: &str) -> Result<Url, ClientError> {
    let mut url = Url::parse(url).map_err(|_| ClientError::Url)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(ClientError::Url);
    }
    url.set_fragment(None);
    if !url.path().trim_end_matches('/').ends_with("/embeddings") {
        url.path_segments_mut().map_err(|()| ClientError::Url)?.pop_if_empty().push("embeddings");
    }
    Ok(url)
}

/// The settings' extra fields. OpenRouter's API takes prices as strings; the settings as numbers too.
fn body_fields(provider: &config::Provider) -> Map<String, Value> {
    let mut fields = provider.body.clone();
    let prices = fields.get_mut("provider").and_then(|routing| routing.get_mut("max_price"));
    for price in prices.and_then(Value::as_object_mut).into_iter().flat_map(|prices| prices.values_mut()) {
        if let Value::Number(number) = price {
            *price = Value::String(number.to_string());
        }
    }
    fields
}

fn headers(settings: &BTreeMap<String, String>) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    for (name, value) in settings {
        let header = HeaderName::from_bytes(name.as_bytes());
        let header = header.ok().filter(|header| !config::RESERVED_HEADERS.contains(&header.as_str()));
        let header = header.ok_or_else(|| ClientError::HeaderName(name.clone()))?;
        let value = HeaderValue::from_str(value.trim());
        let mut value = value.map_err(|_| ClientError::HeaderValue(name.clone()))?;
        // It may be a key (Azure's `api-key`).
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}
