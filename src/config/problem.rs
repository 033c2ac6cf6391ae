//! One thing that is wrong with a setting.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `batch.linger`.
    pub key: String,
    /// What is wrong with it, in one line that names the setting and says what is expected.
    pub message: String,
    /// Where it was written: a file and its line, or an environment variable.
    pub origin: Option<String>,
}

impl Problem {
    /// A problem with a setting, `message` following its name.
    pub(super) fn with(key: &str, message: impl fmt::Display) -> Self {
        Self { key: key.to_owned(), message: format!("{key}: {message}"), origin: None }
    }

    /// Says where it was written.
    pub(super) fn at(mut self, origin: Option<&str>) -> Self {
        self.origin = origin.map(str::to_owned);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.origin {
            Some(origin) => write!(f, " ({origin})"),
            None => Ok(()),
        }
    }
}
