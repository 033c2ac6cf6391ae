use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Pinned here rather than taken from above: these words are a contract with dashboards and alerts.
const KNOWN: Known<'_> = Known {
    inputs: &[],
    outputs: &["out", "dead"],
    call_outcomes: &["ok", "rate_limited", "timeout"],
    suspend_reasons: &["unauthorized", "unreachable"],
};

fn full() -> Metrics {
    let metrics = Metrics::new("g", "m");
    metrics.expect(&KNOWN);
    metrics.records_consumed_total.with_label_values(&["in"]).inc();
    metrics.kafka_consumer_lag.with_label_values(&["g", "in", "0"]).set(7);
    metrics.kafka_consumer_lag_seconds.with_label_values(&["g", "in", "0"]).set(1.5);
    metrics.kafka_client_errors_total.with_label_values(&["_TRANSPORT", "false"]).inc();
    metrics.vectors_invalid_total.with_label_values(&["m", "non_finite"]).inc();
    metrics
}

/// The families of a text: name to (type, help, sample lines).
fn families(text: &str) -> BTreeMap<String, (String, String, Vec<String>)> {
    let mut families: BTreeMap<String, (String, String, Vec<String>)> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            current = name.to_owned();
            let before = families.insert(current.clone(), (String::new(), help.to_owned(), Vec::new()));
            assert!(before.is_none(), "{name} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, current, "the type follows the help");
            families.get_mut(name).expect("a family").0 = kind.to_owned();
        } else {
            assert!(line.starts_with(&current), "{line} is not of {current}");
            families.get_mut(&current).expect("a family").2.push(line.to_owned());
        }
    }
    families
}

/// One line a metric: name, type, labels; for histograms their bounds.
fn schema(text: &str) -> String {
    let mut lines = String::new();
    for (name, (kind, _, samples)) in families(text) {
        let mut labels = BTreeSet::new();
        let mut bounds = Vec::new();
        for sample in &samples {
            let Some((head, _)) = sample.split_once('}') else { continue };
            let Some((_, inside)) = head.split_once('{') else { continue };
            for pair in inside.split("\",") {
                let (label, value) = pair.split_once("=\"").expect("a label");
                if label != "le" {
                    labels.insert(label.to_owned());
                } else if !bounds.contains(&value.trim_end_matches('"').to_owned()) {
                    bounds.push(value.trim_end_matches('"').to_owned());
                }
            }
        }
        let labels = labels.into_iter().collect::<Vec<_>>().join(",");
        lines += &format!("{name} {kind} {{{labels}}}");
        if !bounds.is_empty() {
            lines += &format!(" {}", bounds.join(" "));
        }
        lines.push('\n');
    }
    lines
}

/// On Linux, where the process' own figures are there.
#[cfg(target_os = "linux")]
#[test]
fn names_types_labels_and_buckets_are_those_of_the_golden_file() {
    let actual = schema(&full().render());
    assert_eq!(actual, include_str!("names.txt"), "\nif the change is meant, names.txt becomes:\n{actual}");
}

#[test]
fn every_instrument_is_rendered() {
    let text = full().render();
    let rendered = families(&text);
    for instrument in INSTRUMENTS {
        let (kind, help, _) = rendered.get(instrument.name).expect(instrument.name);
        assert_eq!(help, instrument.help);
        assert!(instrument.kind.to_lowercase().contains(kind), "{} is a {kind}", instrument.name);
    }
    let own = rendered.keys().filter(|name| name.starts_with("embedstream_")).count();
    assert_eq!(own, INSTRUMENTS.len());
}

/// The rules of `promtool check metrics`.
#[test]
fn the_text_passes_the_lint_of_promtool() {
    const ABBREVIATED: [&str; 14] =
        ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
    const NOT_BASE: [&str; 12] = [
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "minutes",
        "hours",
        "days",
        "weeks",
        "kilobytes",
        "megabytes",
        "gigabytes",
        "bits",
        "percent",
    ];
    for (name, (kind, help, samples)) in families(&full().render()) {
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        for end in ["_count", "_sum", "_bucket", "_info"] {
            assert!(!name.ends_with(end) || name == "embedstream_build_info", "{name}");
        }
        for word in name.split('_') {
            assert!(!ABBREVIATED.contains(&word) && !NOT_BASE.contains(&word), "{name}: {word}");
            assert!(!["gauge", "counter", "histogram", "summary"].contains(&word), "{name}: {word}");
        }
        assert!(!samples.is_empty(), "{name}");
        for sample in samples {
            let value = sample.rsplit_once(' ').expect("a value").1;
            assert!(value.parse::<f64>().is_ok(), "{sample}");
        }
    }
}

#[test]
fn closed_sets_exist_from_the_start_with_zero() {
    let metrics = Metrics::new("g", "m");
    let inputs = ["in".to_owned()];
    metrics.expect(&Known { inputs: &inputs, ..KNOWN });
    let text = metrics.render();
    for line in [
        r#"embedstream_records_consumed_total{topic="in"} 0"#,
        r#"embedstream_records_processed_total{group="g",outcome="dead_letter"} 0"#,
        r#"embedstream_dead_letters_total{group="g",reason="output_refused"} 0"#,
        r#"embedstream_records_skipped_total{reason="tombstone_without_key"} 0"#,
        r#"embedstream_records_produced_total{result="error",topic="dead"} 0"#,
        r#"embedstream_records_produced_total{result="refused",topic="dead"} 0"#,
        r#"embedstream_api_requests_total{model="m",outcome="rate_limited"} 0"#,
        r#"embedstream_api_retries_total{model="m",reason="timeout"} 0"#,
        r#"embedstream_api_throttle_wait_seconds_total{limit="hold_off",model="m"} 0"#,
        r#"embedstream_tokens_total{kind="wasted",model="m"} 0"#,
        r#"embedstream_suspended{reason="unauthorized"} 0"#,
        r#"embedstream_kafka_assigned_partitions{group="g"} 0"#,
        r#"embedstream_stage_duration_seconds_count{stage="commit"} 0"#,
        r#"embedstream_vectors_invalid_total{model="m",reason="non_finite"} 0"#,
        r#"embedstream_vectors_invalid_total{model="m",reason="wrong_dimensions"} 0"#,
    ] {
        assert!(text.lines().any(|have| have == line), "no {line} in\n{text}");
    }
    assert!(!text.contains(r#"api_retries_total{model="m",reason="ok"}"#), "a success is never sent again");
    assert!(!text.contains(r#"reason="drain""#), "a drain drops what was not sent, it closes no batch");
    let info = format!("embedstream_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&info));
}

#[test]
fn a_partition_that_left_has_no_lag() {
    let metrics = full();
    metrics.kafka_consumer_lag.with_label_values(&["g", "in", "1"]).set(9);
    metrics.drop_partition("in", 0);
    let text = metrics.render();
    assert!(!text.contains(r#"lag{group="g",partition="0""#), "{text}");
    assert!(!text.contains("lag_seconds{"), "{text}");
    assert!(
        text.contains(r#"embedstream_kafka_consumer_lag{group="g",partition="1",topic="in"} 9"#),
        "{text}"
    );
    metrics.drop_partition("in", 0);
    metrics.drop_partition("never seen", 3);
}

#[test]
fn label_values_are_escaped() {
    let metrics = Metrics::new("a \"b\"\\\n", "m");
    let line = r#"embedstream_kafka_assigned_partitions{group="a \"b\"\\\n"} 0"#;
    assert!(metrics.render().lines().any(|have| have == line));
}

#[test]
fn two_of_them_share_nothing() {
    let (one, other) = (Metrics::new("g", "m"), Metrics::new("g", "m"));
    one.results_stale_total.inc();
    assert_eq!(other.results_stale_total.get(), 0);
}

#[test]
fn figures_are_sums_of_the_instruments() {
    let metrics = full();
    metrics.records_consumed_total.with_label_values(&["other"]).inc_by(4);
    metrics.records_processed_total.with_label_values(&["g", "embedded"]).inc_by(3);
    metrics.records_processed_total.with_label_values(&["g", "tombstone"]).inc();
    metrics.api_requests_total.with_label_values(&["m", "ok"]).inc_by(2);
    metrics.api_requests_total.with_label_values(&["m", "timeout"]).inc();
    metrics.batches_closed_total.with_label_values(&["linger"]).inc_by(2);
    metrics.tokens_total.with_label_values(&["m", "billed"]).inc_by(99);
    metrics.tokens_total.with_label_values(&["m", "wasted"]).inc_by(11);
    metrics.cost_usd_total.with_label_values(&["m", "reported"]).inc_by(0.25);
    metrics.cost_usd_total.with_label_values(&["m", "estimated"]).inc_by(0.5);
    metrics.buffered_bytes.set(1000);
    metrics.api_inflight_requests.with_label_values(&["m"]).set(5);
    let figures = metrics.figures();
    let totals = Totals {
        records_consumed: 5,
        embedded: 3,
        tombstones: 1,
        calls: 3,
        calls_ok: 2,
        batches: 2,
        tokens_billed: 99,
        tokens_wasted: 11,
        cost_usd: 0.75,
        ..Totals::default()
    };
    assert_eq!(figures.totals, totals);
    assert_eq!(figures.buffered, Buffered { bytes: 1000, ..Buffered::default() });
    assert_eq!(figures.calls_in_flight, 5);
}
