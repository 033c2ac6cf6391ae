use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::json::rfc3339;
use super::*;
use crate::domain::record::{Offset, RejectReason, VECTOR_ELEMENT_BYTES};

const HASH: &str = "sha256:63ec5506aaaa082f7057c7224346d7f14b7104bcfedf2939396442aa3de8c9f2";

fn record() -> Record {
    Record {
        topic: Arc::from("documents"),
        partition: 3,
        offset: Offset(42),
        timestamp: Some(1_772_366_400_123),
        key: Some(b"key-1".to_vec()),
        value: Some(b"\x00\xffraw".to_vec()),
        headers: vec![("trace".to_owned(), Some(vec![0, 255])), ("trace".to_owned(), None)],
    }
}

fn text() -> Text {
    Text {
        text: "Hello \"world\"\n".to_owned(),
        tokens: 5,
        truncated: false,
        payload: Some(r#"{"id":12345678901234567890,"x":1.50}"#.to_owned()),
    }
}

fn value(record: &Record, text: &Text, vector: &[f32]) -> String {
    String::from_utf8(embedded(record, text, vector, "qwen/qwen3-embedding-4b").payload.unwrap()).unwrap()
}

fn header(name: &str, value: &str) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.as_bytes().to_vec()))
}

#[test]
fn the_value_is_these_bytes() {
    let vector = [0.1, -0.019_853_827, 1.0, -0.0, 1e-10, 1.175_494_4e-38];
    let expected = concat!(
        r#"{"id":"8a01b873-7e14-5e10-994c-6015fb901747","#,
        r#""vector":[0.1,-0.019853827,1.0,-0.0,1e-10,1.1754944e-38],"text":"Hello \"world\"\n","#,
        r#""payload":{"id":12345678901234567890,"x":1.50},"model":"qwen/qwen3-embedding-4b","dimensions":6,"tokens":5,"#,
        r#""content_hash":"sha256:63ec5506aaaa082f7057c7224346d7f14b7104bcfedf2939396442aa3de8c9f2","#,
        r#""source":{"topic":"documents","partition":3,"offset":42,"timestamp":"2026-03-01T12:00:00.123Z"},"#,
        r#""schema_version":1}"#,
    );
    assert_eq!(value(&record(), &text(), &vector), expected);
}

#[test]
fn what_is_null_is_left_out() {
    let record = Record { key: None, timestamp: None, ..record() };
    let text = Text { payload: None, ..text() };
    let expected = concat!(
        r#"{"id":"297d60bc-1f98-5658-81f0-48eef22a5d84","vector":[0.5],"text":"Hello \"world\"\n","#,
        r#""model":"qwen/qwen3-embedding-4b","dimensions":1,"tokens":5,"#,
        r#""content_hash":"sha256:63ec5506aaaa082f7057c7224346d7f14b7104bcfedf2939396442aa3de8c9f2","#,
        r#""source":{"topic":"documents","partition":3,"offset":42},"schema_version":1}"#,
    );
    assert_eq!(value(&record, &text, &[0.5]), expected);
}

#[test]
fn the_namespace_is_the_documented_one() {
    assert_eq!(ID_NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"embedstream"));
}

#[test]
fn an_id_is_the_keys_or_the_places() {
    let first = record();
    let later = Record { partition: 5, offset: Offset(77), value: Some(b"new".to_vec()), ..record() };
    assert_eq!(id(&first), id(&later));
    assert_ne!(id(&first), id(&Record { topic: Arc::from("other"), ..record() }));
    assert_ne!(id(&first), id(&Record { key: Some(b"key-2".to_vec()), ..record() }));
    let null = Record { key: None, ..record() };
    let empty = Record { key: Some(Vec::new()), ..record() };
    assert_eq!(id(&null), id(&empty));
    assert_ne!(id(&null), id(&Record { offset: Offset(43), ..null.clone() }));
    assert_ne!(id(&null), id(&Record { partition: 4, ..null }));
}

#[test]
fn headers_are_copied_and_ours_follow() {
    let out = embedded(&record(), &text(), &[0.5, 0.5], "m");
    let expected = vec![
        ("trace".to_owned(), Some(vec![0, 255])),
        ("trace".to_owned(), None),
        header("embedstream-model", "m"),
        header("embedstream-dimensions", "2"),
        header("embedstream-content-hash", HASH),
    ];
    assert_eq!(out.headers, expected);
    assert_eq!((out.destination, out.partition, out.key), (Destination::Output, None, record().key));
}

#[test]
fn our_headers_of_an_embedding_further_up_are_replaced() {
    let earlier = vec![
        header("embedstream-model", "old"),
        header("a", "1"),
        header("embedstream-dimensions", "9"),
        header("embedstream-content-hash", "sha256:old"),
        header("embedstream-model", "older"),
        header("embedstream-error-reason", "rejected"),
    ];
    let out = embedded(&Record { headers: earlier, ..record() }, &text(), &[0.5], "new");
    let expected = vec![
        header("a", "1"),
        header("embedstream-error-reason", "rejected"),
        header("embedstream-model", "new"),
        header("embedstream-dimensions", "1"),
        header("embedstream-content-hash", HASH),
    ];
    assert_eq!(out.headers, expected);
}

#[test]
fn two_hundred_headers_are_copied() {
    let headers: Headers = (0..200).map(|n| header(&format!("h{n}"), "v")).collect();
    let record = Record { headers: headers.clone(), ..record() };
    assert_eq!(embedded(&record, &text(), &[0.5], "m").headers[..200], headers);
    assert_eq!(tombstone(&record).headers, headers);
    assert_eq!(dead_letter(&record, RejectReason::Content, "no", 1).headers[..200], headers);
}

#[test]
fn a_delete_is_passed_on() {
    let input = Record { value: None, ..record() };
    let out = tombstone(&input);
    assert_eq!(out.headers, input.headers);
    assert_eq!((out.destination, out.partition, &out.key), (Destination::Output, None, &input.key));
    assert_eq!(out.payload, None);
    assert_eq!(out.bytes(), 5 + 5 + 2 + 5);
}

#[test]
fn a_dead_letter_is_the_record_and_why() {
    let out = dead_letter(&record(), RejectReason::Rejected, "HTTP 400: refused", 3);
    assert_eq!((out.destination, out.partition), (Destination::DeadLetter, None));
    assert_eq!((out.key, out.payload), (record().key, record().value));
    let mut expected = record().headers;
    expected.extend([
        header("embedstream-error-reason", "rejected"),
        header("embedstream-error-message", "HTTP 400: refused"),
        header("embedstream-error-topic", "documents"),
        header("embedstream-error-partition", "3"),
        header("embedstream-error-offset", "42"),
        header("embedstream-error-timestamp", "2026-03-01T12:00:00.123Z"),
        header("embedstream-error-attempts", "3"),
        header("embedstream-error-version", env!("CARGO_PKG_VERSION")),
    ]);
    assert_eq!(out.headers, expected);
}

#[test]
fn a_second_dead_letter_keeps_the_first_ones_headers_in_front() {
    let first = dead_letter(&record(), RejectReason::Rejected, "first", 1);
    let again = Record { headers: first.headers.clone(), topic: Arc::from("again"), ..record() };
    let second = dead_letter(&again, RejectReason::TooLong, "second", 2);
    assert_eq!(second.headers[..first.headers.len()], first.headers);
    let reasons: Vec<_> =
        second.headers.iter().filter(|(name, _)| name == "embedstream-error-reason").collect();
    assert_eq!(reasons.last().unwrap().1.as_deref(), Some(b"too_long".as_slice()));
}

#[test]
fn a_message_is_one_short_line() {
    let message = |message: &str| {
        let out = dead_letter(&record(), RejectReason::Rejected, message, 1);
        let (_, value) =
            out.headers.into_iter().find(|(name, _)| name == "embedstream-error-message").unwrap();
        String::from_utf8(value.unwrap()).unwrap()
    };
    assert_eq!(message(" a\nb\t\0c\u{85}d\x1b[31m\r\n"), "a b  c d [31m");
    assert_eq!(message(""), "");
    assert_eq!(message(&"é".repeat(500)), "é".repeat(500));
    assert_eq!(message(&"é".repeat(501)), format!("{}…", "é".repeat(499)));
}

#[test]
fn only_a_sensible_timestamp_is_written() {
    assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
    assert_eq!(rfc3339(253_402_300_799_999).as_deref(), Some("9999-12-31T23:59:59.999Z"));
    for nonsense in [-1, i64::MIN, i64::MAX, 253_402_300_800_000] {
        assert_eq!(rfc3339(nonsense), None);
    }
}

#[test]
fn an_element_has_about_the_expected_bytes() {
    let mut random = fastrand::Rng::with_seed(1);
    let vector: Vec<f32> = (0..2560).map(|_| (random.f32() - 0.5) * 0.07).collect();
    let bytes = value(&record(), &text(), &vector).len();
    let expected = VECTOR_ELEMENT_BYTES * 2560;
    assert!(bytes <= expected + 512 && bytes >= expected * 85 / 100, "{bytes} of {expected}");
}

fn finite() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("finite", |x| x.is_finite())
}

proptest! {
    #[test]
    fn every_value_is_json_with_the_same_vector(
        text in any::<String>(),
        model in any::<String>(),
        key in any::<Option<Vec<u8>>>(),
        vector in prop::collection::vec(finite(), 0..50),
        timestamp in any::<Option<i64>>(),
        payload in any::<Option<String>>(),
    ) {
        let record = Record { key, timestamp, ..record() };
        let payload = payload.map(|field| serde_json::json!({ "field": field }).to_string());
        let text = Text { text, tokens: 9, truncated: true, payload: payload.clone() };
        let out = embedded(&record, &text, &vector, &model);
        let bytes = out.payload.unwrap();

        #[derive(serde::Deserialize)]
        struct Read { vector: Vec<f32> }
        let read: Read = serde_json::from_slice(&bytes).unwrap();
        let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read.vector), bits(&vector));

        let value: Value = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(value["text"].as_str().unwrap(), &text.text);
        prop_assert_eq!(value["model"].as_str().unwrap(), &model);
        prop_assert_eq!(value["id"].as_str().unwrap(), id(&record).to_string());
        prop_assert_eq!(value.get("payload").is_some(), payload.is_some());
        prop_assert_eq!(out.key, record.key);
    }

    #[test]
    fn no_message_breaks_a_header(message in any::<String>()) {
        let out = dead_letter(&record(), RejectReason::Content, &message, 0);
        let value = out.headers[3].1.clone().unwrap();
        let value = String::from_utf8(value).unwrap();
        prop_assert!(value.chars().count() <= 500 && !value.chars().any(char::is_control));
    }
}

#[test]
fn debug_tells_how_long_and_not_what() {
    let outgoing = Outgoing {
        destination: Destination::Output,
        partition: Some(1),
        key: Some(b"secret".to_vec()),
        payload: Some(b"a secret value".to_vec()),
        headers: vec![("secret".to_owned(), Some(b"secret".to_vec()))],
    };
    let shown = format!("{outgoing:?}");
    assert!(!shown.contains("secret") && !shown.contains("115, 101"), "{shown}");
    assert!(shown.contains("14 bytes"), "{shown}");
}
