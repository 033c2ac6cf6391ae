//! The log: to stderr, text on a terminal, JSON otherwise.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;

use super::exit::Failure;
use crate::config::{Log, LogFormat};

static STARTED: AtomicBool = AtomicBool::new(false);

/// Starts the log, once in a process.
pub(super) fn start(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.level);
    let filter = filter.map_err(|error| Failure::Config(format!("log.level: {error}")))?;
    let terminal = io::stderr().is_terminal();
    // What cannot be logged is lost; the default would report that on stderr, and panic where stderr is what fails.
    let lines = tracing_subscriber::fmt().log_internal_errors(false);
    let lines = lines.with_env_filter(filter).with_writer(io::stderr);
    let started = match log.format {
        LogFormat::Auto if terminal => lines.with_ansi(true).try_init(),
        LogFormat::Text => lines.with_ansi(terminal).try_init(),
        LogFormat::Auto | LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::Internal(format!("the log cannot start: {error}")))?;
    STARTED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Whether errors belong into the log.
pub(super) fn is_started() -> bool {
    STARTED.load(Ordering::Relaxed)
}
