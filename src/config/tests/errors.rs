use super::*;

#[test]
fn an_unknown_setting_is_reported_with_the_nearest() {
    for (yaml, expected) in [
        (
            "batch: {max_token: 5}",
            "unknown setting `batch.max_token`, did you mean `batch.max_tokens`? (line 1)",
        ),
        ("batch:\n  Linger: 5ms", "unknown setting `batch.Linger`, did you mean `batch.linger`? (line 2)"),
        ("kafak: {brokers: a}", "unknown setting `kafak`, did you mean `kafka`? (line 1)"),
        (
            "shutdown_dedline: 5s",
            "unknown setting `shutdown_dedline`, did you mean `shutdown_deadline`? (line 1)",
        ),
        (
            "provider: {probe: {last: 1s}}",
            "unknown setting `provider.probe.last`, did you mean `provider.probe.first`? (line 1)",
        ),
        (
            "provider: {probes: {first: 1s}}",
            "unknown setting `provider.probes`, did you mean `provider.probe`? (line 1)",
        ),
        ("max_tokens: 5", "unknown setting `max_tokens`, did you mean `batch.max_tokens`? (line 1)"),
        (
            "kafka: {max_tokens: 5}",
            "unknown setting `kafka.max_tokens`, did you mean `batch.max_tokens`? (line 1)",
        ),
        ("kafka.brokers: a", "unknown setting `kafka.brokers`: names are nested, not dotted (line 1)"),
    ] {
        assert_eq!(error(yaml, &[]), expected);
    }
    let far = error("xyzzy: 1", &[]);
    assert!(far.starts_with("unknown setting `xyzzy`, did you mean `"), "{far}");
}

#[test]
fn a_wrong_value_is_named_with_what_is_expected() {
    for (yaml, expected) in [
        (
            "batch: {linger: 50}",
            "batch.linger: \"50\" is not a duration; write for example 50ms, 10s or 2min (line 1)",
        ),
        (
            "batch: {linger: -5s}",
            "batch.linger: \"-5s\" is not a duration; write for example 50ms, 10s or 2min (line 1)",
        ),
        (
            "batch: {linger: [a]}",
            "batch.linger: a list is not a duration; write for example 50ms, 10s or 2min (line 1)",
        ),
        (
            "batch: {max_bytes: 5 parsecs}",
            "batch.max_bytes: \"5 parsecs\" is not a size; write for example 64MiB, 512KiB or 10MB (line 1)",
        ),
        ("batch: {max_tokens: many}", "batch.max_tokens: \"many\" is not a whole number (line 1)"),
        ("batch: {max_tokens: 1.5}", "batch.max_tokens: \"1.5\" is not a whole number (line 1)"),
        ("batch: {max_records: -1}", "batch.max_records: -1 is out of range (line 1)"),
        ("batch: {max_records: 0}", "batch.max_records: 0 is out of range: 1 to 2048 (line 1)"),
        (
            "limits: {tokens: 5}",
            "limits.tokens: \"5\" is not a rate; write for example 3000/min, 5/s or 100/30s (line 1)",
        ),
        (
            "limits: {tokens: [5]}",
            "limits.tokens: a list is not a rate; write for example 3000/min, 5/s or 100/30s (line 1)",
        ),
        (
            "retry: {dead_letter_cap: 20}",
            "retry.dead_letter_cap: \"20\" is not a share in a window; write for example 20%/1min (line 1)",
        ),
        (
            "provider: {usd_per_million_tokens: free}",
            "provider.usd_per_million_tokens: \"free\" is not a number (line 1)",
        ),
        (
            "provider: {usd_per_million_tokens: nan}",
            "provider.usd_per_million_tokens: \"nan\" is not a number (line 1)",
        ),
        (
            "kafka: {order: keys}",
            "kafka.order: \"keys\" is not one of key, partition, none; did you mean key? (line 1)",
        ),
        ("kafka: {start: middle}", "kafka.start: \"middle\" is not one of earliest, latest (line 1)"),
        ("kafka: {group_id: [a]}", "kafka.group_id: a list is not text (line 1)"),
        ("kafka: {group_id: {a: 1}}", "kafka.group_id: is one value, not a map (line 1)"),
        (
            "kafka: {input_topics: {a: 1}}",
            "kafka.input_topics: is a list, not a map; write for example [\"a\", \"b\"] (line 1)",
        ),
        (
            "kafka: {input_topics: 'a,b'}",
            "kafka.input_topics: \"a,b\" is not a list; write for example [\"a\", \"b\"] (line 1)",
        ),
        (
            "kafka: {input_topics: [[a]]}",
            "kafka.input_topics: a list in this list is not text; write it in quotes (line 1)",
        ),
        ("kafka: {client: 5}", "kafka.client: is a map; write for example {\"name\": \"value\"} (line 1)"),
        ("kafka: {client: {a: [5]}}", "kafka.client.a: expected text; write it in quotes (line 1)"),
        ("batch: 5", "batch: is a section; write its settings below it (line 1)"),
        (
            "admin: {listen: 9464}",
            "admin.listen: \"9464\" is not an IP address with a port; write for example 127.0.0.1:9464 or 0.0.0.0:9464 (line 1)",
        ),
        (
            "log: {level: wran}",
            "log.level: \"wran\" is not a level; write error, warn, info, debug or trace, or directives such as info,embedstream=debug (line 1)",
        ),
        (
            "log: {level: loud=x=y}",
            "log.level: \"loud=x=y\" is not a level; write error, warn, info, debug or trace, or directives such as info,embedstream=debug (line 1)",
        ),
    ] {
        assert_eq!(error(yaml, &[]), expected, "{yaml}");
    }
}

#[test]
fn later_work_says_so() {
    for (yaml, expected) in [
        (
            "input: {format: avro}",
            "input.format: avro is not supported yet in this version; choose one of text, json (line 1)",
        ),
        (
            "input: {too_long: split}",
            "input.too_long: split is not supported yet in this version; choose one of truncate, dead_letter (line 1)",
        ),
        (
            "kafka: {delivery: exactly_once}",
            "kafka.delivery: exactly_once is not supported yet in this version; choose one of at_least_once (line 1)",
        ),
    ] {
        assert_eq!(error(yaml, &[]), expected);
    }
    for format in ["debezium", "protobuf", "json_schema", "cloudevents"] {
        assert!(error(&format!("input: {{format: {format}}}"), &[]).contains("not supported yet"));
    }
}

#[test]
fn all_problems_are_said_at_once() {
    let yaml = "bacth: {}\nbatch:\n  linger: 50\n  max_tokns: 4\nretry:\n  base: x\n";
    let message = error(yaml, &[("EMBEDSTREAM__LIMITS__IN_FLIGHT", "lots"), ("EMBEDSTREAM__NOPE", "1")]);
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), 6, "{message}");
    for part in ["`bacth`", "`batch.max_tokns`", "EMBEDSTREAM__NOPE", "batch.linger", "retry.base"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {message}");
    }
    let flight = "limits.in_flight: \"lots\" is not a whole number (EMBEDSTREAM__LIMITS__IN_FLIGHT)";
    assert!(lines.contains(&flight), "{message}");
}

#[test]
fn many_wrong_values_are_bounded() {
    let topics: String = (0..100).map(|n| format!("    k{n}: [x]\n")).collect();
    let message = error(&format!("kafka:\n  client:\n{topics}"), &[]);
    assert_eq!(message.lines().count(), 20);
}

#[test]
fn yaml_syntax_errors_have_a_place() {
    for (yaml, place) in [
        ("a: b: c\n", "line 1, column 5"),
        ("kafka:\n  brokers: [a\n", "line 3, column 1"),
        ("kafka: {}\nkafka: {}\n", "line 2, column 1: `kafka` is here for the second time"),
        ("kafka: {}\n---\nbatch: {}\n", "line 2, column 1: expected one YAML document"),
        ("x: &x {a: 1}\ny: *x\n", "line 2, column 4: aliases (*name) are not supported"),
        ("- a\n", "line 1, column 1: expected settings"),
        ("text", "line 1, column 1: expected settings"),
        ("[a]: 1", "line 1, column 1: expected a name"),
    ] {
        let message = error(yaml, &[]);
        assert!(message.starts_with(place), "{yaml:?}: {message}");
    }
}

#[test]
fn deep_nesting_ends_early() {
    for open in ["[", "{a: ", "- "] {
        let message = error(&format!("kafka: {}", open.repeat(100_000)), &[]);
        assert!(!message.is_empty());
    }
    let message = error(&format!("input: {{text: {}{}}}", "[".repeat(50), "]".repeat(50)), &[]);
    assert!(message.contains("nested more than 32 deep"), "{message}");
}

#[test]
fn toml_syntax_errors_do_not_quote_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[provider]\napi_key = \"sk-planted\n").unwrap();
    let message = Config::load(Some(&path), std::iter::empty::<(String, String)>()).unwrap_err().to_string();
    assert!(message.contains("c.toml, line 2, column "), "{message}");
    assert!(!message.contains("planted"), "{message}");
    assert!(message.rsplit(": ").next().is_some_and(|reason| reason.len() > 5), "{message}");
    std::fs::write(&path, "[batch]\nlinger = 50\nmax_bytes = 1.5\n").unwrap();
    let message = Config::load(Some(&path), std::iter::empty::<(String, String)>()).unwrap_err().to_string();
    assert!(message.contains("batch.linger: 50 is not a duration"), "{message}");
    assert!(message.contains("batch.max_bytes: 1.5 is not a size"), "{message}");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n\t\u{e9}\u{feff}]{0,60}") {
        drop(load(&text, &[]));
        drop(load(&format!("provider:\n  body: {text}"), &[]));
        drop(load("", &[("EMBEDSTREAM__KAFKA__CLIENT", &text), ("EMBEDSTREAM__BATCH__LINGER", &text)]));
        drop(load("", &[("EMBEDSTREAM__LIMITS__TOKENS", &text), ("EMBEDSTREAM__KAFKA__BROKERS", &text)]));
        drop(load("", &[("EMBEDSTREAM__INPUT__TEXT", &text), ("EMBEDSTREAM__PROVIDER__URL", &text)]));
        drop(load("", &[(format!("EMBEDSTREAM__{text}").as_str(), "x")]));
    }

    #[test]
    fn no_yaml_like_text_panics(parts in proptest::collection::vec(
        proptest::sample::select(vec![
            "kafka", "client", ":", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "\"", "'", "|", ">", "&a", "*a", "!!str ", "? ", "%",
            "#", "---", "...", "\t", "\\", "~", "1", "@", "`", "<<", "\r",
        ]), 0..40))
    {
        drop(load(&parts.concat(), &[]));
    }
}
