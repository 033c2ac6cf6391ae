use super::*;

#[test]
fn contradictions_name_both_settings_and_both_values() {
    for (yaml, expected) in [
        (
            "limits: {tokens: 30000/min}",
            "batch.max_tokens: 32768 is more than one period of limits.tokens: 30000/min lets through; such a batch could never be sent",
        ),
        (
            "kafka: {revoke_deadline: 1min}",
            "kafka.revoke_deadline: 1m is not below half of max.poll.interval.ms: 120000; the group would expel a member that drains so long (line 1)",
        ),
        (
            "kafka: {consumer: {max.poll.interval.ms: 20000}}\nshutdown_deadline: 5s",
            "kafka.revoke_deadline: 10s is not below half of kafka.consumer.\"max.poll.interval.ms\": 20000; the group would expel a member that drains so long",
        ),
        (
            "shutdown_deadline: 2min",
            "shutdown_deadline: 2m is not below max.poll.interval.ms: 120000; the group would expel a member that drains so long (line 1)",
        ),
        ("provider: {timeout: 1s}", "provider.connect_timeout: 5s is more than provider.timeout: 1s"),
        (
            "provider: {probe: {first: 1min}}",
            "provider.probe.first: 1m is more than provider.probe.cap: 10s (line 1)",
        ),
        ("retry: {base: 2min}", "retry.base: 2m is more than retry.cap: 1m (line 1)"),
        (
            "kafka: {output_topic: documents}",
            "kafka.output_topic: documents is one of kafka.input_topics: [documents] as well; the worker would read what it writes (line 1)",
        ),
        (
            "kafka: {input_topics: [a, documents.dead-letters]}",
            "kafka.dead_letter_topic: documents.dead-letters is one of kafka.input_topics: [a, documents.dead-letters] as well; the worker would read what it writes",
        ),
        (
            "kafka: {output_topic: documents.dead-letters}",
            "kafka.output_topic: documents.dead-letters is kafka.dead_letter_topic: documents.dead-letters as well (line 1)",
        ),
        (
            "limits: {max_uncommitted: 10}",
            "limits.max_uncommitted: 10 is less than batch.max_records: 64; a batch could never fill (line 1)",
        ),
        (
            "input: {format: json, text: []}",
            "input.text: is empty, and input.format: json needs pointers to the text; write for example [/title, /body] (line 1)",
        ),
        (
            "input: {format: json, text: [/t], payload: [/author/id, /lang, /tags/0~1id, /book/id]}",
            "input.payload: \"/author/id\" and \"/book/id\" would both be kept as \"id\"; keep one of them (line 1)",
        ),
        (
            "input: {format: json, text: [/t], payload: [/a~1b, /x/a~1b]}",
            "input.payload: \"/a~1b\" and \"/x/a~1b\" would both be kept as \"a/b\"; keep one of them (line 1)",
        ),
    ] {
        assert_eq!(error(yaml, &[]), expected, "{yaml}");
    }
    assert!(
        load("limits: {tokens: 32768/min}\nkafka: {consumer: {max.poll.interval.ms: 60000}}", &[]).is_ok()
    );
}

#[test]
fn numbers_have_ranges() {
    for (yaml, key) in [
        ("batch: {max_tokens: 0}", "batch.max_tokens"),
        ("batch: {max_records: 2049}", "batch.max_records"),
        ("batch: {max_bytes: 0}", "batch.max_bytes"),
        ("batch: {max_bytes: 2GiB}", "batch.max_bytes"),
        ("batch: {linger: 2h}", "batch.linger"),
        ("provider: {dimensions: 0}", "provider.dimensions"),
        ("provider: {dimensions: 1000000}", "provider.dimensions"),
        ("provider: {timeout: 0s}", "provider.timeout"),
        ("provider: {connect_timeout: 0s}", "provider.connect_timeout"),
        ("provider: {unready_after: 0s}", "provider.unready_after"),
        ("provider: {probe: {first: 0s}}", "provider.probe.first"),
        ("provider: {usd_per_million_tokens: -1}", "provider.usd_per_million_tokens"),
        ("provider: {tokenizer: qwen}", "provider.tokenizer"),
        ("limits: {in_flight: 0}", "limits.in_flight"),
        ("limits: {in_flight: 1025}", "limits.in_flight"),
        ("limits: {max_in_flight_bytes: 0}", "limits.max_in_flight_bytes"),
        ("limits: {requests: 0/min}", "limits.requests"),
        ("limits: {requests: 5/0s}", "limits.requests"),
        ("limits: {requests: 5/99days}", "limits.requests"),
        ("retry: {attempts: 0}", "retry.attempts"),
        ("retry: {base: 0ms}", "retry.base"),
        ("retry: {cap: 3days}", "retry.cap"),
        ("retry: {hint_cap: 3days}", "retry.hint_cap"),
        ("retry: {dead_letter_cap: 20%/0s}", "retry.dead_letter_cap"),
        ("kafka: {revoke_deadline: 0s}", "kafka.revoke_deadline"),
        ("kafka: {transaction_interval: 0s}", "kafka.transaction_interval"),
        ("shutdown_deadline: 0s", "shutdown_deadline"),
        ("batch: {linger: 999999999999999days}", "batch.linger"),
        ("batch: {max_tokens: 99999999999999999999999999999999999999999999}", "batch.max_tokens"),
    ] {
        let message = error(yaml, &[]);
        assert!(message.starts_with(&format!("{key}: ")), "{yaml}: {message}");
    }
    assert!(load("batch: {linger: 0s}\nretry: {hint_cap: 0s}", &[]).is_ok());
}

#[test]
fn urls_are_http_without_secrets() {
    for (url, part) in [
        ("openrouter.ai/api/v1", "is not a URL"),
        ("", "is not a URL"),
        ("ftp://example.com", "is not an http or https URL"),
        ("file:///etc/passwd", "is not an http or https URL"),
        ("http://", "is not a URL"),
        ("http://host:99999/", "is not a URL"),
        ("https://example.com/#x", "has a fragment"),
        ("https://a:b@example.com", "holds a user name or a password"),
    ] {
        let message = error(&format!("provider: {{url: {url:?}}}"), &[]);
        assert!(message.starts_with("provider.url: ") && message.contains(part), "{url}: {message}");
    }
    let azure = "https://x.openai.azure.com/openai/deployments/e?api-version=2024-10-21";
    assert_eq!(load(&format!("provider: {{url: {azure:?}}}"), &[]).unwrap().provider.url.as_str(), azure);
}

#[test]
fn topics_and_brokers_have_a_form() {
    for yaml in [
        "kafka: {input_topics: []}",
        "kafka: {input_topics: [a, a]}",
        "kafka: {input_topics: ['^a.*']}",
        "kafka: {input_topics: ['']}",
        "kafka: {output_topic: a b}",
        "kafka: {output_topic: ..}",
        "kafka: {dead_letter_topic: ''}",
        "kafka: {brokers: ''}",
        "kafka: {brokers: 'a:1,,b:2'}",
        "kafka: {brokers: 'a:x'}",
        "kafka: {brokers: 'a:0'}",
        "kafka: {brokers: ':9092'}",
        "kafka: {brokers: 'a b:9092'}",
        "kafka: {group_id: ' '}",
        "provider: {model: ''}",
        "log: {level: ''}",
    ] {
        assert_eq!(error(yaml, &[]).lines().count(), 1, "{yaml}");
    }
    for brokers in ["a", "a:9092, b:9093", "SSL://a:9092", "[::1]:9092", "[::1]", "10.0.0.1:9092"] {
        assert!(load(&format!("kafka: {{brokers: {brokers:?}}}"), &[]).is_ok(), "{brokers}");
    }
}

#[test]
fn pointers_have_a_form() {
    for pointer in ["title", "$.title", "/a~b", "/a~2"] {
        let message = error(&format!("input: {{format: json, payload: [{pointer:?}]}}"), &[]);
        assert!(message.contains("is not a JSON pointer"), "{message}");
    }
    assert!(load("input: {format: json, text: ['', '/a~0b/0', '/a~1b', /]}", &[]).is_ok());
}

#[test]
fn settings_on_which_a_promise_rests_are_refused() {
    for (setting, part) in [
        ("bootstrap.servers: a", "is set by kafka.brokers"),
        ("group.id: a", "is set by kafka.group_id"),
        ("statistics.interval.ms: 0", "are read from the statistics"),
        ("auto.offset.reset: latest", "is set by kafka.start"),
        ("enable.auto.commit: true", "only when its outcome is acknowledged"),
        ("enable.auto.offset.store: false", "only when its outcome is acknowledged"),
        ("enable.idempotence: false", "cannot be turned off"),
        ("acks: 1", "cannot be less than all"),
        ("partition.assignment.strategy: range", "must stay cooperative-sticky"),
        ("group.protocol: consumer", "must stay classic"),
        ("transactional.id: x", "exactly_once"),
        ("delivery.report.only.error: true", "acknowledged"),
    ] {
        for section in ["client", "consumer", "producer"] {
            let message = error(&format!("kafka: {{{section}: {{{setting}}}}}"), &[]);
            assert!(
                message.starts_with(&format!("kafka.{section}.\"")) && message.contains(part),
                "{message}"
            );
            assert!(message.ends_with("(line 1)"), "{message}");
        }
    }
    let fine = "kafka: {producer: {acks: all, enable.idempotence: true}, consumer: {partition.assignment.strategy: cooperative-sticky}}";
    assert!(load(fine, &[]).is_ok());
}

#[test]
fn headers_and_bodies_have_a_form() {
    for yaml in [
        "provider: {headers: {'X Title': a}}",
        "provider: {headers: {X-Title: \"a\\nb\"}}",
        "provider: {headers: {X-Title: ä}}",
        "provider: {headers: {Content-Type: text/plain}}",
        "provider: {headers: {X-Title: a, x-title: b}}",
        "provider: {body: {input: x}}",
        "provider: {profile: opnai}",
    ] {
        assert_eq!(error(yaml, &[]).lines().count(), 1, "{yaml}");
    }
    assert!(error("provider: {profile: opnai}", &[]).contains("did you mean openai?"));
}
