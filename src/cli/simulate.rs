//! `embedstream simulate`: the simulated provider alone.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use super::runtime;
use crate::simulator::{Faults, FaultsError, MOST_DIMENSIONS, Settings, Simulator};

const AFTER_HELP: &str = "\
It answers POST /v1/embeddings as OpenRouter does, counts tokens exactly, and keeps a ledger of what it was asked at /ledger. Its \
vectors are lexical: hashed words and character n-grams, so that texts with the same words are near each other. They are no model's.

A worker uses it with provider.url: http://127.0.0.1:8089/v1 (or EMBEDSTREAM__PROVIDER__URL).

A fault script is YAML or JSON; the first rule that fits a call decides:
  - when: {contains: \"[[poison]]\"}
    then: {status: 400}
  - when: {every: 10}
    then: {status: 429, retry_after: 1}
  - when: {after: 10s, until: 70s}
    then: {reset: true}";

/// The arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Simulate {
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8089")]
    listen: SocketAddr,
    /// How long each answer takes, such as 200ms or 2s
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = humantime::parse_duration)]
    latency: Duration,
    /// Calls allowed in a minute; more are answered 429 with Retry-After
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests_per_minute: Option<u64>,
    /// Tokens allowed in a minute; more are answered 429 with Retry-After
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tokens_per_minute: Option<u64>,
    /// The length of the vectors
    #[arg(long, value_name = "D", default_value_t = 2560)]
    dimensions: usize,
    /// What goes wrong: a fault script
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// The only key that is accepted; without it every key is, and none
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

pub(super) fn run(args: &Simulate) -> Result<(), Failure> {
    if !(1..=MOST_DIMENSIONS).contains(&args.dimensions) {
        return Err(Failure::Usage(format!(
            "--dimensions {} is out of range: 1 to {MOST_DIMENSIONS}",
            args.dimensions
        )));
    }
    let faults = match &args.faults {
        None => Faults::none(),
        Some(path) => Faults::load(path).map_err(|error| match error {
            FaultsError::File { .. } => Failure::Config(error.to_string()),
            _ => Failure::Config(format!("--faults {}: {error}", path.display())),
        })?,
    };
    let settings = Settings {
        latency: args.latency,
        requests_per_minute: args.requests_per_minute,
        tokens_per_minute: args.tokens_per_minute,
        dimensions: args.dimensions,
        faults,
        key: args.key.clone(),
        ..Settings::default()
    };
    let shutdown = crate::signals::Shutdown::listen(Duration::from_secs(5))
        .map_err(|error| Failure::Internal(format!("signals cannot be watched: {error}")))?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let listen = args.listen;
        let simulator = Simulator::start(listen, settings).await;
        let simulator =
            simulator.map_err(|error| Failure::Unavailable(format!("--listen {listen}: {error}")))?;
        // Whoever started this may not read it.
        writeln!(io::stdout(), "simulated provider: {} (lexical vectors, no model)", simulator.url())
            .and_then(|()| io::stdout().flush())
            .unwrap_or_default();
        shutdown.first().await;
        simulator.stop().await;
        Ok(())
    })
}
