//! When a server says to come back: every format that providers use, by one rule.
//!
//! A number above 1e12 is a moment in milliseconds since the epoch, above 1e9 one in seconds, anything less a wait in seconds. What is negative,
//! past, zero or no number is no hint, and the next source is asked. A hint beyond the cap counts as the cap: servers
//! were seen to say a day when they meant a minute.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// The wait that an answer asks for, at most `cap`. `error` is its error member, `text` its message in lower case.
pub fn wait(
    headers: &[(String, String)],
    error: Option<&Value>,
    text: &str,
    now: SystemTime,
    cap: Duration,
) -> Option<Duration> {
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
    let wait = header("retry-after-ms")
        .and_then(|value| milliseconds(value, now))
        .or_else(|| header("retry-after").and_then(|value| any(value, now)))
        .or_else(|| available_at(error?, now))
        .or_else(|| echoed_reset(error?, now))
        .or_else(|| exhausted_reset(headers, now))
        .or_else(|| in_text(text));
    wait.map(|wait| wait.min(cap))
}

fn milliseconds(value: &str, now: SystemTime) -> Option<Duration> {
    let number: f64 = value.parse().ok()?;
    magnitude(if number > 1e12 { number } else { number / 1000.0 }, now)
}

/// A number, an HTTP date, an RFC 3339 time or a duration such as `6m0s`.
fn any(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(number) = value.parse::<f64>() {
        return magnitude(number, now);
    }
    let moment = httpdate::parse_http_date(value).ok().or_else(|| humantime::parse_rfc3339_weak(value).ok());
    match moment {
        Some(moment) => until(moment, now),
        None => spoken(value).map(|(wait, _)| wait),
    }
}

fn magnitude(number: f64, now: SystemTime) -> Option<Duration> {
    let moment = |seconds: f64| UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?);
    if number > 1e12 {
        until(moment(number / 1000.0)?, now)
    } else if number > 1e9 {
        until(moment(number)?, now)
    } else {
        Duration::try_from_secs_f64(number).ok().filter(|wait| !wait.is_zero())
    }
}

fn until(moment: SystemTime, now: SystemTime) -> Option<Duration> {
    moment.duration_since(now).ok().filter(|wait| !wait.is_zero())
}

fn value(value: &Value, now: SystemTime) -> Option<Duration> {
    match value {
        Value::Number(number) => magnitude(number.as_f64()?, now),
        Value::String(text) => any(text.trim(), now),
        _ => None,
    }
}

/// OpenRouter: `availability.retry_after`, in seconds.
fn available_at(error: &Value, now: SystemTime) -> Option<Duration> {
    value(error.pointer("/availability/retry_after")?, now)
}

/// OpenRouter: the platform's rate-limit headers, repeated in the body; epoch milliseconds.
fn echoed_reset(error: &Value, now: SystemTime) -> Option<Duration> {
    let headers = error.pointer("/metadata/headers")?.as_object()?;
    let (_, reset) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-ratelimit-reset"))?;
    value(reset, now)
}

/// The reset of whichever limit has nothing left; the later one of several.
fn exhausted_reset(headers: &[(String, String)], now: SystemTime) -> Option<Duration> {
    headers
        .iter()
        .filter(|(_, remaining)| remaining.trim().parse::<f64>().is_ok_and(|left| left <= 0.0))
        .filter_map(|(name, _)| name.strip_prefix("x-ratelimit-remaining"))
        .filter_map(|limit| {
            let reset =
                headers.iter().find(|(name, _)| name.strip_prefix("x-ratelimit-reset") == Some(limit))?;
            any(reset.1.trim(), now)
        })
        .max()
}

/// "Please retry after 20 seconds", "try again in 6m0s".
fn in_text(text: &str) -> Option<Duration> {
    ["retry after ", "try again in ", "retry in "].iter().find_map(|phrase| {
        let (_, rest) = text.split_once(phrase)?;
        let rest = rest.get(..rest.floor_char_boundary(40))?;
        let (wait, unit) = spoken(rest)?;
        unit.then_some(wait)
    })
}

/// A leading duration: numbers with units (`2m59.56s`, `20ms`, `30 seconds`), up to the first word that is none; whether there was a unit.
fn spoken(text: &str) -> Option<(Duration, bool)> {
    let (mut seconds, mut any, mut rest) = (0.0, false, text.trim_start());
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else { break };
        let unit = rest[digits..].trim_start();
        let letters = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let scale = match &unit[..letters] {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            _ => break,
        };
        seconds += number * scale;
        any = true;
        rest = unit[letters..].trim_start();
    }
    let wait = Duration::try_from_secs_f64(seconds).ok().filter(|wait| any && !wait.is_zero())?;
    Some((wait, any))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2026-08-01T00:00:00Z.
    const NOW: u64 = 1_785_542_400;
    const CAP: Duration = Duration::from_secs(60);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn by_headers(headers: &[(&str, &str)]) -> Option<f64> {
        let headers: Vec<_> = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        wait(&headers, None, "", now(), CAP).map(|wait| wait.as_secs_f64())
    }

    fn by_body(error: &Value, text: &str) -> Option<f64> {
        wait(&[], Some(error), text, now(), CAP).map(|wait| wait.as_secs_f64())
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        for (value, expected) in [
            ("7", Some(7.0)),
            ("1.5", Some(1.5)),
            (" 2 ", Some(2.0)),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
            ("86400", Some(60.0)),
            ("Sat, 01 Aug 2026 00:00:20 GMT", Some(20.0)),
            ("Fri, 31 Jul 2026 00:00:20 GMT", None),
            ("2026-08-01T00:00:30Z", Some(30.0)),
            ("1785542405", Some(5.0)),
            ("1785542400250", Some(0.25)),
            ("1785542300", None),
            ("6m0s", Some(60.0)),
            ("20ms", Some(0.02)),
        ] {
            let got = by_headers(&[("retry-after", value)]);
            let close = match (got, expected) {
                (Some(got), Some(expected)) => (got - expected).abs() < 1e-6,
                (got, expected) => got.is_none() && expected.is_none(),
            };
            assert!(close, "{value}: {got:?}");
        }
    }

    #[test]
    fn sources_have_an_order_and_a_bad_one_is_passed_over() {
        assert_eq!(by_headers(&[("retry-after", "9"), ("retry-after-ms", "1500")]), Some(1.5));
        assert_eq!(by_headers(&[("retry-after", "9"), ("retry-after-ms", "-5")]), Some(9.0));
        let error = json!({"availability": {"retry_after": 4}, "metadata": {"headers": {"X-RateLimit-Reset": "1785542408000"}}});
        assert_eq!(by_body(&error, "try again in 2s"), Some(4.0));
        let error = json!({"metadata": {"headers": {"X-RateLimit-Reset": "1785542408000", "X-RateLimit-Remaining": "0"}}});
        assert_eq!(by_body(&error, "try again in 2s"), Some(8.0));
        assert_eq!(by_body(&json!({"metadata": null, "availability": 3}), "try again in 2s"), Some(2.0));
        assert_eq!(by_body(&json!("a string"), ""), None);
    }

    #[test]
    fn the_reset_of_what_is_used_up_counts() {
        let openai = [
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "2m59.56s"),
        ];
        assert_eq!(by_headers(&openai), Some(60.0));
        let brief = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "20ms")];
        assert_eq!(by_headers(&brief), Some(0.02));
        assert_eq!(by_headers(&openai[..2]), None, "nothing is used up");
        let platform = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1785542403000")];
        assert_eq!(by_headers(&platform), Some(3.0));
    }

    #[test]
    fn text_is_read_last_and_needs_a_unit() {
        for (text, expected) in [
            ("please retry after 20 seconds.", Some(20.0)),
            ("please try again in 1.5s. visit …", Some(1.5)),
            ("please try again in 6m0s", Some(60.0)),
            ("please retry after 86400 seconds", Some(60.0)),
            ("try again in 2 minutes and pray", Some(60.0)),
            ("try again in a moment", None),
            ("try again in 5", None),
            ("try again in ééééééééééééééééééééééééééé", None),
            ("", None),
        ] {
            assert_eq!(by_body(&Value::Null, text), expected, "{text}");
        }
    }
}
