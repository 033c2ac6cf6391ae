//! The file, YAML or TOML by its extension.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ::config::{FileFormat, Format, Map, Value};

use super::error::ConfigError;
use super::yaml::{Yaml, YamlError};

/// The largest configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the file's settings.
pub(super) fn read(path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let shown = path.display().to_string();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let format: &dyn Format = match extension.to_ascii_lowercase().as_str() {
        "yaml" | "yml" => &Yaml,
        "toml" => &FileFormat::Toml,
        _ => return Err(ConfigError::Extension { path: shown }),
    };
    let text = text_of(path).map_err(|source| ConfigError::Unreadable { path: shown.clone(), source })?;
    parse(format, Some(&shown), &text)
}

/// Reads settings from YAML text.
pub(super) fn from_yaml(text: &str) -> Result<Map<String, Value>, ConfigError> {
    parse(&Yaml, None, text)
}

fn parse(format: &dyn Format, path: Option<&String>, text: &str) -> Result<Map<String, Value>, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    format.parse(path, text).map_err(|error| {
        let (position, message) = match error.downcast_ref::<YamlError>() {
            Some(yaml) => (format!("line {}, column {}", yaml.line, yaml.column), yaml.message.clone()),
            None => without_source(&error.to_string()),
        };
        let place = [path.cloned().unwrap_or_default(), position].into_iter().filter(|part| !part.is_empty());
        ConfigError::Syntax { place: place.collect::<Vec<_>>().join(", "), message }
    })
}

/// A TOML error's position and message, without the line it quotes: that line may hold a secret.
fn without_source(error: &str) -> (String, String) {
    let (first, rest) = error.split_once('\n').unwrap_or((error, ""));
    let Some(position) = first.strip_prefix("TOML parse error at ") else {
        return (String::new(), first.to_owned());
    };
    let quotes_source = |line: &&str| match line.split_once('|') {
        Some((number, _)) => number.trim().is_empty() || number.trim().parse::<u64>().is_ok(),
        None => false,
    };
    let message: Vec<&str> = rest.lines().filter(|line| !quotes_source(line)).map(str::trim).collect();
    (position.to_owned(), message.join(" ").trim().to_owned())
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}
