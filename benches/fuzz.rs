//! Changes the kept corpus (`tests/fuzz`) by chance and has it read, for as long as one likes.
//!
//! `cargo bench --profile dev --bench fuzz -- --seconds 600 [--seed 7] [response|hints]`: the development profile finds overflows as well. What is found
//! is written to `target/fuzz` and printed (`-- --again FILE` reads it again); put it into `tests/fuzz` with the fix.

#[path = "../tests/it/fuzz/engine.rs"]
mod engine;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use engine::{Reader, corpus, mutated};
use fastrand::Rng;
use tokio::time::Instant;

/// More findings are not kept.
const MOST_FOUND: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let value = arguments.iter().skip_while(|argument| *argument != name).nth(1);
        value.and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    if let Some(file) = arguments.iter().skip_while(|argument| *argument != "--again").nth(1) {
        let case = engine::Case::parse(&fs::read(file).expect("a file that can be read"));
        let (reader, begun) = (Reader::new(), Instant::now());
        println!("{:?} in {:?}", reader.check(&case), begun.elapsed());
        return ExitCode::SUCCESS;
    }
    let (seconds, seed) = (number("--seconds", 10), number("--seed", 1));
    let chosen = |kind: &&str| arguments.iter().any(|argument| argument == kind);
    let kinds = ["response", "hints"];
    let some = kinds.iter().any(&chosen);
    let found: usize = kinds
        .iter()
        .filter(|kind| !some || chosen(kind))
        .map(|kind| fuzz(kind, Duration::from_secs(seconds), seed))
        .sum();
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How much was found.
fn fuzz(kind: &str, time: Duration, seed: u64) -> usize {
    let (cases, reader, begun) = (corpus(kind), Reader::new(), Instant::now());
    let (mut rng, mut tried, mut found) = (Rng::with_seed(seed), 0_u64, 0);
    let mut pool = cases.clone();
    while begun.elapsed() < time && found < MOST_FOUND {
        let at = rng.usize(0..pool.len());
        let case = mutated(&pool[at].1, &cases, &mut rng);
        tried += 1;
        let wrong = match catch_unwind(AssertUnwindSafe(|| reader.check(&case))) {
            Ok(Ok(())) => {
                // Some changes are built on, for a while.
                if rng.u8(..) < 8 && case.write().len() < 1 << 16 {
                    let place = cases.len() + rng.usize(0..512);
                    if place < pool.len() {
                        pool[place].1 = case;
                    } else {
                        pool.push((String::new(), case));
                    }
                }
                continue;
            }
            Ok(Err(wrong)) => wrong,
            Err(_) => "a panic".to_owned(),
        };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
        let file = folder.join(format!("{kind}-{seed}-{found}"));
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&file, case.write()))
            .expect("a place for what is found");
        println!("{kind}: {wrong}: {}", file.display());
        found += 1;
    }
    println!("{kind}: {tried} answers in {:?}, {found} findings", begun.elapsed());
    found
}
