use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An answer of one-hot vectors: text `i` gets its 1 at `i`.
fn entry(at: usize, length: usize) -> Value {
    let floats: Vec<f32> = (0..length).map(|i| if i == at % length { 1.0 } else { 0.0 }).collect();
    json!({"object": "embedding", "index": at, "embedding": floats})
}

fn body(entries: &[Value]) -> Vec<u8> {
    json!({"object": "list", "data": entries, "model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 9}})
        .to_string()
        .into_bytes()
}

fn of(embedding: &Value) -> Vec<u8> {
    json!({"data": [{"embedding": embedding}]}).to_string().into_bytes()
}

fn fault(body: &[u8], count: usize) -> Fault {
    read(body, count, 4).expect_err("a fault")
}

fn base64_of(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| float.to_le_bytes()).collect()
}

#[test]
fn a_request_holds_strings_and_nothing_that_was_not_asked_for() {
    let request = Request::new("qwen/q", None, &Map::new());
    let body = request.body(&["a\"\n\u{1}", "ü 😀"], Asks::Base64);
    let read: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        read,
        json!({"encoding_format": "base64", "model": "qwen/q", "input": ["a\"\n\u{1}", "ü 😀"]})
    );
    assert_eq!(body, request.body(&["a\"\n\u{1}", "ü 😀"], Asks::Base64), "the same texts, the same bytes");
    let read: Value = serde_json::from_slice(&request.body(&[], Asks::Float)).unwrap();
    assert_eq!(read, json!({"encoding_format": "float", "model": "qwen/q", "input": []}));
}

#[test]
fn extra_fields_are_merged_but_ours_stay_ours() {
    let extra = json!({"provider": {"only": ["x"]}, "dimensions": 256, "model": "other", "input": "y"});
    let request = Request::new("m", None, extra.as_object().unwrap());
    let read: Value = serde_json::from_slice(&request.body(&["t"], Asks::Nothing)).unwrap();
    assert_eq!(read, json!({"model": "m", "provider": {"only": ["x"]}, "input": ["t"]}));
}

#[test]
fn a_prefix_stands_before_every_text() {
    let request = Request::new("m", None, &Map::new()).with_prefix("say \"x\"\nü: ");
    let body = request.body(&["", "a\"b"], Asks::Float);
    let read: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(read["input"], json!(["say \"x\"\nü: ", "say \"x\"\nü: a\"b"]));
    assert_eq!(
        Request::new("m", None, &Map::new()).with_prefix("").body(&["t"], Asks::Float),
        Request::new("m", None, &Map::new()).body(&["t"], Asks::Float)
    );
}

#[test]
fn the_encoding_can_be_taken_out_of_a_body() {
    let request = Request::new("m", None, &Map::new());
    let bare = without_encoding(&request.body(&["t"], Asks::Base64));
    assert_eq!(bare, Some(request.body(&["t"], Asks::Nothing)));
    assert_eq!(without_encoding(&request.body(&["t"], Asks::Float)), None);
}

#[test]
fn an_answer_is_read_in_the_order_of_the_texts() {
    let (embeddings, length) = read(&body(&[entry(2, 4), entry(0, 4), entry(1, 4)]), 3, 4).unwrap();
    assert_eq!(length, 4);
    for (at, vector) in embeddings.vectors.iter().enumerate() {
        assert_eq!(vector[at], 1.0);
    }
    assert_eq!((embeddings.model.as_deref(), embeddings.tokens), (Some("m"), Some(7)));
    assert_eq!(embeddings.cost_usd, None);
}

#[test]
fn indexes_are_a_permutation_or_absent_and_never_guessed() {
    let with = |indexes: [Value; 2]| {
        let entries = indexes.map(|index| json!({"index": index, "embedding": [1, 0, 0, 0]}));
        read(&body(&entries), 2, 4).map(|_| ())
    };
    assert_eq!(with([json!(1), json!(0)]), Ok(()));
    assert_eq!(with([json!(null), json!(null)]), Ok(()));
    assert_eq!(with([json!(1.0), json!(0.0)]), Ok(()));
    for bad in [
        [json!(0), json!(0)],
        [json!(1), json!(2)],
        [json!("0"), json!("1")],
        [json!(0), json!(null)],
        [json!(-1), json!(0)],
        [json!(0.5), json!(1.0)],
        [json!(-1.0), json!(0)],
        [json!(1e300), json!(0)],
        [json!(0), json!(u64::MAX)],
    ] {
        assert_eq!(with(bad.clone()), Err(Fault::Index), "{bad:?}");
    }
    let absent = body(&[json!({"embedding": [1, 0, 0, 0]}), json!({"embedding": [0, 1, 0, 0]})]);
    assert_eq!(read(&absent, 2, 4).unwrap().0.vectors[1], [0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn the_number_of_vectors_must_fit() {
    assert_eq!(fault(&body(&[entry(0, 4)]), 2), Fault::Count(Some(1)));
    assert_eq!(fault(&body(&[entry(0, 4), entry(1, 4), entry(2, 4)]), 2), Fault::Count(Some(3)));
    assert_eq!(fault(&body(&[]), 2), Fault::Count(Some(0)));
    for data in ["null", "{}", "3", "\"x\""] {
        let ollama = format!(r#"{{"object":"","data":{data},"model":""}}"#);
        assert_eq!(fault(ollama.as_bytes(), 2), Fault::Count(None), "{data}");
    }
    assert_eq!(fault(b"{}", 2), Fault::Count(None));
}

#[test]
fn what_is_no_json_is_told_apart() {
    for (body, expected) in [
        (&b""[..], Fault::Empty),
        (b" \r\n\xEF\xBB\xBF ", Fault::Empty),
        (b"\n <!DOCTYPE html><title>Just a moment...", Fault::Html),
        (b"{\"data\":[{\"embedding\":[1,0,0", Fault::NotJson { cut: true }),
        (b"data: {}", Fault::NotJson { cut: false }),
        (b"null", Fault::NotJson { cut: false }),
        (b"{} trailing", Fault::NotJson { cut: false }),
        (b"{\"data\":[],\"data\":[{}]}", Fault::NotJson { cut: false }),
        (b"{\"model\":\"\xFF\"}", Fault::NotJson { cut: false }),
    ] {
        assert_eq!(fault(body, 1), expected, "{}", String::from_utf8_lossy(body));
    }
    let padded = [b"  \n\n\xEF\xBB\xBF\n".to_vec(), body(&[entry(0, 4)]), b"\n\n ".to_vec()].concat();
    assert!(read(&padded, 1, 4).is_ok());
}

#[test]
fn an_error_in_a_success_is_seen_in_every_shape() {
    for body in [
        r#"{"error":{"message":"No successful provider responses.","code":404}}"#,
        r#"{"error":"down"}"#,
        r#"{"error":{"code":500},"data":[{"embedding":[1,0,0,0]}]}"#,
        r#"{"error":["down"],"data":[{"embedding":[1,0,0,0]}]}"#,
        r#"{"detail":[{"msg":"x"}]}"#,
        r#"{"code":20015,"message":"The parameter is invalid.","data":null}"#,
        r#"{"object":"error","message":"x"}"#,
        r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT"}}]"#,
    ] {
        assert_eq!(fault(body.as_bytes(), 1), Fault::Error, "{body}");
    }
    for body in [
        r#"{"error":null,"detail":null,"data":[{"embedding":[1,0,0,0]}]}"#,
        r#"{"error":{},"detail":[],"data":[{"embedding":[1,0,0,0]}]}"#,
        r#"{"code":0,"message":"success","data":[{"embedding":[1,0,0,0]}]}"#,
    ] {
        assert!(read(body.as_bytes(), 1, 4).is_ok(), "{body}");
    }
}

#[test]
fn another_endpoints_shape_is_told() {
    for body in [
        r#"{"data":[{"embedding":[[1,0,0,0]]}]}"#,
        r#"{"data":[[1,0,0,0]]}"#,
        r#"[{"index":0,"embedding":[[1,0,0,0]]}]"#,
        r#"{"model":"m","embeddings":[[1,0,0,0]]}"#,
    ] {
        assert_eq!(fault(body.as_bytes(), 1), Fault::WrongEndpoint, "{body}");
    }
}

#[test]
fn base64_is_read_padded_or_not_in_either_alphabet() {
    let floats = [-0.5_f32, 0.5, 0.5, -0.5];
    let bytes = base64_of(&floats);
    for text in [STANDARD.encode(&bytes), STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
        assert_eq!(read(&of(&json!(text)), 1, 4).unwrap().0.vectors[0], floats, "{text}");
    }
    // 0xFBEFBE3E: every letter that the alphabets write differently.
    let letters: Vec<u8> = [[0xFB, 0xEF, 0xBE, 0x3E], [0xFF, 0xFF, 0xFF, 0x3E], [0; 4], [0; 4]].concat();
    let (standard, url) = (STANDARD.encode(&letters), URL_SAFE_NO_PAD.encode(&letters));
    assert!(standard.contains(['+', '/']) && url.contains(['-', '_']));
    assert_eq!(read(&of(&json!(standard)), 1, 4).unwrap(), read(&of(&json!(url)), 1, 4).unwrap());
}

#[test]
fn what_is_no_vector_is_refused() {
    let short = STANDARD.encode(&base64_of(&[0.5; 4])[..15]);
    for odd in [
        json!(short),
        json!("not base64!"),
        json!(""),
        json!([]),
        json!({"values": []}),
        json!(true),
        json!(1.0),
        json!(["0.1", "0.2", "0.3", "0.4"]),
        json!([1, true, 0, 0]),
        json!([1, {}, 0, 0]),
    ] {
        assert_eq!(fault(&of(&odd), 1), Fault::Shape { at: 0 }, "{odd}");
    }
    assert_eq!(fault(br#"{"data":[{}]}"#, 1), Fault::Shape { at: 0 });
    assert_eq!(fault(br#"{"data":["x"]}"#, 1), Fault::Shape { at: 0 });
}

#[test]
fn lengths_are_one_and_the_settings_or_more() {
    let mixed = body(&[entry(0, 8), entry(1, 4)]);
    assert_eq!(fault(&mixed, 2), Fault::MixedLengths(8, 4));
    assert_eq!(fault(&body(&[entry(0, 3), entry(1, 3)]), 2), Fault::Short { got: 3, expected: 4 });
    let (embeddings, length) = read(&of(&json!([0.3, 0.4, 0.5, 0.0, 0.7])), 1, 2).unwrap();
    assert_eq!(length, 5);
    assert_eq!(embeddings.vectors[0], [0.6, 0.8], "cut, and of norm 1 again");
}

#[test]
fn vectors_are_finite_and_not_zero() {
    for odd in ["null", "[1,null,0,0]", "[1e40,0,0,0]", "[-1e300,0,0,0]", "[0,0,0,0]", "[0,0,0,0.0,1]"] {
        let body = format!(r#"{{"data":[{{"embedding":[1,0,0,0,0]}},{{"embedding":{odd}}}]}}"#);
        let body =
            if odd.matches(',').count() == 3 { body.replace("[1,0,0,0,0]", "[1,0,0,0]") } else { body };
        assert_eq!(fault(body.as_bytes(), 2), Fault::NonFinite { at: 1 }, "{odd}");
    }
    assert_eq!(fault(br#"{"data":[{"embedding":null}]}"#, 1), Fault::NonFinite { at: 0 });
    for literal in ["NaN", "Infinity", "-Infinity"] {
        let body = format!(r#"{{"m":"NaN \" Infinity","data":[{{"embedding":[1,{literal},0,0]}}]}}"#);
        assert_eq!(fault(body.as_bytes(), 1), Fault::NonFinite { at: 0 }, "{literal}");
    }
    let nan = STANDARD.encode(base64_of(&[f32::NAN, 0.0, 0.0, 1.0]));
    assert_eq!(fault(&of(&json!(nan)), 1), Fault::NonFinite { at: 0 });
    for endless in ["1e400".to_owned(), "-1E+400".to_owned(), "9".repeat(400)] {
        let body = format!(r#"{{"x":"1e400 \" 1e400","data":[{{"embedding":[0.5e-3,{endless},-1,0]}}]}}"#);
        assert_eq!(fault(body.as_bytes(), 1), Fault::NonFinite { at: 0 }, "{endless}");
    }
}

#[test]
fn big_endian_bytes_are_not_taken_for_a_vector() {
    let bytes: Vec<u8> = [0.5_f32, 0.5, -0.5, 0.5].iter().flat_map(|float| float.to_be_bytes()).collect();
    assert_eq!(fault(&of(&json!(STANDARD.encode(bytes))), 1), Fault::Absurd { at: 0 });
}

#[test]
fn norms_become_one_and_bytes_stay_where_they_are_one_already() {
    let (embeddings, _) = read(&of(&json!([3.0, 0.0, 4.0, 0.0])), 1, 4).unwrap();
    assert_eq!(embeddings.vectors[0], [0.6, 0.0, 0.8, 0.0]);
    let near = [0.6_f32, 0.0, 0.800_000_3, 0.0];
    let (embeddings, _) = read(&of(&json!(near)), 1, 4).unwrap();
    assert_eq!(embeddings.vectors[0], near);
}

#[test]
fn usage_is_believed_only_where_it_says_something() {
    for (usage, tokens, cost) in [
        (r#"{"prompt_tokens":5,"total_tokens":6,"cost":0.25}"#, Some(5), Some(0.25)),
        (r#"{"total_tokens":6}"#, Some(6), None),
        (r#"{"prompt_tokens":0,"total_tokens":0,"cost":-1}"#, None, None),
        (r#"{"prompt_tokens":-3,"cost":null}"#, None, None),
        (r#"{"prompt_tokens":1e300,"cost":"1"}"#, None, None),
        (r#"{"prompt_tokens":"5","x":{"y":[1]}}"#, None, None),
        (r#"{"prompt_tokens":5,"total_tokens":1e999,"cost":1e400}"#, Some(5), None),
        ("null", None, None),
        ("[1]", None, None),
    ] {
        let body = format!(r#"{{"usage":{usage},"model":7,"data":[{{"embedding":[1,0,0,0]}}]}}"#);
        let embeddings = read(body.as_bytes(), 1, 4).unwrap().0;
        assert_eq!(
            (embeddings.tokens, embeddings.cost_usd, embeddings.model),
            (tokens, cost, None),
            "{usage}"
        );
    }
}

#[test]
fn depth_and_numbers_beyond_reason_cost_nothing() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = open.repeat(200_000) + "1" + &close.repeat(200_000);
        for field in ["x", "error", "usage", "model", "data", "index"] {
            let body = format!(r#"{{"{field}":{deep},"data2":1}}"#);
            assert!(read(body.as_bytes(), 1, 4).is_err(), "{field}");
        }
        let body = format!(r#"{{"data":[{{"embedding":[{deep}]}}]}}"#);
        assert!(read(body.as_bytes(), 1, 4).is_err());
    }
    let many = format!(r#"{{"data":[{}]}}"#, vec!["{}"; 500_000].join(","));
    assert_eq!(fault(many.as_bytes(), 2), Fault::Count(Some(500_000)));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), count in 0_usize..4) {
        prop_assert!(read(&bytes, count, 4).is_err() || count == 0);
    }

    #[test]
    fn a_damaged_answer_is_read_without_a_panic(at in 0_usize..200, byte in any::<u8>(), cut in 0_usize..200) {
        let mut body = body(&[entry(0, 4), entry(1, 4)]);
        let (at, cut) = (at % body.len(), cut % body.len());
        body[at] = byte;
        if let Ok((embeddings, _)) = read(&body, 2, 4) {
            prop_assert!(embeddings.vectors.iter().all(|vector| vector.len() == 4));
        }
        prop_assert!(read(&body[..cut], 2, 4).is_err());
    }

    #[test]
    fn base64_and_numbers_give_the_same_vectors(floats in proptest::collection::vec(-1.0_f32..1.0, 8)) {
        prop_assume!(floats.iter().any(|float| float.abs() > 1e-3));
        let numbers = read(&of(&json!(floats)), 1, 8).unwrap().0.vectors;
        let coded = read(&of(&json!(STANDARD.encode(base64_of(&floats)))), 1, 8).unwrap().0.vectors;
        prop_assert_eq!(&numbers, &coded);
        let norm: f64 = numbers[0].iter().map(|x| f64::from(*x).powi(2)).sum();
        prop_assert!((norm - 1.0).abs() < 1e-5);
    }
}
