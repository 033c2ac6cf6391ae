//! Settings: code 78, one line for each mistake, on stderr, before anything is begun.

use std::fs;

use tempfile::TempDir;

use super::{HIDDEN, SOON, ended, says};
use crate::support::process::Process;

/// A provider that needs no key.
const LOCAL: &str = "provider: {url: \"http://127.0.0.1:1/v1\", dimensions: 8}\n";

/// `run` refuses the settings with one line.
#[track_caller]
fn refused(yaml: &str, environment: &[(&str, &str)], words: &[&str]) {
    let mut process = Process::worker(yaml, environment);
    let stderr = ended(&mut process, 78, SOON);
    let [line] = stderr.lines().collect::<Vec<_>>()[..] else { panic!("not one line:\n{stderr}") };
    assert!(line.starts_with("embedstream: "), "{line}");
    says(line, words);
    assert_eq!(process.stdout(), "");
}

#[track_caller]
fn refused_locally(yaml: &str, words: &[&str]) {
    refused(&format!("{LOCAL}{yaml}"), &[], words);
}

#[test]
fn unknown_settings_have_their_nearest_name_and_place() {
    refused_locally(
        "batch: {max_token: 5}",
        &["batch.max_token`", "did you mean `batch.max_tokens`", "line 2"],
    );
    refused_locally("bacth: {max_tokens: 5}", &["`bacth`", "did you mean `batch`"]);
    refused_locally("batch.linger: 5ms", &["`batch.linger`", "nested"]);
    refused_locally("topic: documents", &["`topic`", "did you mean `"]);
    let local = ("EMBEDSTREAM__PROVIDER__URL", "http://127.0.0.1:1/v1");
    for (name, near) in [
        ("EMBEDSTREAM__BATCH__LINGR", "EMBEDSTREAM__BATCH__LINGER"),
        ("EMBEDSTREAM__KAFKA__GROUPID", "EMBEDSTREAM__KAFKA__GROUP_ID"),
        ("EMBEDSTREAM__PROVIDER__DIMENSION", "EMBEDSTREAM__PROVIDER__DIMENSIONS"),
        ("EMBEDSTREAM__batch__linger", "EMBEDSTREAM__BATCH__LINGER"),
    ] {
        refused("", &[local, (name, HIDDEN)], &[name, &format!("did you mean {near}?")]);
    }
}

#[test]
fn a_url_that_is_none_is_named_with_an_example() {
    for (url, words) in [
        ("htp://x", ["htp://x", "http or https"]),
        ("not a url", ["not a url", "for example https://"]),
        ("openrouter.ai/api/v1", ["openrouter.ai/api/v1", "for example https://"]),
        ("localhost:8080/v1", ["localhost:8080/v1", "http or https"]),
        ("http://host:99999/v1", ["http://host:99999/v1", "port"]),
        ("", ["\"\"", "for example https://"]),
        ("https://user:hunter2@host/v1", ["a password", "provider.api_key_file"]),
        ("https://host/v1?api_key=hunter2", ["\"api_key\"", "provider.headers"]),
    ] {
        let yaml = format!("provider: {{url: \"{url}\"}}\n");
        refused(&yaml, &[], &[&["provider.url: "][..], &words[..]].concat());
    }
}

#[test]
fn settings_that_contradict_each_other_are_both_named_with_their_values() {
    for (yaml, words) in [
        ("limits: {tokens: 30000/min}", ["batch.max_tokens: 32768", "limits.tokens: 30000/min"]),
        (
            "batch: {max_tokens: 601}\nlimits: {tokens: 10/s}",
            ["batch.max_tokens: 601", "limits.tokens: 10/s"],
        ),
        ("limits: {max_uncommitted: 10}", ["limits.max_uncommitted: 10", "batch.max_records: 64"]),
        (
            "kafka: {output_topic: documents}",
            ["kafka.output_topic: documents", "kafka.input_topics: [documents]"],
        ),
        (
            "kafka: {dead_letter_topic: documents.embeddings}",
            ["kafka.output_topic: documents.embeddings", "kafka.dead_letter_topic: documents.embeddings"],
        ),
        ("kafka: {revoke_deadline: 60s}", ["kafka.revoke_deadline: 1m", "max.poll.interval.ms: 120000"]),
        ("shutdown_deadline: 130s", ["shutdown_deadline: 2m 10s", "max.poll.interval.ms: 120000"]),
        ("retry: {base: 2min}", ["retry.base: 2m", "retry.cap: 1m"]),
    ] {
        refused_locally(yaml, &words);
    }
    let provider = |settings| format!("provider: {{url: \"http://127.0.0.1:1\", {settings}}}");
    refused(&provider("timeout: 1s"), &[], &["provider.connect_timeout: 5s", "provider.timeout: 1s"]);
    refused(&provider("probe: {first: 20s}"), &[], &["provider.probe.first: 20s", "provider.probe.cap: 10s"]);
}

#[test]
fn a_batch_of_exactly_one_period_of_tokens_is_no_mistake() {
    let directory = TempDir::new().expect("there is room");
    let file = directory.path().join("config.yaml");
    fs::write(&file, format!("{LOCAL}limits: {{tokens: 32768/min}}")).expect("there is room");
    let file = file.to_str().expect("a path of ours");
    let mut process = Process::start(&["check", "--config", file], &[]);
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.stderr());
    says(&process.stdout(), &["ok", "settings"]);
    assert_eq!(process.stderr(), "");
}

#[test]
fn values_that_cannot_be_say_what_could() {
    for (yaml, words) in [
        ("limits: {tokens: 30000}", ["limits.tokens: \"30000\"", "3000/min"]),
        ("limits: {requests: 0/min}", ["limits.requests: 0/min", "out of range: 1 to"]),
        ("batch: {linger: 5}", ["batch.linger: \"5\"", "50ms"]),
        ("batch: {max_records: many}", ["batch.max_records", "number"]),
        ("kafka: {order: keys}", ["kafka.order: \"keys\"", "key, partition, none"]),
        ("kafka: {brokers: \"host:port\"}", ["kafka.brokers: \"host:port\"", "host:9092"]),
        ("kafka: {input_topics: []}", ["kafka.input_topics", "at least one"]),
        ("kafka: {output_topic: \"a b\"}", ["kafka.output_topic: \"a b\"", "not a topic's name"]),
        ("input: {format: json, text: [title]}", ["input.text: \"title\"", "/title"]),
        ("admin: {listen: localhost}", ["admin.listen: \"localhost\"", "127.0.0.1:9464"]),
        ("log: {level: loud}", ["log.level: \"loud\"", "info"]),
    ] {
        refused_locally(yaml, &words);
    }
}

#[test]
fn a_key_that_is_missing_or_cannot_be_one_says_where_to_put_it() {
    let ways = ["EMBEDSTREAM__PROVIDER__API_KEY", "provider.api_key_file", "OPENROUTER_API_KEY"];
    refused("", &[], &[&["openrouter.ai needs a key"][..], &ways[..]].concat());
    refused("", &[("EMBEDSTREAM__PROVIDER__API_KEY", ""), ("OPENROUTER_API_KEY", " ")], &ways);
    refused("", &[("EMBEDSTREAM__PROVIDER__API_KEY", "hunter2 x")], &["API_KEY", "holds a space"]);
    refused("", &[("OPENROUTER_API_KEY", "hunter2\nx")], &["OPENROUTER_API_KEY", "more than one line"]);
    let directory = TempDir::new().expect("there is room");
    for (content, words) in [
        ("", "is empty; it must hold the key"),
        (" \n", "is empty; it must hold the key"),
        ("hunter2\nhunter2", "more than one line"),
    ] {
        let file = directory.path().join("api.key");
        fs::write(&file, content).expect("there is room");
        let file = file.to_str().expect("a path of ours");
        refused(&format!("provider: {{api_key_file: \"{file}\"}}"), &[], &[file, words]);
    }
    refused(
        "provider: {api_key_file: /nowhere/api.key}",
        &[],
        &["provider.api_key_file: /nowhere/api.key", "cannot be read"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_place() {
    let directory = TempDir::new().expect("there is room");
    for (name, content, words) in [
        ("config.json", &b"{}"[..], ".yaml, .yml or .toml"),
        ("config", b"", ".yaml, .yml or .toml"),
        ("open.yaml", b"kafka: [\n", "line 2"),
        ("indent.yaml", b"provider:\n  api_key: hunter2\n url: hunter2\n", "line 3"),
        ("tab.yaml", b"kafka:\n\tbrokers: a\n", "tabs"),
        ("twice.yaml", b"kafka: {}\nkafka: {}\n", "`kafka` is here for the second time"),
        ("text.yaml", b"just text", "expected settings"),
        ("alias.yaml", b"a: &a [x]\nb: *a\n", "aliases"),
        ("binary.yaml", b"\x00\xff\xfe", "not UTF-8"),
        ("unquoted.toml", b"[provider]\napi_key = hunter2\n", "line 2"),
        ("open.toml", b"[provider\napi_key = \"hunter2\"\n", "line 1"),
    ] {
        let file = directory.path().join(name);
        fs::write(&file, content).expect("there is room");
        let file = file.to_str().expect("a path of ours");
        for command in ["run", "check"] {
            let mut process = Process::start(&[command, "--config", file], &[]);
            let stderr = ended(&mut process, 78, SOON);
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            says(&stderr, &[name, words]);
        }
    }
    let mut process = Process::start(&["run", "--config", "nowhere.yaml"], &[]);
    says(&ended(&mut process, 78, SOON), &["nowhere.yaml: cannot be read"]);
}

#[test]
fn all_mistakes_are_said_at_once() {
    let yaml = format!("{LOCAL}batch: {{linger: 5, max_token: 1}}\nlimits: {{in_flight: none}}\n");
    let stderr = ended(&mut Process::worker(&yaml, &[]), 78, SOON);
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    says(&stderr, &["batch.linger", "batch.max_token`", "limits.in_flight"]);
}

#[test]
fn what_librdkafka_refuses_is_named_without_its_value() {
    for (section, name, value, words) in [
        ("client", "sasl.pasword", HIDDEN, "no setting of librdkafka"),
        ("client", "security.protocol", HIDDEN, "cannot have this value"),
        ("client", "sasl.jaas.config", "x password=hunter2", "not supported"),
        ("consumer", "session.timeout.ms", "hunter2", "cannot have this value"),
        ("producer", "compresion.type", "lz4", "no setting of librdkafka"),
    ] {
        let yaml = format!("{LOCAL}kafka: {{{section}: {{{name}: \"{value}\"}}}}\n");
        refused(&yaml, &[], &[&format!("kafka.{section}.\"{name}\""), words]);
        let directory = TempDir::new().expect("there is room");
        let file = directory.path().join("config.yaml");
        fs::write(&file, &yaml).expect("there is room");
        let file = file.to_str().expect("a path of ours");
        let stderr = ended(&mut Process::start(&["check", "--config", file], &[]), 78, SOON);
        says(&stderr, &[name, words]);
    }
}

#[test]
fn a_tokenizer_that_is_none_is_refused_at_the_start_and_by_check() {
    let provider =
        |setting: &str| format!("provider: {{url: \"http://127.0.0.1:1/v1\", dimensions: 8, {setting}}}\n");
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("tokenizer.json");
    fs::write(&file, "{\"model\": 5}").expect("it can be written");
    let path = file.to_str().expect("a plain path");
    refused(
        &provider(&format!("tokenizer: \"{path}\"")),
        &[],
        &["provider.tokenizer", path, "is not a tokenizer.json"],
    );
    let missing = "/no/such/tokenizer.json";
    refused(
        &provider(&format!("tokenizer: {missing}")),
        &[],
        &["provider.tokenizer", missing, "cannot be read"],
    );
    refused(&provider("tokenizer: estimat"), &[], &["provider.tokenizer", "did you mean estimate?"]);
    let long = format!("prefix: \"{}\"", "word ".repeat(3_000));
    refused(&(provider(&long) + "batch: {max_tokens: 4096}\n"), &[], &["provider.prefix", "tokens"]);

    let settings = folder.path().join("settings.yaml");
    fs::write(&settings, provider(&format!("tokenizer: {missing}"))).expect("it can be written");
    let mut check = Process::start(&["check", "--config", settings.to_str().expect("a plain path")], &[]);
    let status = check.wait(SOON);
    assert_eq!(status.code(), Some(78), "{}", check.stdout());
    says(&check.stdout(), &["ok      settings", "FAILED  tokens", missing]);
}
