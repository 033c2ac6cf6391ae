use clap::CommandFactory as _;

use super::*;
use crate::config::Kafka;
use crate::kafka::preflight::PreflightError;
use crate::kafka::refusal::Refused;
use crate::pipeline::Ended;
use crate::provider::SuspendReason;

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_end_has_its_code() {
    let code = |ended: Ended| Failure::of(ended).map_or_else(|failure| failure.code(), |()| 0);
    assert_eq!(code(Ended::Drained), 0);
    assert_eq!(code(Ended::CutShort), 75);
    assert_eq!(code(Ended::Fatal("fenced".to_owned())), 70);
    for why in SuspendReason::ALL {
        let unavailable = matches!(why, SuspendReason::Unreachable | SuspendReason::Timeout);
        let expected = if unavailable { 69 } else { 78 };
        assert_eq!(code(Ended::Misconfigured(why, "said so".to_owned())), expected, "{why:?}");
    }
}

#[test]
fn a_missing_topic_is_unavailable_and_a_refused_setting_is_configuration() {
    let missing = PreflightError::Topic {
        key: "input_topics",
        topics: vec!["documents".to_owned()],
        reason: "is unknown to the brokers".to_owned(),
    };
    let failure = Failure::from(missing);
    assert_eq!(failure.code(), 69);
    assert_eq!(
        failure.to_string(),
        "topic `documents` (`kafka.input_topics`) is unknown to the brokers; create it, or correct the setting"
    );
    let refused =
        PreflightError::Settings(Refused::of(&Kafka::default(), &rdkafka::error::KafkaError::Canceled));
    assert_eq!(Failure::from(refused).code(), 78);
}

#[test]
fn a_wrong_command_line_is_usage_and_help_is_not() {
    let code = |arguments: &[&str]| {
        let arguments = std::iter::once("embedstream").chain(arguments.iter().copied()).map(OsString::from);
        main(arguments)
    };
    assert_eq!(code(&["--version"]), ExitCode::SUCCESS);
    assert_eq!(code(&["run", "--help"]), ExitCode::SUCCESS);
    for wrong in [&["walk"][..], &[], &["run", "--confg", "x"], &["simulate", "--dimensions", "0"]] {
        assert_eq!(code(wrong), ExitCode::from(64), "{wrong:?}");
    }
    assert_eq!(code(&["check", "--config", "/nowhere/config.yaml"]), ExitCode::from(78));
}
