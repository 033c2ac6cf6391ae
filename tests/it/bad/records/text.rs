//! `input.format: text`.

use super::{Case, Cut, Dead, Outgoing, Skipped, Tombstone, vector};

pub(super) fn cases() -> Vec<Case> {
    let invalid = |words| Dead("invalid_input", words);
    let as_it_is = [
        "hunter2",
        "\u{feff}with a byte order mark",
        "a\0b",
        "\u{1}\u{1b}[31mred",
        "line\r\nbreak",
        r#"{"title":"hunter2","#,
        r"\ud800",
        "<|endoftext|>",
        "e\u{301}",
        "👩‍👩‍👧‍👦",
        "\u{202e}right to left",
    ];
    let mut values: Vec<_> = as_it_is.iter().map(|text| (text.as_bytes().to_vec(), vector(text))).collect();
    let long = "hunter2 and more ".repeat(20_000);
    let deep = "[".repeat(20_000);
    values.extend([
        (b"\xff".to_vec(), invalid("not valid UTF-8 at byte 0")),
        (b"hunter2 \xc3".to_vec(), invalid("not valid UTF-8 at byte 8")),
        (b"\xed\xa0\x80".to_vec(), invalid("not valid UTF-8 at byte 0")),
        (b"\xf4\x90\x80\x80".to_vec(), invalid("not valid UTF-8 at byte 0")),
        (b"\xc0\x80".to_vec(), invalid("not valid UTF-8 at byte 0")),
        (b"h\0u\0n\0t\0\xe9\0".to_vec(), invalid("not valid UTF-8 at byte 8")),
        (b"".to_vec(), Skipped),
        (b" ".to_vec(), Skipped),
        (b"\r\n\t".to_vec(), Skipped),
        ("\u{3000}\u{a0}\u{2003}".into(), Skipped),
        ("\0\u{200b}\u{2060}\u{feff}\u{ad}".into(), Skipped),
        (long.clone().into_bytes(), Cut(long)),
        (deep.clone().into_bytes(), vector(&deep)),
    ]);
    let numbered = values.into_iter().enumerate();
    let mut cases: Vec<Case> =
        numbered.map(|(n, (value, outcome))| (Outgoing::new(format!("key {n}"), value), outcome)).collect();
    cases.push((Outgoing::new("updated", "one"), vector("one")));
    cases.push((Outgoing::tombstone("updated"), Tombstone));
    cases.push((Outgoing::new("updated", "two"), vector("two")));
    cases
}
