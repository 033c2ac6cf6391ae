use serde_json::{Value, json};

use super::SuspendedBy::{HeldPartitions, Provider, Topic};
use super::*;

fn json_of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

fn reason(health: &Health) -> Option<&'static str> {
    let readiness = health.readiness();
    assert_eq!(readiness.ready, readiness.why.is_none());
    readiness.why.map(|why| why.reason)
}

fn first(health: &Health) -> Suspended {
    health.told().suspended.first().expect("suspended").1.clone()
}

#[tokio::test(start_paused = true)]
async fn ready_is_joined_and_neither_suspended_nor_draining() {
    let health = Health::new();
    assert_eq!(reason(&health), Some("starting"));
    health.joined();
    assert_eq!(reason(&health), None);
    health.suspend(Provider, "unauthorized", "401".to_owned(), None);
    assert_eq!(reason(&health), Some("unauthorized"));
    health.resume(Provider);
    assert_eq!(reason(&health), None);
    health.suspend(Provider, "unreachable", String::new(), None);
    health.draining();
    assert_eq!(reason(&health), Some("draining"));
    health.resume(Provider);
    assert_eq!(reason(&health), Some("draining"), "a drain has no way back");
}

#[test]
fn a_worker_without_its_brokers_or_its_topic_is_as_one_that_has_not_joined() {
    let health = Health::new();
    health.heard(Kafka::Brokers, Some("no broker".to_owned()));
    health.heard(Kafka::Brokers, None);
    assert_eq!(reason(&health), Some("starting"), "it has not joined");
    health.joined();
    health.heard(Kafka::Brokers, Some("no broker".to_owned()));
    health.heard(Kafka::Topic, Some("no topic".to_owned()));
    health.heard(Kafka::Topic, Some("no other topic".to_owned()));
    let message = || health.readiness().why.expect("not ready").message;
    assert_eq!((reason(&health), message().as_str()), (Some("starting"), "no broker"));
    health.heard(Kafka::Brokers, None);
    assert_eq!((message().as_str(), health.told().state()), ("no topic", "starting"));
    health.suspend(Provider, "timeout", String::new(), None);
    assert_eq!(reason(&health), Some("timeout"), "what costs more comes first");
    health.resume(Provider);
    health.heard(Kafka::Topic, None);
    assert_eq!((reason(&health), health.told().state()), (None, "running"));
}

#[test]
fn a_worker_that_is_not_let_into_its_group_says_so() {
    let health = Health::new();
    health.heard(Kafka::Group, Some("not this user".to_owned()));
    let why = health.readiness().why.expect("not ready");
    assert_eq!((why.reason, why.message.as_str()), ("starting", "not this user"));
    health.joined();
    health.heard(Kafka::Group, None);
    assert_eq!(reason(&health), None, "it is in");
}

#[test]
fn the_oldest_suspension_is_the_reason_until_none_is_left() {
    let health = Health::new();
    health.joined();
    health.suspend(Topic, "output_refused", "topic".to_owned(), None);
    health.suspend(Provider, "unreachable", String::new(), None);
    health.suspend(HeldPartitions, "output_refused", "partition".to_owned(), None);
    health.suspend(Topic, "output_refused", "topic again".to_owned(), None);
    assert_eq!(first(&health).message, "topic again");
    health.suspend(Provider, "timeout", String::new(), None);
    health.resume(Topic);
    assert_eq!(first(&health).message, "partition", "the provider's new reason is younger");
    health.resume(HeldPartitions);
    health.resume(HeldPartitions);
    assert_eq!(reason(&health), Some("timeout"));
    health.resume(Provider);
    assert_eq!(reason(&health), None);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_before_the_group_says_its_own_reason() {
    let health = Health::new();
    health.suspend(Provider, "forbidden", "403".to_owned(), None);
    assert_eq!(reason(&health), Some("forbidden"));
}

#[tokio::test(start_paused = true)]
async fn live_is_a_turn_of_both_within_30_s() {
    let health = Health::new();
    health.beat_loop();
    health.beat_thread();
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(health.liveness().live);
    health.beat_loop();
    tokio::time::advance(Duration::from_millis(1)).await;
    let stuck = health.liveness();
    assert!(!stuck.live, "the thread is stuck");
    assert_eq!((stuck.loop_age_seconds, stuck.thread_age_seconds), (Some(0.001), Some(30.001)));
    health.beat_thread();
    assert!(health.liveness().live);
    tokio::time::advance(Duration::from_secs(31)).await;
    health.beat_thread();
    assert!(!health.liveness().live, "the loop is stuck");
}

#[tokio::test(start_paused = true)]
async fn the_first_turn_may_take_two_minutes() {
    let health = Health::new();
    health.beat_loop();
    tokio::time::advance(Duration::from_secs(120)).await;
    health.beat_loop();
    let starting = health.liveness();
    assert!(starting.live);
    assert_eq!(starting.thread_age_seconds, None);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!health.liveness().live);
}

#[test]
fn the_poll_thread_beats_outside_the_runtime() {
    let health = Health::new();
    std::thread::scope(|scope| {
        scope.spawn(|| health.beat_thread());
    });
    assert!(health.liveness().thread_age_seconds.is_some_and(|age| age < 5.0));
}

#[test]
fn readiness_is_written_as_the_design_says() {
    let health = Health::new();
    health.told().started = Time(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    let starting = json!({
        "ready": false, "reason": "starting", "message": "has not joined its consumer group yet",
        "since": "2023-11-14T22:13:20.123Z",
    });
    assert_eq!(json_of(&health.readiness()), starting);
    health.joined();
    assert_eq!(serde_json::to_string(&health.readiness()).expect("JSON"), r#"{"ready":true}"#);
}

#[test]
fn the_same_reason_again_keeps_its_beginning() {
    let health = Health::new();
    health.suspend(Provider, "timeout", "first".to_owned(), None);
    let long_ago = Time(SystemTime::UNIX_EPOCH);
    for (_, suspended) in &mut health.told().suspended {
        suspended.since = long_ago;
    }
    health.suspend(Provider, "timeout", "second".to_owned(), Some(Instant::now() + Duration::from_secs(10)));
    let again = first(&health);
    assert_eq!((again.since, again.message.as_str()), (long_ago, "second"));
    let ahead = again.next_probe.expect("a probe").0.duration_since(SystemTime::now()).expect("ahead");
    assert!(ahead > Duration::from_secs(5) && ahead <= Duration::from_secs(10));
    health.suspend(Provider, "unreachable", "other".to_owned(), None);
    assert_ne!(first(&health).since, long_ago);
}

#[test]
fn messages_and_probes_are_bounded() {
    let health = Health::new();
    let far = Instant::now() + Duration::from_secs(86_400 * 365 * 30);
    health.suspend(Provider, "bad_request", "é".repeat(10_000) + "x", Some(far));
    let suspended = first(&health);
    assert_eq!(suspended.message.len(), 500);
    assert!(json_of(&suspended)["next_probe"].is_string());
    health.suspend(Provider, "bad_request", "x".to_owned() + &"é".repeat(10_000), None);
    assert_eq!(first(&health).message.len(), 499, "at a character");
}

#[test]
fn errors_of_one_class_are_counted_together() {
    let health = Health::new();
    health.failed("timeout");
    health.failed("timeout");
    let last = || health.told().last_error.clone().map(|last| (last.class, last.count));
    assert_eq!(last(), Some(("timeout", 2)));
    health.failed("auth");
    assert_eq!(last(), Some(("auth", 1)));
}
