//! What an error says: the dozen shapes of an error body, read into one.

use serde_json::Value;

use super::super::wire;

/// A longer error is not looked into.
const MOST_BYTES: usize = 256 * 1024;
/// How much of a message the rows look at, in characters.
const MOST_TEXT: usize = 2000;
/// A longer quotation, or one of several words, may be the user's text: the rows must not read it.
const LONGEST_QUOTE: usize = 24;
/// How many codes are kept.
const MOST_CODES: usize = 8;
/// How deep an error may quote another.
const DEPTH: usize = 3;

/// OpenRouter's `error_type` and `availability.code`, where they fix a status.
const STATUS_OF: [(u16, &[&str]); 12] = [
    (
        400,
        &[
            "context_length_exceeded",
            "max_tokens_exceeded",
            "token_limit_exceeded",
            "string_too_long",
            "invalid_request",
            "invalid_prompt",
            "content_policy_violation",
            "refusal",
            "model_not_found",
            "wrong_endpoint",
        ],
    ),
    (401, &["authentication"]),
    (402, &["payment_required"]),
    (403, &["permission_denied", "region_restricted"]),
    (
        404,
        &[
            "not_found",
            "no_endpoints",
            "model_deprecated",
            "model_unavailable_upstream",
            "privacy_restricted",
            "constraint_filtered",
            "free_variant_ended",
        ],
    ),
    (412, &["precondition_failed"]),
    (413, &["payload_too_large"]),
    (422, &["unprocessable"]),
    (429, &["rate_limit_exceeded", "capacity_exhausted"]),
    (502, &["provider_unavailable"]),
    (503, &["provider_overloaded", "temporarily_unavailable"]),
    (504, &["timeout"]),
];

/// An error, flattened. Only [`shown`](Self::shown) may leave the module.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The status inside the body, 400 to 599.
    pub(super) status: Option<u16>,
    /// Codes and types, in lower case.
    pub(super) codes: Vec<String>,
    /// Named parameters, in lower case.
    params: Vec<String>,
    /// The message in lower case, without long quotations.
    pub(super) text: String,
    /// Whether a moderation or a guardrail says why.
    pub(super) flagged: bool,
    /// What the server itself says about trying again.
    pub(super) retryable: Option<bool>,
    /// The error member, for hints.
    pub(super) error: Option<Value>,
}

impl Said {
    pub(super) fn by(body: &[u8]) -> Self {
        let mut said = Self::default();
        let body = wire::strip(body);
        if body.len() > MOST_BYTES {
            return said;
        }
        match serde_json::from_slice(body) {
            Ok(Value::Array(list)) => {
                if let Some(first) = list.first() {
                    said.read(first, DEPTH);
                }
            }
            Ok(value) => said.read(&value, DEPTH),
            // Plain text, as of a proxy or an older server. A page's words are a proxy's, and mean nothing.
            Err(_) if body.first() != Some(&b'<') => said.hear(&String::from_utf8_lossy(body), DEPTH),
            Err(_) => {}
        }
        said
    }

    /// Whether one of these is the code or type.
    pub(super) fn is(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    /// Whether the message contains one of these.
    pub(super) fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.text.contains(phrase))
    }

    /// Whether the message or a named parameter is about this field.
    pub(super) fn names(&self, field: &str) -> bool {
        self.text.contains(field) || self.params.iter().any(|param| param.contains(field))
    }

    /// The smallest number that follows one of these phrases closely and is below `most`.
    pub(super) fn number(&self, phrases: &[&str], most: u64) -> Option<u64> {
        let after = |phrase: &&str| {
            let (_, rest) = self.text.split_once(*phrase)?;
            let rest = &rest[..rest.floor_char_boundary(24)];
            let digits = &rest[rest.find(|c: char| c.is_ascii_digit())?..];
            let end = digits.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(digits.len());
            digits[..end].replace(',', "").parse().ok()
        };
        phrases.iter().filter_map(after).filter(|number| (1..most).contains(number)).min()
    }

    /// The codes that may be shown: identifiers with few digits, as keys and texts do not look.
    pub(super) fn shown(&self) -> String {
        let safe = |code: &&String| {
            let digits = code.bytes().filter(u8::is_ascii_digit).count();
            let numeric = digits == code.len() && digits <= 6;
            let letters = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
            numeric || (letters && digits <= 4 && code.len() <= 64)
        };
        let shown: Vec<_> = self.codes.iter().filter(safe).take(3).map(String::as_str).collect();
        if shown.is_empty() { "a code that is not shown".to_owned() } else { shown.join(" ") }
    }

    fn read(&mut self, root: &Value, depth: usize) {
        let error = root.get("error").filter(|error| !error.is_null());
        let wrapped = ["/detail", "/errors/0"].iter().filter_map(|path| root.pointer(path));
        if let (None, None, Some(wrapped)) =
            (error, root.get("message"), wrapped.into_iter().find(|value| value.is_object()))
            && depth > 0
        {
            return self.read(wrapped, depth - 1);
        }
        let inner = error.unwrap_or(&Value::Null);
        if let (Some(error), None) = (error, &self.error) {
            self.error = Some(error.clone());
        }
        for value in [inner.get("code"), inner.get("http_status"), root.get("code"), root.get("http_status")]
        {
            self.status = self.status.or_else(|| status(value?));
        }
        let codes =
            ["/code", "/type", "/error_type", "/status", "/metadata/error_type", "/availability/code"];
        for code in codes
            .iter()
            .filter_map(|path| inner.pointer(path))
            .chain(root.get("code"))
            .chain(root.get("type"))
        {
            self.note_code(code);
        }
        self.note_code(inner.pointer("/metadata/provider_code").unwrap_or(&Value::Null));
        self.status = self.status.or_else(|| self.status_by_name());
        for param in [inner.get("param"), root.get("param")].into_iter().flatten() {
            self.note_param(param);
        }
        let flags = ["/metadata/reasons", "/metadata/patterns", "/metadata/flagged_input"];
        self.flagged |= flags.iter().filter_map(|path| inner.pointer(path)).any(filled);
        self.retryable = self.retryable.or_else(|| inner.pointer("/availability/retryable")?.as_bool());
        let texts = [
            inner.get("message"),
            error,
            root.get("message"),
            root.get("detail"),
            root.pointer("/errors/0/message"),
            root.pointer("/errors/0"),
        ];
        for text in texts.into_iter().flatten() {
            match text {
                Value::String(text) => return self.hear(text, depth),
                Value::Array(list) => return self.read_details(list),
                _ => {}
            }
        }
    }

    /// The status that OpenRouter's names of errors stand for: its availability failures come without a code.
    fn status_by_name(&self) -> Option<u16> {
        let named = |code: &String| STATUS_OF.iter().find(|(_, names)| names.contains(&code.as_str()));
        self.codes.iter().find_map(named).map(|(status, _)| *status)
    }

    /// FastAPI: `[{"type", "loc", "msg", "input"}]`. The input is the user's text, and not read.
    fn read_details(&mut self, list: &[Value]) {
        for detail in list.iter().take(4) {
            self.note_code(detail.get("type").unwrap_or(&Value::Null));
            for place in detail.get("loc").and_then(Value::as_array).into_iter().flatten().take(8) {
                self.note_param(place);
            }
            if let Some(message) = detail.get("msg").and_then(Value::as_str) {
                self.hear(message, 0);
            }
        }
    }

    /// Takes a message up; one that quotes another server's answer (`HTTP 400: {…}`) is read on there.
    fn hear(&mut self, message: &str, depth: usize) {
        if let Some((quoted_status, rest)) = quoted_answer(message) {
            self.status = self.status.or(Some(quoted_status));
            if depth > 0
                && let Ok(root) = serde_json::from_str::<Value>(rest)
                && root.is_object()
            {
                // Its status is not this answer's.
                let status = self.status;
                self.read(&root, depth - 1);
                self.status = status;
                return;
            }
        }
        self.text.push_str(&unquoted(message));
        self.text.push(' ');
    }

    fn note_code(&mut self, code: &Value) {
        let code = match code {
            Value::String(code) => code.to_lowercase(),
            Value::Number(code) => code.to_string(),
            _ => return,
        };
        if !code.is_empty()
            && code.len() <= 128
            && self.codes.len() < MOST_CODES
            && !self.codes.contains(&code)
        {
            self.codes.push(code);
        }
    }

    fn note_param(&mut self, param: &Value) {
        if let Some(param) = param.as_str().filter(|param| param.len() <= 64 && self.params.len() < 32) {
            self.params.push(param.to_lowercase());
        }
    }
}

fn status(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

fn filled(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// `HTTP 400: …`, as OpenRouter passes other servers' answers on.
fn quoted_answer(message: &str) -> Option<(u16, &str)> {
    let rest = message.trim_start().strip_prefix("HTTP ")?;
    let (number, rest) = rest.split_once(':')?;
    let status: u16 = number.trim().parse().ok()?;
    (400..600).contains(&status).then_some((status, rest.trim_start()))
}

/// The message in lower case, without what a server quotes of the request: a poison text must not be able to pose as an error of the
/// configuration.
fn unquoted(message: &str) -> String {
    let message: String = message.chars().take(MOST_TEXT).collect::<String>().to_lowercase();
    // Python's print of a FastAPI error.
    let end = ["'input':", "\"input\":"].iter().filter_map(|mark| message.find(mark)).min();
    let chars: Vec<char> = message[..end.unwrap_or(message.len())].chars().collect();
    let (mut kept, mut at) = (String::with_capacity(chars.len()), 0);
    while let Some(&mark) = chars.get(at) {
        let opens = matches!(mark, '"' | '`' | '\'' | '“') && (at == 0 || !chars[at - 1].is_alphanumeric());
        let close = if mark == '“' { '”' } else { mark };
        let length = if opens { chars[at + 1..].iter().position(|c| *c == close) } else { None };
        match length {
            Some(length)
                if length > LONGEST_QUOTE
                    || chars[at + 1..=at + length].iter().any(|c| c.is_whitespace()) =>
            {
                kept.push('…');
                at += length + 2;
            }
            _ => {
                kept.push(mark);
                at += 1;
            }
        }
    }
    kept
}
