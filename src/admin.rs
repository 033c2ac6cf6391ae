//! The admin server: `/metrics`, `/livez`, `/readyz`, `/status` and a page that lists them, on an address of its own.
//!
//! It only reads, answers GET and HEAD, and shows no text, vector or key. It asks nobody who they are: the address is loopback
//! by default. What a client can cost is bounded: one request a connection, 10 s for all of it, 32 connections (the newest
//! displaces the oldest, so hung clients cannot shut a probe out), 16 KiB of request head, and no body is read. Stopping waits
//! for nobody.

mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::metrics::Metrics;
pub use status::{Health, Kafka, Liveness, Partition, Readiness, Snapshot, SuspendedBy, Why};

/// Connections served at once.
const CONNECTIONS: usize = 32;

/// How long one connection may take, from its acceptance to its last byte.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head (and of a write) that are buffered.
const BUFFER: usize = 16 * 1024;

/// The pause after a failed accept: most likely the process has no descriptor left, and trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The page at `/`.
const INDEX: &str = include_str!("admin/index.html");

/// What every answer forbids: to be kept, to be taken for another type, to load anything.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
];

/// The running server. Dropped, it stops.
#[derive(Debug)]
#[must_use = "dropped, it stops"]
pub struct Admin {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

/// What the answers are made of.
struct Sources {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Admin {
    /// Binds the address and answers from then on.
    ///
    /// # Errors
    /// The address cannot be bound; the error names setting and address.
    pub async fn start(listen: SocketAddr, metrics: Arc<Metrics>, health: Arc<Health>) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("admin.listen: {listen}: {error}; choose another address, or \"\" for none"),
            )
        };
        let listener = TcpListener::bind(listen).await.map_err(named)?;
        let addr = listener.local_addr().map_err(named)?;
        let task = tokio::spawn(accept(listener, router(Arc::new(Sources { metrics, health }))));
        Ok(Self { addr, task })
    }

    /// The address it answers at: the port is known even if 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the address and every connection at once, finished or not, and returns when they are closed.
    pub async fn stop(mut self) {
        self.task.abort();
        if let Err(ended) = (&mut self.task).await
            && !ended.is_cancelled()
        {
            tracing::error!("the admin server had failed");
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts for ever. All connections end with this future.
async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                oldest_first.retain(|connection| !connection.is_finished());
                if oldest_first.len() >= CONNECTIONS
                    && let Some(oldest) = oldest_first.pop_front()
                {
                    oldest.abort();
                }
                oldest_first.push_back(connections.spawn(serve(stream, router.clone())));
            }
            Err(error) => {
                tracing::debug!(%error, "the admin server could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection: one request, within its time.
async fn serve(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection failed"),
        Err(_) => tracing::debug!("an admin connection took too long"),
    }
}

fn router(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .with_state(sources)
}

async fn index() -> Response {
    answer(StatusCode::OK, "text/html; charset=utf-8", INDEX)
}

async fn metrics(State(sources): State<Arc<Sources>>) -> Response {
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", sources.metrics.render())
}

async fn livez(State(sources): State<Arc<Sources>>) -> Response {
    let liveness = sources.health.liveness();
    json(ok_or_unavailable(liveness.live), &liveness)
}

async fn readyz(State(sources): State<Arc<Sources>>) -> Response {
    let readiness = sources.health.readiness();
    json(ok_or_unavailable(readiness.ready), &readiness)
}

async fn status(State(sources): State<Arc<Sources>>) -> Response {
    json(StatusCode::OK, &sources.health.status(&sources.metrics))
}

fn ok_or_unavailable(ok: bool) -> StatusCode {
    if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(body) => answer(status, "application/json", body),
        Err(error) => {
            tracing::error!(%error, "an admin answer cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: impl IntoResponse) -> Response {
    (status, HEADERS, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
