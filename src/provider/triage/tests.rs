mod recorded;

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use serde_json::json;

use self::recorded::recorded;
use super::*;
use crate::provider::Cap;

const CAP: Duration = Duration::from_secs(60);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_785_542_400)
}

fn http(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

/// An error with any status: within a success it is one by its body.
fn judged(status: u16, body: &str, count: usize) -> Failure {
    answer(&http(status, body), count, Some(&Fault::Error), CAP, now())
}

fn stop(why: SuspendReason) -> Verdict {
    Verdict::Suspend { why, fatal_at_start: true }
}

fn suspend(why: SuspendReason) -> Verdict {
    Verdict::Suspend { why, fatal_at_start: false }
}

fn guilty(reason: RejectReason) -> Verdict {
    Verdict::Bisect { reason, clear: true, otherwise: SuspendReason::BadRequest }
}

fn refused() -> Verdict {
    let reason = RejectReason::Rejected;
    Verdict::Bisect { reason, clear: false, otherwise: SuspendReason::BadRequest }
}

fn retry(meanwhile: SuspendReason) -> Verdict {
    again(Attempts::Configured, RejectReason::ProviderError, meanwhile)
}

fn held(attempts: Attempts, meanwhile: SuspendReason) -> Verdict {
    let then = RejectReason::ProviderError;
    Verdict::Retry { after: None, hold_off: true, attempts, then, meanwhile }
}

fn records(cap: usize) -> Verdict {
    Verdict::Shrink(Cap::Records(Some(cap)))
}

#[test]
fn every_recorded_answer_has_its_verdict() {
    for (status, body, verdict) in recorded() {
        assert_eq!(judged(status, body, 64).verdict, verdict, "{status} {body}");
    }
}

#[test]
fn headers_have_their_verdict() {
    for (status, header, value, verdict) in recorded::by_header() {
        let mut answered = http(status, "");
        answered.headers.push((header.to_owned(), value.to_owned()));
        assert_eq!(answer(&answered, 64, None, CAP, now()).verdict, verdict, "{status} {header}: {value}");
    }
}

#[test]
fn every_row_has_a_recorded_answer() {
    let mut rows: BTreeSet<_> = rows::names().collect();
    for (status, body, _) in recorded() {
        let message = judged(status, body, 64).message;
        rows.retain(|row| !message.starts_with(row));
    }
    for (status, header, value, _) in recorded::by_header() {
        let mut answered = http(status, "");
        answered.headers.push((header.to_owned(), value.to_owned()));
        let message = answer(&answered, 64, None, CAP, now()).message;
        rows.retain(|row| !message.starts_with(row));
    }
    assert_eq!(rows, BTreeSet::new());
}

#[test]
fn a_short_text_that_is_quoted_back_says_nothing() {
    for quoted in ["'my dimensions'", "\"no batch size\"", "`at most 1`", "'context length'"] {
        let body = json!({"error": {"message": format!("invalid input: {quoted}")}}).to_string();
        assert_eq!(judged(400, &body, 64).verdict, refused(), "{quoted}");
    }
    let named = json!({"error": {"message": "Unknown field: 'dimensions'"}}).to_string();
    assert_eq!(judged(400, &named, 64).verdict, suspend(SuspendReason::BadRequest));
}

#[test]
fn a_lone_text_is_not_halved() {
    let sum = r#"{"error":{"message":"x","code":"max_tokens_per_request"}}"#;
    assert_eq!(judged(400, sum, 1).verdict, guilty(RejectReason::TooLong));
    assert_eq!(judged(413, "", 1).verdict, guilty(RejectReason::TooLarge));
    let count = r#"{"error":{"message":"batch size is invalid, it should not be larger than 10."}}"#;
    assert_eq!(judged(400, count, 1).verdict, refused());
    // A cap that would not make the batch smaller is no cap.
    assert_eq!(judged(400, count, 8).verdict, Verdict::Shrink(Cap::Records(None)));
}

#[test]
fn outcomes_follow_the_effective_status() {
    let of = |status, body: &str| judged(status, body, 2).outcome;
    assert_eq!(of(429, ""), CallOutcome::RateLimited);
    assert_eq!(of(200, r#"{"error":{"code":429,"message":"slow down"}}"#), CallOutcome::RateLimited);
    for status in [401, 402, 403] {
        assert_eq!(of(status, ""), CallOutcome::Auth);
    }
    assert_eq!(of(302, ""), CallOutcome::ClientError);
    assert_eq!(of(400, ""), CallOutcome::ClientError);
    assert_eq!(of(503, ""), CallOutcome::ServerError);
    assert_eq!(of(200, r#"{"error":{"message":"HTTP 503: busy"}}"#), CallOutcome::ServerError);
    assert_eq!(judged(200, r#"{"error":{"code":400}}"#, 2).status, Some(200), "what HTTP said");
}

#[test]
fn hints_reach_the_verdict_and_are_capped() {
    for (value, expected) in [("3", Some(3)), ("599", Some(60)), ("-1", None), ("0", None)] {
        let mut answered = http(429, "");
        answered.headers.push(("retry-after".to_owned(), value.to_owned()));
        let Verdict::Retry { after, hold_off: true, .. } = answer(&answered, 2, None, CAP, now()).verdict
        else {
            panic!("a retry")
        };
        assert_eq!(after, expected.map(Duration::from_secs), "{value}");
    }
    let body = r#"{"error":{"code":429,"message":"x","metadata":{"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1785542405000"}}}}"#;
    let Verdict::Retry { after, .. } = judged(200, body, 2).verdict else { panic!("a retry") };
    assert_eq!(after, Some(Duration::from_secs(5)));
}

#[test]
fn every_fault_of_a_success_has_its_verdict() {
    let wrong = again(Attempts::Few(3), RejectReason::WrongDimensions, SuspendReason::WrongDimensions);
    let zero = again(Attempts::Few(1), RejectReason::NonFinite, SuspendReason::MalformedResponse);
    for (fault, verdict) in [
        (Fault::Empty, malformed()),
        (Fault::Html, malformed()),
        (Fault::NotJson { cut: true }, malformed()),
        (Fault::NotJson { cut: false }, malformed()),
        (Fault::WrongEndpoint, stop(SuspendReason::MalformedResponse)),
        (Fault::Count(None), malformed()),
        (Fault::Count(Some(0)), malformed()),
        (Fault::Index, malformed()),
        (Fault::Shape { at: 3 }, malformed()),
        (Fault::MixedLengths(2560, 1024), malformed()),
        (Fault::Short { got: 1024, expected: 2560 }, wrong.clone()),
        (Fault::Unshortened { got: 2560, asked: 256 }, wrong.clone()),
        (Fault::Changed { got: 4096, before: 2560 }, wrong),
        (Fault::NonFinite { at: 1 }, zero),
        (Fault::Absurd { at: 1 }, malformed()),
    ] {
        let failure = answer(&http(200, "{}"), 2, Some(&fault), CAP, now());
        assert_eq!(failure.verdict, verdict, "{fault:?}");
        assert_eq!((failure.outcome, failure.status), (CallOutcome::InvalidResponse, Some(200)));
    }
}

#[test]
fn every_loss_has_its_verdict() {
    for (why, outcome, verdict) in [
        (Lost::Address, CallOutcome::Connect, stop(SuspendReason::Unreachable)),
        (Lost::Certificate, CallOutcome::Connect, stop(SuspendReason::Unreachable)),
        (Lost::Name, CallOutcome::Connect, retry(SuspendReason::Unreachable)),
        (Lost::Connection, CallOutcome::Connect, retry(SuspendReason::Unreachable)),
        (Lost::Cut, CallOutcome::Connect, retry(SuspendReason::Unreachable)),
        (Lost::Encoding, CallOutcome::InvalidResponse, retry(SuspendReason::MalformedResponse)),
        (Lost::TooLarge(9), CallOutcome::InvalidResponse, malformed()),
        (Lost::Headers, CallOutcome::InvalidResponse, malformed()),
        (Lost::Stalled(Duration::from_secs(30)), CallOutcome::Timeout, retry(SuspendReason::Timeout)),
        (Lost::Deadline(Duration::from_secs(120)), CallOutcome::Timeout, retry(SuspendReason::Timeout)),
    ] {
        let failure = lost(why);
        assert_eq!((failure.outcome, failure.verdict, failure.status), (outcome, verdict, None), "{why:?}");
    }
}

const USER_TEXT: &str =
    "My diagnosis is maximum context length and batch size at most 3 dimensions insufficient_quota";
const API_KEY: &str = "sk-or-v1-0123456789abcdef0123456789abcdef";

#[test]
fn no_message_holds_what_a_server_quotes() {
    let error = |member: serde_json::Value| json!({ "error": member }).to_string();
    for body in [
        error(json!({"message": USER_TEXT, "code": USER_TEXT, "type": API_KEY, "param": USER_TEXT})),
        error(json!({"message": format!("Incorrect API key provided: {API_KEY}"), "code": API_KEY})),
        error(json!({"message": format!("HTTP 400: {{\"message\":\"{USER_TEXT}\",\"code\":\"{API_KEY}\"}}")})),
        error(json!(USER_TEXT)),
        json!({"detail": [{"type": USER_TEXT, "loc": ["body", USER_TEXT], "msg": USER_TEXT, "input": USER_TEXT}]})
            .to_string(),
        json!({"message": USER_TEXT, "code": API_KEY, "type": USER_TEXT}).to_string(),
        USER_TEXT.to_owned(),
        API_KEY.to_owned(),
    ] {
        for status in [200, 301, 400, 401, 403, 404, 413, 422, 429, 500, 503] {
            let message = judged(status, &body, 2).message;
            for secret in ["diagnosis", "0123456789", "sk-or"] {
                assert!(!message.to_lowercase().contains(secret), "{status} {body}: {message}");
            }
            assert!(message.len() < 300 && !message.contains(char::is_control), "{message}");
        }
    }
}

#[test]
fn codes_that_are_identifiers_are_shown() {
    let message =
        judged(400, r#"{"error":{"message":"x","code":20015,"type":"invalid_request_error"}}"#, 2).message;
    assert_eq!(message, "the server refuses the request (status 400, 20015 invalid_request_error)");
    let message = judged(200, r#"{"error":{"message":"x","code":503}}"#, 2).message;
    assert_eq!(message, "the server is overloaded or starting (status 503 in an answer with 200, 503)");
    assert_eq!(judged(500, "", 2).message, "the server failed (status 500)");
}

#[test]
fn a_quoted_text_does_not_pose_as_another_error() {
    for message in [
        format!("The parameter is invalid: \"{USER_TEXT}\""),
        format!("The parameter is invalid: '{USER_TEXT}'"),
        format!("The parameter is invalid: `{USER_TEXT}`"),
        format!("[{{'type': 'string_type', 'msg': 'x', 'input': '{USER_TEXT}'}}]"),
    ] {
        let body = json!({"error": {"message": message}}).to_string();
        assert_eq!(judged(400, &body, 64).verdict, refused(), "{message}");
    }
}

#[test]
fn errors_beyond_reason_are_not_read() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let long = json!({"error": {"message": "maximum context length".repeat(20_000)}}).to_string();
    let quoting = json!({"error": {"message": "'".repeat(2000)}}).to_string();
    let nested = (0..6).fold("{}".to_owned(), |inner, _| {
        json!({"error": {"message": format!("HTTP 400: {inner}")}}).to_string()
    });
    for body in [deep, long, quoting, nested] {
        assert_eq!(judged(400, &body, 64).verdict, refused());
    }
}

#[test]
fn only_a_refused_encoding_is_worth_a_second_try() {
    for (status, body, expected) in [
        (400, r#"{"error":{"message":"encoding_format 'base64' is not supported"}}"#, true),
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","encoding_format"],"msg":"Extra inputs"}]}"#,
            true,
        ),
        (400, r#"{"error":{"message":"x","param":"encoding_format"}}"#, true),
        (400, r#"{"error":{"message":"bad"}}"#, false),
        (500, r#"{"error":{"message":"encoding_format"}}"#, false),
    ] {
        assert_eq!(refuses_encoding(&http(status, body)), expected, "{body}");
    }
}
