//! Text and payload out of a JSON value.
//!
//! The document is walked once, without building it: a wanted field is taken as the bytes it is written with, so that a
//! payload keeps every digit of a number, which a parsed number would not. What is skipped is checked for its syntax.

use std::borrow::Cow;
use std::fmt::Write;

use serde_json::Value;
use serde_json::value::RawValue;

use super::pointer::{Steps, name};
use super::{Decoded, is_blank};

mod walk;

/// How deep arrays and objects may be nested: what is published must stay readable for parsers that stop at 128.
const MAX_DEPTH: usize = 120;

/// The fields that are wanted of a document.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    text: Vec<String>,
    separator: String,
    /// The payload's pointers, each with its name as a JSON string.
    payload: Vec<(String, String)>,
    steps: Steps,
}

impl Fields {
    /// Texts are joined by `separator`. Payload fields that would get the same name share it: the first that is there.
    pub(super) fn new(text: &[String], separator: &str, payload: &[String]) -> Self {
        Self {
            text: text.to_vec(),
            separator: separator.to_owned(),
            payload: payload.iter().map(|p| (p.clone(), Value::String(name(p)).to_string())).collect(),
            steps: Steps::new(text.iter().chain(payload).map(String::as_str)),
        }
    }

    /// Reads a document.
    ///
    /// - The text is the pointers' strings in the order of the settings, joined by the separator. A field that is missing
    ///   or null, or whose string is blank, is left out with its separator; if all are missing or null the document is
    ///   refused. Any other type is refused: a number where a text is due is more likely a wrong pointer than a text.
    /// - The payload is one object: a field that is there, also null, as it is written; a missing one is left out.
    /// - A byte order mark in front is ignored. A wanted member that is there twice is refused: parsers differ on which
    ///   one counts.
    ///
    /// # Errors
    /// What is wrong, in one line, naming the pointer or the place and the type found, without any of the content.
    pub(super) fn read(&self, document: &str) -> Result<Decoded, String> {
        let document = document.strip_prefix('\u{feff}').unwrap_or(document);
        check_depth(document)?;
        let mut found = vec![None; self.text.len() + self.payload.len()];
        walk::find(document, &self.steps, &mut found)?;
        let (texts, payload) = found.split_at(self.text.len());
        Ok(Decoded { text: self.join(texts)?, payload: self.keep(payload)? })
    }

    fn join(&self, found: &[Option<&RawValue>]) -> Result<String, String> {
        let mut text = String::new();
        let mut is_there = false;
        for (pointer, found) in self.text.iter().zip(found) {
            let Some(raw) = found.filter(|raw| raw.get() != "null") else { continue };
            is_there = true;
            let part = string(pointer, raw)?;
            if is_blank(&part) {
                continue;
            }
            if text.is_empty() {
                text = part.into_owned();
            } else {
                text.push_str(&self.separator);
                text.push_str(&part);
            }
        }
        if is_there { Ok(text) } else { Err(self.missing()) }
    }

    fn missing(&self) -> String {
        match self.text.as_slice() {
            [] => "input.text names no field of the JSON value".to_owned(),
            [one] => format!("{one:?} is missing or null"),
            many => format!("{many:?} are all missing or null"),
        }
    }

    fn keep(&self, found: &[Option<&RawValue>]) -> Result<Option<String>, String> {
        let mut payload = String::new();
        let mut kept: Vec<&str> = Vec::new();
        for ((pointer, name), found) in self.payload.iter().zip(found) {
            let Some(raw) = found.filter(|_| !kept.contains(&name.as_str())) else { continue };
            check_escapes(pointer, raw)?;
            kept.push(name);
            payload.push(if payload.is_empty() { '{' } else { ',' });
            write!(payload, "{name}:{}", raw.get()).expect("a String takes every write");
        }
        if payload.is_empty() {
            return Ok(None);
        }
        payload.push('}');
        Ok(Some(payload))
    }
}

/// The string that a field holds.
fn string<'a>(pointer: &str, raw: &'a RawValue) -> Result<Cow<'a, str>, String> {
    let json = raw.get();
    if !json.starts_with('"') {
        return Err(format!("{pointer:?} is {}, not a string", kind(json)));
    }
    let quoted = &json[1..json.len() - 1];
    if !quoted.contains('\\') {
        return Ok(Cow::Borrowed(quoted));
    }
    serde_json::from_str(json).map(Cow::Owned).map_err(|error| bad_escape(pointer, &error))
}

/// Refuses a payload with half a surrogate pair: it passes the walk, but no reader of the output would take it.
fn check_escapes(pointer: &str, raw: &RawValue) -> Result<(), String> {
    // The walk has seen four digits behind each `\u`.
    let unit =
        |escape: &str| u16::from_str_radix(escape.get(2..6)?, 16).ok().filter(|_| escape.starts_with("\\u"));
    let mut rest = raw.get();
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let length = match unit(escape) {
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(unit(&escape[6..]), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => return Err(format!("{pointer:?} holds an escape that is no character")),
            Some(_) => 6,
        };
        rest = &escape[length..];
    }
    Ok(())
}

fn bad_escape(pointer: &str, error: &serde_json::Error) -> String {
    format!("{pointer:?} holds an escape that is no character: {error}")
}

/// What a JSON value is, told from its first character, with its article.
fn kind(json: &str) -> &'static str {
    match json.bytes().next() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Refuses what is nested too deep, before anything recurses into it.
fn check_depth(document: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (at, byte) in document.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("the JSON value is nested deeper than {MAX_DEPTH} levels at byte {at}"));
        }
    }
    Ok(())
}
