//! The contract: defaults, layers, names, errors, secrets.

mod checks;
mod environment;
mod errors;
mod files;
mod keys;
mod profiles;
mod secrets;

use super::*;

/// Loads a file's text and variables, with a key where the test is not about it.
fn load(yaml: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let file = file::from_yaml(yaml)?;
    layers::merge(file, variables.iter().copied())
}

/// The error's text.
fn error(yaml: &str, variables: &[(&str, &str)]) -> String {
    load(yaml, variables).unwrap_err().to_string()
}
