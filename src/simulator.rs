//! A faithful embeddings provider with faults, and an embedded broker: for the demo, the benches and the tests.
//!
//! [`Simulator::start`] serves the real wire format over real HTTP, so the worker that runs against it is the worker that runs
//! against OpenRouter. Its vectors are lexical: hashed words and character n-grams, near where texts share words. They carry no
//! meaning beyond that.

mod answer;
mod body;
pub mod broker;
pub mod bucket;
mod cache;
mod calls;
mod connection;
pub mod corpus;
pub mod faults;
mod limits;
mod probes;
pub mod profile;
mod provider;
mod reply;
mod request;
mod shape;
mod shared;
pub mod vectors;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use broker::Broker;
pub use calls::{Bill, Ledger};
pub use faults::{Faults, FaultsError};
pub use profile::{Hints, Profile};

use connection::{Connections, Door, Switch};
use faults::Script;
use shared::Shared;

/// The model that `/v1/models` names. Calls may name any: the answer repeats it.
pub const MODEL: &str = "qwen/qwen3-embedding-4b";

/// No model's vectors are longer; beyond this a call's answer would not fit into memory.
pub const MOST_DIMENSIONS: usize = 16_384;

/// What the simulated provider is like.
#[derive(Clone)]
pub struct Settings {
    /// How long a call takes, beyond the work.
    pub latency: Duration,
    /// Calls a minute; none: unlimited.
    pub requests_per_minute: Option<u64>,
    /// Tokens a minute; none: unlimited.
    pub tokens_per_minute: Option<u64>,
    /// The bucket of requests holds what flows in one second, or this if it is more.
    pub burst_requests: u64,
    /// The bucket of tokens holds what flows in one second, or this if it is more.
    pub burst_tokens: u64,
    /// The native length of a vector, 1 to [`MOST_DIMENSIONS`]; a call may ask for less.
    pub dimensions: usize,
    /// What a million tokens cost, in USD.
    pub usd_per_million_tokens: f64,
    /// What goes wrong.
    pub faults: Faults,
    /// The only key that is accepted; none: every call is. The limits are each key's own.
    pub key: Option<String>,
    /// What kind of server it is.
    pub profile: Profile,
    /// What it tells of its limits; none: what its kind tells.
    pub hints: Option<Hints>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            requests_per_minute: None,
            tokens_per_minute: None,
            // Two of the worker's default batches.
            burst_requests: 2,
            burst_tokens: 65_536,
            dimensions: 2560,
            usd_per_million_tokens: 0.02,
            faults: Faults::none(),
            key: None,
            profile: Profile::default(),
            hints: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("latency", &self.latency)
            .field("requests_per_minute", &self.requests_per_minute)
            .field("tokens_per_minute", &self.tokens_per_minute)
            .field("dimensions", &self.dimensions)
            .field("profile", &self.profile)
            .field("hints", &self.hints)
            .field("key", &self.key.as_ref().map(|_| "[redacted]"))
            .finish_non_exhaustive()
    }
}

/// The simulated provider.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Listens and serves until the returned value is stopped or dropped. Port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on; `dimensions` is not between 1 and [`MOST_DIMENSIONS`].
    pub async fn start(listen: SocketAddr, settings: Settings) -> io::Result<Running> {
        if !(1..=MOST_DIMENSIONS).contains(&settings.dimensions) {
            let message =
                format!("dimensions are between 1 and {MOST_DIMENSIONS}, not {}", settings.dimensions);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let connections = Connections::default();
        let shared = Arc::new(Shared::new(settings));
        // The tokenizer takes some 50 ms to load: not in the first call's latency.
        let warm = tokio::task::spawn_blocking(|| request::count("warm"));
        let app = provider::app(Arc::clone(&shared)).into_make_service_with_connect_info::<Switch>();
        let door = Door { listener, connections: connections.clone() };
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(door, app).await {
                tracing::error!(%error, "the simulated provider ended");
            }
        });
        warm.await.map_err(io::Error::other)?;
        Ok(Running { addr, shared, connections, serving })
    }
}

/// A provider that runs. Dropping it ends it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    connections: Connections,
    serving: JoinHandle<()>,
}

impl Running {
    /// The base URL, as the worker's `provider.url` wants it.
    pub fn url(&self) -> String {
        let path = if self.shared.profile == Profile::Azure { "openai/deployments/simulator" } else { "v1" };
        format!("http://{}/{path}", self.addr)
    }

    /// What was asked and billed so far.
    pub fn ledger(&self) -> Ledger {
        self.shared.ledger().clone()
    }

    /// Begins another fault script; its calls and its time are counted from now.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.set_script(Script::new(faults, Instant::now()));
    }

    /// Other limits, with full buckets.
    pub fn set_limits(&self, requests_per_minute: Option<u64>, tokens_per_minute: Option<u64>) {
        self.shared.set_limits(requests_per_minute, tokens_per_minute);
    }

    /// Another latency, for calls that come from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.set_latency(latency);
    }

    /// Another key; calls with the old one answer 401.
    pub fn set_key(&self, key: Option<String>) {
        self.shared.set_key(key);
    }

    /// Stops listening and closes every connection; calls in flight get no answer.
    pub async fn stop(mut self) {
        self.end();
        if let Err(error) = (&mut self.serving).await
            && !error.is_cancelled()
        {
            tracing::error!(%error, "the simulated provider ended badly");
        }
    }

    fn end(&self) {
        self.serving.abort();
        self.connections.close();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
