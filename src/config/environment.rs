//! The environment: `EMBEDSTREAM__SECTION__KEY`, and nothing with a single underscore after the name, which is Kubernetes' own
//! (`EMBEDSTREAM_PORT`).
//!
//! A scalar stays the string it is, for the setting's type to read. Lists and maps are YAML flow (`["a", "b"]`). Under `kafka.client`,
//! `kafka.consumer` and `kafka.producer` the last part's `_` is a `.`; a header's name is compared without case, `_` and `-` being the same.

use std::collections::BTreeMap;
use std::ffi::OsString;

use ::config::{Map, Value, ValueKind};

use super::names::{Known, nearest_path};
use super::problem::Problem;
use super::yaml;

/// What our variables begin with.
const PREFIX: &str = "EMBEDSTREAM__";

/// The provider's own variable for its key.
const OPENROUTER_KEY: &str = "OPENROUTER_API_KEY";

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// The settings, nested as in a file.
    pub(super) settings: Map<String, Value>,
    /// `OPENROUTER_API_KEY`.
    pub(super) openrouter_key: Option<String>,
    /// Variables that are not ours to ignore and yet say nothing.
    pub(super) problems: Vec<Problem>,
}

impl Environment {
    /// Reads the variables. `file` is the file's layer, whose spelling of a header's name is kept.
    pub(super) fn read<K, V>(
        variables: impl Iterator<Item = (K, V)>,
        known: &Known,
        file: &Map<String, Value>,
    ) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut environment = Self::default();
        let mut ours = BTreeMap::new();
        for (name, value) in variables {
            let name = name.into().to_string_lossy().into_owned();
            if name == OPENROUTER_KEY {
                environment.openrouter_key = Some(value.into().to_string_lossy().into_owned());
            } else if name.starts_with(PREFIX) {
                ours.insert(name, value.into());
            }
        }
        // In order, so that EMBEDSTREAM__PROVIDER__PROBE comes before EMBEDSTREAM__PROVIDER__PROBE__FIRST and the narrower one holds.
        for (name, value) in ours {
            let read = match value.into_string() {
                Ok(value) => place(&name, known, file).and_then(|place| {
                    let value = place.value(&name, value)?;
                    Ok((place.path, value))
                }),
                Err(_) => {
                    Err(Problem { key: name.clone(), message: format!("{name} is not UTF-8"), origin: None })
                }
            };
            match read {
                Ok((path, value)) => insert(&mut environment.settings, &path, value),
                Err(problem) => environment.problems.push(problem),
            }
        }
        environment
    }
}

/// Where a variable's value goes, and what it must be.
struct Place<'a> {
    path: Vec<String>,
    known: &'a Known,
}

impl Place<'_> {
    fn value(&self, name: &str, text: String) -> Result<Value, Problem> {
        let origin = name.to_owned();
        let flow = |typed| {
            yaml::from_variable(name, &text, typed).map_err(|error| {
                Problem::with(
                    &self.path.join("."),
                    format_args!("{}, column {}", error.message, error.column),
                )
                .at(Some(name))
            })
        };
        let in_body = self.path.starts_with(&["provider".to_owned(), "body".to_owned()]);
        match self.known {
            Known::List if text.trim().is_empty() => {
                Ok(Value::new(Some(&origin), ValueKind::Array(Vec::new())))
            }
            Known::List if text.trim_start().starts_with('[') => flow(false),
            Known::Section(_) | Known::Map => flow(in_body),
            Known::Scalar if in_body => flow(true),
            Known::List | Known::Scalar => Ok(Value::new(Some(&origin), ValueKind::String(text))),
        }
    }
}

fn place<'a>(name: &str, root: &'a Known, file: &Map<String, Value>) -> Result<Place<'a>, Problem> {
    let mut parts = name.strip_prefix(PREFIX).unwrap_or_default().split("__");
    let mut path = Vec::new();
    let mut known = root;
    while let Known::Section(settings) = known {
        let Some(part) = parts.next() else {
            break;
        };
        let (name, inner) = settings
            .iter()
            .find(|(known, _)| known.to_ascii_uppercase() == part)
            .ok_or_else(|| unknown(name, root))?;
        path.push(name.clone());
        known = inner;
    }
    let rest: Vec<&str> = parts.collect();
    if rest.is_empty() {
        return Ok(Place { path, known });
    }
    if !matches!(known, Known::Map) || rest.iter().any(|part| part.is_empty()) {
        return Err(unknown(name, root));
    }
    let map = path.join(".");
    match (map.as_str(), rest.as_slice()) {
        ("provider.body", parts) => path.extend(parts.iter().map(|part| part.to_ascii_lowercase())),
        ("provider.headers", [header]) => path.push(header_name(header, file)),
        (_, [part]) if map.starts_with("kafka.") => path.push(part.to_ascii_lowercase().replace('_', ".")),
        (_, parts) => {
            let near = format!("{PREFIX}{}__{}", variable(&map), parts.join("_"));
            return Err(unknown_near(name, &near));
        }
    }
    Ok(Place { path, known: &Known::Scalar })
}

/// The file's spelling of the header, or the usual one.
fn header_name(part: &str, file: &Map<String, Value>) -> String {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let headers = file.get("provider").and_then(|section| match &section.kind {
        ValueKind::Table(table) => table.get("headers"),
        _ => None,
    });
    let written = headers.and_then(|headers| match &headers.kind {
        ValueKind::Table(table) => table.keys().filter(|name| plain(name) == plain(part)).min(),
        _ => None,
    });
    written.cloned().unwrap_or_else(|| plain(part))
}

/// A setting's path as the rest of its variable.
fn variable(path: &str) -> String {
    path.to_ascii_uppercase().replace('.', "__")
}

fn unknown(name: &str, root: &Known) -> Problem {
    let path = name.strip_prefix(PREFIX).unwrap_or_default().to_ascii_lowercase().replace("__", ".");
    unknown_near(name, &format!("{PREFIX}{}", variable(&nearest_path(&path, root))))
}

fn unknown_near(name: &str, near: &str) -> Problem {
    Problem {
        key: name.to_owned(),
        message: format!("unknown environment variable {name}, did you mean {near}?"),
        origin: None,
    }
}

/// Puts a value at a path, making the tables on the way.
fn insert(table: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((name, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        table.insert(name.clone(), value);
        return;
    }
    let inner = table.entry(name.clone()).or_insert_with(|| Value::new(None, ValueKind::Nil));
    if !matches!(inner.kind, ValueKind::Table(_)) {
        inner.kind = ValueKind::Table(Map::new());
    }
    if let ValueKind::Table(inner) = &mut inner.kind {
        insert(inner, rest, value);
    }
}
