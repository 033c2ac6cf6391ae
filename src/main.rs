//! The binary. The worker is not wired to it yet: it says so and ends.

use std::process::ExitCode;

/// The command cannot be carried out by this version.
const INTERNAL: u8 = 70;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "--version") {
        println!("embedstream {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    eprintln!("embedstream {}: the worker cannot be started yet in this version", env!("CARGO_PKG_VERSION"));
    ExitCode::from(INTERNAL)
}
