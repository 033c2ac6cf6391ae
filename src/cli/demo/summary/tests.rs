use super::*;

fn summary() -> Summary {
    Summary {
        records_in: 350,
        embedded: 341,
        tombstones: 6,
        skipped: 2,
        dead_lettered: 1,
        batches: 6,
        calls: 15,
        tokens: 21_000,
        batch_fill: 0.9375,
        seconds: 1.25,
        records_per_second: 280.0,
        latency_p50_ms: 120,
        latency_p99_ms: 640,
        cost_usd: 0.00042,
        committed_lag: 0,
        query: "a query".to_owned(),
        hits: vec![Hit { key: "k".to_owned(), score: 0.5, title: "a title".repeat(30) }],
    }
}

fn shelf() -> Shelf {
    let mut shelf = Shelf::new(vec![1.0]);
    (shelf.embedded, shelf.tombstones, shelf.dead_lettered) = (341, 6, 1);
    [5, 80, 120, 640].into_iter().for_each(|ms| shelf.latencies.add(ms));
    shelf
}

fn expected() -> Expected {
    let counts = Counts { embedded: 341, tombstones: 6, skipped: 2, dead_lettered: 1 };
    Expected { fed: 350, counts: Some(counts), interrupted: false }
}

#[test]
fn the_json_names_are_a_contract() {
    let json = summary().json();
    assert!(!json.contains('\n'));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = "records_in embedded tombstones skipped dead_lettered batches calls tokens batch_fill seconds \
        records_per_second latency_p50_ms latency_p99_ms cost_usd committed_lag query hits";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    assert_eq!(json["hits"][0]["key"], "k");
    assert_eq!(json["batch_fill"], 0.9375);
}

#[test]
fn figures_that_agree_are_no_contradiction() {
    assert_eq!(summary().contradictions(&shelf(), &expected()), [""; 0]);
}

#[test]
fn every_contradiction_is_found() {
    let found = |change: fn(&mut Summary, &mut Shelf, &mut Expected)| {
        let (mut summary, mut shelf, mut expected) = (summary(), shelf(), expected());
        change(&mut summary, &mut shelf, &mut expected);
        summary.contradictions(&shelf, &expected).join("; ")
    };
    let lost = found(|_, shelf, _| shelf.embedded -= 1);
    assert_eq!(lost, "vectors in the output topic: 340, but records embedded: 341");
    assert!(found(|_, shelf, _| shelf.tombstones += 1).contains("deletes in the output topic: 7"));
    assert!(found(|_, shelf, _| shelf.dead_lettered = 0).contains("dead-letter topic: 0"));
    assert!(found(|_, shelf, _| shelf.unreadable = 3).contains("cannot be read: 3"));
    assert!(found(|_, _, expected| expected.fed = 351).contains("records read: 350, but records fed: 351"));
    assert!(found(|summary, _, _| summary.skipped = 1).contains("outcomes: 349, but records read: 350"));
    assert!(found(|summary, _, _| summary.committed_lag = 4).contains("4 records lie behind"));
    let other = found(|summary, shelf, _| {
        (summary.embedded, summary.dead_lettered) = (340, 2);
        (shelf.embedded, shelf.dead_lettered) = (340, 2);
    });
    assert_eq!(
        other,
        "records embedded: 340, but texts fed: 341; dead letters: 2, but poison records fed: 1"
    );
}

#[test]
fn an_interrupted_demo_must_only_agree_with_the_topics() {
    let expected = Expected { interrupted: true, ..expected() };
    let mut early = summary();
    (early.records_in, early.committed_lag) = (200, 150);
    assert_eq!(early.contradictions(&shelf(), &expected), [""; 0]);
    early.embedded = 300;
    assert_eq!(early.contradictions(&shelf(), &expected).len(), 1);
}

#[test]
fn the_text_fits_a_terminal_and_says_what_the_vectors_are() {
    let mut summary = summary();
    for live in [false, true] {
        let text = summary.text(&shelf(), 0.061, live);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
        assert_eq!(text.contains("lexical"), !live, "{text}");
        assert!(text.contains("15 of 61 ms: one a batch (6), 9 more to find the bad record"), "{text}");
        assert!(text.contains("p50 120 ms, p99 640 ms"), "{text}");
    }
    (summary.hits, summary.committed_lag) = (Vec::new(), 1_500);
    let text = summary.text(&Shelf::new(Vec::new()), 0.0, false);
    assert!(text.contains("nothing: no vector") && text.contains("all but 1,500 records"), "{text}");
}

#[test]
fn what_is_no_number_is_zero() {
    assert_eq!(rounded(f64::NAN, 3), 0.0);
    assert_eq!(rounded(0.123_456, 3), 0.123);
    assert_eq!(gauge(0.5), "[##########          ]");
    assert_eq!(gauge(7.0), "[####################]");
}
