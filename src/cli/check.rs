//! `embedstream check`: the settings, and with `--connect` everything they point to.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::exit::{self, Failure};
use super::{ConfigArgs, about, run, runtime};
use crate::config::Config;
use crate::kafka::preflight::{self, Preflight, PreflightError, Topics};
use crate::provider::{Embedder as _, SuspendReason, Verdict};
use crate::worker;

/// What is embedded to see whether the provider works.
const WORD: &str = "word";

const AFTER_HELP: &str = "\
Prints a line for each thing it looked at: ok, FAILED and what to do, or a note. All wrong settings are told at once. With --connect \
it asks the brokers for every topic (for up to 30 s while nobody answers) and has the provider embed one word, which costs one or \
two tokens. It joins no group and writes nothing.

Exit code 0: all is well. 78: a setting is wrong, or the provider refuses it. 69: something cannot be reached, or a topic is missing.";

/// The arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Also try brokers, topics and provider
    #[arg(long)]
    connect: bool,
}

/// What was seen so far. The first failure decides the exit code.
#[derive(Default)]
struct Report {
    passed: usize,
    failed: usize,
    code: Option<u8>,
}

impl Report {
    fn ok(&mut self, what: &str, found: impl std::fmt::Display) {
        self.passed += 1;
        line(&format!("ok      {what:<10} {found}"));
    }

    fn note(&self, what: &str, found: impl std::fmt::Display) {
        line(&format!("note    {what:<10} {found}"));
    }

    fn failed(&mut self, what: &str, failure: &Failure) {
        self.failed += 1;
        line(&format!("FAILED  {what:<10} {failure}"));
        self.code.get_or_insert_with(|| failure.code());
    }
}

/// Whoever started this may have stopped reading; the exit code tells as well.
fn line(text: &str) {
    writeln!(io::stdout(), "{text}").unwrap_or_default();
}

pub(super) fn run(args: &Check) -> Result<(), Failure> {
    let mut report = Report::default();
    let config = args.config.load()?;
    report.ok("settings", args.config.name());
    report.note("profile", effective(&config));
    match worker::counting(&config) {
        Ok(counting) => report.ok("tokens", counting),
        Err(error) => report.failed("tokens", &error.into()),
    }
    if args.connect {
        let reached = kafka(&config, &mut report);
        let runtime = runtime()?;
        runtime.block_on(async {
            if reached {
                sizes(&config, &report).await;
            }
            provider(&config, &mut report).await;
        });
    }
    let Report { passed, failed, code } = report;
    code.map_or(Ok(()), |code| Err(Failure::Checks { failed, passed, code }))
}

/// What holds after profile, file and environment.
fn effective(config: &Config) -> String {
    let (provider, batch) = (&config.provider, &config.batch);
    let price = provider.usd_per_million_tokens;
    let price = if price > 0.0 { format!("${price}/1M tokens") } else { "no price set".to_owned() };
    format!(
        "{}: {} records, {} tokens, {} in a call; {} tokens in a text; key in {}; {price}",
        provider.profile,
        batch.max_records,
        batch.max_tokens,
        batch.max_bytes,
        provider.context_tokens.min(batch.max_tokens),
        provider.key_header,
    )
}

/// Whether all topics are there.
fn kafka(config: &Config, report: &mut Report) -> bool {
    let mut preflight = match Preflight::new(config) {
        Ok(preflight) => preflight,
        Err(error) => {
            report.failed("kafka", &error.into());
            return false;
        }
    };
    let mut topics = Topics::default();
    let mut complete = true;
    for (key, topic) in preflight::names(config) {
        match preflight.ask(key, topic) {
            Ok(found) => {
                if topics.brokers == 0 {
                    report.ok(
                        "brokers",
                        format_args!("{} ({} in the cluster)", config.kafka.brokers, found.brokers),
                    );
                }
                topics.brokers = found.brokers;
                topics.partitions.push((topic.to_owned(), found.partitions));
                report.ok("topic", format_args!("{topic}: {} (kafka.{key})", partitions(found.partitions)));
            }
            // Nobody would answer the next question either.
            Err(error @ PreflightError::Unreachable { .. }) => {
                report.failed("brokers", &error.into());
                return false;
            }
            Err(error) => {
                complete = false;
                report.failed("topic", &error.into());
            }
        }
    }
    if complete && let Err(error) = preflight::fits(config, &topics) {
        report.failed("topics", &error.into());
    }
    complete
}

/// A topic that takes smaller records than the worker may write is worth a word: what it refuses is dead-lettered.
async fn sizes(config: &Config, report: &Report) {
    let kafka_settings = &config.kafka;
    let ours = crate::kafka::largest_record(kafka_settings);
    let topics = [
        (&kafka_settings.output_topic, "output becomes a dead letter"),
        (&kafka_settings.dead_letter_topic, "dead letter holds its partition"),
    ];
    for (topic, fate) in topics {
        let limit = preflight::largest_record(config, topic).await;
        if let Some(limit) = limit.filter(|limit| *limit < ours) {
            report.note(
                "topic",
                format_args!(
                    "{topic} takes records of up to {limit} bytes (max.message.bytes): a larger {fate}"
                ),
            );
        }
    }
}

fn partitions(count: usize) -> String {
    if count == 1 { "1 partition".to_owned() } else { format!("{count} partitions") }
}

async fn provider(config: &Config, report: &mut Report) {
    let client = match run::client(config) {
        Ok(client) => client,
        Err(failure) => return report.failed("provider", &failure),
    };
    match about::ask(config, &client).await {
        Ok(found) => {
            for note in found.notes.iter().chain(&found.warnings) {
                report.note("provider", note);
            }
        }
        Err(failure) => return report.failed("provider", &failure),
    }
    let begun = Instant::now();
    let answer = client.send(client.body(&[WORD])).await;
    let took = begun.elapsed();
    match answer.and_then(|answer| client.read(&answer, 1)) {
        Ok(embeddings) => {
            let dimensions = embeddings.vectors.first().map_or(0, Vec::len);
            let tokens = embeddings.tokens.map_or_else(String::new, |tokens| format!(", {tokens} tokens"));
            report.ok(
                "provider",
                format_args!(
                    "{} at {}: {dimensions} dimensions in {}{tokens}",
                    config.provider.model,
                    client.address(),
                    milliseconds(took)
                ),
            );
        }
        Err(failure) => {
            let failure = match failure.verdict {
                Verdict::Suspend { why, .. } => Failure::refused(why, &failure.message),
                Verdict::Bisect { otherwise, .. } => Failure::refused(otherwise, &failure.message),
                Verdict::Retry { meanwhile: why @ SuspendReason::WrongDimensions, .. } => {
                    Failure::refused(why, &failure.message)
                }
                // It may pass by itself: the worker would wait.
                Verdict::Retry { meanwhile, .. } => Failure::Unavailable(format!(
                    "the provider: {}; the worker would wait and try again; {}",
                    failure.message,
                    exit::advice(meanwhile)
                )),
                Verdict::Shrink(_) => Failure::refused(SuspendReason::BadRequest, &failure.message),
            };
            report.failed("provider", &failure);
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}
