//! Response bodies: the good one, and every way a fault bends it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::calls::cost_usd;
use super::faults::Then;
use super::request::Request;
use super::vectors;

/// What gateways show to a browser that they do not trust.
pub(super) const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>\
    <body><h1>Checking your connection</h1><p>This page will be back shortly.</p></body></html>\n";

/// The body of a 200: embeds every input, CPU work. `bend` is what a fault changes about it.
pub(super) fn embeddings(
    request: &Request,
    native: usize,
    usd_per_million: f64,
    call: u64,
    bend: &Then,
) -> Vec<u8> {
    let mut places: Vec<(usize, usize)> = (0..request.inputs.len()).map(|at| (at, at)).collect();
    if bend.empty_data {
        places.clear();
    }
    if bend.drop_last {
        places.pop();
    }
    if bend.extra
        && let Some((text, index)) = places.last().copied()
    {
        places.push((text, index + 1));
    }
    if bend.shuffle {
        places.reverse();
    }
    let wanted = bend.dimensions.or(request.dimensions).unwrap_or(native);
    let each = if request.base64 { wanted * 16 / 3 } else { wanted * 8 } + 64;
    let mut body = String::with_capacity(places.len() * each + 256);
    body.push_str(r#"{"object":"list","data":["#);
    for (nth, (text, index)) in places.into_iter().enumerate() {
        if nth > 0 {
            body.push(',');
        }
        body.push_str(r#"{"object":"embedding","#);
        if !bend.no_index {
            // Writing into a String cannot fail.
            write!(body, r#""index":{index},"#).expect("a String takes every write");
        }
        body.push_str(r#""embedding":"#);
        let vector = vector(&request.inputs[text], native, wanted);
        write_vector(&mut body, &bent(vector, bend, index), request.base64);
        body.push('}');
    }
    body.push_str("],");
    let mut rest = json!({
        "model": request.model,
        "usage": {
            "prompt_tokens": request.tokens,
            "total_tokens": request.tokens,
            "cost": cost_usd(request.tokens, usd_per_million),
        },
        "id": format!("gen-emb-{call}"),
    });
    if bend.no_usage
        && let Some(members) = rest.as_object_mut()
    {
        members.remove("usage");
    }
    body.push_str(&rest.to_string()[1..]);
    body.into_bytes()
}

/// Shorter than the native length: sliced, as a Matryoshka model does. Longer: another model's vector.
fn vector(text: &str, native: usize, wanted: usize) -> Vec<f32> {
    vectors::shorten(vectors::embed(text, native.max(wanted)), wanted)
}

fn bent(mut vector: Vec<f32>, bend: &Then, index: usize) -> Vec<f32> {
    if index == 0 && (bend.non_finite || bend.zero) {
        vector.fill(if bend.zero { 0.0 } else { f32::NAN });
    }
    vector
}

fn write_vector(body: &mut String, vector: &[f32], base64: bool) {
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
        body.push('"');
        STANDARD.encode_string(bytes, body);
        body.push('"');
        return;
    }
    body.push('[');
    for (at, value) in vector.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        if *value == 0.0 {
            // Most of a short text's vector.
            body.push_str("0.0");
        } else if value.is_finite() {
            write!(body, "{value}").expect("a String takes every write");
        } else {
            body.push_str("null");
        }
    }
    body.push(']');
}

/// An error as OpenRouter writes it.
pub(super) fn error(status: u16, message: Option<&str>, headers: Option<Value>) -> Value {
    let (standard, kind) = match status {
        400 => ("Input validation failed", "invalid_request"),
        401 => ("No auth credentials found", "authentication"),
        402 => (
            "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
            "payment_required",
        ),
        403 => ("Access to this model is not permitted", "permission_denied"),
        404 => ("No endpoints found for this model", "not_found"),
        408 | 504 => ("The request timed out", "timeout"),
        413 => ("Payload too large", "payload_too_large"),
        422 => ("Unprocessable request", "unprocessable"),
        429 => ("Rate limit exceeded", "rate_limit_exceeded"),
        502 => ("Provider returned error", "provider_unavailable"),
        503 | 529 => ("Provider is overloaded", "provider_overloaded"),
        500..=599 => ("Internal Server Error", "server"),
        _ => ("Unexpected status", "unmapped"),
    };
    let mut metadata = json!({"error_type": kind});
    if let Some(headers) = headers {
        metadata["headers"] = headers;
    }
    json!({"error": {"code": status, "message": message.unwrap_or(standard), "metadata": metadata}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(base64: bool) -> Request {
        let inputs = vec!["first text".into(), "second text".into(), "third one".into()];
        Request { model: "m".into(), inputs, base64, dimensions: None, tokens: 10 }
    }

    fn answer(request: &Request, bend: Then) -> Value {
        serde_json::from_slice(&embeddings(request, 16, 0.02, 7, &bend)).unwrap()
    }

    fn floats(value: &Value) -> Vec<f32> {
        match value {
            Value::String(text) => {
                let bytes = STANDARD.decode(text).unwrap();
                bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
            }
            list => serde_json::from_value(list.clone()).unwrap(),
        }
    }

    #[test]
    fn both_encodings_hold_the_same_bits() {
        let (float, base64) =
            (answer(&request(false), Then::default()), answer(&request(true), Then::default()));
        for at in 0..3 {
            let bits = |v: &Value| {
                floats(&v["data"][at]["embedding"]).into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(&float), bits(&base64));
            assert_eq!(float["data"][at]["index"], at);
        }
        assert!(float["data"][0]["embedding"].is_array() && base64["data"][0]["embedding"].is_string());
        assert_eq!(float["object"], "list");
        assert_eq!(float["data"][0]["object"], "embedding");
        assert_eq!(float["model"], "m");
        assert_eq!(float["id"], "gen-emb-7");
        assert_eq!(float["usage"]["prompt_tokens"], 10);
        assert_eq!(float["usage"]["total_tokens"], 10);
        assert!((float["usage"]["cost"].as_f64().unwrap() - 2e-7).abs() < 1e-15);
    }

    #[test]
    fn a_shorter_length_is_sliced_and_normalised() {
        let short = answer(&Request { dimensions: Some(8), ..request(false) }, Then::default());
        let long = answer(&request(false), Then::default());
        let expected = vectors::shorten(floats(&long["data"][1]["embedding"]), 8);
        assert_eq!(floats(&short["data"][1]["embedding"]), expected);
    }

    #[test]
    fn every_bend_shows() {
        let count = |bend: Then| answer(&request(true), bend)["data"].as_array().unwrap().len();
        assert_eq!(count(Then { empty_data: true, ..Then::default() }), 0);
        assert_eq!(count(Then { drop_last: true, ..Then::default() }), 2);
        assert_eq!(count(Then { extra: true, ..Then::default() }), 4);
        let extra = answer(&request(true), Then { extra: true, ..Then::default() });
        assert_eq!(extra["data"][3]["index"], 3);

        let good = answer(&request(true), Then::default());
        let shuffled = answer(&request(true), Then { shuffle: true, ..Then::default() });
        for (at, index) in [(0, 2), (1, 1), (2, 0)] {
            assert_eq!(shuffled["data"][at]["index"], index);
            assert_eq!(shuffled["data"][at]["embedding"], good["data"][index]["embedding"]);
        }
        let bare = answer(&request(true), Then { no_index: true, no_usage: true, ..Then::default() });
        assert!(bare["data"][0].get("index").is_none() && bare.get("usage").is_none());
        assert_eq!(bare["model"], "m");

        let null = answer(&request(false), Then { non_finite: true, ..Then::default() });
        assert!(null["data"][0]["embedding"].as_array().unwrap().iter().all(Value::is_null));
        assert!(floats(&null["data"][1]["embedding"]).iter().all(|v| v.is_finite()));
        let nan = answer(&request(true), Then { non_finite: true, ..Then::default() });
        assert!(floats(&nan["data"][0]["embedding"]).iter().all(|v| v.is_nan()));
        let zero = answer(&request(true), Then { zero: true, ..Then::default() });
        assert!(floats(&zero["data"][0]["embedding"]).iter().all(|v| *v == 0.0));
        for wrong in [4, 32] {
            let other = answer(&request(true), Then { dimensions: Some(wrong), ..Then::default() });
            assert_eq!(floats(&other["data"][2]["embedding"]).len(), wrong);
        }
    }

    #[test]
    fn errors_have_openrouters_shape() {
        for status in 400..=599 {
            let body = error(status, None, None);
            assert_eq!(body["error"]["code"], status);
            assert!(!body["error"]["message"].as_str().unwrap().is_empty());
            assert!(body["error"]["metadata"]["error_type"].is_string());
        }
    }
}
