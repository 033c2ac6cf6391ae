//! `input.format: json`.

use super::{Case, Cut, Dead, Holds, Outcome, Outgoing, Skipped, Tombstone, vector};

const DEEP: usize = 20_000;

fn bad(words: &'static str) -> Outcome {
    Dead("invalid_input", words)
}

pub(super) fn cases() -> Vec<Case> {
    let mut all: Vec<(Vec<u8>, Outcome)> = Vec::new();
    all.extend([invalid(), fields(), escapes(), numbers(), deep_and_long()].into_iter().flatten());
    // Each with a key of its own, but for a delete and what follows it.
    let numbered = all.into_iter().enumerate();
    let mut cases: Vec<Case> =
        numbered.map(|(n, (value, outcome))| (Outgoing::new(format!("key {n}"), value), outcome)).collect();
    cases.push((Outgoing::new("updated", r#"{"title":"hunter2"}"#), vector("hunter2")));
    cases.push((Outgoing::new("updated", r#"{"title":"hunter2"#), bad("not valid JSON")));
    cases.push((Outgoing::tombstone("updated"), Tombstone));
    cases.push((Outgoing::new("updated", r#"{"title":"again"}"#), vector("again")));
    cases
}

fn invalid() -> Vec<(Vec<u8>, Outcome)> {
    let utf8 = "not valid UTF-8 at byte";
    let json = "not valid JSON";
    vec![
        (b"\xff\xfe{\"title\":\"hunter2\"}".to_vec(), bad("not valid UTF-8 at byte 0")),
        (b"{\"title\":\"hunter2\xff\"}".to_vec(), bad("not valid UTF-8 at byte 17")),
        (b"{\"title\":\"x\",\"other\":\"\xc3\"}".to_vec(), bad(utf8)),
        (b"{\"title\":\"\xed\xa0\x80\"}".to_vec(), bad(utf8)),
        (b"".to_vec(), bad(json)),
        (b" ".to_vec(), bad(json)),
        (b"hunter2".to_vec(), bad(json)),
        (b"{\"title\":hunter2}".to_vec(), bad(json)),
        (b"{\"title\":\"hunter2\"} x".to_vec(), bad(json)),
        (b"{\"title\":\"hunter2\"}{}".to_vec(), bad(json)),
        (b"{\"title\":\"hunter2\",}".to_vec(), bad(json)),
        (b"{'title':'hunter2'}".to_vec(), bad(json)),
        (b"{\"title\":\"x\",\"other\":NaN}".to_vec(), bad(json)),
        (b"{\"title\":\"x\",\"other\":01}".to_vec(), bad(json)),
        (b"{\"title\":\"line\nbreak\"}".to_vec(), bad(json)),
        (b"{\"title\":\"hunter2\0\"}".to_vec(), bad(json)),
        (b"\0{\"title\":\"hunter2\"}".to_vec(), bad(json)),
        (b"\0\0\0\0\x01\x0ehunter2".to_vec(), bad(json)),
    ]
}

fn fields() -> Vec<(Vec<u8>, Outcome)> {
    let cases = [
        ("null", bad("is null, not an object")),
        ("[]", bad("missing or null")),
        ("{}", bad("missing or null")),
        ("\"hunter2\"", bad("is a string, not an object")),
        ("5", bad("is a number, not an object")),
        (r#"{"Title":"hunter2"}"#, bad("missing or null")),
        (r#"{"title":null,"body":null}"#, bad("missing or null")),
        (r#"{"title":null,"body":"x"}"#, vector("x")),
        (r#"{"title":"a","body":"b"}"#, vector("a\n\nb")),
        (r#"{"title":" ","body":"b"}"#, vector("b")),
        (r#"{"title":5}"#, bad("\"/title\" is a number, not a string")),
        (r#"{"title":{"hunter2":"hunter2"}}"#, bad("\"/title\" is an object, not a string")),
        (r#"{"title":["hunter2"]}"#, bad("\"/title\" is an array, not a string")),
        (r#"{"title":true}"#, bad("\"/title\" is a boolean, not a string")),
        (r#"{"title":"x","body":5}"#, bad("\"/body\" is a number, not a string")),
        (r#"{"title":""}"#, Skipped),
        (r#"{"title":" \t\n\u00a0\u3000"}"#, Skipped),
        (r#"{"title":"\u0000\u200b\ufeff"}"#, Skipped),
        (r#"{"title":"hunter2","title":"x"}"#, bad("\"title\" twice")),
        (r#"{"title":"x","id":1,"id":2}"#, bad("\"id\" twice")),
        (r#"{"title":"x","other":1,"other":2}"#, vector("x")),
        (r#"{"title":"x","ti\u0074le":"y"}"#, bad("\"title\" twice")),
        (
            r#"{"title":"x","id":{"a":[1,null,"hunter2"]}}"#,
            Holds(r#""payload":{"id":{"a":[1,null,"hunter2"]}}"#.to_owned()),
        ),
        ("\u{feff}{\"title\":\"x\"}", vector("x")),
        ("\r\n\t {\"title\" : \"x\" } \n", vector("x")),
        (r#"{"title":"<|endoftext|><|im_start|>"}"#, vector("<|endoftext|><|im_start|>")),
    ];
    cases.into_iter().map(|(value, outcome)| (value.as_bytes().to_vec(), outcome)).collect()
}

fn escapes() -> Vec<(Vec<u8>, Outcome)> {
    let cases = [
        (r#"{"title":"\ud83d\ude00"}"#, vector("😀")),
        (r#"{"title":"hunter2 \ud800"}"#, bad("\"/title\" holds an escape that is no character")),
        (r#"{"title":"\udc00 hunter2"}"#, bad("\"/title\" holds an escape that is no character")),
        (r#"{"title":"\ud800\ud800"}"#, bad("\"/title\" holds an escape that is no character")),
        (r#"{"title":"x","id":"\ud800"}"#, bad("\"/id\" holds an escape that is no character")),
        (r#"{"title":"x","other":"\ud800"}"#, vector("x")),
        (r#"{"title":"x","\ud800":1}"#, bad("not valid JSON")),
        (r#"{"title":"\x41"}"#, bad("not valid JSON")),
        (r#"{"title":"\u00"}"#, bad("not valid JSON")),
        (r#"{"title":"a\u0000b"}"#, vector("a\0b")),
        (r#"{"title":"\u0001\u001b[31m\u2028\u202e"}"#, vector("\u{1}\u{1b}[31m\u{2028}\u{202e}")),
    ];
    cases.into_iter().map(|(value, outcome)| (value.as_bytes().to_vec(), outcome)).collect()
}

/// A payload keeps every digit; what is not wanted is not read.
fn numbers() -> Vec<(Vec<u8>, Outcome)> {
    let digits = "1234567890".repeat(40);
    let huge = "9".repeat(60);
    let numbers = [
        &*digits,
        &*huge,
        "-0",
        "1e400",
        "-1.5E-400",
        "18446744073709551616",
        "0.1000000000000000055511151231257827",
    ];
    let mut cases = Vec::new();
    for number in numbers {
        let kept = format!("{{\"title\":\"x\",\"id\":{number}}}").into_bytes();
        cases.push((kept, Holds(format!("\"payload\":{{\"id\":{number}}}"))));
        cases.push((format!("{{\"title\":\"x\",\"other\":{number}}}").into_bytes(), vector("x")));
        cases.push((format!("{{\"title\":{number}}}").into_bytes(), bad("is a number, not a string")));
    }
    cases
}

fn deep_and_long() -> Vec<(Vec<u8>, Outcome)> {
    let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
    let objects = "{\"a\":".repeat(DEEP);
    let ends = "}".repeat(DEEP);
    let deeper = "nested deeper than 120 levels";
    let wide: Vec<_> = (0..10_000).map(|n| format!("\"field {n}\":{n}")).collect();
    let long = "A hunter2 walks. ".repeat(20_000);
    let cases = [
        (format!("{open}{close}"), bad(deeper)),
        (open.clone(), bad(deeper)),
        (format!("{{\"title\":\"x\",\"other\":{open}{close}}}"), bad(deeper)),
        (format!("{{\"title\":\"x\",\"id\":{objects}1{ends}}}"), bad(deeper)),
        (format!("{objects}\"hunter2\"{ends}"), bad(deeper)),
        (format!("{{\"title\":\"{open}\"}}"), vector(&open)),
        (format!("{{\"title\":\"x\",\"id\":{}1{}}}", "[".repeat(100), "]".repeat(100)), vector("x")),
        (format!("{{{},\"title\":\"x\"}}", wide.join(",")), vector("x")),
        (format!("{{\"title\":\"{long}\"}}"), Cut(long)),
    ];
    cases.into_iter().map(|(value, outcome)| (value.into_bytes(), outcome)).collect()
}
