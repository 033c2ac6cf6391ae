//! Defaults under the profile under the file under the environment, read by type.

use std::ffi::OsString;

use ::config::{ConfigError as ReadError, Map, Source, Value, ValueKind};

use super::environment::Environment;
use super::error::ConfigError;
use super::names::{self, Known};
use super::problem::Problem;
use super::secret::Secret;
use super::{Config, checks, profile};

/// How many wrong values are reported at once.
const MAX_PROBLEMS: usize = 20;

/// One layer for the `config` crate to merge.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ReadError> {
        Ok(self.0.clone())
    }
}

/// Merges the file's settings and the environment's over the defaults, and checks them all.
pub(super) fn merge<K, V>(
    mut file: Map<String, Value>,
    variables: impl Iterator<Item = (K, V)>,
) -> Result<Config, ConfigError>
where
    K: Into<OsString>,
    V: Into<OsString>,
{
    let defaults = serde_json::to_value(Config::default()).map_err(|error| impossible(&error))?;
    let known = Known::of(&defaults);
    let mut problems = names::inspect(&mut file, &known);
    let mut environment = Environment::read(variables, &known, &file);
    problems.append(&mut environment.problems);
    problems.append(&mut names::inspect(&mut environment.settings, &known));

    let (profile, homeless) = profile::layer(&file, &environment.settings);
    problems.extend(homeless);

    let merged = ::config::Config::builder()
        .add_source(Layer(profile))
        .add_source(Layer(file))
        .add_source(Layer(environment.settings))
        .build()
        .map_err(|error| impossible(&error))?
        .cache;
    let read = read(merged.clone(), &mut problems);
    if let Some(mut config) = read.filter(|_| problems.is_empty()) {
        problems = checks::check(&config);
        if problems.is_empty() {
            let key = environment.openrouter_key.filter(|key| !key.trim().is_empty());
            profile::complete(&mut config.provider);
            config.provider.openrouter_key = key.map(Secret::new);
            return Ok(config);
        }
    }
    for problem in &mut problems {
        if problem.origin.is_none() {
            problem.origin = origin(&merged, &problem.key).map(str::to_owned);
        }
    }
    Err(ConfigError::Invalid(problems))
}

/// Reads the settings by type. A wrong value is reported and left out, and what is left is read again: so all of them are found.
fn read(mut settings: Value, problems: &mut Vec<Problem>) -> Option<Config> {
    for _ in 0..MAX_PROBLEMS {
        let error = match settings.clone().try_deserialize() {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let (key, message) = told(error);
        problems.push(Problem::with(&key, message).at(origin(&settings, &key)));
        let removed = match &mut settings.kind {
            ValueKind::Table(table) => remove(table, &key),
            _ => false,
        };
        if !removed {
            return None;
        }
    }
    None
}

/// The setting and what is wrong with it. A value appears only where our own types quote it.
fn told(error: ReadError) -> (String, String) {
    match error {
        ReadError::At { error, key, .. } => (key.unwrap_or_default(), error.to_string()),
        ReadError::Type { key, expected, .. } => (key.unwrap_or_default(), format!("expected {expected}")),
        other => (String::new(), other.to_string()),
    }
}

/// What a table holds at a path, the names of which may themselves have dots, and the name and rest that lead there.
fn step<'a>(table: &Map<String, Value>, path: &'a str) -> Option<(&'a str, &'a str)> {
    table
        .keys()
        .filter_map(|name| {
            let rest = path.strip_prefix(name.as_str())?;
            let ends = rest.is_empty() || rest.starts_with(['.', '[']);
            ends.then(|| (&path[..name.len()], rest.strip_prefix('.').unwrap_or(rest)))
        })
        .max_by_key(|(name, _)| name.len())
}

fn remove(table: &mut Map<String, Value>, path: &str) -> bool {
    let Some((name, rest)) = step(table, path) else {
        return false;
    };
    if let Some(ValueKind::Table(inner)) = table.get_mut(name).map(|value| &mut value.kind)
        && !rest.is_empty()
    {
        return remove(inner, rest);
    }
    table.remove(name).is_some()
}

/// Where the value at a path was written.
fn origin<'a>(settings: &'a Value, path: &str) -> Option<&'a str> {
    let ValueKind::Table(table) = &settings.kind else {
        return None;
    };
    let path = path.replace('"', "");
    let (name, rest) = step(table, &path)?;
    let value = table.get(name)?;
    match &value.kind {
        ValueKind::Table(_) if !rest.is_empty() => origin(value, rest),
        _ => value.origin(),
    }
}

/// What only a mistake in this program can cause.
fn impossible(error: &dyn std::error::Error) -> ConfigError {
    ConfigError::Invalid(vec![Problem { key: String::new(), message: error.to_string(), origin: None }])
}
