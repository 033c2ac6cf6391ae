//! The `kafka` section: topics that must differ, deadlines, and librdkafka settings that are not free.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Checks, HOUR, MILLISECOND, text};
use crate::config::{Config, Kafka, scalar};

/// librdkafka's `max.poll.interval.ms` where nobody sets it.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(120);

pub(super) fn check(checks: &mut Checks, config: &Config) {
    let kafka = &config.kafka;
    brokers(checks, &kafka.brokers);
    checks.visible("kafka.group_id", &kafka.group_id);
    topics(checks, kafka);
    checks.time("kafka.transaction_interval", kafka.transaction_interval, MILLISECOND..=HOUR);
    checks.time("kafka.revoke_deadline", kafka.revoke_deadline, MILLISECOND..=HOUR);
    deadlines(checks, config);
    for (section, settings) in
        [("client", &kafka.client), ("consumer", &kafka.consumer), ("producer", &kafka.producer)]
    {
        for (name, value) in settings {
            if let Some(reason) = refused(name, value) {
                checks.problem(&format!("kafka.{section}.\"{name}\""), reason);
            }
        }
    }
}

fn brokers(checks: &mut Checks, brokers: &str) {
    for broker in brokers.split(',').map(str::trim) {
        let address = broker.rsplit_once("://").map_or(broker, |(_, address)| address);
        let host_and_port = match address.rsplit_once(':') {
            // An IPv6 address in brackets, or a name, with or without its port.
            Some((host, _)) if address.ends_with(']') && host.starts_with('[') => Some((address, None)),
            Some((host, port)) => Some((host, Some(port))),
            None => Some((address, None)),
        };
        let valid = host_and_port.is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/' || c == '@')
                && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        });
        if !valid {
            // What has an @ may hold a password.
            let shown = if broker.contains('@') { "the value".to_owned() } else { scalar::quoted(broker) };
            checks.problem(
                "kafka.brokers",
                format_args!("{shown} is not a broker's address; write for example host:9092"),
            );
        }
    }
}

fn topics(checks: &mut Checks, kafka: &Kafka) {
    if kafka.input_topics.is_empty() {
        checks.problem("kafka.input_topics", "is empty; name at least one topic");
    }
    let mut seen = BTreeSet::new();
    for topic in &kafka.input_topics {
        topic_name(checks, "kafka.input_topics", topic);
        if !seen.insert(topic) {
            checks.problem("kafka.input_topics", format_args!("{} is listed twice", scalar::quoted(topic)));
        }
    }
    for (key, topic) in
        [("kafka.output_topic", &kafka.output_topic), ("kafka.dead_letter_topic", &kafka.dead_letter_topic)]
    {
        topic_name(checks, key, topic);
        if kafka.input_topics.contains(topic) {
            checks.problem(
                key,
                format_args!("{topic} is one of kafka.input_topics: [{}] as well; the worker would read what it writes", kafka.input_topics.join(", ")),
            );
        }
    }
    if kafka.output_topic == kafka.dead_letter_topic {
        checks.problem(
            "kafka.output_topic",
            format_args!(
                "{} is kafka.dead_letter_topic: {} as well",
                kafka.output_topic, kafka.dead_letter_topic
            ),
        );
    }
}

fn topic_name(checks: &mut Checks, key: &str, topic: &str) {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() {
        checks.problem(key, "must not be empty");
    } else if topic.len() > 249 || !topic.chars().all(legal) || topic == "." || topic == ".." {
        checks.problem(
            key,
            format_args!("{} is not a topic's name: at most 249 of a-z A-Z 0-9 . _ -", scalar::quoted(topic)),
        );
    }
}

/// All partitions of a member stand still while it drains, and a member that does not poll for `max.poll.interval.ms` is expelled.
fn deadlines(checks: &mut Checks, config: &Config) {
    const NAME: &str = "max.poll.interval.ms";
    let kafka = &config.kafka;
    let written = [("consumer", &kafka.consumer), ("client", &kafka.client)]
        .into_iter()
        .find_map(|(section, settings)| settings.get(NAME).map(|value| (section, value)));
    let (key, interval) = match written {
        None => (NAME.to_owned(), MAX_POLL_INTERVAL),
        Some((section, value)) => {
            let key = format!("kafka.{section}.\"{NAME}\"");
            let Ok(milliseconds @ 1..=86_400_000) = value.trim().parse::<u64>() else {
                checks.problem(
                    &key,
                    format_args!("{} is not 1 to 86400000 milliseconds", scalar::quoted(value)),
                );
                return;
            };
            (key, Duration::from_millis(milliseconds))
        }
    };
    if kafka.revoke_deadline >= interval / 2 {
        checks.problem(
            "kafka.revoke_deadline",
            format_args!(
                "{} is not below half of {key}: {}; the group would expel a member that drains so long",
                text(kafka.revoke_deadline),
                interval.as_millis()
            ),
        );
    }
    if config.shutdown_deadline >= interval {
        checks.problem(
            "shutdown_deadline",
            format_args!(
                "{} is not below {key}: {}; the group would expel a member that drains so long",
                text(config.shutdown_deadline),
                interval.as_millis()
            ),
        );
    }
}

/// Why a librdkafka setting may not be given, or not with this value.
fn refused(name: &str, value: &str) -> Option<&'static str> {
    let value = value.trim();
    let truthy = value.eq_ignore_ascii_case("true") || value == "1";
    match name {
        "bootstrap.servers" | "metadata.broker.list" => Some("is set by kafka.brokers"),
        "group.id" => Some("is set by kafka.group_id"),
        "auto.offset.reset" => Some("is set by kafka.start"),
        "statistics.interval.ms" => {
            Some("is fixed: lag, and the end of a bounded run, are read from the statistics")
        }
        "enable.auto.commit" | "auto.commit.enable" | "enable.auto.offset.store" => Some(
            "cannot be set: an offset is committed only when its outcome is acknowledged, or records would be lost",
        ),
        "enable.idempotence" if !truthy => {
            Some("cannot be turned off: a retry inside the producer would double or reorder outputs")
        }
        "acks" | "request.required.acks" if value != "all" && value != "-1" => {
            Some("cannot be less than all: an output must outlive the loss of a broker")
        }
        "partition.assignment.strategy" if value != "cooperative-sticky" => {
            Some("must stay cooperative-sticky: an eager one takes every partition away at each rebalance")
        }
        "group.protocol" if value != "classic" => {
            Some("must stay classic: others are not supported yet in this version")
        }
        "transactional.id" => {
            Some("cannot be set: delivery: exactly_once is not supported yet in this version")
        }
        "delivery.report.only.error" if truthy => {
            Some("cannot be set: without a report an output is never known to be acknowledged")
        }
        _ => None,
    }
}
