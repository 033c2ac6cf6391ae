//! What is wrong with a configuration, ready for a terminal.

use std::fmt;
use std::io;

use super::key::KeyError;

/// Why no configuration could be made. `Display` is one line a problem and holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file's name does not say what it is.
    #[error("{path}: a configuration file ends in .yaml, .yml or .toml")]
    Extension {
        /// The file.
        path: String,
    },
    /// The file is not YAML or TOML.
    #[error("{place}: {message}")]
    Syntax {
        /// File, line and column.
        place: String,
        /// What was found or expected there.
        message: String,
    },
    /// Settings that are unknown, wrong, or contradict each other: all that were found.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// The provider's key is missing or cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

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

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
