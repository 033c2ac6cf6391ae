//! The house rules that a compiler does not know: which room may look into which, and how big a room may get.
//!
//! Read from the text of `src`, without comments, literals and what is under `cfg(test)`.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::File;

/// Above: who may look down on whom. Rooms on one floor may look at each other, one way.
const FLOORS: [&[&str]; 7] = [
    &["domain"],
    &["config", "metrics"],
    &["admin", "input", "kafka", "output", "provider", "signals", "simulator"],
    &["pipeline"],
    &["worker"],
    &["cli"],
    &["lib", "main"],
];
/// Rooms on one floor that never see each other.
const STRANGERS: [(&str, &str); 1] = [("kafka", "provider")];
const MOST_FILE_LINES: usize = 420;
const MOST_FUNCTION_LINES: usize = 80;
/// What the pure part must not know: a clock, a runtime, the world.
const IMPURE: [&str; 9] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    ".await",
    "tokio::",
    "std::env",
    "std::fs",
    "std::net",
    "std::thread",
];

/// Fails with every complaint, one a line.
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Looks out of a room into another one: file, from, to.
fn looks(files: &[File]) -> impl Iterator<Item = (&File, &str, &str)> {
    files.iter().flat_map(|file| {
        let from = file.module.first().map_or("lib", String::as_str);
        let paths = file.paths.iter().filter_map(|path| path.first());
        paths
            .map(move |to| (file, from, to.as_str()))
            .filter(|(_, from, to)| from != to && floor(to).is_some())
    })
}

/// What one room must not see of another.
fn complaint(from: &str, to: &str) -> Option<&'static str> {
    let (high, low) = (floor(from)?, floor(to)?);
    let strangers = STRANGERS.iter().any(|(one, other)| [(from, to), (to, from)].contains(&(*one, *other)));
    if strangers {
        Some("these two never see each other")
    } else {
        (high < low).then_some("arrows run down only")
    }
}

/// A way round in a graph, if there is one.
fn circle<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Option<Vec<&'a str>> {
    let mut left = edges.clone();
    // Whoever looks at nobody who is left is on no circle.
    loop {
        let free =
            left.iter().find(|(_, to)| !to.iter().any(|to| left.contains_key(to))).map(|(from, _)| *from);
        let Some(free) = free else { break };
        left.remove(free);
    }
    let mut way = vec![*left.keys().next()?];
    loop {
        let next = *left[way.last()?].iter().find(|to| left.contains_key(*to))?;
        if let Some(start) = way.iter().position(|room| *room == next) {
            way.push(next);
            return Some(way.split_off(start));
        }
        way.push(next);
    }
}

/// Who looks at whom among the children of each module.
fn siblings(files: &[File]) -> BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> {
    let modules = files.iter().flat_map(|file| (0..=file.module.len()).map(|end| &file.module[..end]));
    let modules: BTreeSet<&[String]> = modules.collect();
    let mut families = BTreeMap::<&[String], BTreeMap<&str, BTreeSet<&str>>>::new();
    for file in files {
        for path in &file.paths {
            let shared = file.module.iter().zip(path).take_while(|(one, other)| one == other).count();
            let (Some(from), Some(to)) = (file.module.get(shared), path.get(shared)) else { continue };
            if modules.contains(&path[..=shared]) {
                let family = families.entry(&file.module[..shared]).or_default();
                family.entry(from).or_default().insert(to);
            }
        }
    }
    families
}

#[test]
fn every_room_has_its_floor() {
    let files = source::files();
    let strays = files.iter().filter_map(|file| file.module.first()).filter(|room| floor(room).is_none());
    let strays: BTreeSet<String> =
        strays.map(|room| format!("src/{room} is on no floor of tidy::FLOORS")).collect();
    expect_none(&strays.into_iter().collect::<Vec<_>>());
}

#[test]
fn domain_imports_nothing_of_the_crate_outside_domain() {
    let files = source::files();
    let complaints = looks(&files).filter(|(_, from, _)| *from == "domain");
    let complaints = complaints.map(|(file, _, to)| format!("{}: domain sees {to}", file.name));
    expect_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn arrows_run_down_only() {
    let files = source::files();
    let complaints = looks(&files).filter_map(|(file, from, to)| {
        complaint(from, to).map(|complaint| format!("{}: {from} sees {to}: {complaint}", file.name))
    });
    expect_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn modules_look_at_each_other_in_no_circle() {
    let files = source::files();
    let complaints = siblings(&files).into_iter().filter_map(|(parent, edges)| {
        circle(&edges).map(|way| format!("in crate::{}: {}", parent.join("::"), way.join(" → ")))
    });
    expect_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn domain_knows_no_clock_and_no_io() {
    let files = source::files();
    let pure = files.iter().filter(|file| file.module.first().is_some_and(|room| room == "domain"));
    let complaints = pure.flat_map(|file| {
        let found = IMPURE.iter().filter(|word| file.code.contains(**word));
        found.map(|word| format!("{}: {word}", file.name))
    });
    expect_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn no_file_is_far_past_400_lines() {
    let long = source::sizes().into_iter().filter(|(_, lines)| *lines > MOST_FILE_LINES);
    let complaints = long.map(|(name, lines)| format!("{name}: {lines} lines, a noun is missing"));
    expect_none(&complaints.collect::<Vec<_>>());
}

#[test]
fn no_function_is_longer_than_80_lines() {
    let complaints: Vec<String> = source::files()
        .iter()
        .flat_map(|file| {
            let long =
                source::functions(&file.code).into_iter().filter(|(.., lines)| *lines > MOST_FUNCTION_LINES);
            long.map(|(name, line, lines)| format!("{}:{line}: {name} has {lines} lines", file.name))
                .collect::<Vec<_>>()
        })
        .collect();
    expect_none(&complaints);
}

#[test]
fn the_rules_themselves_find_what_they_forbid() {
    let file = |name: &str, text: &str| File::read(name, text);
    let files = [
        file("domain/a.rs", "use crate::{config::{Order, self}, domain::b};"),
        file(
            "domain/b.rs",
            "use super::a::Thing; // crate::kafka\n#[cfg(test)]\nmod tests { use crate::cli::X; }",
        ),
        file("kafka/sink.rs", "fn f() { let _ = \"crate::cli\"; crate::provider::gate::open(); }"),
        file("provider.rs", "pub use crate::kafka; use crate::metrics::Metrics;"),
        file("config.rs", "use crate::\n    worker::Worker;"),
        file("main.rs", "use embedstream::cli;"),
    ];
    let seen: Vec<_> = looks(&files).map(|(_, from, to)| (from, to)).collect();
    let expected = [
        ("domain", "config"),
        ("domain", "config"),
        ("kafka", "provider"),
        ("provider", "kafka"),
        ("provider", "metrics"),
        ("config", "worker"),
        ("main", "cli"),
    ];
    assert_eq!(seen, expected);
    let bad = seen.iter().filter(|(from, to)| complaint(from, to).is_some()).count();
    assert_eq!(bad, 5, "all but metrics and cli");
    let families = siblings(&files);
    assert_eq!(circle(&families[&["domain".to_owned()][..]]), Some(vec!["a", "b", "a"]));
    assert_eq!(circle(&families[&[][..]]), Some(vec!["kafka", "provider", "kafka"]));
}
