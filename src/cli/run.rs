//! `embedstream run`: the worker.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tracing::info;

use super::exit::Failure;
use super::{ConfigArgs, about, listen, log, runtime};
use crate::admin::{Admin, Health};
use crate::config::Config;
use crate::provider::client::Client;
use crate::signals::{self, Shutdown};
use crate::worker::{self, Reading};

/// What the process waits beyond the drain's own deadline before it ends whatever the threads do.
const BEYOND: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    config: ConfigArgs,
    /// End once everything is done that is in the input topics at the start
    #[arg(long, overrides_with = "until_end")]
    until_end: bool,
}

pub(super) fn run(args: &Run) -> Result<(), Failure> {
    // First of all: in a container, what comes before that is lost.
    let shutdown = listen()?;
    let config = Arc::new(args.config.load()?);
    // Before the first line of the log: a file that is no tokenizer is a mistake in the settings.
    let reading = worker::intake(&config)?;
    log::start(&config.log)?;
    signals::exit_on_panic(crate::kafka::panic_is_caught);
    shutdown.within(config.shutdown_deadline.saturating_add(BEYOND));
    info!(version = env!("CARGO_PKG_VERSION"), settings = args.config.name(), "starting");
    let runtime = runtime()?;
    let ended = runtime.block_on(work(config, reading, &shutdown, args.until_end));
    // A question to an unreachable broker may still be under way; nothing is waited for any more.
    runtime.shutdown_background();
    match &ended {
        Ok(()) => info!("drained; everything paid for is published and committed"),
        Err(failure) => info!(code = failure.code(), "ending"),
    }
    ended
}

async fn work(
    config: Arc<Config>,
    reading: Reading,
    shutdown: &Shutdown,
    until_end: bool,
) -> Result<(), Failure> {
    let metrics = Arc::new(worker::metrics(&config));
    let health = Arc::new(Health::new());
    let embedder = Arc::new(client(&config)?);
    let admin = match config.admin.listen {
        None => None,
        Some(listen) => {
            let admin = Admin::start(listen, Arc::clone(&metrics), Arc::clone(&health)).await;
            let admin = admin.map_err(|error| Failure::Unavailable(error.to_string()))?;
            info!(address = %admin.addr(), "answering /metrics, /livez, /readyz and /status");
            Some(admin)
        }
    };
    about::log(&config, &embedder).await?;
    let backlog = if until_end {
        tokio::select! {
            taken = worker::backlog(Arc::clone(&config)) => Some(taken?),
            () = shutdown.first() => return Err(Failure::Unfinished),
        }
    } else {
        None
    };
    let mut unfinished = backlog.is_some();
    let told = Arc::clone(&health);
    let enough = async {
        let through = async {
            match backlog {
                Some(backlog) => worker::work_off(backlog, told).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.first() => {}
            () = through => unfinished = false,
        }
    };
    let ended = worker::run(config, embedder, metrics, health, reading, enough).await?;
    if let Some(admin) = admin {
        admin.stop().await;
    }
    match Failure::of(ended) {
        // Whoever stopped it must not take it for done: Kubernetes counts a Job whose evicted pod ends with 0 as complete.
        Ok(()) if unfinished => Err(Failure::Unfinished),
        ended => ended,
    }
}

/// The client of the settings' provider.
pub(super) fn client(config: &Config) -> Result<Client, Failure> {
    let provider = config.provider.clone();
    let read_key = move || provider.read_key();
    Ok(Client::new(&config.provider, read_key, config.batch.max_records, config.retry.hint_cap)?)
}
