//! OpenRouter's `provider` object: it takes no unknown field, and a typing error would refuse every call.

use serde_json::{Map, Value};

use super::Checks;
use crate::config::names::nearest;
use crate::config::scalar;

const SORTS: [&str; 4] = ["price", "throughput", "latency", "exacto"];
const PRICES: [&str; 5] = ["prompt", "completion", "request", "image", "audio"];
const QUANTIZATIONS: [&str; 12] =
    ["int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"];

/// What a field may hold.
enum Kind {
    Truth,
    Names,
    OneOf(&'static [&'static str]),
    ManyOf(&'static [&'static str]),
    Sort,
    Prices,
    /// A number, or one for each percentile.
    Speed,
}

const FIELDS: [(&str, Kind); 13] = [
    ("order", Kind::Names),
    ("only", Kind::Names),
    ("ignore", Kind::Names),
    ("allow_fallbacks", Kind::Truth),
    ("require_parameters", Kind::Truth),
    ("data_collection", Kind::OneOf(&["allow", "deny"])),
    ("zdr", Kind::Truth),
    ("enforce_distillable_text", Kind::Truth),
    ("quantizations", Kind::ManyOf(&QUANTIZATIONS)),
    ("sort", Kind::Sort),
    ("max_price", Kind::Prices),
    ("preferred_min_throughput", Kind::Speed),
    ("preferred_max_latency", Kind::Speed),
];

/// Checks `provider.body.provider`.
pub(super) fn check(checks: &mut Checks, routing: &Value) {
    const HERE: &str = "provider.body.provider";
    let Some(routing) = routing.as_object() else {
        return checks.problem(HERE, "is a map; write for example {only: [deepinfra]}");
    };
    for (name, value) in routing {
        let key = format!("{HERE}.{name}");
        match FIELDS.iter().find(|(field, _)| field == name) {
            Some(_) if value.is_null() => {}
            Some((_, kind)) => field(checks, &key, kind, value),
            None => unknown(checks, &key, name, &FIELDS.map(|(field, _)| field)),
        }
    }
}

fn field(checks: &mut Checks, key: &str, kind: &Kind, value: &Value) {
    match kind {
        Kind::Truth if !value.is_boolean() => checks.problem(key, "is true or false"),
        Kind::Names if names(value).is_none() => {
            checks.problem(key, "is a list of names; write for example [deepinfra]");
        }
        Kind::OneOf(known) => one_of(checks, key, known, value),
        Kind::ManyOf(known) => match value.as_array() {
            Some(list) => list.iter().for_each(|value| one_of(checks, key, known, value)),
            None => checks.problem(key, "is a list; write for example [bf16, fp16]"),
        },
        Kind::Sort => sort(checks, key, value),
        Kind::Prices => prices(checks, key, value),
        Kind::Speed if number(value).is_none() && !value.is_object() => {
            checks.problem(key, "is a number, or a map of one for each percentile");
        }
        Kind::Truth | Kind::Names | Kind::Speed => {}
    }
}

fn names(value: &Value) -> Option<()> {
    let named = |value: &Value| value.as_str().is_some_and(|name| !name.trim().is_empty());
    value.as_array()?.iter().all(named).then_some(())
}

fn one_of(checks: &mut Checks, key: &str, known: &[&str], value: &Value) {
    match value.as_str() {
        Some(written) if known.contains(&written) => {}
        Some(written) => unknown(checks, key, written, known),
        None => checks.problem(key, format_args!("is one of {}", known.join(", "))),
    }
}

fn unknown(checks: &mut Checks, key: &str, written: &str, known: &[&str]) {
    let near = nearest(written, known.iter().copied()).map(|near| format!("; did you mean {near}?"));
    let (near, known) = (near.unwrap_or_default(), known.join(", "));
    checks.problem(key, format_args!("{} is not one of {known}{near}", scalar::quoted(written)));
}

/// A name, or `{by, partition}`.
fn sort(checks: &mut Checks, key: &str, value: &Value) {
    let Some(sort) = value.as_object() else { return one_of(checks, key, &SORTS, value) };
    for (name, value) in sort {
        let key = format!("{key}.{name}");
        match name.as_str() {
            "by" => one_of(checks, &key, &SORTS, value),
            "partition" if value.is_string() || value.is_null() => {}
            "partition" => checks.problem(&key, "is a name"),
            _ => unknown(checks, &key, name, &["by", "partition"]),
        }
    }
}

fn prices(checks: &mut Checks, key: &str, value: &Value) {
    let none = Map::new();
    let prices = value.as_object();
    if prices.is_none() {
        checks.problem(key, "is a map of USD per 1,000,000 tokens; write for example {prompt: 0.02}");
    }
    for (name, value) in prices.unwrap_or(&none) {
        let key = format!("{key}.{name}");
        if !PRICES.contains(&name.as_str()) {
            unknown(checks, &key, name, &PRICES);
        } else if number(value).is_none() {
            checks.problem(&key, "is a price in USD, 0 or more");
        }
    }
}

/// A number of 0 or more, which may be written as a string.
fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.is_finite() && number >= 0.0).then_some(number)
}
