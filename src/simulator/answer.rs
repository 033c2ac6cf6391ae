//! Response bodies: the good one, and every way a fault bends it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::{Value, json};

use super::faults::{Encoding, Index, Odd, Then};
use super::request::Request;
use super::vectors;

/// What gateways show to a browser that they do not trust.
pub(super) const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head>\
    <body><h1>Checking your connection</h1><p>This page will be back shortly.</p></body></html>\n";

/// What is in a good answer.
pub(super) struct Good<'a> {
    pub(super) request: &'a Request,
    /// The texts that are embedded: the request's, unless a fault takes others.
    pub(super) texts: &'a [String],
    /// The native length of a vector.
    pub(super) native: usize,
    /// What is billed.
    pub(super) tokens: u64,
    /// In USD, from servers that say so.
    pub(super) cost: Option<f64>,
    /// The number of the call.
    pub(super) call: u64,
}

/// The body of a 200: embeds every input, CPU work. `bend` is what a fault changes about it.
pub(super) fn embeddings(good: &Good<'_>, bend: &Then) -> Vec<u8> {
    let request = good.request;
    let wanted = bend.dimensions.or(request.dimensions).unwrap_or(good.native);
    let encoding = bend.encoding.unwrap_or(if request.base64 { Encoding::Base64 } else { Encoding::Float });
    let places = places(request.inputs.len(), bend);
    let each = if encoding == Encoding::Float { wanted * 8 } else { wanted * 16 / 3 } + 64;
    let mut body = String::with_capacity(places.len() * each + 256);
    body.push_str(r#"{"object":"list","data":["#);
    for (nth, (text, index)) in places.into_iter().enumerate() {
        if nth > 0 {
            body.push(',');
        }
        body.push_str(r#"{"object":"embedding","#);
        write_index(&mut body, index, bend);
        body.push_str(r#""embedding":"#);
        let odd = bend.vector.filter(|_| index == 0);
        let length = if odd == Some(Odd::Short) { (wanted / 2).max(1) } else { wanted };
        // An off-by-one answer may be asked for more texts than there were.
        let text = good.texts.get(text % good.texts.len().max(1)).map_or("nothing", String::as_str);
        let vector = bent(vector(text, good.native, length), bend, index);
        match odd {
            Some(odd) => write_odd(&mut body, odd, &vector, encoding),
            None => write_vector(&mut body, &vector, encoding),
        }
        body.push('}');
    }
    body.push_str("],");
    body.push_str(&rest(good, bend).to_string()[1..]);
    body.into_bytes()
}

/// Which text stands where, and the index it is given.
fn places(count: usize, bend: &Then) -> Vec<(usize, usize)> {
    let mut places: Vec<(usize, usize)> = (0..count).map(|at| (at, at)).collect();
    if bend.empty_data {
        places.clear();
    }
    if bend.drop_last {
        places.pop();
    }
    if bend.extra
        && let Some((text, index)) = places.last().copied()
    {
        places.push((text, index + 1));
    }
    if bend.shuffle {
        places.reverse();
    }
    places
}

/// All that comes after the embeddings.
fn rest(good: &Good<'_>, bend: &Then) -> Value {
    let mut rest = json!({"model": bend.model.as_deref().unwrap_or(&good.request.model)});
    if !bend.no_usage {
        let tokens = (good.tokens as f64 * bend.usage.unwrap_or(1.0)) as u64;
        rest["usage"] = json!({"prompt_tokens": tokens, "total_tokens": tokens});
        if let Some(cost) = good.cost {
            rest["usage"]["cost"] = json!(cost);
        }
    }
    rest["id"] = json!(format!("gen-emb-{}", good.call));
    rest
}

// Writing into a String cannot fail.
const TAKES_ALL: &str = "a String takes every write";

fn write_index(body: &mut String, index: usize, bend: &Then) {
    let index = match bend.index {
        _ if bend.no_index => return,
        Some(Index::OneMissing) if index == 0 => return,
        Some(Index::Duplicate) if index == 1 => "0".to_owned(),
        Some(Index::OneBased) => (index + 1).to_string(),
        Some(Index::Strings) => format!("\"{index}\""),
        _ => index.to_string(),
    };
    write!(body, r#""index":{index},"#).expect(TAKES_ALL);
}

/// Shorter than the native length: sliced, as a Matryoshka model does. Longer: another model's vector.
fn vector(text: &str, native: usize, wanted: usize) -> Vec<f32> {
    vectors::shorten(vectors::embed(text, native.max(wanted)), wanted)
}

fn bent(mut vector: Vec<f32>, bend: &Then, index: usize) -> Vec<f32> {
    if index == 0 && (bend.non_finite || bend.zero) {
        vector.fill(if bend.zero { 0.0 } else { f32::NAN });
    }
    if bend.unnormalised {
        vector.iter_mut().for_each(|value| *value *= 3.0);
    }
    if bend.noise {
        // Every second value by 0.03 of a normalised vector's mean square: about 0.001 off in cosine.
        let step = 0.045 / (vector.len() as f32).sqrt();
        vector
            .iter_mut()
            .enumerate()
            .for_each(|(at, value)| *value += if at % 2 == 0 { step } else { -step });
    }
    vector
}

fn write_odd(body: &mut String, odd: Odd, vector: &[f32], encoding: Encoding) {
    let list = |value: &str| format!("[{}]", vec![value; vector.len()].join(","));
    match odd {
        Odd::Nulls => body.push_str(&list("null")),
        Odd::Nil => body.push_str("null"),
        Odd::Nan => body.push_str(&list("NaN")),
        Odd::Empty => body.push_str("[]"),
        Odd::Overflow => body.push_str(&list("1e39")),
        Odd::Short => write_vector(body, vector, encoding),
        Odd::Nested => {
            body.push('[');
            write_vector(body, vector, Encoding::Float);
            body.push(']');
        }
    }
}

fn write_vector(body: &mut String, vector: &[f32], encoding: Encoding) {
    if encoding == Encoding::Float {
        return write_floats(body, vector);
    }
    let bytes = |turn: fn(f32) -> [u8; 4]| vector.iter().copied().flat_map(turn).collect::<Vec<u8>>();
    let mut little = bytes(f32::to_le_bytes);
    body.push('"');
    match encoding {
        Encoding::ByteShort => {
            little.pop();
            STANDARD.encode_string(little, body);
        }
        Encoding::Unpadded => STANDARD_NO_PAD.encode_string(little, body),
        Encoding::UrlSafe => URL_SAFE.encode_string(little, body),
        Encoding::BigEndian => STANDARD.encode_string(bytes(f32::to_be_bytes), body),
        Encoding::Base64 | Encoding::Float => STANDARD.encode_string(little, body),
    }
    body.push('"');
}

fn write_floats(body: &mut String, vector: &[f32]) {
    body.push('[');
    for (at, value) in vector.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        if *value == 0.0 {
            // Most of a short text's vector.
            body.push_str("0.0");
        } else if value.is_finite() {
            write!(body, "{value}").expect(TAKES_ALL);
        } else {
            body.push_str("null");
        }
    }
    body.push(']');
}

#[cfg(test)]
mod tests;
