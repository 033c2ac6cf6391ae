use super::*;

#[test]
fn every_scalar_and_list_can_be_set() {
    let variables = [
        ("EMBEDSTREAM__KAFKA__GROUP_ID", "007"),
        ("EMBEDSTREAM__KAFKA__BROKERS", "a:1,b:2"),
        ("EMBEDSTREAM__KAFKA__INPUT_TOPICS", r#"["a","2024.10"]"#),
        ("EMBEDSTREAM__KAFKA__ORDER", "none"),
        ("EMBEDSTREAM__INPUT__TEXT", "/body"),
        ("EMBEDSTREAM__INPUT__PAYLOAD", ""),
        ("EMBEDSTREAM__INPUT__SEPARATOR", " : # [x"),
        ("EMBEDSTREAM__BATCH__MAX_TOKENS", "100"),
        ("EMBEDSTREAM__BATCH__LINGER", "5ms"),
        ("EMBEDSTREAM__LIMITS__TOKENS", "1000/s"),
        ("EMBEDSTREAM__SHUTDOWN_DEADLINE", "7s"),
        ("EMBEDSTREAM__PROVIDER__PROBE__CAP", "3s"),
        ("EMBEDSTREAM__PROVIDER__USD_PER_MILLION_TOKENS", "0.13"),
        ("EMBEDSTREAM__ADMIN__LISTEN", ""),
    ];
    let config =
        load("limits: {tokens: 9999999/s}\nbatch: {linger: 1s, max_records: 3}", &variables).unwrap();
    assert_eq!(config.kafka.group_id, "007");
    assert_eq!(config.kafka.brokers, "a:1,b:2");
    assert_eq!(config.kafka.input_topics, ["a", "2024.10"]);
    assert_eq!(config.kafka.order, Order::None);
    assert_eq!(config.input.text, ["/body"]);
    assert!(config.input.payload.is_empty());
    assert_eq!(config.input.separator, " : # [x");
    assert_eq!((config.batch.max_tokens, config.batch.max_records), (100, 3));
    assert_eq!(config.batch.linger, Duration::from_millis(5));
    assert_eq!(config.limits.tokens.unwrap().amount, 1000);
    assert_eq!(config.shutdown_deadline, Duration::from_secs(7));
    assert_eq!(config.provider.probe, Probe { first: Duration::from_secs(1), cap: Duration::from_secs(3) });
    assert_eq!(config.provider.usd_per_million_tokens.to_string(), "0.13");
    assert_eq!(config.admin.listen, None);
}

#[test]
fn every_path_has_a_variable() {
    // A value of a wrong form, so that each must be found in the error under its own name.
    let known = names::Known::of(&serde_json::to_value(Config::default()).unwrap());
    for path in known.paths() {
        let name = format!("EMBEDSTREAM__{}", path.to_uppercase().replace('.', "__"));
        let result = load("", &[(name.as_str(), "[")]);
        if let Err(error) = result {
            let message = error.to_string();
            assert!(message.starts_with(&format!("{path}: ")), "{name}: {message}");
            assert!(message.contains(&name), "{name}: {message}");
        }
    }
    assert_eq!(known.paths().len(), 62);
}

#[test]
fn an_empty_optional_unsets_what_the_file_says() {
    let config = load("limits: {tokens: 9999999/s}", &[("EMBEDSTREAM__LIMITS__TOKENS", "")]).unwrap();
    assert_eq!(config.limits.tokens, None);
    assert!(
        error("", &[("EMBEDSTREAM__BATCH__LINGER", "")]).starts_with("batch.linger: \"\" is not a duration")
    );
}

#[test]
fn librdkafka_names_have_dots() {
    let yaml = "kafka: {client: {sasl.username: me, sasl.password: old}}";
    let variables = [
        ("EMBEDSTREAM__KAFKA__CLIENT__SASL_PASSWORD", "p4:s [s"),
        ("EMBEDSTREAM__KAFKA__CLIENT__SECURITY_PROTOCOL", "SASL_SSL"),
        ("EMBEDSTREAM__KAFKA__CONSUMER__MAX_POLL_INTERVAL_MS", "300000"),
        ("EMBEDSTREAM__KAFKA__PRODUCER", "{compression.type: zstd, batch.size: 010}"),
    ];
    let kafka = load(yaml, &variables).unwrap().kafka;
    assert_eq!(kafka.client["sasl.password"], "p4:s [s");
    assert_eq!(kafka.client["sasl.username"], "me");
    assert_eq!(kafka.client["security.protocol"], "SASL_SSL");
    assert_eq!(kafka.client.len(), 3);
    assert_eq!(kafka.consumer["max.poll.interval.ms"], "300000");
    assert_eq!(kafka.producer["compression.type"], "zstd");
    assert_eq!(kafka.producer["batch.size"], "010");
}

#[test]
fn header_names_have_no_case() {
    let variables = [
        ("EMBEDSTREAM__PROVIDER__HEADERS__HTTP_REFERER", "b"),
        ("EMBEDSTREAM__PROVIDER__HEADERS__X_TITLE", "c"),
    ];
    let headers = load("provider: {headers: {HTTP-Referer: a}}", &variables).unwrap().provider.headers;
    let headers: Vec<_> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(headers, [("HTTP-Referer", "b"), ("x-title", "c")]);
}

#[test]
fn sections_and_bodies_can_be_yaml_flow() {
    let variables = [
        ("EMBEDSTREAM__PROVIDER__PROBE", "{first: 2s, cap: 4s}"),
        ("EMBEDSTREAM__PROVIDER__PROBE__FIRST", "3s"),
        ("EMBEDSTREAM__PROVIDER__BODY", r#"{"provider": {"order": ["a"]}, "n": 1, "s": "1"}"#),
        ("EMBEDSTREAM__PROVIDER__BODY__USER", "me"),
        ("EMBEDSTREAM__OUTPUT", ""),
    ];
    let provider = load("", &variables).unwrap().provider;
    assert_eq!(provider.probe, Probe { first: Duration::from_secs(3), cap: Duration::from_secs(4) });
    let body = serde_json::to_string(&provider.body).unwrap();
    assert_eq!(body, r#"{"n":1,"provider":{"order":["a"]},"s":"1","user":"me"}"#);
    let message = error("", &[("EMBEDSTREAM__PROVIDER__PROBE", "{frist: 2s}")]);
    assert_eq!(
        message,
        "unknown setting `provider.probe.frist`, did you mean `provider.probe.first`? (EMBEDSTREAM__PROVIDER__PROBE)"
    );
}

#[test]
fn an_unknown_variable_is_reported_with_the_nearest() {
    for (name, near) in [
        ("EMBEDSTREAM__BATCH__MAX_TOKEN", "EMBEDSTREAM__BATCH__MAX_TOKENS"),
        ("EMBEDSTREAM__BATCH_LINGER", "EMBEDSTREAM__BATCH__LINGER"),
        ("EMBEDSTREAM__batch__linger", "EMBEDSTREAM__BATCH__LINGER"),
        ("EMBEDSTREAM__SHUTDOWN__DEADLINE", "EMBEDSTREAM__SHUTDOWN_DEADLINE"),
        ("EMBEDSTREAM__MAX_TOKENS", "EMBEDSTREAM__BATCH__MAX_TOKENS"),
        ("EMBEDSTREAM__BATCH__LINGER__MS", "EMBEDSTREAM__BATCH__LINGER"),
        ("EMBEDSTREAM__KAFKA__CLIENT__SASL__PASSWORD", "EMBEDSTREAM__KAFKA__CLIENT__SASL_PASSWORD"),
    ] {
        let message = error("", &[(name, "1")]);
        assert_eq!(message, format!("unknown environment variable {name}, did you mean {near}?"));
    }
    for name in ["EMBEDSTREAM__", "EMBEDSTREAM____", "EMBEDSTREAM__KAFKA__CLIENT__", "EMBEDSTREAM___BATCH"] {
        let message = error("", &[(name, "1")]);
        assert!(
            message.starts_with(&format!("unknown environment variable {name}, did you mean ")),
            "{message}"
        );
    }
}

#[test]
fn variables_of_others_are_ignored() {
    let variables = [
        ("EMBEDSTREAM_PORT", "tcp://10.0.0.1:9464"),
        ("EMBEDSTREAM_SERVICE_HOST", "10.0.0.1"),
        ("EMBEDSTREAM_REQUIRE_ALL", "1"),
        ("EMBEDSTREAM", "x"),
        ("embedstream__batch__linger", "x"),
        ("MY_EMBEDSTREAM__BATCH__LINGER", "x"),
        ("PATH", "/bin"),
    ];
    assert_eq!(load("", &variables).unwrap(), Config::default());
}

#[test]
fn a_broken_list_is_named_with_its_variable() {
    let message = error("", &[("EMBEDSTREAM__KAFKA__INPUT_TOPICS", "[a, b")]);
    assert!(message.starts_with("kafka.input_topics: "), "{message}");
    assert!(message.ends_with("(EMBEDSTREAM__KAFKA__INPUT_TOPICS)"), "{message}");
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_utf8_are_no_panic() {
    use std::os::unix::ffi::OsStringExt;
    let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let variables = [
        (os(b"OTHER"), os(b"\xff")),
        (os(b"OT\xffHER"), os(b"x")),
        (os(b"EMBEDSTREAM__BATCH__LINGER"), os(b"5\xff")),
        (os(b"EMBEDSTREAM__BATCH__\xff"), os(b"5")),
    ];
    let message = Config::load(None, variables.into_iter()).unwrap_err().to_string();
    assert!(message.contains("EMBEDSTREAM__BATCH__LINGER is not UTF-8"), "{message}");
    assert!(message.contains("unknown environment variable EMBEDSTREAM__BATCH__\u{fffd}"), "{message}");
    assert_eq!(message.lines().count(), 2);
}
