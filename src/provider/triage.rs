//! Triage: every failure of a call is classified once, here.
//!
//! The table below is tried from top to bottom; the first row that fits decides. It sees an *effective* status, because HTTP 200 may carry an error and an
//! error may quote another server's. What leaves here holds no text of the server's: servers quote inputs and keys back, so a
//! message is made of the row's own words, the status, the server's code and type if they look like identifiers, and numbers.

mod body;
mod rows;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use self::body::Said;
use super::wire::Fault;
use super::{Answer, Attempts, CallOutcome, Failure, SuspendReason, Verdict, hints};
use crate::domain::record::RejectReason;

/// An answer as the rows see it.
#[derive(Debug)]
struct Case<'a> {
    said: &'a Said,
    /// The effective status.
    status: u16,
    /// Texts in the call.
    count: usize,
    /// The server's hint, at most the cap.
    after: Option<Duration>,
    /// Whether the hint is so long that waiting for it is an outage.
    distant: bool,
    /// Whether the server says in a header that the same call is worth repeating.
    worth_repeating: bool,
}

/// A longer wait than this is no back-off: nothing but a used-up quota takes so long.
const DISTANT: Duration = Duration::from_secs(600);

/// Why no complete answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The address cannot be called at all.
    Address,
    /// The name cannot be resolved.
    Name,
    /// No connection, or none in time: nothing was processed.
    Connection,
    /// The server's certificate is not valid.
    Certificate,
    /// The connection broke before the answer was whole.
    Cut,
    /// The answer's compression is broken.
    Encoding,
    /// The answer's headers are more, or larger, than any server's.
    Headers,
    /// The answer is longer than any right one could be; in bytes, what is allowed.
    TooLarge(usize),
    /// Within an answer nothing came for so long.
    Stalled(Duration),
    /// The whole call's deadline passed.
    Deadline(Duration),
}

/// Classifies an answer that is an error, or whose body has this `fault`.
pub fn answer(
    answer: &Answer,
    count: usize,
    fault: Option<&Fault>,
    hint_cap: Duration,
    now: SystemTime,
) -> Failure {
    let success = (200..300).contains(&answer.status);
    if let (true, Some(fault)) = (success, fault.filter(|fault| **fault != Fault::Error)) {
        return unusable(answer.status, count, fault);
    }
    let said = Said::by(&answer.body);
    let status = if success { said.status.unwrap_or(502) } else { answer.status };
    let asked = hints::wait(&answer.headers, said.error.as_ref(), &said.text, now, Duration::MAX);
    let after = asked.map(|wait| wait.min(hint_cap));
    let distant = asked.is_some_and(|wait| wait > hint_cap.max(DISTANT));
    let repeat = |(name, value): &(String, String)| name == "x-should-retry" && value.trim() == "true";
    let worth_repeating = answer.headers.iter().any(repeat);
    let (what, verdict) = rows::judge(&Case { said: &said, status, count, after, distant, worth_repeating });
    let inside = if success { format!(" in an answer with {}", answer.status) } else { String::new() };
    let codes = if said.codes.is_empty() { String::new() } else { format!(", {}", said.shown()) };
    Failure {
        verdict,
        outcome: outcome(status),
        message: format!("{what} (status {status}{inside}{codes})"),
        status: Some(answer.status),
    }
}

/// Whether an answer refuses `encoding_format`, so that the same call is worth trying without it.
pub fn refuses_encoding(answer: &Answer) -> bool {
    matches!(answer.status, 400 | 422) && Said::by(&answer.body).names("encoding_format")
}

/// Classifies a call to which no complete answer came.
///
/// A batch that is too large for the server's time is not told from a bad record: once its attempts are used up while others succeed it is taken
/// apart, and its halves are published as they are answered. No limit is learned from it, because a slow server says nothing about sizes.
pub fn lost(lost: Lost) -> Failure {
    let again = |meanwhile| again(Attempts::Configured, RejectReason::ProviderError, meanwhile);
    let stop = || Verdict::Suspend { why: SuspendReason::Unreachable, fatal_at_start: true };
    let (what, outcome, verdict) = match lost {
        Lost::Address => ("the address cannot be called".to_owned(), CallOutcome::Connect, stop()),
        Lost::Certificate => {
            ("the server's certificate is not valid".to_owned(), CallOutcome::Connect, stop())
        }
        Lost::Name => (
            "the server's name does not resolve".to_owned(),
            CallOutcome::Connect,
            again(SuspendReason::Unreachable),
        ),
        Lost::Connection => (
            "no connection to the server".to_owned(),
            CallOutcome::Connect,
            again(SuspendReason::Unreachable),
        ),
        Lost::Cut => (
            "the connection broke before the answer was whole".to_owned(),
            CallOutcome::Connect,
            again(SuspendReason::Unreachable),
        ),
        Lost::Encoding => (
            "the answer cannot be decompressed".to_owned(),
            CallOutcome::InvalidResponse,
            again(SuspendReason::MalformedResponse),
        ),
        Lost::Headers => {
            ("an answer with too many headers".to_owned(), CallOutcome::InvalidResponse, malformed())
        }
        Lost::TooLarge(cap) => {
            (format!("an answer of more than {cap} bytes"), CallOutcome::InvalidResponse, malformed())
        }
        Lost::Stalled(pause) => (
            format!("the answer stopped for {}", humantime::format_duration(pause)),
            CallOutcome::Timeout,
            again(SuspendReason::Timeout),
        ),
        Lost::Deadline(timeout) => (
            format!("no answer within {}", humantime::format_duration(timeout)),
            CallOutcome::Timeout,
            again(SuspendReason::Timeout),
        ),
    };
    Failure { verdict, outcome, message: what, status: None }
}

/// The verdict on a success that is none. The words come from the fault; nothing of the body is shown.
fn unusable(status: u16, count: usize, fault: &Fault) -> Failure {
    let once = |then, meanwhile| again(Attempts::Few(1), then, meanwhile);
    // Of several servers behind one address some may run another model. A wrong setting fails for the canary as well, and at once.
    let few = Attempts::Few(3);
    let wrong_length = || again(few, RejectReason::WrongDimensions, SuspendReason::WrongDimensions);
    let (what, verdict) = match fault {
        Fault::Empty => ("an empty answer".to_owned(), malformed()),
        Fault::Html => ("a web page instead of JSON: is the address right?".to_owned(), malformed()),
        Fault::NotJson { cut: true } => ("JSON that ends too early".to_owned(), malformed()),
        Fault::NotJson { cut: false } | Fault::Error => ("no valid JSON answer".to_owned(), malformed()),
        Fault::WrongEndpoint => (
            "vectors in another endpoint's shape: the address must be the OpenAI-compatible one, often ending in /v1"
                .to_owned(),
            Verdict::Suspend { why: SuspendReason::MalformedResponse, fatal_at_start: true },
        ),
        Fault::Count(Some(found)) => (format!("{found} vectors for {count} texts"), malformed()),
        Fault::Count(None) => (format!("no list of vectors for {count} texts"), malformed()),
        Fault::Index => ("vectors with indexes that are no order".to_owned(), malformed()),
        Fault::Shape { at } => (format!("vector {at} is neither numbers nor base64"), malformed()),
        Fault::MixedLengths(one, other) => (format!("vectors of {one} and of {other} dimensions"), malformed()),
        Fault::Absurd { at } => (format!("vector {at} has a norm that no model gives"), malformed()),
        Fault::Short { got, expected } => {
            (format!("vectors of {got} dimensions, provider.dimensions is {expected}"), wrong_length())
        }
        Fault::Unshortened { got, asked } => (
            format!("vectors of {got} dimensions where {asked} were asked for: provider.shorten: local cuts them here"),
            wrong_length(),
        ),
        Fault::Changed { got, before } => {
            (format!("vectors of {got} dimensions, until now they had {before}: another model"), wrong_length())
        }
        Fault::NonFinite { at } => (
            format!("vector {at} is zero or not finite"),
            once(RejectReason::NonFinite, SuspendReason::MalformedResponse),
        ),
    };
    let outcome = CallOutcome::InvalidResponse;
    Failure { verdict, outcome, message: format!("{what} (status {status})"), status: Some(status) }
}

fn again(attempts: Attempts, then: RejectReason, meanwhile: SuspendReason) -> Verdict {
    Verdict::Retry { after: None, hold_off: false, attempts, then, meanwhile }
}

fn malformed() -> Verdict {
    again(Attempts::Few(3), RejectReason::MalformedResponse, SuspendReason::MalformedResponse)
}

fn outcome(status: u16) -> CallOutcome {
    match status {
        401..=403 => CallOutcome::Auth,
        429 => CallOutcome::RateLimited,
        300..=499 => CallOutcome::ClientError,
        500..=599 => CallOutcome::ServerError,
        _ => CallOutcome::InvalidResponse,
    }
}
