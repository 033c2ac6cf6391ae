//! Bad input of every kind, given to the real binary: settings, what is not there at the start, and records.

mod records;
mod settings;
mod size;
mod start;

use std::time::Duration;

use crate::support::process::Process;

/// A command that ends by itself, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Stands for a secret or a record's text: it may be in no message.
const HIDDEN: &str = "hunter2";

/// Waits for its end; it says `code`, and something, but nothing hidden.
#[track_caller]
fn ended(process: &mut Process, code: i32, deadline: Duration) -> String {
    let status = process.wait(deadline);
    let (stdout, stderr) = (process.stdout(), process.stderr());
    assert_eq!(status.code(), Some(code), "stdout:\n{stdout}\nstderr:\n{stderr}");
    assert!(!stderr.trim().is_empty(), "it says why");
    assert!(!(stdout + &stderr).contains(HIDDEN), "{stderr}");
    stderr
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}
