//! The embeddings provider: one trait, one verdict for every way it can fail.

pub mod client;
pub mod gate;
pub mod hints;
pub mod stated;
pub mod triage;
pub mod wire;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::domain::record::{Hidden, RejectReason};

/// What embeds: the HTTP client, or a fake at the end of a test.
///
/// A call has two halves, so that a slot is free when the last byte is here and the CPU work runs elsewhere.
pub trait Embedder: Send + Sync + 'static {
    /// The request body for these texts. Retries send the same bytes.
    fn body(&self, texts: &[&str]) -> Bytes;

    /// Sends a body and reads the whole answer, whatever its status. Fails only where no complete answer came.
    fn send(&self, body: Bytes) -> impl Future<Output = Result<Answer, Failure>> + Send;

    /// Sends a body that must not be answered from a cache: what it tells is whether the provider works.
    fn probe(&self, body: Bytes) -> impl Future<Output = Result<Answer, Failure>> + Send {
        self.send(body)
    }

    /// Reads an answer to `count` texts: CPU work, no I/O. Everything is validated here.
    ///
    /// # Errors
    /// The one classification of whatever is wrong with the answer.
    fn read(&self, answer: &Answer, count: usize) -> Result<Embeddings, Failure>;

    /// Takes up a rotated key. Called before each probe.
    fn refresh_key(&self) {}
}

/// A complete HTTP answer.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed.
    pub body: Bytes,
}

/// Without the body: servers quote texts and keys back.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &Hidden::bytes(&self.body))
            .finish()
    }
}

/// The vectors of one call: in the order of its texts, of the configured length, finite, of norm 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// One vector a text.
    pub vectors: Vec<Vec<f32>>,
    /// The model's name as the server says it.
    pub model: Option<String>,
    /// Billed tokens, if the server says so.
    pub tokens: Option<u64>,
    /// What the call cost in USD, if the server says so.
    pub cost_usd: Option<f64>,
}

/// One failed call, classified once.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What to do about it.
    pub verdict: Verdict,
    /// The label under which it is counted.
    pub outcome: CallOutcome,
    /// What happened, in one line: status, code and the server's message with quoted parts and whatever else could be user
    /// text removed. For logs, `/status` and dead letters.
    pub message: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
}

impl Failure {
    /// What is wrong with a vector of an answer that came whole, if that is why it is refused: the label of a counter.
    pub fn invalid_vector(&self) -> Option<&'static str> {
        let Verdict::Retry { then, .. } = &self.verdict else { return None };
        let is_vector = matches!(then, RejectReason::NonFinite | RejectReason::WrongDimensions);
        (is_vector && self.outcome == CallOutcome::InvalidResponse).then_some(then.as_str())
    }
}

/// What to do about a failed call.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The same bytes again.
    Retry {
        /// The server's hint.
        after: Option<Duration>,
        /// Whether every call waits (429, 503, 529), not only this one.
        hold_off: bool,
        /// How many attempts count before the batch is taken apart (only while others succeed).
        attempts: Attempts,
        /// What a lone record is when its attempts are used up and the canary works.
        then: RejectReason,
        /// What the worker says while nobody succeeds.
        meanwhile: SuspendReason,
    },
    /// The batch is too big for this provider: smaller ones from now on.
    Shrink(Cap),
    /// At least one record of the batch is bad: find it. `clear` is false where the configuration could be at fault
    /// as well: the canary decides.
    Bisect {
        /// What the record is found guilty of.
        reason: RejectReason,
        /// Whether the error can only be a record's.
        clear: bool,
        /// What the worker says if the canary fails as well.
        otherwise: SuspendReason,
    },
    /// Nothing will succeed before somebody acts: close the gate and probe. Before the first success the worker stops instead if
    /// `fatal_at_start`.
    Suspend {
        /// Why.
        why: SuspendReason,
        /// Whether it is a configuration error at start-up.
        fatal_at_start: bool,
    },
}

/// How many attempts of a call count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempts {
    /// None for long: a rate limit or an overload says nothing about a batch, unless it is refused so again and again while others succeed.
    Unlimited,
    /// As many as `retry.attempts`.
    Configured,
    /// This many retries: one more failure than that.
    Few(u32),
}

/// A limit that a provider told us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Records in a call; `None`: unknown, halve.
    Records(Option<usize>),
    /// Tokens in a call.
    Tokens(Option<u64>),
    /// Bytes in a call.
    Bytes(Option<usize>),
}

/// The label of `embedstream_api_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallOutcome {
    /// A validated answer.
    Ok,
    /// 429.
    RateLimited,
    /// 5xx.
    ServerError,
    /// 4xx.
    ClientError,
    /// 401, 402, 403.
    Auth,
    /// Deadline passed.
    Timeout,
    /// Connection refused, reset, cut.
    Connect,
    /// An answer that cannot be used.
    InvalidResponse,
}

impl CallOutcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::RateLimited,
        Self::ServerError,
        Self::ClientError,
        Self::Auth,
        Self::Timeout,
        Self::Connect,
        Self::InvalidResponse,
    ];

    /// The outcome as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::ClientError => "client_error",
            Self::Auth => "auth",
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::InvalidResponse => "invalid_response",
        }
    }
}

/// Why the worker is not ready: a closed set, shown by `/readyz`, `/status`, a metric and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SuspendReason {
    /// 401.
    Unauthorized,
    /// 402, or a quota that is used up.
    PaymentRequired,
    /// 403.
    Forbidden,
    /// No such model or address.
    NotFound,
    /// The address answers with a redirect, which is not followed.
    Redirect,
    /// Vectors of another length.
    WrongDimensions,
    /// Answers that cannot be read, such as HTML.
    MalformedResponse,
    /// No connection.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The provider refuses the request itself.
    BadRequest,
    /// More dead letters than `retry.dead_letter_cap` allows.
    DeadLetterRate,
    /// The day's money is spent.
    Budget,
    /// The broker refuses what we publish.
    OutputRefused,
}

impl SuspendReason {
    /// Every reason.
    pub const ALL: [Self; 13] = [
        Self::Unauthorized,
        Self::PaymentRequired,
        Self::Forbidden,
        Self::NotFound,
        Self::Redirect,
        Self::WrongDimensions,
        Self::MalformedResponse,
        Self::Unreachable,
        Self::Timeout,
        Self::BadRequest,
        Self::DeadLetterRate,
        Self::Budget,
        Self::OutputRefused,
    ];

    /// Whether an answer with this meaning may be about one record's words, not about every call.
    pub fn may_be_a_records(self) -> bool {
        matches!(
            self,
            Self::Unauthorized
                | Self::Forbidden
                | Self::NotFound
                | Self::Redirect
                | Self::MalformedResponse
                | Self::BadRequest
        )
    }

    /// The reason as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::PaymentRequired => "payment_required",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Redirect => "redirect",
            Self::WrongDimensions => "wrong_dimensions",
            Self::MalformedResponse => "malformed_response",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::BadRequest => "bad_request",
            Self::DeadLetterRate => "dead_letter_rate",
            Self::Budget => "budget",
            Self::OutputRefused => "output_refused",
        }
    }
}
