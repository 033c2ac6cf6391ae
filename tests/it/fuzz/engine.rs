//! What is done to a kept answer, and what must be true of the reader whatever was done.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use embedstream::config::{self, Secret};
use embedstream::provider::client::Client;
use embedstream::provider::{Answer, Embedder as _, Verdict, hints, wire};
use fastrand::Rng;
use serde_json::Value;
use tokio::time::Instant;

const DIMENSIONS: usize = 4;
const CAP: Duration = Duration::from_secs(60);
/// No answer of up to 1 MiB may take longer to read.
const SLOW: Duration = Duration::from_secs(1);
/// What stands for a user's text in the corpus, and for the key.
const TEXT: &str = "My secret diagnosis is hay fever, and the maximum context length of my batch size is 3";
const KEY: &str = "sk-fuzz-v1-0123456789abcdef0123456789abcdef";

/// What servers write and readers stumble over.
const TOKENS: [&str; 58] = [
    "null",
    "true",
    "NaN",
    "-Infinity",
    "Infinity",
    "1e39",
    "1e400",
    "-1",
    "0",
    "0.0",
    "1e-45",
    "18446744073709551616",
    "9007199254740993",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "[",
    "]",
    "{",
    "}",
    "[[",
    "]]",
    ",",
    ":",
    "\u{feff}",
    " \n\t",
    "\u{1}",
    "é",
    "\u{202e}",
    "<",
    "HTTP 400: ",
    "HTTP 503: {",
    "\"error\":",
    "\"data\":",
    "\"embedding\":",
    "\"index\":",
    "\"detail\":",
    "\"code\":",
    "\"message\":",
    "\"errors\":",
    "'input':",
    "``",
    "at most ",
    "maximum ",
    "limit ",
    "retry after ",
    "try again in ",
    "1.5s",
    "6m0s",
    "1785542405000",
    "86400",
    "99999999999999999999d",
    "Sat, 01 Aug 2026 00:00:20 GMT",
    "insufficient_quota",
    "per-day",
    "AAAAAAAAAAA=",
    "_-8=",
];
const NAMES: [&str; 24] = [
    "error",
    "data",
    "embedding",
    "embeddings",
    "index",
    "model",
    "usage",
    "prompt_tokens",
    "cost",
    "object",
    "detail",
    "code",
    "message",
    "type",
    "param",
    "metadata",
    "availability",
    "retry_after",
    "retryable",
    "headers",
    "reasons",
    "errors",
    "http_status",
    "error_type",
];
const HEADERS: [&str; 9] = [
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];
const STATUSES: [u16; 26] = [
    100, 200, 200, 200, 201, 204, 301, 307, 400, 400, 401, 402, 403, 404, 408, 413, 422, 424, 429, 429, 500,
    502, 503, 524, 529, 999,
];

/// An answer to `count` texts.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    status: u16,
    count: usize,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Case {
    /// A line with status and number of texts, headers, an empty line, the body.
    pub(crate) fn parse(file: &[u8]) -> Self {
        let end = file.windows(2).position(|two| two == b"\n\n").expect("a head");
        let head = std::str::from_utf8(&file[..end]).expect("a head of text");
        let mut lines = head.lines();
        let (status, count) = lines.next().and_then(|line| line.split_once(' ')).expect("a first line");
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let body =
            String::from_utf8_lossy(&file[end + 2..]).replace("@@TEXT@@", TEXT).replace("@@KEY@@", KEY);
        let marked = file[end + 2..].windows(2).any(|two| two == b"@@");
        Self {
            status: status.parse().expect("a status"),
            count: count.parse().expect("a number of texts"),
            headers: lines.filter_map(header).collect(),
            body: if marked { body.into_bytes() } else { file[end + 2..].to_vec() },
        }
    }

    /// Read back by [`parse`](Self::parse).
    pub(crate) fn write(&self) -> Vec<u8> {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let mut file = format!("{} {}\n{headers}\n", self.status, self.count).into_bytes();
        file.extend_from_slice(&self.body);
        file
    }
}

/// The kept cases of one kind, by the files' names.
pub(crate) fn corpus(kind: &str) -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(kind);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let case = |file: &PathBuf| {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        (name, Case::parse(&fs::read(file).expect("a file that can be read")))
    };
    files.iter().map(case).collect()
}

/// A change of bytes, of structure, of headers, or of several.
pub(crate) fn mutated(case: &Case, others: &[(String, Case)], rng: &mut Rng) -> Case {
    let mut case = case.clone();
    for _ in 0..=rng.usize(0..4) {
        match rng.u8(0..16) {
            0..6 => bytes(&mut case.body, others, rng),
            6..12 => structure(&mut case.body, rng),
            12..14 => header(&mut case.headers, rng),
            14 => case.status = pick(&STATUSES, rng),
            _ => case.count = pick(&[0, 1, 2, 3, 64, 2048], rng),
        }
    }
    // Now and then as large as an answer may become here.
    if rng.u16(..) < 40 && !case.body.is_empty() {
        let at = rng.usize(0..case.body.len());
        let piece = case.body[at..case.body.len().min(at + 1 + rng.usize(0..40))].to_vec();
        let filling: Vec<u8> =
            piece.iter().copied().cycle().take((1 << 20) - case.body.len().min(1 << 20)).collect();
        case.body.splice(at..at, filling);
    }
    case.body.truncate(1 << 20);
    case
}

fn pick<T: Copy>(from: &[T], rng: &mut Rng) -> T {
    from[rng.usize(0..from.len())]
}

fn bytes(body: &mut Vec<u8>, others: &[(String, Case)], rng: &mut Rng) {
    let at = rng.usize(0..=body.len());
    let end = (at + rng.usize(0..32)).min(body.len());
    match rng.u8(0..8) {
        0 if at < body.len() => body[at] ^= 1 << rng.u8(0..8),
        1 if at < body.len() => body[at] = rng.u8(..),
        2 => drop(body.drain(at..end)),
        3 => {
            let piece = body[at..end].to_vec();
            body.splice(at..at, piece);
        }
        4 => body.truncate(at),
        5 if !others.is_empty() => {
            let other = &others[rng.usize(0..others.len())].1.body;
            let from = rng.usize(0..=other.len());
            body.splice(at..end, other[from..].iter().copied());
        }
        6 => {
            let deep = pick(&["[", "{\"a\":", "{\"error\":", "[{\"error\":"], rng).repeat(rng.usize(1..3000));
            body.splice(at..at, deep.into_bytes());
        }
        _ => drop(body.splice(at..end, pick(&TOKENS, rng).bytes())),
    }
}

fn structure(body: &mut Vec<u8>, rng: &mut Rng) {
    let Ok(mut root) = serde_json::from_slice::<Value>(body) else {
        return bytes(body, &[], rng);
    };
    let mut node = &mut root;
    // Down to a place that chance decides.
    loop {
        if rng.u8(0..4) == 0 {
            break;
        }
        let children = match &*node {
            Value::Object(map) => map.len(),
            Value::Array(list) => list.len(),
            _ => 0,
        };
        if children == 0 {
            break;
        }
        let child = rng.usize(0..children);
        node = match node {
            Value::Object(map) => map.values_mut().nth(child).expect("a child"),
            Value::Array(list) => &mut list[child],
            _ => break,
        };
    }
    change(node, rng);
    if let Ok(changed) = serde_json::to_vec(&root) {
        *body = changed;
    }
}

fn change(node: &mut Value, rng: &mut Rng) {
    match (rng.u8(0..8), &mut *node) {
        (0, Value::Object(map)) => {
            map.insert(pick(&NAMES, rng).to_owned(), odd(rng));
        }
        (1, Value::Object(map)) => {
            if let Some(name) = map.keys().nth(rng.usize(0..map.len().max(1))).cloned() {
                map.shift_remove(&name);
            }
        }
        (2, Value::Object(map)) => {
            if let Some(name) = map.keys().nth(rng.usize(0..map.len().max(1))).cloned()
                && let Some(value) = map.shift_remove(&name)
            {
                map.insert(pick(&NAMES, rng).to_owned(), value);
            }
        }
        (0, Value::Array(list)) if !list.is_empty() => drop(list.remove(rng.usize(0..list.len()))),
        (1, Value::Array(list)) if !list.is_empty() => list.push(list[rng.usize(0..list.len())].clone()),
        (2, Value::Array(list)) => rng.shuffle(list),
        (3, _) => *node = Value::Array(vec![node.take()]),
        (4, _) => *node = Value::Array(vec![node.clone(), node.take()]),
        (5, _) => {
            let name = pick(&NAMES, rng).to_owned();
            *node = Value::Object([(name, node.take())].into_iter().collect());
        }
        _ => *node = odd(rng),
    }
}

fn odd(rng: &mut Rng) -> Value {
    match rng.u8(0..9) {
        0 => Value::Null,
        1 => rng.bool().into(),
        2 => pick(&[0_i64, 1, -1, 400, 404, 429, 503, i64::MAX, i64::MIN], rng).into(),
        3 => pick(&[0.5, -0.0, 1e39, 1e308, f64::MIN_POSITIVE], rng).into(),
        4 => Value::Array(vec![1.into(); rng.usize(0..6)]),
        5 => Value::Object(serde_json::Map::new()),
        6 => TEXT.into(),
        7 => KEY.into(),
        _ => pick(&TOKENS, rng).into(),
    }
}

fn header(headers: &mut Vec<(String, String)>, rng: &mut Rng) {
    let token = |rng: &mut Rng| pick(&TOKENS, rng).replace(['\n', '\r'], " ");
    if headers.is_empty() || rng.bool() {
        let value = token(rng);
        return headers.push((pick(&HEADERS, rng).to_owned(), value));
    }
    let at = rng.usize(0..headers.len());
    match rng.u8(0..5) {
        0 => drop(headers.remove(at)),
        1 => headers[at].0 = pick(&HEADERS, rng).to_owned(),
        2 => headers[at].1 = token(rng),
        3 => {
            let piece = token(rng);
            let value = &mut headers[at].1;
            let place = value.floor_char_boundary(rng.usize(0..=value.len()));
            value.insert_str(place, &piece);
        }
        _ => {
            let value = &mut headers[at].1;
            let place = value.floor_char_boundary(rng.usize(0..=value.len()));
            value.truncate(place);
        }
    }
}

/// What reads.
pub(crate) struct Reader(Client);

impl Reader {
    pub(crate) fn new() -> Self {
        let mut settings = config::Provider::default();
        settings.model = "m".to_owned();
        settings.dimensions = DIMENSIONS;
        settings.url = "http://localhost/v1".parse().expect("an address");
        let key = || Ok::<_, std::io::Error>(Some(Secret::new(KEY.to_owned())));
        Self(Client::new(&settings, key, 64, CAP).expect("a client"))
    }

    /// Reads it in every way.
    ///
    /// # Errors
    /// What should never be.
    pub(crate) fn check(&self, case: &Case) -> Result<(), String> {
        let mut took = Duration::MAX;
        // A busy machine is slow now and then, a bad case every time.
        for _ in 0..3 {
            let begun = Instant::now();
            self.answer(case)?;
            hint(case)?;
            took = took.min(begun.elapsed());
            if took <= SLOW {
                return Ok(());
            }
        }
        Err(format!("{took:?} for {} bytes", case.body.len()))
    }

    fn answer(&self, case: &Case) -> Result<(), String> {
        let (status, headers, body) = (case.status, case.headers.clone(), Bytes::from(case.body.clone()));
        if let Err(failure) = self.0.read(&Answer { status, headers, body }, case.count) {
            let message = failure.message.to_lowercase();
            if message.contains("secret diagnosis") || message.contains(&KEY[..20]) {
                return Err(format!("shows what a server quotes: {message}"));
            }
            if message.len() > 400 || message.contains(char::is_control) {
                return Err(format!("is no line for a log: {message:?}"));
            }
            if let Verdict::Retry { after: Some(after), .. } = failure.verdict
                && (after > CAP || after.is_zero())
            {
                return Err(format!("waits {after:?}"));
            }
        }
        // The client remembers the length of its first answer; the reader below it does not.
        let Ok((embeddings, length)) = wire::read(&case.body, case.count, DIMENSIONS) else { return Ok(()) };
        if embeddings.vectors.len() != case.count || (case.count > 0 && length < DIMENSIONS) {
            return Err(format!("{} vectors of {length} for {} texts", embeddings.vectors.len(), case.count));
        }
        for vector in &embeddings.vectors {
            let norm = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if vector.len() != DIMENSIONS || (norm - 1.0).abs() > 1e-3 {
                return Err(format!("a vector of {} values and norm {norm}", vector.len()));
            }
        }
        match embeddings.cost_usd {
            Some(cost) if !cost.is_finite() || cost < 0.0 => Err(format!("costs {cost}")),
            _ => Ok(()),
        }
    }
}

/// The hint by itself, with and without a cap.
fn hint(case: &Case) -> Result<(), String> {
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(1_785_542_400);
    let body = serde_json::from_slice::<Value>(&case.body).ok();
    let error = body.as_ref().map(|body| body.get("error").unwrap_or(body));
    let text = String::from_utf8_lossy(&case.body).to_lowercase();
    let capped = hints::wait(&case.headers, error, &text, now, CAP);
    let free = hints::wait(&case.headers, error, &text, now, Duration::MAX);
    let expected = free.map(|wait| wait.min(CAP));
    if capped != expected || capped.is_some_and(|wait| wait.is_zero()) {
        return Err(format!("hints of {capped:?} and {free:?}"));
    }
    Ok(())
}
