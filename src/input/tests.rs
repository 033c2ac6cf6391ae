use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::record::Offset;
use crate::domain::tokens::Tokenizer;

fn record(value: Option<&[u8]>) -> Record {
    Record {
        topic: Arc::from("documents"),
        partition: 0,
        offset: Offset(7),
        timestamp: Some(0),
        key: Some(b"key".to_vec()),
        value: value.map(<[u8]>::to_vec),
        headers: vec![("h".to_owned(), Some(b"v".to_vec()))],
    }
}

fn text_input() -> Input {
    Input { separator: "\n\n".to_owned(), ..Input::default() }
}

fn json_input(text: &[&str], payload: &[&str]) -> Input {
    let owned = |pointers: &[&str]| pointers.iter().map(|p| (*p).to_owned()).collect();
    Input { format: Format::Json, text: owned(text), payload: owned(payload), ..text_input() }
}

fn intake(input: &Input) -> Intake {
    Intake::new(input, Counting::qwen3(), 32_768)
}

fn read(input: &Input, value: &[u8]) -> Content {
    intake(input).read(&record(Some(value)))
}

/// Text and payload of a JSON value.
fn taken(text: &[&str], payload: &[&str], value: &str) -> (String, Option<String>) {
    match read(&json_input(text, payload), value.as_bytes()) {
        Content::Text(text) => (text.text, text.payload),
        other => panic!("{other:?} of {value}"),
    }
}

fn refused(input: &Input, value: &[u8]) -> String {
    match read(input, value) {
        Content::Reject(RejectReason::InvalidInput, message) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_null_value_is_a_delete_where_there_is_a_key() {
    for input in [text_input(), json_input(&["/body"], &[])] {
        let mut record = record(None);
        assert_eq!(intake(&input).read(&record), Content::Tombstone);
        for key in [None, Some(Vec::new())] {
            record.key = key;
            assert_eq!(intake(&input).read(&record), Content::Skip(SkipReason::TombstoneWithoutKey));
        }
    }
}

#[test]
fn a_text_is_taken_as_it_is() {
    for text in
        ["Hello", " padded \n", "\u{feff}BOM", "a\0b", "cafe\u{301}", "{\"json\": 1}", "<|endoftext|>"]
    {
        let tokens = Tokenizer::qwen3().count(text);
        let expected = Text { text: text.to_owned(), tokens, truncated: false, payload: None };
        assert_eq!(read(&text_input(), text.as_bytes()), Content::Text(expected));
    }
}

#[test]
fn invalid_utf_8_names_the_byte() {
    let message = "value is not valid UTF-8 at byte 17";
    assert_eq!(refused(&text_input(), b"seventeen bytes: \xff\xfe"), message);
    assert_eq!(refused(&json_input(&["/body"], &[]), b"{\"body\":\"12345678\xc3\""), message);
}

#[test]
fn a_blank_text_is_skipped_or_dead_lettered() {
    for blank in ["", " ", "\n\t \u{a0}\u{3000}", "\0\u{1b}\u{200b}\u{feff}"] {
        assert_eq!(read(&text_input(), blank.as_bytes()), Content::Skip(SkipReason::Blank));
        let input = Input { blank: Blank::DeadLetter, ..text_input() };
        let message = "the text has no visible character".to_owned();
        assert_eq!(read(&input, blank.as_bytes()), Content::Reject(RejectReason::Blank, message));
    }
    let input = json_input(&["/title", "/body"], &[]);
    assert_eq!(read(&input, br#"{"title":" ","body":""}"#), Content::Skip(SkipReason::Blank));
}

#[test]
fn an_over_long_text_is_cut_or_dead_lettered() {
    let text = "word ".repeat(40_311);
    let Content::Text(cut) = read(&text_input(), text.as_bytes()) else { panic!("not a text") };
    assert!(cut.truncated);
    assert_eq!(cut.tokens, 32_768);
    assert!(text.starts_with(&cut.text));

    let input = Input { too_long: TooLong::DeadLetter, ..text_input() };
    let message = format!("the text has {} tokens, the limit is 32768", Tokenizer::qwen3().count(&text));
    assert_eq!(read(&input, text.as_bytes()), Content::Reject(RejectReason::TooLong, message));

    let text = "word ".repeat(1_000_000);
    let message = "the text has 5000000 bytes and more than 32768 tokens, which is the limit".to_owned();
    assert_eq!(read(&input, text.as_bytes()), Content::Reject(RejectReason::TooLong, message));
}

#[test]
fn exactly_the_limit_fits() {
    let text = "one two three four";
    let tokens = Tokenizer::qwen3().count(text);
    let read =
        |limit| Intake::new(&text_input(), Counting::qwen3(), limit).read(&record(Some(text.as_bytes())));
    assert!(matches!(read(tokens), Content::Text(Text { truncated: false, .. })));
    let Content::Text(cut) = read(tokens - 1) else { panic!("not a text") };
    assert_eq!((cut.text.as_str(), cut.tokens, cut.truncated), ("one two three", tokens - 1, true));
}

#[test]
fn a_text_whose_beginning_is_blank_is_blank_once_it_is_cut() {
    let text = format!("{}end", " \n".repeat(200));
    let intake = Intake::new(&text_input(), Counting::qwen3(), 2);
    assert_eq!(intake.read(&record(Some(text.as_bytes()))), Content::Skip(SkipReason::Blank));
}

#[test]
fn json_texts_are_joined_in_the_order_of_the_settings() {
    let text = &["/title", "/a/b/1", "/x~1y~0z"];
    let value = r#"{"x/y~z":"last","title":"A \"title\" \ud83d\ude00","a":{"b":["no","yes"]}}"#;
    assert_eq!(taken(text, &[], value).0, "A \"title\" 😀\n\nyes\n\nlast");
    assert_eq!(taken(text, &[], r#"{"title":null,"x/y~z":"only"}"#).0, "only");
    assert_eq!(taken(text, &[], r#"{"title":"  ","x/y~z":"only"}"#).0, "only");
    assert_eq!(taken(&[""], &[], r#" "the whole" "#).0, "the whole");
    assert_eq!(taken(&["body"], &[], "\u{feff}{\"body\":\"\\u0000x\"}").0, "\0x");
    assert_eq!(taken(&["/a", "/a"], &[], r#"{"a":"twice"}"#).0, "twice\n\ntwice");
    assert_eq!(taken(&["/"], &[], r#"{"":"empty name"}"#).0, "empty name");
}

#[test]
fn a_payload_is_kept_as_it_is_written() {
    let payload = &["/id", "/meta/lang", "/tags", "/missing", "/none"];
    let value = r#"{"id":123456789012345678901234567890,"body":"x","meta":{"lang":"d\u00e9"},"tags":[1.50, {"a" : 1e400}],"none":null}"#;
    let kept =
        r#"{"id":123456789012345678901234567890,"lang":"d\u00e9","tags":[1.50, {"a" : 1e400}],"none":null}"#;
    assert_eq!(taken(&["/body"], payload, value).1.as_deref(), Some(kept));
    assert_eq!(taken(&["/body"], payload, r#"{"body":"x"}"#).1, None);
    assert_eq!(
        taken(&["/body"], &["/body", ""], r#"{"body":"x"}"#).1.unwrap(),
        r#"{"body":"x","":{"body":"x"}}"#
    );
}

#[test]
fn payload_fields_of_one_name_share_it() {
    let payload = &["/a/id", "/b/id", "/a/q\"uote"];
    let value = r#"{"t":"x","a":{"id":1,"q\"uote":3},"b":{"id":2}}"#;
    assert_eq!(taken(&["/t"], payload, value).1.unwrap(), r#"{"id":1,"q\"uote":3}"#);
    assert_eq!(taken(&["/t"], payload, r#"{"t":"x","b":{"id":2}}"#).1.unwrap(), r#"{"id":2}"#);
}

#[test]
fn a_missing_field_is_named() {
    let one = json_input(&["/body"], &[]);
    for value in [r#"{"title":"x"}"#, r#"{"body":null}"#, "{}", "[]", r#"[{"body":"x"}]"#] {
        assert_eq!(refused(&one, value.as_bytes()), r#""/body" is missing or null"#);
    }
    let nested = json_input(&["/title", "/a/b"], &[]);
    let message = r#"["/title", "/a/b"] are all missing or null"#;
    for value in [r#"{"a":"secret"}"#, r#"{"a":{"b":null}}"#, r#"{"a":["secret"]}"#] {
        assert_eq!(refused(&nested, value.as_bytes()), message);
    }
    assert_eq!(refused(&json_input(&[], &[]), b"{}"), "input.text names no field of the JSON value");
}

#[test]
fn a_field_of_another_type_is_named_with_it() {
    let input = json_input(&["/title", "/body"], &[]);
    for (value, kind) in [
        ("4711", "a number"),
        ("-1.5e3", "a number"),
        ("true", "a boolean"),
        ("false", "a boolean"),
        (r#"["secret"]"#, "an array"),
        (r#"{"secret":1}"#, "an object"),
    ] {
        let value = format!(r#"{{"title":"x","body": {value} }}"#);
        assert_eq!(refused(&input, value.as_bytes()), format!(r#""/body" is {kind}, not a string"#));
    }
    for (value, kind) in
        [(r#""secret""#, "a string"), ("17", "a number"), ("null", "null"), (" true ", "a boolean")]
    {
        assert_eq!(refused(&input, value.as_bytes()), format!("the JSON value is {kind}, not an object"));
    }
}

#[test]
fn invalid_json_is_refused_without_quoting_it() {
    let input = json_input(&["/body"], &["/id"]);
    for value in [
        "",
        "secret",
        "{",
        r#"{"body":"secret"#,
        r#"{"body":"secret"} trailing"#,
        r#"{"body":"secret",}"#,
        r#"{"body":"secret" "x":1}"#,
        r#"{"secret":tru,"body":"secret"}"#,
        r#"{"body":"sec\xret"}"#,
        r#"{"body":secret}"#,
        r#"{secret:1}"#,
        r#"{"body":"secret","id":01}"#,
        r#"{"body":"secret","id":NaN}"#,
        "{\"body\":\"secret\nsecret\"}",
        "[1,2",
        "\u{feff}",
        "\0",
    ] {
        let message = refused(&input, value.as_bytes());
        assert!(message.starts_with("value is not valid JSON"), "{value:?}: {message}");
        assert!(
            message.contains("line 1 column ") || message.contains("line 2 column "),
            "{value:?}: {message}"
        );
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn a_lone_surrogate_is_refused_in_what_is_used() {
    let input = json_input(&["/body"], &["/id"]);
    for lone in [r"\ud800", r"\udc00", r"\ud83dx", r"\ud83d\n", r"\ud83d\ud83d"] {
        let message = refused(&input, format!(r#"{{"body":"secret{lone}"}}"#).as_bytes());
        assert!(message.starts_with(r#""/body" holds an escape that is no character: "#), "{message}");
        assert!(!message.contains("secret"), "{message}");
        for id in [format!(r#""{lone}""#), format!(r#"{{"{lone}":[1]}}"#), format!(r#"[["secret{lone}"]]"#)] {
            let message = refused(&input, format!(r#"{{"body":"x","id":{id}}}"#).as_bytes());
            assert!(message.starts_with(r#""/id" holds an escape that is no character"#), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
        // What is neither text nor payload goes nowhere.
        assert!(matches!(
            read(&input, format!(r#"{{"body":"x","other":"{lone}"}}"#).as_bytes()),
            Content::Text(_)
        ));
    }
}

#[test]
fn a_payload_with_a_whole_pair_is_kept() {
    for id in [r#""\ud83d\ude00 \\ud800""#, r#""\uD83D\uDE00\u00e9 é""#, r#"["\"\u0000",1e400]"#, r#""\\""#]
    {
        let value = format!(r#"{{"body":"x","id":{id}}}"#);
        assert_eq!(taken(&["/body"], &["/id"], &value).1.unwrap(), format!(r#"{{"id":{id}}}"#));
    }
}

#[test]
fn deep_nesting_is_refused_wherever_it_is() {
    let input = json_input(&["/body"], &["/id", ""]);
    let message = "the JSON value is nested deeper than 120 levels at byte ";
    let (open, close) = ("[".repeat(20_000), "]".repeat(20_000));
    let objects = r#"{"a":"#.repeat(20_000);
    for value in [
        open.clone(),
        format!("{open}{close}"),
        objects.clone(),
        format!("{objects}1{}", "}".repeat(20_000)),
        format!(r#"{{"body":"x","id":{open}{close}}}"#),
        format!(r#"{{"body":"x","other":{open}{close}}}"#),
        format!(r#"{{"body":{open}{close}}}"#),
    ] {
        assert!(refused(&input, value.as_bytes()).starts_with(message));
    }
    let deepest = format!(r#"{{"body":"[[[","id":{}{}}}"#, "[".repeat(119), "]".repeat(119));
    assert!(matches!(read(&input, deepest.as_bytes()), Content::Text(_)));
    let brackets = format!(r#"{{"body":"x \" {open}"}}"#);
    assert!(matches!(read(&input, brackets.as_bytes()), Content::Text(_)));
}

#[test]
fn a_wanted_member_must_not_be_there_twice() {
    let input = json_input(&["/a/body"], &["/id"]);
    let twice = |name: &str| format!("the JSON value holds the member {name:?} twice");
    assert_eq!(refused(&input, br#"{"a":{"body":"x","body":"y"}}"#), twice("body"));
    assert_eq!(refused(&input, br#"{"a":{"body":"x"},"\u0061":{}}"#), twice("a"));
    assert_eq!(refused(&input, br#"{"id":1,"id":1,"a":{"body":"x"}}"#), twice("id"));
    assert!(matches!(read(&input, br#"{"b":1,"b":2,"a":{"body":"x","c":1,"c":1}}"#), Content::Text(_)));
}

#[test]
fn the_charge_covers_record_text_and_output() {
    let record = record(Some(br#"{"body":"four","id":1}"#));
    let content = intake(&json_input(&["/body"], &["/id"])).read(&record);
    // Key 3, value 22, header 2; text 4, payload 8, both held and published.
    assert_eq!(charge(&record, &content, 2560), 2048 + 27 + 12 + 13 * 2560 + 12);
    assert_eq!(expected_output_bytes(&content, 2560), 13 * 2560 + 12);
    for content in [Content::Tombstone, Content::Skip(SkipReason::Blank)] {
        assert_eq!(charge(&record, &content, 2560), 2048 + 27);
    }
    assert_eq!(
        charge(&record, &Content::Reject(RejectReason::InvalidInput, "no".to_owned()), 2560),
        2048 + 29
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value in any::<Vec<u8>>(), key in any::<Option<Vec<u8>>>()) {
        let mut record = record(Some(&value));
        record.key = key;
        for input in [text_input(), json_input(&["/a", "/b/0", ""], &["/a", "/c", ""])] {
            drop(Intake::new(&input, Counting::qwen3(), 5).read(&record));
        }
    }

    #[test]
    fn no_json_like_text_makes_it_panic(value in r#"[\[\]{}":,abc0-9.e\\u \-]{0,60}"#) {
        let input = json_input(&["/a", "/b/0", ""], &["/a", "/c", ""]);
        drop(intake(&input).read(&record(Some(value.as_bytes()))));
    }

    #[test]
    fn any_text_comes_out_of_json_as_it_went_in(text in any::<String>(), id in any::<String>(), n in any::<i128>()) {
        let value = format!(r#"{{"n":{n},"id":{},"body":{}}}"#, serde_json::json!(id), serde_json::json!(text));
        match read(&json_input(&["/body"], &["/n", "/id"]), value.as_bytes()) {
            Content::Text(read) => {
                prop_assert_eq!(read.text, text);
                let payload = read.payload.unwrap();
                let kept = format!(r#"{{"n":{n},"id":"#);
                prop_assert!(payload.starts_with(&kept), "{}", payload);
                let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
                prop_assert_eq!(payload["id"].as_str().unwrap(), id);
            }
            Content::Skip(SkipReason::Blank) => prop_assert!(is_blank(&text)),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
