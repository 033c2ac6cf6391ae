//! What is wrong with a configuration, ready for a terminal.

use std::io;

use super::key::KeyError;
use super::problem::Problem;

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

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
