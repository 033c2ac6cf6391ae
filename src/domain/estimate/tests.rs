use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Drift, Estimates, Seen, Shape};
use crate::domain::tokens::Tokenizer;

const BUDGET: u64 = 8_192;
const BATCHES: usize = 200;
/// Batches that are on their way while the next is packed.
const IN_FLIGHT: usize = 4;
/// From then on nothing may be over the budget.
const LEARNED: usize = 50;

type Bill = fn(&str) -> u64;
/// Whether a text of this number may have this language.
type Choice = fn(usize, &str) -> bool;

fn qwen3(text: &str) -> u64 {
    Tokenizer::qwen3().count(text).into()
}

fn bpe(name: &str, text: &str) -> u64 {
    tiktoken::get_encoding(name).expect("a vocabulary of the tests").count(text) as u64 + 2
}

/// Tokenizers that bill: four vocabularies, and two that are none.
const BILLS: [(&str, Bill); 6] = [
    ("qwen3", qwen3),
    ("o200k", |text| bpe("o200k_base", text)),
    ("mistral", |text| bpe("mistral_v3", text)),
    ("gpt2", |text| bpe("r50k_base", text)),
    ("bytes/3", |text| text.len() as u64 / 3 + 1),
    ("words", |text| text.split_whitespace().count() as u64 + 2),
];

/// Documents of the demo, with their languages.
fn documents() -> Vec<(String, String)> {
    let lines = |text: &'static str| text.lines().map(|line| serde_json::from_str(line).expect("JSON lines"));
    let word = |value: &serde_json::Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    lines(include_str!("../../simulator/corpus.jsonl"))
        .map(|line: serde_json::Value| (word(&line, "lang"), word(&line, "body")))
        .filter(|(_, body)| body.len() > 40)
        .collect()
}

/// The texts of a language, or of all.
fn stream(seed: u64, of: impl Fn(usize, &str) -> bool) -> impl FnMut(usize) -> String {
    let documents = documents();
    let mut random = fastrand::Rng::with_seed(seed);
    move |number| {
        let fit: Vec<&String> =
            documents.iter().filter(|(lang, _)| of(number, lang)).map(|(_, body)| body).collect();
        let parts = random.usize(1..=6);
        let mut text = String::new();
        for _ in 0..parts {
            let body = fit[random.usize(..fit.len())];
            // A part of it, so that no text is like another.
            let from = body.floor_char_boundary(random.usize(..body.len() / 2));
            text.push_str(&body[from..]);
            text.push('\n');
        }
        text
    }
}

struct Table {
    fill: f64,
    over: usize,
    early_over: usize,
    worst: f64,
}

/// Packs by estimates, bills by the tokenizer, learns when the answer is there.
fn run(bill: Bill, mut text: impl FnMut(usize) -> String) -> Table {
    let topic: Arc<str> = "documents".into();
    let mut estimates = Estimates::default();
    let mut flying: VecDeque<(Shape, u64)> = VecDeque::new();
    let (mut number, mut next) = (0, text(0));
    let mut table = Table { fill: 0.0, over: 0, early_over: 0, worst: 0.0 };
    for batch in 0..BATCHES {
        let (mut sum, mut tokens, mut billed) = (Shape::default(), 0, 0);
        loop {
            let shape = Shape::of(&next);
            let estimate = u64::from(estimates.tokens(&topic, &shape));
            if tokens > 0 && tokens + estimate > BUDGET {
                break;
            }
            sum.add(&shape);
            tokens += estimate;
            billed += bill(&next);
            number += 1;
            next = text(number);
        }
        let fill = billed as f64 / BUDGET as f64;
        if batch >= LEARNED {
            table.fill += fill / (BATCHES - LEARNED) as f64;
            table.over += usize::from(billed > BUDGET);
            table.worst = table.worst.max(fill);
        } else {
            table.early_over += usize::from(billed > BUDGET);
        }
        flying.push_back((sum, billed));
        if flying.len() > IN_FLIGHT
            && let Some((shape, billed)) = flying.pop_front()
        {
            estimates.observe(&BTreeMap::from([(Arc::clone(&topic), shape)]), billed);
        }
    }
    table
}

fn is_western(lang: &str) -> bool {
    ["en", "de", "fr", "es", "it", "pt", "nl"].contains(&lang)
}

#[test]
fn after_50_batches_none_is_over_the_budget_and_they_are_nine_tenths_full() {
    println!("billed by  texts      fill   worst  over after 50  before 50");
    let mut failed = 0;
    for (name, bill) in BILLS {
        let streams: [(&str, Choice); 4] = [
            ("mixed", |_, _| true),
            ("english", |_, lang| lang == "en"),
            ("western", |_, lang| is_western(lang)),
            ("not en", |_, lang| lang != "en"),
        ];
        for (what, of) in streams {
            let Table { fill, over, early_over, worst } = run(bill, stream(7, of));
            println!("{name:<10} {what:<9} {fill:>6.3}  {worst:>6.3}  {over:>13}  {early_over:>9}");
            failed += usize::from(over > 0 || early_over > 0 || fill < 0.9);
        }
    }
    assert_eq!(failed, 0, "rows of the table");
}

#[test]
fn a_sudden_change_of_language_is_over_the_budget_only_for_a_while() {
    println!("billed by  batches over after the change, worst, fill");
    for (name, bill) in BILLS {
        let text = stream(3, |number, lang| if number < 4_000 { lang == "en" } else { !is_western(lang) });
        let Table { fill, over, worst, .. } = run(bill, text);
        println!("{name:<10} {over:>3}  {worst:>6.3}  {fill:>6.3}");
        assert!(over <= 12, "{name}: {over} of {BATCHES} batches");
        assert!(fill > 0.85, "{name}: {fill}");
    }
}

#[test]
fn learns_from_batches_of_several_topics() {
    let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
    let (first, second) =
        (Shape::of(&"some words in English ".repeat(50)), Shape::of(&"0123456789".repeat(50)));
    let mut estimates = Estimates::default();
    for _ in 0..200 {
        estimates.observe(&BTreeMap::from([(Arc::clone(&one), first), (Arc::clone(&two), second)]), 1_000);
    }
    let sum = estimates.tokens(&one, &first) + estimates.tokens(&two, &second);
    assert!((1_000..1_060).contains(&sum), "{sum}");
}

#[test]
fn an_answer_without_a_price_teaches_nothing() {
    let topic: Arc<str> = "documents".into();
    let shape = Shape::of("some words");
    let mut estimates = Estimates::default();
    let before = estimates.tokens(&topic, &shape);
    assert!(!estimates.observe(&BTreeMap::from([(Arc::clone(&topic), shape)]), 0));
    assert!(!estimates.observe(&BTreeMap::new(), 10));
    assert_eq!(estimates.tokens(&topic, &shape), before);
}

#[test]
fn no_bill_however_odd_breaks_the_estimates() {
    let topic: Arc<str> = "documents".into();
    let mut estimates = Estimates::default();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..500 {
        let text: String = (0..random.usize(..50)).map(|_| random.char(..)).collect();
        let billed = *random.choice(&[1, 7, 1_000, u64::MAX]).expect("some");
        estimates.observe(&BTreeMap::from([(Arc::clone(&topic), Shape::of(&text))]), billed);
        assert!(estimates.tokens(&topic, &Shape::of(&text)) >= 1);
    }
}

#[test]
fn first_estimates_are_careful() {
    let estimates = Estimates::default();
    for (lang, body) in documents() {
        let estimate = u64::from(estimates.tokens("t", &Shape::of(&body)));
        for bill in [qwen3 as Bill, |text| bpe("o200k_base", text), |text| bpe("mistral_v3", text)] {
            assert!(estimate * 10 >= bill(&body) * 9, "{lang}: {estimate}, {}", bill(&body));
        }
    }
}

#[test]
fn the_shape_of_a_text_behind_a_prefix_is_that_of_one_text() {
    let (prefix, text) = (Shape::of("passage: "), Shape::of("some words"));
    let mut sum = prefix;
    sum.add(&text);
    assert_eq!(text.after(&prefix), Shape::of("passage: some words"));
    assert_ne!(sum, text.after(&prefix));
}

#[test]
fn drift_is_said_once_after_20_calls() {
    let mut drift = Drift::default();
    let said: Vec<Option<Seen>> = (0..40).map(|_| drift.observe(80, 100)).collect();
    assert_eq!(said.iter().position(Option::is_some), Some(19));
    assert_eq!(said[19], Some(Seen::Less(0.8)));
    assert_eq!(said.iter().flatten().count(), 1);
    let mut drift = Drift::default();
    assert!((0..40).all(|call| drift.observe(91 + call % 18, 100).is_none()));
    assert!((0..40).filter_map(|_| drift.observe(112, 100)).all(|seen| matches!(seen, Seen::More(_))));
}

#[test]
fn a_bill_that_no_text_can_have_teaches_nothing() {
    let shape = Shape::of("text number 5010 of many");
    let parts = |texts: usize| {
        let mut sum = Shape::default();
        (0..texts).for_each(|_| sum.add(&shape));
        BTreeMap::from([(Arc::from("topic"), sum)])
    };
    for absurd in [100_000, 1_000_000, 1_000_000_000_000, u64::MAX] {
        for learned in [0, 50] {
            let mut estimates = Estimates::default();
            (0..learned).for_each(|_| {
                estimates.observe(&parts(16), 160);
            });
            let before = estimates.tokens("topic", &shape);
            assert!(!estimates.observe(&parts(16), absurd));
            assert_eq!(estimates.tokens("topic", &shape), before, "{absurd} after {learned} good ones");
        }
    }
}
