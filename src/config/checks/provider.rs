//! The `provider` section.

use std::collections::BTreeMap;

use super::{Checks, DAY, HOUR, MILLISECOND, text};
use crate::config::names::nearest;
use crate::config::provider::TOKENIZERS;
use crate::config::{Provider, scalar};

/// It is sent with every text. Whether it leaves room in tokens is seen at the start, by the tokenizer.
const MOST_PREFIX_BYTES: usize = 16 * 1024;

/// The sets of limits and quirks that have a name.
const PROFILES: [&str; 11] = [
    "openrouter",
    "openai",
    "azure",
    "tei",
    "vllm",
    "ollama",
    "infinity",
    "llamacpp",
    "siliconflow",
    "mistral",
    "custom",
];

/// Headers that belong to the connection or to the body.
const RESERVED: [&str; 7] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
];

pub(super) fn check(checks: &mut Checks, provider: &Provider) {
    profile(checks, &provider.profile);
    checks.visible("provider.model", &provider.model);
    checks.range("provider.dimensions", provider.dimensions, 1..=65_536);
    checks.time("provider.timeout", provider.timeout, MILLISECOND..=HOUR);
    checks.time("provider.connect_timeout", provider.connect_timeout, MILLISECOND..=HOUR);
    checks.at_most(
        ("provider.connect_timeout", provider.connect_timeout),
        ("provider.timeout", provider.timeout),
        |time| text(*time),
    );
    checks.time("provider.unready_after", provider.unready_after, MILLISECOND..=DAY);
    checks.time("provider.probe.first", provider.probe.first, MILLISECOND..=DAY);
    checks.time("provider.probe.cap", provider.probe.cap, MILLISECOND..=DAY);
    checks.at_most(
        ("provider.probe.first", provider.probe.first),
        ("provider.probe.cap", provider.probe.cap),
        |time| text(*time),
    );
    checks.range("provider.usd_per_million_tokens", provider.usd_per_million_tokens, 0.0..=1_000_000.0);
    tokenizer(checks, &provider.tokenizer);
    if provider.prefix.len() > MOST_PREFIX_BYTES {
        let bytes = provider.prefix.len();
        checks.problem("provider.prefix", format_args!("has {bytes} bytes, more than {MOST_PREFIX_BYTES}"));
    }
    headers(checks, &provider.headers);
    for name in ["input", "model", "encoding_format", "dimensions"] {
        if provider.body.contains_key(name) {
            checks.problem(&format!("provider.body.{name}"), "is a field that the worker writes itself");
        }
    }
}

fn profile(checks: &mut Checks, profile: &str) {
    if PROFILES.contains(&profile) {
        return;
    }
    let near = nearest(profile, PROFILES.into_iter()).map(|near| format!("; did you mean {near}?"));
    let message = format!(
        "{} is not one of {}{}",
        scalar::quoted(profile),
        PROFILES.join(", "),
        near.unwrap_or_default()
    );
    checks.problem("provider.profile", message);
}

/// A word that is none of the ways to count is a path only if it looks like one.
fn tokenizer(checks: &mut Checks, tokenizer: &str) {
    if TOKENIZERS.contains(&tokenizer) || tokenizer.contains(['/', '\\']) || tokenizer.ends_with(".json") {
        return;
    }
    let near = nearest(tokenizer, TOKENIZERS.into_iter()).map(|near| format!("; did you mean {near}?"));
    let message = format!(
        "{} is none of {}, nor the path of a tokenizer.json{}",
        scalar::quoted(tokenizer),
        TOKENIZERS.join(", "),
        near.unwrap_or_default()
    );
    checks.problem("provider.tokenizer", message);
}

/// Names and values that HTTP can carry. No value is quoted.
fn headers(checks: &mut Checks, headers: &BTreeMap<String, String>) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, value) in headers {
        let key = format!("provider.headers.{name}");
        let lower = name.to_ascii_lowercase();
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) {
            checks
                .problem("provider.headers", format_args!("{} is not a header's name", scalar::quoted(name)));
        } else if RESERVED.contains(&lower.as_str()) {
            checks.problem(&key, "is a header that the worker writes itself");
        } else if !value.chars().all(|c| c == '\t' || c == ' ' || c.is_ascii_graphic()) {
            checks.problem(&key, "holds a control character or one that is not ASCII");
        }
        if let Some(other) = seen.insert(lower, name) {
            checks.problem(&key, format_args!("is the same header as provider.headers.{other}"));
        }
    }
}
