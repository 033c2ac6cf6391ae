//! `embedstream simulate`: the simulated provider alone.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use super::{listen, runtime};
use crate::simulator::{Faults, FaultsError, Hints, MOST_DIMENSIONS, Profile, Settings, Simulator};

const AFTER_HELP: &str = "\
It answers POST /v1/embeddings as OpenRouter does, or as the server of --profile, with its limits and the shape of its errors; \
counts tokens exactly, and keeps a ledger of what it was asked and has billed, in all and for each key, at /ledger. Its \
vectors are lexical: hashed words and character n-grams, so that texts with the same words are near each other. They are no model's.

A worker uses it with provider.url: http://127.0.0.1:8089/v1 (or EMBEDSTREAM__PROVIDER__URL).

A fault script is YAML or JSON; the first rule that fits a call decides:
  - when: {contains: \"[[poison]]\"}
    then: {status: 400}
  - when: {every: 10}
    then: {status: 429, retry_after: 1}
  - when: {after: 10s, until: 70s}
    then: {reset: true}

when: every, from, to, times (counts of calls), contains, inputs_over, bytes_over, after, until, until_quiet, probability.
then, with anything: delay, delay_each, headers, retry_after, prefix, close_at_reuse.
then, instead of an answer: status with body, html, error_in_200, reset, hang.
then, a body that comes badly: cut_body_at with announced, stall_body_at, trickle, gzip_cut.
then, an answer that is bent: empty_data, drop_last, extra, shuffle, no_index, non_finite, zero, dimensions, no_usage, usage, model, \
unnormalised, noise, previous, index (duplicate, one_based, strings, one_missing), vector (nulls, nil, nan, empty, short, overflow, \
nested; the first one only), encoding (float, base64, byte_short, unpadded, url_safe, big_endian).";

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
    /// The only key that is accepted; without it every key is, and none. Limits are each key's own
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What kind of server it is: openrouter, openai, azure, tei, vllm, ollama, llamacpp, siliconflow, mistral or infinity. What else the worker has
    /// profiles for answers much as OpenAI does: take openai
    #[arg(long, value_name = "NAME", default_value = "openrouter")]
    profile: Profile,
    /// What a 429 of the limits tells: all, none (the limits are hidden), retry_after, openrouter or openai; without it what the
    /// profile's server tells
    #[arg(long, value_name = "KIND")]
    hints: Option<Hints>,
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
        profile: args.profile,
        hints: args.hints,
        ..Settings::default()
    };
    let shutdown = listen()?;
    shutdown.within(Duration::from_secs(5));
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
