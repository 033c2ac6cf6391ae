//! The bodies: what is sent, and the one place where an answer becomes vectors.
//!
//! Texts are sent as strings, never as token ids (several servers embed the wrong ids without a word). `dimensions` is not sent
//! unless the settings say so: it is refused, restricted or ignored depending on who answers, so vectors are shortened here. An answer is
//! believed only after all of it was checked, in this order: JSON, no error inside, as many vectors as texts, their order, their shape, one length,
//! the configured length, finite, not zero. Memory is bounded by the body: what is beyond the expected count is skipped, not kept.

mod envelope;
#[cfg(test)]
mod tests;
mod vector;

use bytes::Bytes;
use serde_json::{Map, Value};

use self::envelope::{Envelope, Index, Vectors};
use super::Embeddings;

/// Fields of the request that are ours alone.
pub const RESERVED: [&str; 4] = ["model", "input", "encoding_format", "dimensions"];

const ASKS_BASE64: &str = r#"{"encoding_format":"base64","#;

/// How vectors are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// `base64`: a third of the bytes, and no rounding.
    Base64,
    /// `float`.
    Float,
    /// The field is left out, for servers that refuse it.
    Nothing,
}

/// What is the same in every request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Everything between the encoding and the texts.
    middle: Vec<u8>,
    /// What stands before each text, as it is written in JSON, without quotes.
    prefix: Vec<u8>,
}

impl Request {
    /// A request for `model` with the settings' extra fields; reserved ones among them are left out. With `dimensions` the provider is asked for
    /// vectors of that length.
    pub fn new(model: &str, dimensions: Option<usize>, extra: &Map<String, Value>) -> Self {
        let mut middle = Vec::new();
        put(&mut middle, "model");
        middle.push(b':');
        put(&mut middle, model);
        if let Some(dimensions) = dimensions {
            middle.extend_from_slice(br#","dimensions":"#);
            put(&mut middle, &dimensions);
        }
        for (name, value) in extra.iter().filter(|(name, _)| !RESERVED.contains(&name.as_str())) {
            middle.push(b',');
            put(&mut middle, name);
            middle.push(b':');
            put(&mut middle, value);
        }
        middle.extend_from_slice(br#","input":["#);
        Self { middle, prefix: Vec::new() }
    }

    /// With this before every text.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        let mut quoted = Vec::new();
        put(&mut quoted, prefix);
        self.prefix = quoted[1..quoted.len() - 1].to_vec();
        self
    }

    /// The body for these texts. The same texts always give the same bytes, so that a retry can be answered from a cache.
    pub fn body(&self, texts: &[&str], asks: Asks) -> Bytes {
        let length: usize =
            texts.iter().map(|text| text.len() + text.len() / 16 + 3 + self.prefix.len()).sum();
        let mut body = Vec::with_capacity(ASKS_BASE64.len() + self.middle.len() + length + 2);
        body.extend_from_slice(match asks {
            Asks::Base64 => ASKS_BASE64.as_bytes(),
            Asks::Float => br#"{"encoding_format":"float","#,
            Asks::Nothing => b"{",
        });
        body.extend_from_slice(&self.middle);
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            let start = body.len();
            put(&mut body, text);
            // Behind the opening quote.
            if !self.prefix.is_empty() {
                body.splice(start + 1..=start, self.prefix.iter().copied());
            }
        }
        body.extend_from_slice(b"]}");
        body.into()
    }
}

/// The same request without `encoding_format`; `None` if it does not ask for base64.
pub fn without_encoding(body: &Bytes) -> Option<Bytes> {
    let rest = body.strip_prefix(ASKS_BASE64.as_bytes())?;
    Some([b"{", rest].concat().into())
}

fn put<T: serde::Serialize + ?Sized>(body: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(body, value).expect("strings and JSON values can be written to memory");
}

/// What is wrong with the body of a successful answer. Positions count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing but white space.
    Empty,
    /// Begins with `<`: a page, not an API.
    Html,
    /// No JSON object, or one that is cut.
    NotJson {
        /// Whether the body simply ends too early.
        cut: bool,
    },
    /// An error in spite of the status.
    Error,
    /// Vectors in the shape of another endpoint: lists of lists, or `embeddings` for `data`.
    WrongEndpoint,
    /// Another number of vectors than texts; `None`: no list at all.
    Count(Option<usize>),
    /// The indexes are no permutation.
    Index,
    /// Neither numbers nor base64 of whole floats.
    Shape {
        /// Which text's.
        at: usize,
    },
    /// The vectors of one answer differ in length.
    MixedLengths(usize, usize),
    /// All are shorter than the settings say.
    Short {
        /// Their length.
        got: usize,
        /// The settings'.
        expected: usize,
    },
    /// All are longer than what was asked for.
    Unshortened {
        /// Their length.
        got: usize,
        /// What was asked for.
        asked: usize,
    },
    /// All are of another length than in the answers before: another model.
    Changed {
        /// Their length.
        got: usize,
        /// The length until now.
        before: usize,
    },
    /// A vector with `null`, NaN or an infinity, or of norm 0.
    NonFinite {
        /// Which text's.
        at: usize,
    },
    /// A norm that no model gives, such as big-endian bytes read as little-endian.
    Absurd {
        /// Which text's.
        at: usize,
    },
}

/// Reads the body of a successful answer to `count` texts. Vectors longer than `dimensions` are cut and normalised again; all have norm 1
/// afterwards (those within 1e-6 of it are left as they are). Gives the length the server sent as well.
///
/// # Errors
/// The first fault, in the order of the module's description.
pub fn read(body: &[u8], count: usize, dimensions: usize) -> Result<(Embeddings, usize), Fault> {
    let mut envelope = parse(strip(body), count)?;
    if envelope.is_error() {
        return Err(Fault::Error);
    }
    let entries = envelope.entries(count)?;
    let order = order(&entries.iter().map(|entry| entry.index).collect::<Vec<_>>())?;
    let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); count];
    for (entry, at) in entries.into_iter().zip(order) {
        match entry.vectors {
            Vectors::Floats(floats) if !floats.is_empty() => vectors[at] = floats,
            // One value, not finite: told apart below, after the lengths.
            Vectors::Null => vectors[at] = vec![f32::NAN],
            Vectors::Nested => return Err(Fault::WrongEndpoint),
            Vectors::Floats(_) | Vectors::Other => return Err(Fault::Shape { at }),
        }
    }
    let length = vector::length(&vectors, dimensions)?;
    for (at, floats) in vectors.iter_mut().enumerate() {
        vector::finish(floats, dimensions).map_err(|odd| odd.fault(at))?;
    }
    let embeddings =
        Embeddings { vectors, model: envelope.model, tokens: envelope.tokens, cost_usd: envelope.cost_usd };
    Ok((embeddings, length))
}

/// The body without byte order mark and surrounding white space (servers keep a connection alive with it).
pub(super) fn strip(body: &[u8]) -> &[u8] {
    let body = body.trim_ascii();
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii()
}

fn parse(body: &[u8], count: usize) -> Result<Envelope, Fault> {
    match body.first() {
        None => return Err(Fault::Empty),
        Some(b'<') => return Err(Fault::Html),
        // An error wrapped in a list, or llama.cpp's own endpoint; told apart by who reads errors.
        Some(b'[') => return Err(if holds_error(body) { Fault::Error } else { Fault::WrongEndpoint }),
        Some(_) => {}
    }
    Envelope::parse(body, count).or_else(|cut| match only_numbers(body) {
        Some(body) => Envelope::parse(&body, count).map_err(|cut| Fault::NotJson { cut }),
        None => Err(Fault::NotJson { cut }),
    })
}

/// Whether a body begins as an error does.
pub(super) fn holds_error(body: &[u8]) -> bool {
    let start = strip(body);
    let start = &start[..start.len().min(64)];
    start.windows(7).any(|window| window == b"\"error\"")
}

/// The places of the entries: their indexes if all have one, their order if none has. Nothing is guessed.
fn order(indexes: &[Index]) -> Result<Vec<usize>, Fault> {
    if indexes.iter().all(|index| *index == Index::Absent) {
        return Ok((0..indexes.len()).collect());
    }
    let mut seen = vec![false; indexes.len()];
    let place = |index: &Index| match index {
        Index::At(at) => {
            let at = usize::try_from(*at).map_err(|_| Fault::Index)?;
            let taken = seen.get_mut(at).ok_or(Fault::Index)?;
            if std::mem::replace(taken, true) { Err(Fault::Index) } else { Ok(at) }
        }
        Index::Absent | Index::Other => Err(Fault::Index),
    };
    indexes.iter().map(place).collect()
}

/// The body with `NaN` and infinities (which some servers write, though JSON has none) as `null`, and numbers beyond those of a double as
/// well; `None` if there are none.
fn only_numbers(body: &[u8]) -> Option<Vec<u8>> {
    const LITERALS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let (mut out, mut rest, mut quoted, mut found) = (Vec::with_capacity(body.len()), body, false, false);
    while let Some((&byte, after)) = rest.split_first() {
        let literal = LITERALS.into_iter().find(|literal| rest.starts_with(literal)).map(<[u8]>::len);
        let odd = if quoted { None } else { literal.or_else(|| endless(rest)) };
        if let Some(length) = odd {
            found = true;
            out.extend_from_slice(b"null");
            rest = &rest[length..];
            continue;
        }
        // A number is taken whole: its end is no number of its own.
        let length = if quoted { 1 } else { number(rest).len().max(1) };
        out.extend_from_slice(&rest[..length]);
        rest = if length > 1 { &rest[length..] } else { after };
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                if let Some((&escaped, after)) = rest.split_first() {
                    out.push(escaped);
                    rest = after;
                }
            }
            _ => {}
        }
    }
    found.then_some(out)
}

/// The number that a text begins with, or nothing.
fn number(text: &[u8]) -> &[u8] {
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    if !text.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-') {
        return &[];
    }
    &text[..text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len())]
}

/// The length of the number that a text begins with, if no double is so large.
fn endless(text: &[u8]) -> Option<usize> {
    let number = number(text);
    let value: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    value.is_infinite().then_some(number.len())
}
