//! The commands: `run`, `demo`, `check` and `simulate`, one file each.
//!
//! Results go to stdout, logs and errors to stderr. Every command ends with a code of `exit`.

mod about;
mod check;
mod demo;
mod exit;
mod log;
mod run;
mod simulate;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use exit::Failure;

use crate::signals::Shutdown;

const AFTER_HELP: &str = "\
Exit codes:
  0   done; also after a clean drain on SIGTERM or SIGINT
  64  the command line is wrong
  69  brokers, topics, provider or an address are not available at the start
  70  an error within: please report it
  75  the drain was cut short, by shutdown_deadline, a second signal or an outage; or run --until-end was
      told to end before it was through
  78  the configuration is wrong

`embedstream demo` needs no Kafka, key or network: begin there. Then write a settings file, try it with
`embedstream check --config FILE --connect`, and start `embedstream run --config FILE`.";

const RUN_HELP: &str = "\
The file is YAML (.yaml, .yml) or TOML (.toml). What it leaves out has its default; deploy/config.yaml shows every key. Each \
setting can also come from a variable, EMBEDSTREAM__SECTION__KEY; variables come before the file:

  EMBEDSTREAM__KAFKA__BROKERS=broker:9092 embedstream run --config config.yaml

The provider's key comes from EMBEDSTREAM__PROVIDER__API_KEY, or the file that provider.api_key_file names, or OPENROUTER_API_KEY.

The topics must exist. The log goes to stderr: text on a terminal, JSON otherwise. Health and figures are at \
http://127.0.0.1:9464 (admin.listen): /readyz, /livez, /status, /metrics.

With --until-end it ends by itself, with 0, once every record is published (or a dead letter) and committed that was in the input \
topics at the start: for a backfill, a test, a Kubernetes Job. Other members of the group may do a part of it. Records that come \
later may be embedded too.

SIGTERM or SIGINT drains: calls that are under way are finished, published and committed, within shutdown_deadline. A second \
signal cuts that short. The exit codes are in `embedstream --help`.";

#[derive(Debug, Parser)]
#[command(
    name = "embedstream",
    version,
    about = "Kafka in, vectors out: embeds the text records of a topic and publishes the vectors to another",
    after_help = AFTER_HELP,
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the worker until it is told to end by SIGTERM or Ctrl-C
    #[command(after_help = RUN_HELP)]
    Run(run::Run),
    /// Try it out, all on this machine: the worker, an embedded Kafka, a simulated provider
    Demo(demo::Demo),
    /// Validate the settings; with --connect also try brokers, topics and provider
    Check(check::Check),
    /// Run the simulated provider alone: an OpenAI-compatible server of lexical vectors, with limits and faults
    Simulate(simulate::Simulate),
}

/// Where the settings are.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// The settings, YAML or TOML; without it, the defaults and the environment
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Carries out a command line; the program's name comes first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Where nobody reads what is printed, the code still tells.
            error.print().unwrap_or_default();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(exit::USAGE),
            };
        }
    };
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Simulate(args) => simulate::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure);
            ExitCode::from(failure.code())
        }
    }
}

/// An error goes to the log where there is one, which may be read by machines, and to the terminal otherwise.
fn tell(failure: &Failure) {
    if log::is_started() {
        tracing::error!(exit_code = failure.code(), "{failure}");
    } else {
        for line in failure.to_string().lines() {
            writeln!(io::stderr(), "embedstream: {line}").unwrap_or_default();
        }
    }
}

impl ConfigArgs {
    fn load(&self) -> Result<crate::config::Config, Failure> {
        let config = crate::config::Config::load(self.config.as_deref(), std::env::vars_os())?;
        crate::kafka::refusal::check(&config.kafka)
            .map_err(|refused| Failure::Config(refused.to_string()))?;
        Ok(config)
    }

    /// How the settings are called in what is printed.
    fn name(&self) -> String {
        self.config
            .as_ref()
            .map_or_else(|| "defaults and environment".to_owned(), |path| path.display().to_string())
    }
}

/// Threads beside the cores for blocking work that computes nothing: questions to the broker, names to resolve.
const WAITING_THREADS: usize = 4;

/// Takes the signals over.
fn listen() -> Result<Shutdown, Failure> {
    Shutdown::listen().map_err(|error| Failure::Internal(format!("signals cannot be watched: {error}")))
}

/// A runtime for a command. Answers are read on as many threads as there are cores, and a few: more would not be faster, and each holds
/// an answer's memory, and an arena of the allocator for good.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(cores + WAITING_THREADS)
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::Internal(format!("no runtime: {error}")))
}

#[cfg(test)]
mod tests;
