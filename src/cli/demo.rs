//! `embedstream demo`: the worker, unchanged, between librdkafka's mock cluster and the simulated provider.

mod feed;
mod latencies;
mod opening;
mod reader;
mod screen;
mod settings;
mod shelf;
mod stage;
mod summary;

use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use super::{listen, runtime};
use crate::signals;
use crate::simulator::corpus;

const AFTER_HELP: &str = "\
It runs the worker of `embedstream run` on loopback: records go through an embedded Kafka (librdkafka's mock cluster), intake, \
batches and calls over HTTP to a simulated provider, and their vectors to an output topic, which is read and searched at the end. \
The records are 348 texts written for this (tickets, notes, log lines, two dozen languages), with updates and deletes of earlier \
keys, blank ones, and one that makes the provider refuse its whole batch; --records repeats them with other keys.

Simulated vectors are lexical: hashed words and character n-grams. What is near shares words; no model was asked. With --live it \
is OpenRouter's qwen/qwen3-embedding-4b, for money: the price is printed first, and is below a tenth of a cent by default.

  embedstream demo                                  as fast as it goes
  embedstream demo --rate 200 --linger              like life; look at http://127.0.0.1:9464/metrics
  embedstream demo --query 'plants arrived frozen'
  embedstream demo --json | tail -n 1 | jq .hits";

/// How often the corpus is fed by default.
const ROUNDS: usize = 10;

/// What the process waits beyond the drain's own deadline before it ends whatever the threads do.
const BEYOND: Duration = Duration::from_secs(2);

/// The longest query, in bytes.
const LONGEST_QUERY: usize = 16 << 10;

/// The arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Demo {
    /// How many records to feed; the corpus of 348 is repeated as needed [default: 3480, with --live 348]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = records)]
    records: Option<usize>,
    /// Records fed in a second; 0: as fast as they are taken
    #[arg(long, value_name = "R", default_value = "0", allow_negative_numbers = true, value_parser = rate)]
    rate: f64,
    /// What to search for in the output topic at the end
    #[arg(long, value_name = "TEXT", default_value = corpus::QUERY, value_parser = query)]
    query: String,
    /// End with one line of JSON on stdout; everything else goes to stderr
    #[arg(long)]
    json: bool,
    /// Stay up after the end, with the admin address (and, with --rate, feeding) until Ctrl-C
    #[arg(long)]
    linger: bool,
    /// Call OpenRouter with the key in OPENROUTER_API_KEY instead of the simulated provider
    #[arg(long)]
    live: bool,
}

impl Demo {
    fn records(&self) -> usize {
        let rounds = if self.live { 1 } else { ROUNDS };
        self.records.unwrap_or_else(|| rounds * corpus::records().len())
    }

    fn rate(&self) -> Option<f64> {
        (self.rate > 0.0).then_some(self.rate)
    }
}

pub(super) fn run(args: &Demo) -> Result<(), Failure> {
    let shutdown = listen()?;
    let live = args.live.then(|| settings::live(std::env::vars_os())).transpose()?;
    signals::exit_on_panic(crate::kafka::panic_is_caught);
    shutdown.within(crate::config::Config::default().shutdown_deadline.saturating_add(BEYOND));
    let runtime = runtime()?;
    let ended = runtime.block_on(stage::play(args, live, &shutdown));
    runtime.shutdown_background();
    ended
}

fn records(text: &str) -> Result<usize, String> {
    let most = 100_000_000;
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("a whole number from 1 to {most}"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    let rate = rate.filter(|rate| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| "records a second, such as 200 or 0.5; 0 is as fast as possible".to_owned())
}

fn query(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a text to search for, not blank".to_owned());
    }
    if text.len() > LONGEST_QUERY {
        return Err(format!("a text of at most {LONGEST_QUERY} bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        demo: Demo,
    }

    fn parse(arguments: &[&str]) -> Result<Demo, String> {
        let line = Line::try_parse_from(["demo"].iter().chain(arguments));
        line.map(|line| line.demo).map_err(|error| error.to_string())
    }

    #[test]
    fn it_needs_no_argument() {
        let demo = parse(&[]).unwrap();
        assert_eq!((demo.records(), demo.rate()), (3_480, None));
        assert_eq!(demo.query, corpus::QUERY);
        assert_eq!(parse(&["--live"]).unwrap().records(), 348);
        assert_eq!(parse(&["--rate", "0"]).unwrap().rate(), None);
        assert_eq!(parse(&["--rate", "0.5", "--records", "7"]).unwrap().rate(), Some(0.5));
    }

    #[test]
    fn what_cannot_be_is_refused_and_said() {
        for (arguments, word) in [
            (["--records", "0"], "from 1 to"),
            (["--records", "-1"], "from 1 to"),
            (["--records", "1.5"], "from 1 to"),
            (["--records", "1e3"], "from 1 to"),
            (["--rate", "-1"], "records a second"),
            (["--rate", "NaN"], "records a second"),
            (["--rate", "inf"], "records a second"),
            (["--rate", "fast"], "records a second"),
            (["--query", " \n"], "not blank"),
        ] {
            let refused = parse(&arguments).unwrap_err();
            assert!(refused.contains(word) && refused.contains(arguments[0]), "{arguments:?}: {refused}");
        }
        let long = "x".repeat(LONGEST_QUERY + 1);
        assert!(parse(&["--query", &long]).unwrap_err().contains("at most"));
    }
}
