//! The settings of the demo: a real configuration, read as a file is, with nothing in it but what the stage needs.

use std::ffi::OsString;

use crate::config::{Config, ConfigError, Provider};

/// The topic that is fed.
pub(super) const INPUT: &str = "documents";
/// The topic of vectors.
pub(super) const OUTPUT: &str = "documents.embeddings";
/// The topic of dead letters.
pub(super) const DEAD_LETTERS: &str = "documents.dead-letters";

/// Its partitions.
pub(super) const INPUT_PARTITIONS: i32 = 3;
/// So many that what is not yet read fits into 5 MiB each.
pub(super) const OUTPUT_PARTITIONS: i32 = 12;

/// What a live demo takes from the environment: the key, wherever it is.
const KEY_VARIABLES: [&str; 3] =
    ["OPENROUTER_API_KEY", "EMBEDSTREAM__PROVIDER__API_KEY", "EMBEDSTREAM__PROVIDER__API_KEY_FILE"];

/// What differs from the defaults of `deploy/config.yaml`. The short session makes the end quick; four calls at a time keep batches
/// full on a small machine. The broker's end is no error.
const YAML: &str = r#"
kafka:
  brokers: "{servers}"
  group_id: embedstream-demo
  input_topics: [documents]
  output_topic: documents.embeddings
  dead_letter_topic: documents.dead-letters
  consumer: {session.timeout.ms: 6000, heartbeat.interval.ms: 500}
input: {format: json, text: [/title, /body], payload: [/id, /lang]}
provider: {url: "{url}", profile: custom}
limits: {in_flight: 4}
admin: {listen: "127.0.0.1:9464"}
log: {format: text, level: "error,rdkafka=off,librdkafka=off"}
"#;

/// The settings for these brokers and the provider at `url`.
///
/// # Errors
/// None that a user could cause: the text is a constant.
pub(super) fn simulated(servers: &str, url: &str) -> Result<Config, ConfigError> {
    Config::from_yaml(&YAML.replace("{servers}", servers).replace("{url}", url))
}

/// The provider of a live demo: OpenRouter as it is by default, with the key that the environment holds.
///
/// # Errors
/// There is no key, or it cannot be one.
pub(super) fn live(environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Provider, ConfigError> {
    let keys = environment.filter(|(name, _)| KEY_VARIABLES.iter().any(|known| name == known));
    Ok(Config::load(None, keys)?.provider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Format;

    #[test]
    fn the_embedded_settings_are_settings() {
        let config = simulated("127.0.0.1:1,127.0.0.1:2", "http://127.0.0.1:3/v1").unwrap();
        assert_eq!(config.kafka.brokers, "127.0.0.1:1,127.0.0.1:2");
        assert_eq!(config.kafka.input_topics, [INPUT]);
        assert_eq!(
            (config.kafka.output_topic.as_str(), config.kafka.dead_letter_topic.as_str()),
            (OUTPUT, DEAD_LETTERS)
        );
        assert_eq!(config.provider.url.as_str(), "http://127.0.0.1:3/v1");
        assert_eq!(config.input.format, Format::Json);
        assert_eq!((config.batch, config.retry), Default::default(), "the rest is the default");
    }

    fn live_with(variables: &[(&str, &str)]) -> Result<Provider, ConfigError> {
        live(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    #[test]
    fn live_needs_a_key_and_takes_nothing_else_from_the_environment() {
        let missing = live_with(&[("HOME", "/"), ("EMBEDSTREAM__PROVIDER__MODEL", "other")]).unwrap_err();
        assert!(missing.to_string().contains("OPENROUTER_API_KEY"), "{missing}");
        let provider = live_with(&[
            ("OPENROUTER_API_KEY", "sk-or-v1-secret"),
            ("EMBEDSTREAM__PROVIDER__URL", "http://elsewhere.example"),
        ]);
        let provider = provider.unwrap();
        assert_eq!(provider.url.host_str(), Some("openrouter.ai"));
        assert_eq!(provider.read_key().unwrap().unwrap().expose(), "sk-or-v1-secret");
        assert!(live_with(&[("OPENROUTER_API_KEY", "two\nlines")]).is_err());
    }
}
