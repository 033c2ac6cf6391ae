use std::fs;

use proptest::prelude::*;

use super::*;

const PREFIX: &str = "Instruct: find what answers the question\nQuery:";
const TOPIC: &str = "documents";

/// Words and their parts, marks around each text, as BERT's tokenizers have them.
const WORD_PIECES: &str = r###"{
  "version": "1.0",
  "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
  "padding": null, "added_tokens": [],
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
  "decoder": null,
  "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "some": 3, "word": 4, "##s": 5, "passage": 6, ":": 7}}
}"###;

fn provider(model: &str, tokenizer: &str, prefix: &str) -> Provider {
    let mut provider = Provider::default();
    for (field, value) in
        [(&mut provider.model, model), (&mut provider.tokenizer, tokenizer), (&mut provider.prefix, prefix)]
    {
        value.clone_into(field);
    }
    provider
}

fn counting(tokenizer: &str, prefix: &str) -> Counting {
    Counting::new(&provider("model", tokenizer, prefix), 4_096).expect("it is well")
}

fn file() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), WORD_PIECES).unwrap();
    file
}

#[test]
fn the_way_to_count_is_that_of_the_models_name_or_as_asked() {
    let tokens = |model, tokenizer| provider(model, tokenizer, "").tokens();
    for (model, tokenizer, expected) in [
        ("qwen/qwen3-embedding-4b", "auto", Tokens::Qwen3),
        ("Qwen/Qwen3-Embedding-0.6B-GGUF", "auto", Tokens::Qwen3),
        ("intfloat/multilingual-e5-small", "auto", Tokens::Estimate),
        ("intfloat/multilingual-e5-small", "qwen3", Tokens::Qwen3),
        ("qwen/qwen3-embedding-4b", "estimate", Tokens::Estimate),
        ("e5", "/models/e5/tokenizer.json", Tokens::File("/models/e5/tokenizer.json".into())),
    ] {
        assert_eq!(tokens(model, tokenizer), expected, "{model} {tokenizer}");
    }
}

#[test]
fn prefix_and_text_are_counted_as_one() {
    let counting = counting("qwen3", PREFIX);
    let text = " where is the key?";
    let whole = Tokenizer::qwen3().count(&format!("{PREFIX}{text}"));
    assert_eq!(counting.count(TOPIC, text), whole);
    assert_eq!(counting.count_within(TOPIC, text, whole), Some(whole));
    assert_eq!(counting.count_within(TOPIC, text, whole - 1), None);
}

#[test]
fn a_cut_leaves_room_for_the_prefix() {
    let file = file();
    let path = file.path().to_str().unwrap();
    let long = "some words, and then more of them: Wörter, слова, 言葉 123456\n".repeat(200);
    for tokenizer in ["qwen3", "estimate", path] {
        let counting = counting(tokenizer, PREFIX);
        let (cut, tokens) = counting.truncate(TOPIC, &long, 300).expect("it is longer");
        assert!((285..=300).contains(&tokens), "{tokenizer}: {tokens}");
        assert_eq!(counting.count(TOPIC, &cut), tokens);
        assert!(long.starts_with(&cut));
        assert_eq!(counting.truncate(TOPIC, &cut, 300), None);
    }
}

#[test]
fn a_file_counts_its_words_and_marks_and_cuts_nothing_by_itself() {
    let file = file();
    let path = file.path().to_str().unwrap();
    assert_eq!(counting(path, "").count(TOPIC, ""), 2);
    assert_eq!(counting(path, "").count(TOPIC, "Some words some words"), 8);
    assert_eq!(counting(path, "passage: ").count(TOPIC, "some words"), 7);
    assert_eq!(counting(path, "").count_within(TOPIC, &"word ".repeat(1_000_000), 1_000), None);
}

#[test]
fn a_prefix_that_leaves_no_room_is_refused() {
    let provider = provider("model", "qwen3", &"word ".repeat(300));
    let error = Counting::new(&provider, 512).unwrap_err();
    assert_eq!(
        error.to_string(),
        "provider.prefix: has 302 tokens, more than half of the 512 that a text may have"
    );
    assert!(Counting::new(&provider, 700).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_cut_is_over_the_limit(text in "\\PC{0,400}", limit in 30_u32..200) {
        for tokenizer in ["qwen3", "estimate"] {
            let counting = counting(tokenizer, "passage: ");
            match counting.truncate(TOPIC, &text, limit) {
                None => prop_assert!(counting.count(TOPIC, &text) <= limit),
                Some((cut, tokens)) => {
                    prop_assert!(tokens <= limit);
                    prop_assert_eq!(counting.count(TOPIC, &cut), tokens);
                }
            }
        }
    }
}
