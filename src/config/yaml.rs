//! YAML as config's `Format`.
//!
//! config's own loader guesses a type for every scalar before anybody asks: group `007` is 7, topic `2024.10` is 2024.1.
//! Here a scalar stays the text that was written, for the setting's type to read; only the free JSON under
//! `provider.body` is typed by YAML's core schema. Each value remembers its line, nesting is bounded, and aliases,
//! which can make a small file a huge one, are refused.

use std::collections::hash_map::Entry;
use std::error::Error;

use ::config::{Format, Map, Value, ValueKind};
use yaml_rust2::parser::{Event, Parser};
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};

/// The deepest nesting of lists and maps.
const MAX_DEPTH: usize = 32;

/// The path below which scalars are typed.
const TYPED: &[&str] = &["provider", "body"];

/// A file's YAML.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yaml;

/// YAML that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub(super) struct YamlError {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) message: String,
}

impl YamlError {
    fn new(mark: Marker, message: impl Into<String>) -> Self {
        Self { line: mark.line(), column: mark.col() + 1, message: message.into() }
    }
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        Self::new(*error.marker(), error.info())
    }
}

impl Format for Yaml {
    fn parse(
        &self,
        uri: Option<&String>,
        text: &str,
    ) -> Result<Map<String, Value>, Box<dyn Error + Send + Sync>> {
        let place = match uri {
            Some(path) => Place::File(path),
            None => Place::Text,
        };
        let mut loader = Loader { parser: Parser::new_from_str(text), place, path: Vec::new(), typed: false };
        match loader.document()?.kind {
            ValueKind::Table(table) => Ok(table),
            ValueKind::Nil => Ok(Map::new()),
            _ => Err(Box::new(YamlError {
                line: 1,
                column: 1,
                message: "expected settings, such as `kafka:` with its own below".to_owned(),
            })),
        }
    }
}

/// Reads the YAML of an environment variable, which becomes the origin of all that is in it.
pub(super) fn from_variable(name: &str, text: &str, typed: bool) -> Result<Value, YamlError> {
    let place = Place::Variable(name);
    Loader { parser: Parser::new_from_str(text), place, path: Vec::new(), typed }.document()
}

/// Reads YAML that is not the settings, typed by YAML's core schema, whatever its root.
pub(super) fn from_text(text: &str) -> Result<Value, YamlError> {
    Loader { parser: Parser::new_from_str(text), place: Place::Text, path: Vec::new(), typed: true }
        .document()
}

/// Where the YAML is from.
enum Place<'a> {
    File(&'a str),
    Text,
    Variable(&'a str),
}

struct Loader<'a> {
    parser: Parser<std::str::Chars<'a>>,
    place: Place<'a>,
    path: Vec<String>,
    typed: bool,
}

impl Loader<'_> {
    /// The one document. An empty text is nothing.
    fn document(&mut self) -> Result<Value, YamlError> {
        let mut root = Value::new(None, ValueKind::Nil);
        let mut documents = 0;
        loop {
            let (event, mark) = self.parser.next_token()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
                Event::DocumentStart => {
                    documents += 1;
                    if documents > 1 {
                        return Err(YamlError::new(mark, "expected one YAML document, found a second"));
                    }
                }
                event => root = self.node(event, mark, 0)?,
            }
        }
    }

    fn node(&mut self, event: Event, mark: Marker, depth: usize) -> Result<Value, YamlError> {
        if depth > MAX_DEPTH {
            return Err(YamlError::new(mark, format!("nested more than {MAX_DEPTH} deep")));
        }
        let kind = match event {
            Event::Scalar(text, style, _, tag) => {
                let tagged_text = tag.is_some_and(|tag| tag.suffix == "str");
                self.scalar(text, style != TScalarStyle::Plain || tagged_text)
            }
            Event::SequenceStart(..) => self.sequence(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            Event::Alias(_) => return Err(YamlError::new(mark, "aliases (*name) are not supported")),
            _ => return Err(YamlError::new(mark, "expected a value")),
        };
        let origin = match self.place {
            Place::File(path) => format!("{path}, line {}", mark.line()),
            Place::Text => format!("line {}", mark.line()),
            Place::Variable(name) => name.to_owned(),
        };
        Ok(Value::new(Some(&origin), kind))
    }

    fn sequence(&mut self, depth: usize) -> Result<ValueKind, YamlError> {
        let mut list = Vec::new();
        loop {
            match self.parser.next_token()? {
                (Event::SequenceEnd, _) => return Ok(ValueKind::Array(list)),
                (event, mark) => list.push(self.node(event, mark, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<ValueKind, YamlError> {
        let mut table = Map::new();
        loop {
            let name = match self.parser.next_token()? {
                (Event::MappingEnd, _) => return Ok(ValueKind::Table(table)),
                (Event::Scalar(name, ..), mark) => (name, mark),
                (_, mark) => return Err(YamlError::new(mark, "expected a name, found a list or a map")),
            };
            let (name, name_mark) = name;
            let (event, mark) = self.parser.next_token()?;
            self.path.push(name.clone());
            let value = self.node(event, mark, depth + 1)?;
            self.path.pop();
            match table.entry(name) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(entry) => {
                    return Err(YamlError::new(
                        name_mark,
                        format!("`{}` is here for the second time", entry.key()),
                    ));
                }
            };
        }
    }

    fn scalar(&self, text: String, quoted: bool) -> ValueKind {
        if quoted {
            return ValueKind::String(text);
        }
        if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
            return ValueKind::Nil;
        }
        if self.typed || (self.path.len() > TYPED.len() && self.path.iter().zip(TYPED).all(|(a, b)| a == b)) {
            return typed(text);
        }
        ValueKind::String(text)
    }
}

/// A plain scalar by YAML's core schema.
fn typed(text: String) -> ValueKind {
    match text.as_str() {
        "true" | "True" | "TRUE" => return ValueKind::Boolean(true),
        "false" | "False" | "FALSE" => return ValueKind::Boolean(false),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return ValueKind::I64(number);
    }
    // Rust reads "nan" and "infinity" as numbers, which JSON does not know.
    let numeric = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => ValueKind::Float(number),
        _ => ValueKind::String(text),
    }
}
