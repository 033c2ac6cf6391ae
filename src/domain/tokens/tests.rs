use proptest::prelude::*;
use serde_json::Value;
use unicode_normalization_alignments::UnicodeNormalization;

use super::parts::{Part, Parts};
use super::{Tokenizer, nfc};

const TABLE: &str = include_str!("../../../tests/tokens/qwen3.jsonl");

fn table() -> Vec<(String, u32)> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let tokens = u32::try_from(row["tokens"].as_u64().unwrap()).unwrap();
        (row["text"].as_str().unwrap().to_owned(), tokens)
    };
    TABLE.lines().map(row).collect()
}

#[test]
fn every_row_of_the_reference_table_is_counted_alike() {
    let tokenizer = Tokenizer::qwen3();
    let rows = table();
    assert!(rows.len() >= 400, "only {} rows", rows.len());
    let wrong: Vec<_> = rows
        .iter()
        .map(|(text, tokens)| (text, *tokens, tokenizer.count(text)))
        .filter(|(_, expected, counted)| expected != counted)
        .collect();
    assert!(wrong.is_empty(), "{} of {} rows: {wrong:?}", wrong.len(), rows.len());
}

#[test]
fn the_end_token_counts() {
    let tokenizer = Tokenizer::qwen3();
    assert_eq!(tokenizer.count(""), 1);
    assert_eq!(tokenizer.count("test"), 2);
    assert_eq!(tokenizer.count("<|endoftext|>"), 2);
}

#[test]
fn counting_within_a_limit_agrees_on_both_sides_of_it() {
    let tokenizer = Tokenizer::qwen3();
    for (text, tokens) in table() {
        assert_eq!(tokenizer.count_within(&text, tokens), Some(tokens), "{text:?}");
        assert_eq!(tokenizer.count_within(&text, u32::MAX), Some(tokens), "{text:?}");
        assert_eq!(tokenizer.count_within(&text, tokens - 1), None, "{text:?}");
    }
    assert_eq!(tokenizer.count_within("", 0), None);
}

#[test]
fn a_text_that_fits_is_not_cut() {
    let tokenizer = Tokenizer::qwen3();
    for (text, tokens) in table() {
        assert_eq!(tokenizer.truncate(&text, tokens), None, "{text:?}");
    }
}

#[test]
fn every_row_is_cut_to_any_limit() {
    let tokenizer = Tokenizer::qwen3();
    for (text, tokens) in table() {
        for limit in [tokens - 1, tokens / 2, tokens / 3, 3, 2, 1, 0] {
            if limit < tokens {
                assert_cut(tokenizer, &text, limit);
            }
        }
    }
}

fn assert_cut(tokenizer: Tokenizer, text: &str, limit: u32) -> String {
    let (cut, tokens) = tokenizer.truncate(text, limit).expect("it is too long");
    assert_eq!(tokens, tokenizer.count(&cut), "{text:?} at {limit}");
    assert!(tokens <= limit.max(1), "{tokens} tokens of {limit}: {text:?}");
    let whole: String = Parts::new(text)
        .map(|part| match part {
            Part::Added(added) => added.to_owned(),
            Part::Plain(plain) => nfc(plain).into_owned(),
        })
        .collect();
    // Where a cut parts a base from its mark, the last character may differ from the whole text's.
    let sure = &cut[..cut.char_indices().next_back().map_or(0, |(at, _)| at)];
    assert!(whole.starts_with(sure), "{cut:?} does not begin {whole:?}");
    cut
}

#[test]
fn a_cut_uses_the_limit() {
    let tokenizer = Tokenizer::qwen3();
    let text = "The quick brown fox jumps over the lazy dog. ".repeat(5_000);
    let cut = assert_cut(tokenizer, &text, 32_768);
    assert_eq!(tokenizer.count(&cut), 32_768);
    let text = "量子计算机可以同时处理许多状态。".repeat(10_000);
    let cut = assert_cut(tokenizer, &text, 32_768);
    assert!(tokenizer.count(&cut) >= 32_760, "{}", tokenizer.count(&cut));
}

#[test]
fn texts_without_an_end_are_cut() {
    let tokenizer = Tokenizer::qwen3();
    let marks = format!("e{}", "\u{301}\u{323}".repeat(20_000));
    let texts = [
        "a".repeat(200_000),
        "qwertyuiopasdfghjklzxcvbnm".repeat(5_000),
        " ".repeat(200_000),
        "\n".repeat(200_000),
        "\r".repeat(50_000),
        "<".repeat(100_000),
        "=".repeat(200_000),
        "\0".repeat(20_000),
        "<|endoftext|>".repeat(5_000),
        "\u{1F468}\u{200D}".repeat(20_000),
        "\u{1112}\u{1161}\u{11ab}".repeat(20_000),
        "字".repeat(50_000),
        marks,
    ];
    for text in texts {
        for limit in [2, 100, 1_000] {
            let cut = assert_cut(tokenizer, &text, limit);
            let tokens = tokenizer.count(&cut);
            assert!(tokens >= limit * 9 / 10, "{tokens} of {limit}: {:?}", text.chars().next());
        }
    }
}

#[test]
fn a_quick_check_never_calls_a_changed_character_normal() {
    // Alone, after a letter, and between marks of a lower and a higher class, which it may have to move past.
    for character in (0..=0x10_FFFF).filter_map(char::from_u32) {
        for text in [format!("a{character}"), format!("a\u{316}{character}\u{301}{character}\u{323}")] {
            let normal: String = text.nfc().map(|(character, _)| character).collect();
            assert_eq!(nfc(&text), normal, "U+{:04X}", u32::from(character));
        }
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z']{1,8}",
        4 => Just(" ".to_owned()),
        2 => "[ \\n\\r\\t\u{a0}\u{3000}]{1,4}",
        2 => "[0-9]{1,5}",
        2 => "[!-/:-@]{1,4}",
        2 => any::<String>(),
        1 => "[\u{4e00}-\u{4e40}\u{ac00}-\u{ac40}\u{3041}-\u{309a}]{1,5}",
        1 => "[\u{300}-\u{32f}]{1,3}",
        1 => prop::sample::select(vec!["<think>", "</think>", "<|im_end|>", "<|im_", "<", "'s", "'LL"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn parts_are_the_text_and_have_its_tokens(text in pieces()) {
        let tokenizer = Tokenizer::qwen3();
        let whole: Vec<Part<'_>> = Parts::of_size(&text, usize::MAX).collect();
        let small: Vec<Part<'_>> = Parts::of_size(&text, 0).collect();
        let joined: String = small.iter().map(|(Part::Added(part) | Part::Plain(part))| *part).collect();
        prop_assert_eq!(&joined, &text);
        let ids = |parts: &[Part<'_>]| {
            let mut ids = Vec::new();
            for part in parts {
                match part {
                    Part::Added(added) => ids.push(u32::MAX - u32::try_from(added.len()).unwrap()),
                    Part::Plain(plain) => ids.extend(tokenizer.bpe.encode(&nfc(plain))),
                }
            }
            ids
        };
        prop_assert_eq!(ids(&whole), ids(&small));
    }

    #[test]
    fn any_text_is_cut_to_any_limit(text in pieces(), limit in 0_u32..60) {
        let tokenizer = Tokenizer::qwen3();
        let tokens = tokenizer.count(&text);
        if tokens > limit {
            assert_cut(tokenizer, &text, limit);
        } else {
            prop_assert_eq!(tokenizer.truncate(&text, limit), None);
        }
    }
}

#[test]
fn a_long_text_is_counted_to_its_end_where_it_may_fit() {
    let tokenizer = Tokenizer::qwen3();
    for part in ["x", "= ", "字", "All work and no play. ", "abcdefghij"] {
        let text = part.repeat(300_000 / part.len());
        let tokens = tokenizer.count(&text);
        assert_eq!(tokenizer.count_within(&text, tokens), Some(tokens), "{part}");
        assert_eq!(tokenizer.count_within(&text, tokens + tokens / 2), Some(tokens), "{part}");
        for limit in [1, 2, tokens / 100, tokens / 4, tokens / 2, tokens - 1] {
            assert_eq!(tokenizer.count_within(&text, limit), None, "{part} within {limit} of {tokens}");
        }
    }
    // The beginning is dear, the rest cheap, and all of it fits.
    let text = format!("{}{}", "🦀字".repeat(10_000), "All work and no play. ".repeat(20_000));
    let tokens = tokenizer.count(&text);
    assert_eq!(tokenizer.count_within(&text, tokens), Some(tokens));
}
