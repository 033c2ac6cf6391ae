//! What no single setting can know: ranges, and settings that contradict each other.

mod kafka;
mod provider;
mod routing;

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::Problem;
use super::units::Size;
use super::{Config, Format, Input, Rate, Retry, scalar};

/// The longest time that any setting may say.
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
const MILLISECOND: Duration = Duration::from_millis(1);
/// The longest period of a rate.
const MONTH: Duration = Duration::from_secs(31 * 86_400);

/// Everything that is wrong with these settings.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut checks = Checks { problems: Vec::new() };
    kafka::check(&mut checks, config);
    input(&mut checks, &config.input);
    batch_and_limits(&mut checks, config);
    provider::check(&mut checks, &config.provider);
    retry(&mut checks, &config.retry);
    checks.time("shutdown_deadline", config.shutdown_deadline, MILLISECOND..=HOUR);
    log_level(&mut checks, &config.log.level);
    checks.problems
}

/// The problems found so far.
struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    fn problem(&mut self, key: &str, message: impl Display) {
        self.problems.push(Problem::with(key, message));
    }

    fn range<T: PartialOrd + Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        if !range.contains(&value) {
            let message = format!("{value} is out of range: {} to {}", range.start(), range.end());
            self.problem(key, message);
        }
    }

    fn time(&mut self, key: &str, value: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&value) {
            let (from, to) = (text(*range.start()), text(*range.end()));
            self.problem(key, format_args!("{} is out of range: {from} to {to}", text(value)));
        }
    }

    /// Text that is not blank and has no control characters.
    fn visible(&mut self, key: &str, value: &str) {
        if value.trim().is_empty() {
            self.problem(key, "must not be empty");
        } else if value.chars().any(char::is_control) {
            self.problem(key, format_args!("{} holds a control character", scalar::quoted(value)));
        }
    }

    /// Two settings of which the first may not be the larger.
    fn at_most<T: PartialOrd>(
        &mut self,
        (small_key, small): (&str, T),
        (large_key, large): (&str, T),
        shown: impl Fn(&T) -> String,
    ) {
        if small > large {
            let (small, large) = (shown(&small), shown(&large));
            self.problem(small_key, format_args!("{small} is more than {large_key}: {large}"));
        }
    }
}

fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn input(checks: &mut Checks, input: &Input) {
    if input.format != Format::Json {
        return;
    }
    if input.text.is_empty() {
        checks.problem(
            "input.text",
            "is empty, and input.format: json needs pointers to the text; write for example [/title, /body]",
        );
    }
    for (key, pointers) in [("input.text", &input.text), ("input.payload", &input.payload)] {
        for pointer in pointers {
            if let Some(wrong) = pointer_error(pointer) {
                checks
                    .problem(key, format_args!("{} is not a JSON pointer: {wrong}", scalar::quoted(pointer)));
            }
        }
    }
    same_names(checks, &input.payload);
    let longest = 1 << 10;
    if input.separator.len() > longest {
        checks.problem("input.separator", format_args!("is longer than {longest} bytes"));
    }
}

/// A payload field is kept under the last name of its pointer: of two with one name, the second would be lost.
fn same_names(checks: &mut Checks, pointers: &[String]) {
    let mut kept: Vec<(String, &str)> = Vec::new();
    for pointer in pointers {
        let name = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        match kept.iter().find(|(known, _)| *known == name) {
            Some((_, first)) => checks.problem(
                "input.payload",
                format_args!(
                    "{} and {} would both be kept as {}; keep one of them",
                    scalar::quoted(first),
                    scalar::quoted(pointer),
                    scalar::quoted(&name)
                ),
            ),
            None => kept.push((name, pointer)),
        }
    }
}

/// What is wrong with a JSON pointer (RFC 6901). An empty one is the whole value.
fn pointer_error(pointer: &str) -> Option<&'static str> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Some("it begins with a /, for example /title");
    }
    let mut after_tilde = pointer.split('~').skip(1);
    after_tilde
        .any(|rest| !rest.starts_with(['0', '1']))
        .then_some("a ~ in a name is written ~0, and a / is written ~1")
}

fn batch_and_limits(checks: &mut Checks, config: &Config) {
    let (batch, limits) = (&config.batch, &config.limits);
    checks.range("batch.max_tokens", batch.max_tokens, 1..=100_000_000);
    checks.range("batch.max_records", batch.max_records, 1..=2_048);
    checks.range("batch.max_bytes", batch.max_bytes, Size(1)..=Size(1 << 30));
    checks.time("batch.linger", batch.linger, Duration::ZERO..=HOUR);
    checks.range("limits.in_flight", limits.in_flight, 1..=1_024);
    checks.range("limits.max_in_flight_bytes", limits.max_in_flight_bytes, Size(1 << 10)..=Size(1 << 40));
    checks.range("limits.max_uncommitted", limits.max_uncommitted, 1..=10_000_000);
    for (key, rate) in [("limits.requests", limits.requests), ("limits.tokens", limits.tokens)] {
        if let Some(rate) = rate {
            rate_range(checks, key, rate);
        }
    }
    if let Some(rate) = limits.tokens
        && batch.max_tokens > rate.amount
    {
        checks.problem(
            "batch.max_tokens",
            format_args!(
                "{} is more than one period of limits.tokens: {rate} lets through; such a batch could never be sent",
                batch.max_tokens
            ),
        );
    }
    if batch.max_records > limits.max_uncommitted {
        checks.problem(
            "limits.max_uncommitted",
            format_args!(
                "{} is less than batch.max_records: {}; a batch could never fill",
                limits.max_uncommitted, batch.max_records
            ),
        );
    }
}

fn rate_range(checks: &mut Checks, key: &str, rate: Rate) {
    let amounts = 1..=1_000_000_000_000;
    if !amounts.contains(&rate.amount) {
        checks.problem(
            key,
            format_args!("{rate} is out of range: {} to {} in a period", amounts.start(), amounts.end()),
        );
    }
    let periods = MILLISECOND..=MONTH;
    if !periods.contains(&rate.period) {
        let (from, to) = (text(*periods.start()), text(*periods.end()));
        checks.problem(key, format_args!("{rate} is out of range: a period is {from} to {to}"));
    }
}

fn retry(checks: &mut Checks, retry: &Retry) {
    checks.time("retry.base", retry.base, MILLISECOND..=HOUR);
    checks.time("retry.cap", retry.cap, MILLISECOND..=DAY);
    checks.at_most(("retry.base", retry.base), ("retry.cap", retry.cap), |time| text(*time));
    checks.range("retry.attempts", retry.attempts, 1..=1_000);
    checks.time("retry.hint_cap", retry.hint_cap, Duration::ZERO..=DAY);
    checks.time("retry.dead_letter_cap", retry.dead_letter_cap.window, Duration::from_secs(1)..=DAY);
}

fn log_level(checks: &mut Checks, level: &str) {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // A lone word that is no level would be read as a target of which everything is logged, and nothing else: a typing error.
    let is_level = |word: &str| LEVELS.iter().any(|level| word.trim().eq_ignore_ascii_case(level));
    let words = level.split(',').all(|part| part.contains(['=', '[', ']']) || is_level(part));
    if !words || tracing_subscriber::EnvFilter::try_new(level).is_err() {
        checks.problem(
            "log.level",
            format_args!(
                "{} is not a level; write error, warn, info, debug or trace, or directives such as info,embedstream=debug",
                scalar::quoted(level)
            ),
        );
    }
}
