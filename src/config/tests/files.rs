use std::collections::BTreeSet;
use std::fs;

use super::*;

const DEPLOYED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config.yaml");

fn paths(prefix: &str, value: &serde_json::Value, all: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                paths(&format!("{prefix}.{name}"), value, all);
            }
        }
        _ => {
            all.insert(prefix.to_owned());
        }
    }
}

fn load_file(name: &str, text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    Config::load(Some(&path), [("OPENROUTER_API_KEY", "k")].into_iter())
}

#[test]
fn the_defaults_are_the_contract() {
    let config = Config::default();
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert_eq!(config.kafka.input_topics, ["documents"]);
    assert_eq!(config.kafka.dead_letter_topic, "documents.dead-letters");
    assert_eq!(config.kafka.revoke_deadline, Duration::from_secs(10));
    assert_eq!(config.input.text, ["/title", "/body"]);
    assert_eq!(config.input.separator, "\n\n");
    assert_eq!(config.batch.max_tokens, 32_768);
    assert_eq!(config.batch.max_bytes, Size(1_048_576));
    assert_eq!(config.provider.url.as_str(), "https://openrouter.ai/api/v1");
    assert_eq!(config.provider.timeout, Duration::from_secs(120));
    assert_eq!(config.limits.tokens, None);
    assert_eq!(config.limits.max_in_flight_bytes, Size(67_108_864));
    assert_eq!(config.retry.dead_letter_cap, "20%/1min".parse().unwrap());
    assert_eq!(config.shutdown_deadline, Duration::from_secs(25));
    assert_eq!(config.admin.listen.unwrap().to_string(), "127.0.0.1:9464");
    assert!(super::super::checks::check(&config).is_empty());
}

#[test]
fn the_deployed_file_holds_the_defaults() {
    let config = Config::load(Some(Path::new(DEPLOYED)), [("OPENROUTER_API_KEY", "k")].into_iter()).unwrap();
    assert_eq!(config.provider.read_key().unwrap(), Some(Secret::new("k".to_owned())));
    let mut config = config;
    config.provider.openrouter_key = None;
    assert_eq!(config, Config::default());
}

#[test]
fn the_deployed_file_holds_every_key() {
    let table = file::read(Path::new(DEPLOYED)).unwrap();
    let written: serde_json::Value =
        ::config::Value::new(None, ::config::ValueKind::Table(table)).try_deserialize().unwrap();
    let (mut there, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    paths("", &written, &mut there);
    paths("", &serde_json::to_value(Config::default()).unwrap(), &mut wanted);
    assert_eq!(there, wanted);
}

#[test]
fn a_written_configuration_reads_back() {
    let yaml = "kafka: {order: partition, input_topics: [a, b]}\nlimits: {requests: 3000/min, tokens: 70000/30s}\n\
                batch: {linger: 1s 500ms}\nprovider: {api_key_file: /k, body: {a: 1}}\nadmin: {listen: ''}\n";
    let config = load(yaml, &[]).unwrap();
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(load(&written, &[]).unwrap(), config);
}

#[test]
fn an_empty_file_and_empty_sections_are_the_defaults() {
    for yaml in
        ["", "\n# nothing\n", "---\n", "kafka:\nbatch: {}\nlimits:\n  tokens:\n  in_flight: ~\n", "log: null"]
    {
        assert_eq!(load(yaml, &[]).unwrap(), Config::default(), "{yaml:?}");
    }
}

#[test]
fn a_bom_and_crlf_are_no_trouble() {
    assert_eq!(load("\u{feff}batch:\r\n  max_records: 7\r\n", &[]).unwrap().batch.max_records, 7);
}

#[test]
fn toml_is_read_by_its_extension() {
    let text = "shutdown_deadline = \"5s\"\n[kafka]\ninput_topics = [\"a\"]\ngroup_id = 7\n\
                [kafka.client]\nsasl.mechanism = \"PLAIN\"\n\"sasl.username\" = \"me\"\nsocket.keepalive.enable = true\n\
                [batch]\nmax_records = 8\n[provider.body]\nn = 1\nt = 0.5\n[provider.headers]\nX-Title = \"x\"\n";
    let config = load_file("c.toml", text).unwrap();
    assert_eq!(config.shutdown_deadline, Duration::from_secs(5));
    assert_eq!(config.kafka.group_id, "7");
    let client: Vec<_> = config.kafka.client.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        client,
        [("sasl.mechanism", "PLAIN"), ("sasl.username", "me"), ("socket.keepalive.enable", "true")]
    );
    assert_eq!(config.batch.max_records, 8);
    assert_eq!(serde_json::to_string(&config.provider.body).unwrap(), r#"{"n":1,"t":0.5}"#);
}

#[test]
fn yaml_text_stays_what_was_written() {
    let yaml = "kafka:\n  group_id: 007\n  input_topics: [2024.10, yes, 1e3]\n  output_topic: 0x1F\n  \
                client: {a.b: 010, c.d: true, e: 1.10}\nprovider: {model: 1.10}\n";
    let config = load(yaml, &[]).unwrap();
    assert_eq!(config.kafka.group_id, "007");
    assert_eq!(config.kafka.input_topics, ["2024.10", "yes", "1e3"]);
    assert_eq!(config.kafka.output_topic, "0x1F");
    assert_eq!(config.kafka.client.values().collect::<Vec<_>>(), ["010", "true", "1.10"]);
    assert_eq!(config.provider.model, "1.10");
}

#[test]
fn the_body_is_typed_and_sorted() {
    let yaml = "provider:\n  body:\n    z: 1\n    user: null\n    provider: {sort: price, order: [b, a], preferred_min_throughput: 1.5}\n    t: true\n    q: \"1\"\n    nan: nan\n";
    let body = load(yaml, &[]).unwrap().provider.body;
    assert_eq!(
        serde_json::to_string(&body).unwrap(),
        r#"{"nan":"nan","provider":{"order":["b","a"],"preferred_min_throughput":1.5,"sort":"price"},"q":"1","t":true,"user":null,"z":1}"#
    );
}

#[test]
fn brokers_may_be_a_list() {
    assert_eq!(load("kafka: {brokers: [a:1, 'b:2']}", &[]).unwrap().kafka.brokers, "a:1,b:2");
}

#[test]
fn another_extension_is_an_error() {
    for name in ["c.json", "c", "c.yaml.bak"] {
        let message = load_file(name, "").unwrap_err().to_string();
        assert!(
            message.ends_with(&format!("{name}: a configuration file ends in .yaml, .yml or .toml")),
            "{message}"
        );
    }
    assert!(load_file("c.YML", "").is_ok());
}

#[test]
fn an_unreadable_file_is_named() {
    let message = Config::load(Some(Path::new("/nowhere/c.yaml")), std::iter::empty::<(String, String)>());
    let message = message.unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/c.yaml: cannot be read: "), "{message}");
    let big = " ".repeat((1 << 20) + 1);
    assert!(load_file("c.yaml", &big).unwrap_err().to_string().ends_with("larger than 1 MiB"));
}

#[test]
fn bytes_that_are_not_utf8_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    fs::write(&path, b"kafka: \xff\n").unwrap();
    let message = Config::load(Some(&path), std::iter::empty::<(String, String)>()).unwrap_err().to_string();
    assert!(message.ends_with("c.yaml: cannot be read: not UTF-8"), "{message}");
}
