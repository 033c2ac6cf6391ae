//! Before the play: the provider, the admin server, the query's vector, and what is said about them.

use std::sync::Arc;
use std::time::Duration;

use super::screen::{Screen, WIDTH, cut, thousands};
use super::settings::{DEAD_LETTERS, INPUT, INPUT_PARTITIONS, OUTPUT};
use crate::admin::{Admin, Health};
use crate::cli::exit::{Failure, advice};
use crate::config::Config;
use crate::domain::tokens::Tokenizer;
use crate::metrics::Metrics;
use crate::provider::client::Client;
use crate::provider::{Embedder as _, Verdict};
use crate::simulator::{self, Faults, Running, Simulator, corpus};

/// How long a simulated call takes: enough for calls to overlap.
const LATENCY: Duration = Duration::from_millis(60);

/// A provider on loopback that refuses the poison record and its batch, and its base URL.
///
/// # Errors
/// Loopback has no free port.
pub(super) async fn simulate() -> Result<(Option<Running>, String), Failure> {
    let settings = simulator::Settings { latency: LATENCY, faults: Faults::demo(), ..Default::default() };
    let provider = Simulator::start(([127, 0, 0, 1], 0).into(), settings).await;
    let provider =
        provider.map_err(|error| Failure::Unavailable(format!("the simulated provider: {error}")))?;
    let url = provider.url();
    Ok((Some(provider), url))
}

/// Answers at the usual address, or at any where somebody else has that.
///
/// # Errors
/// No address can be listened on.
pub(super) async fn admin(
    config: &mut Config,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
) -> Result<Admin, Failure> {
    let any = ([127, 0, 0, 1], 0).into();
    let listen = config.admin.listen.unwrap_or(any);
    let admin = match Admin::start(listen, Arc::clone(metrics), Arc::clone(health)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Admin::start(any, Arc::clone(metrics), Arc::clone(health)).await
        }
        started => started,
    };
    let admin = admin.map_err(|error| Failure::Unavailable(error.to_string()))?;
    config.admin.listen = Some(admin.addr());
    Ok(admin)
}

/// Says what is on the stage and, where it costs money, how much.
///
/// # Errors
/// The tokens could not be counted.
pub(super) async fn introduce(
    screen: &Screen,
    config: &Config,
    records: usize,
    live: bool,
) -> Result<(), Failure> {
    let provider = &config.provider;
    if live {
        let tokens = tokio::task::spawn_blocking(move || tokens(records)).await;
        let tokens = tokens.map_err(|error| Failure::Internal(error.to_string()))?;
        let price = tokens * provider.usd_per_million_tokens / 1e6;
        screen.say("The worker between an embedded Kafka and OpenRouter, for money.");
        screen.say(&format!(
            "It will cost about ${price:.6}: {} tokens at ${} a million.\n",
            thousands(tokens.round() as u64),
            provider.usd_per_million_tokens
        ));
    } else {
        screen.say("The worker, unchanged, between an embedded Kafka and a simulated provider: real");
        screen.say("records, batches, HTTP calls and positions; lexical vectors, not a model's.\n");
    }
    let fed = format!("{INPUT}: {} records in {INPUT_PARTITIONS} partitions", thousands(records as u64));
    screen.say(&format!("  input     {fed}"));
    let address = if live {
        provider.url.to_string()
    } else {
        format!("{} (answers after {} ms)", provider.url, LATENCY.as_millis())
    };
    screen.say(&cut(&format!("  provider  {address}"), WIDTH));
    screen.say(&format!("  output    {OUTPUT}, {DEAD_LETTERS}"));
    Ok(())
}

/// The tokens of so many records, by those of one round.
fn tokens(records: usize) -> f64 {
    let round = corpus::records();
    let tokenizer = Tokenizer::qwen3();
    let count = |part: &[corpus::CorpusRecord]| {
        let documents = part.iter().filter(|record| record.fate() != corpus::Fate::Skipped);
        let documents = documents.filter_map(|record| record.document.as_ref());
        documents.map(|document| f64::from(tokenizer.count(&document.text()))).sum::<f64>()
    };
    (records / round.len()) as f64 * count(&round) + count(&round[..records % round.len()])
}

/// The query's vector, from the same provider.
///
/// # Errors
/// The provider refuses it, or cannot be reached.
pub(super) async fn embed(client: &Client, query: &str) -> Result<Vec<f32>, Failure> {
    let answer = client.send(client.body(&[query])).await;
    let embeddings = answer.and_then(|answer| client.read(&answer, 1));
    match embeddings {
        Ok(mut embeddings) => {
            embeddings.vectors.pop().ok_or_else(|| Failure::Internal("the query has no vector".to_owned()))
        }
        Err(failure) => Err(match failure.verdict {
            Verdict::Suspend { why, .. } => Failure::refused(why, &failure.message),
            Verdict::Retry { meanwhile, .. } => Failure::Unavailable(format!(
                "the provider does not embed the query: {}; {}",
                failure.message,
                advice(meanwhile)
            )),
            Verdict::Bisect { .. } | Verdict::Shrink(_) => {
                Failure::Usage(format!("--query: the provider refuses it: {}", failure.message))
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_known_before_it_is_paid() {
        let round = corpus::records().len();
        let one = tokens(round);
        assert!((15_000.0..40_000.0).contains(&one), "{one}");
        assert_eq!(tokens(2 * round), 2.0 * one);
        assert!(tokens(round + 1) > one && tokens(1) < 300.0);
    }
}
