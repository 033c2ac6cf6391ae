use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Drift, Estimates, Seen, Shape};
use crate::domain::tokens::Tokenizer;

const BUDGET: u64 = 16_384;
const BATCHES: usize = 600;
/// Batches that are on their way while the next is packed.
const IN_FLIGHT: usize = 4;
/// From then on nothing may be over the budget.
const LEARNED: usize = 50;

type Bill = fn(&str) -> u64;

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

/// Documents of the demo, with their languages, and the texts of the tokenizer's table.
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
        let streams: [(&str, Box<dyn Fn(usize, &str) -> bool>); 4] = [
            ("mixed", Box::new(|_, _| true)),
            ("english", Box::new(|_, lang| lang == "en")),
            ("western", Box::new(|_, lang| is_western(lang))),
            ("not en", Box::new(|_, lang| lang != "en")),
        ];
        for (what, of) in streams {
            let Table { fill, over, early_over, worst } = run(bill, stream(7, of));
            println!("{name:<10} {what:<9} {fill:>6.3}  {worst:>6.3}  {over:>13}  {early_over:>9}");
            failed += usize::from(over > 0 || early_over > 0 || fill < 0.9);
        }
    }
    assert_eq!(failed, 0, "rows of the table");
}
