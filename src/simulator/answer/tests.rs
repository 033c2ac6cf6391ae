use super::*;

fn request(base64: bool) -> Request {
    let inputs = vec!["first text".into(), "second text".into(), "third one".into()];
    Request { model: "m".into(), inputs, base64, dimensions: None, tokens: 10 }
}

fn text(request: &Request, bend: Then) -> Vec<u8> {
    let cost = Some(2e-7);
    embeddings(&Good { request, texts: &request.inputs, native: 16, tokens: 10, cost, call: 7 }, &bend)
}

fn answer(request: &Request, bend: Then) -> Value {
    serde_json::from_slice(&text(request, bend)).unwrap()
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
    let (float, base64) = (answer(&request(false), Then::default()), answer(&request(true), Then::default()));
    for at in 0..3 {
        let bits =
            |v: &Value| floats(&v["data"][at]["embedding"]).into_iter().map(f32::to_bits).collect::<Vec<_>>();
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

fn bend(script: &str) -> Then {
    let faults = super::super::faults::Faults::parse(&format!("- then: {script}")).unwrap();
    faults.rules.into_iter().next().unwrap().then
}

#[test]
fn an_index_can_be_wrong_in_many_ways() {
    let indices = |script: &str| {
        let body = answer(&request(false), bend(script));
        let list = body["data"].as_array().unwrap();
        list.iter().map(|one| one.get("index").cloned().unwrap_or(Value::Null)).collect::<Value>()
    };
    assert_eq!(indices("{index: duplicate}"), json!([0, 0, 2]));
    assert_eq!(indices("{index: one_based}"), json!([1, 2, 3]));
    assert_eq!(indices("{index: strings}"), json!(["0", "1", "2"]));
    assert_eq!(indices("{index: one_missing}"), json!([null, 1, 2]));
}

#[test]
fn one_vector_can_be_odd_amid_good_ones() {
    let good = answer(&request(false), Then::default());
    let first = |odd: &str| {
        let body = answer(&request(false), bend(&format!("{{vector: {odd}}}")));
        assert_eq!(body["data"][1]["embedding"], good["data"][1]["embedding"], "{odd}");
        body["data"][0]["embedding"].clone()
    };
    assert_eq!(first("nulls"), json!(vec![Value::Null; 16]));
    assert_eq!(first("nil"), Value::Null);
    assert_eq!(first("empty"), json!([]));
    assert_eq!(first("short").as_array().unwrap().len(), 8);
    assert_eq!(first("overflow")[0], json!(1e39));
    assert_eq!(first("nested")[0], good["data"][0]["embedding"]);
    let nan = text(&request(false), bend("{vector: nan}"));
    assert!(serde_json::from_slice::<Value>(&nan).is_err());
    assert!(String::from_utf8(nan).unwrap().contains(r#""embedding":[NaN,NaN"#));
}

#[test]
fn vectors_come_in_any_form() {
    let form = |base64, script: &str| answer(&request(base64), bend(script))["data"][0]["embedding"].clone();
    let good = floats(&form(false, "{}"));
    assert_eq!(floats(&form(true, "{encoding: float}")), good);
    assert!(form(true, "{encoding: float}").is_array() && form(false, "{encoding: base64}").is_string());
    assert_eq!(floats(&form(false, "{encoding: base64}")), good);
    let right = form(true, "{}").as_str().unwrap().to_owned();
    assert_eq!(form(true, "{encoding: unpadded}").as_str().unwrap(), right.trim_end_matches('='));
    let short = STANDARD.decode(form(true, "{encoding: byte_short}").as_str().unwrap()).unwrap();
    assert_eq!(short.len(), 63);
    let url = form(true, "{encoding: url_safe}").as_str().unwrap().replace('-', "+").replace('_', "/");
    assert_eq!(url, right);
    assert_ne!(floats(&form(true, "{encoding: big_endian}")), good);
}

#[test]
fn what_else_an_answer_says_can_be_bent() {
    let usage = |script: &str| answer(&request(true), bend(script))["usage"]["prompt_tokens"].clone();
    assert_eq!((usage("{usage: 0}"), usage("{usage: 0.5}"), usage("{}")), (json!(0), json!(5), json!(10)));
    assert_eq!(answer(&request(true), bend("{model: other}"))["model"], "other");
    let good = floats(&answer(&request(true), Then::default())["data"][1]["embedding"]);
    let norm = |vector: &[f32]| vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    let long = floats(&answer(&request(true), bend("{unnormalised: true}"))["data"][1]["embedding"]);
    assert!((norm(&long) - 3.0).abs() < 1e-3, "{}", norm(&long));
    let noisy = floats(&answer(&request(true), bend("{noise: true}"))["data"][1]["embedding"]);
    let dot: f32 = good.iter().zip(&noisy).map(|(a, b)| a * b).sum();
    let cosine = dot / norm(&noisy) / norm(&good);
    assert!((0.995..0.9999).contains(&cosine), "{cosine}");
}

#[test]
fn the_answer_of_the_call_before_has_the_right_count_only() {
    let request = request(true);
    let before = ["entirely different".to_owned()];
    let good = Good { request: &request, texts: &before, native: 16, tokens: 9, cost: None, call: 8 };
    let body: Value = serde_json::from_slice(&embeddings(&good, &Then::default())).unwrap();
    assert_eq!(body["data"].as_array().unwrap().len(), 3);
    assert_eq!(floats(&body["data"][2]["embedding"]), vectors::embed("entirely different", 16));
    assert!(body["usage"].get("cost").is_none());
}
