//! The kept corpus of answers and hints, as it is and changed by chance. `cargo bench --profile dev --bench fuzz` does it for as long as one likes.

mod engine;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use self::engine::{Reader, corpus, mutated};

/// How often each is changed.
const CHANGES: usize = 2000;

fn holds(kind: &str) {
    let cases = corpus(kind);
    assert!(cases.len() > 30, "{} cases", cases.len());
    let reader = Reader::new();
    for (seed, (name, case)) in (1..).zip(&cases) {
        reader.check(case).unwrap_or_else(|wrong| panic!("{kind}/{name}: {wrong}"));
        let mut rng = Rng::with_seed(seed);
        for _ in 0..CHANGES {
            let case = mutated(case, &cases, &mut rng);
            let checked = catch_unwind(AssertUnwindSafe(|| reader.check(&case)));
            let wrong = match checked {
                Ok(Ok(())) => continue,
                Ok(Err(wrong)) => wrong,
                Err(_) => "a panic".to_owned(),
            };
            let shown = String::from_utf8_lossy(&case.write()).chars().take(2000).collect::<String>();
            panic!("{kind}/{name}, changed: {wrong}\n{shown}");
        }
    }
}

#[test]
fn answers_are_read_whatever_they_are() {
    holds("response");
}

#[test]
fn hints_are_read_whatever_they_are() {
    holds("hints");
}
