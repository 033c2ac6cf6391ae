//! What the demo prints: a bar on stderr while a terminal watches, and lines.

use std::io::{self, Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::shelf::Letter;
use crate::metrics::Metrics;

/// The width of what is printed.
pub(super) const WIDTH: usize = 80;

/// A line about batches comes after so many more records, as a share of all; and at least these.
const STEPS: u64 = 12;

/// The printing end.
pub(super) struct Screen {
    bar: ProgressBar,
    /// With `--json`, stdout is for the one line at the end.
    to_stderr: bool,
    records: u64,
    shown: Shown,
}

/// What the last line about batches was about.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shown {
    outcomes: u64,
    batches: u64,
    records: f64,
    tokens: f64,
    fill: f64,
    letters: usize,
}

impl Screen {
    /// A screen for so many records.
    pub(super) fn new(records: u64, to_stderr: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(records), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("  {bar:40} {human_pos} of {human_len} records, {eta} left");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, to_stderr, records, shown: Shown::default() }
    }

    /// Prints a line. Where nobody reads, nothing is lost.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| {
            let said = if self.to_stderr {
                writeln!(io::stderr(), "{line}")
            } else {
                writeln!(io::stdout(), "{line}")
            };
            said.unwrap_or_default();
        });
    }

    /// Moves the bar, and says what was done since the last time if it is enough.
    pub(super) fn show(&mut self, outcomes: u64, metrics: &Metrics, letters: &[Letter]) {
        self.bar.set_position(outcomes);
        for (nth, letter) in letters.iter().enumerate().skip(self.shown.letters) {
            let before = nth.checked_sub(1).and_then(|before| letters.get(before));
            for line in letter_lines(letter, before) {
                self.say(&line);
            }
        }
        self.shown.letters = letters.len();
        let step = (self.records / STEPS).max(1);
        if outcomes < self.shown.outcomes + step && outcomes < self.records {
            return;
        }
        let now = Shown::of(outcomes, metrics, letters.len());
        if now.batches > self.shown.batches {
            self.say(&now.line(&self.shown));
            self.shown = now;
        }
    }

    /// Prints the one line that stdout is for with `--json`.
    ///
    /// # Errors
    /// Nobody can read it.
    pub(super) fn result(&self, line: &str) -> io::Result<()> {
        let mut stdout = io::stdout();
        self.bar.suspend(|| writeln!(stdout, "{line}"))?;
        stdout.flush()
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Shown {
    fn of(outcomes: u64, metrics: &Metrics, letters: usize) -> Self {
        Self {
            outcomes,
            batches: metrics.batch_records.get_sample_count(),
            records: metrics.batch_records.get_sample_sum(),
            tokens: metrics.batch_tokens.get_sample_sum(),
            fill: metrics.batch_fill_ratio.get_sample_sum(),
            letters,
        }
    }

    /// The batches since `before`.
    fn line(&self, before: &Self) -> String {
        let batches = self.batches - before.batches;
        let each = |now: f64, before: f64| (now - before) / batches as f64;
        format!(
            "{:>9} records {:>4} {:<8} each {:>4.1} records, {:>6} tokens, {:>3.0} % full",
            thousands(self.outcomes),
            thousands(batches),
            if batches == 1 { "batch," } else { "batches," },
            each(self.records, before.records),
            thousands(each(self.tokens, before.tokens).round() as u64),
            each(self.fill, before.fill) * 100.0,
        )
    }
}

/// What a dead letter says, and what was said about it unless the one before says the same.
fn letter_lines(letter: &Letter, before: Option<&Letter>) -> Vec<String> {
    let Letter { key, reason, attempts, message } = letter;
    let mut lines = vec![cut(&format!("  dead letter {key}: {reason}, found in {attempts} calls"), WIDTH)];
    if before.is_none_or(|before| before.message != *message) {
        lines.push(cut(&format!("    {message}"), WIDTH));
    }
    lines
}

/// At most so many characters; what was longer ends with three points.
pub(super) fn cut(text: &str, width: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= width {
        return line;
    }
    let kept: String = line.chars().take(width.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

/// A number with a comma after each third digit from the right.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")]
        {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("längere Zeile", 10), "längere...");
        assert_eq!(cut("two\nlines\x1b[2J", 80), "two lines [2J", "nothing moves the cursor");
    }

    #[test]
    fn a_line_tells_of_the_batches_since_the_last_one() {
        let before =
            Shown { outcomes: 64, batches: 1, records: 64.0, tokens: 4_000.0, fill: 1.0, letters: 0 };
        let now =
            Shown { outcomes: 1_234, batches: 11, records: 694.0, tokens: 41_010.0, fill: 10.85, letters: 0 };
        let line = now.line(&before);
        assert_eq!(line, "    1,234 records   10 batches, each 63.0 records,  3,701 tokens,  98 % full");
        assert!(line.len() <= WIDTH);
        let letter = Letter {
            key: "k".repeat(200),
            reason: "rejected".to_owned(),
            message: "refused".to_owned(),
            attempts: "8".to_owned(),
        };
        let lines = letter_lines(&letter, None);
        assert_eq!((lines.len(), lines[0].chars().count()), (2, WIDTH));
        assert_eq!(lines[1], "    refused");
        assert_eq!(letter_lines(&letter, Some(&letter)).len(), 1, "the same is not said twice");
    }
}
