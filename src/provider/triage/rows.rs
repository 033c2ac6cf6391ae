//! The table of errors: what it looks like, what it means.

use super::super::{Attempts, Cap, SuspendReason, Verdict};
use super::Case;
use crate::domain::record::RejectReason;

struct Row {
    /// What the operator reads.
    what: &'static str,
    fits: fn(&Case<'_>) -> bool,
    verdict: fn(&Case<'_>) -> Verdict,
}

/// The first row that fits.
pub(super) fn judge(case: &Case<'_>) -> (&'static str, Verdict) {
    let row = ROWS.iter().find(|row| (row.fits)(case)).unwrap_or(&NO_STATUS);
    (row.what, (row.verdict)(case))
}

/// What every row says.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().chain([&NO_STATUS]).map(|row| row.what)
}

/// A quota is used up, or there is no money: the same 429 as a rate limit, but waiting a minute does not help.
const QUOTA: [&str; 14] = [
    "insufficient_quota",
    "insufficient_user_quota",
    "insufficient_balance",
    "insufficient_credits",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "billing_not_active",
    "payment_required",
    "quota_exceeded_daily",
    "arrearage",
    "exceeded_current_quota_error",
];
const KEY: [&str; 5] = [
    "invalid_api_key",
    "invalid_authentication",
    "authentication_error",
    "authentication",
    "api_key_invalid",
];
const CONTENT: [&str; 7] = [
    "content_policy_violation",
    "content_filter",
    "responsibleaipolicyviolation",
    "refusal",
    "moderation",
    "data_inspection_failed",
    "datainspectionfailed",
];
const TOO_LONG: [&str; 7] = [
    "context_length_exceeded",
    "string_too_long",
    "string_above_max_length",
    "exceed_context_size_error",
    "max_tokens_exceeded",
    "token_limit_exceeded",
    "input_too_long",
];
const TOO_LONG_SAID: [&str; 11] = [
    "maximum context length",
    "max context length",
    "context length",
    "context size",
    "must have less than",
    "too large to process",
    "physical batch size",
    "has too many tokens",
    "input is too long",
    "maximum number of tokens",
    "max_model_len",
];
const SUM_SAID: [&str; 6] = [
    "too many tokens in batch",
    "too many tokens overall",
    "tokens per request",
    "tokens per submitted batch",
    "max_tokens_per_request",
    "split into more batches",
];
const COUNT_SAID: [&str; 12] = [
    "batch size",
    "batch_size",
    "requests can be in one batch",
    "too many inputs",
    "too many texts",
    "number of inputs",
    "number of texts",
    "array too long",
    "inputs per request",
    "items after validation",
    "items in the list",
    "value has at most",
];
/// What stands before the number that a server allows.
const ALLOWED: [&str; 10] = [
    "at most",
    "larger than",
    "maximum allowed batch size",
    "maximum batch size",
    "maximum",
    "max is",
    "max",
    "limit",
    "batch is",
    "up to",
];
const MODEL: [&str; 11] = [
    "model_not_found",
    "wrong_endpoint",
    "invalid_model",
    "model_deprecated",
    "model_unavailable_upstream",
    "no_endpoints",
    "privacy_restricted",
    "constraint_filtered",
    "free_variant_ended",
    "deploymentnotfound",
    "modelnotfound",
];
const MODEL_SAID: [&str; 5] =
    ["not a valid model", "model not found", "model does not exist", "no endpoints found", "unknown model"];
const FIELD: [&str; 4] =
    ["extra_forbidden", "unrecognized_keys", "unknown_parameter", "unsupported_parameter"];
const FIELD_SAID: [&str; 8] = [
    "dimensions",
    "matryoshka",
    "encoding_format",
    "unknown field",
    "extra inputs are not permitted",
    "extra fields not permitted",
    "unrecognized request argument",
    "additional properties",
];
const NOT_FINITE: [&str; 5] = [
    "unsupported value: nan",
    "nan or inf",
    "out of range float values",
    "not json compliant",
    "contains nan",
];

static ROWS: [Row; 29] = [
    Row {
        what: "the server says that it will answer later",
        fits: |case| case.said.retryable == Some(true),
        verdict: |case| {
            if case.said.is(&["capacity_exhausted"]) {
                limited(case)
            } else {
                held(case, Attempts::Configured, SuspendReason::Unreachable)
            }
        },
    },
    Row {
        what: "the address answers with a redirect, which is not followed: set provider.url to where it leads",
        fits: |case| (300..400).contains(&case.status),
        verdict: |_| stop(SuspendReason::Redirect),
    },
    Row {
        what: "the key is missing, wrong or revoked",
        fits: |case| case.status == 401 || (client_error(case) && case.said.is(&KEY)) || key_refused(case),
        verdict: |_| stop(SuspendReason::Unauthorized),
    },
    Row {
        what: "the account's quota or credit is used up",
        fits: |case| case.status == 402 || case.said.is(&QUOTA),
        verdict: |_| suspend(SuspendReason::PaymentRequired),
    },
    Row {
        what: "the day's quota is used up",
        fits: |case| {
            case.status == 429 && case.said.says(&["per-day", "per day", "daily limit", "daily quota"])
        },
        verdict: |_| suspend(SuspendReason::PaymentRequired),
    },
    Row {
        what: "the provider's content rules refuse a text",
        fits: |case| client_error(case) && (case.said.flagged || case.said.is(&CONTENT)),
        verdict: |_| guilty(RejectReason::Content),
    },
    Row {
        what: "access is forbidden: permission, region or network",
        fits: |case| case.status == 403,
        verdict: |_| stop(SuspendReason::Forbidden),
    },
    Row {
        what: "the server says that waiting does not help",
        fits: |case| case.said.retryable == Some(false) && (case.status == 429 || case.status >= 500),
        verdict: |_| suspend(SuspendReason::NotFound),
    },
    Row {
        what: "too many tokens in one call",
        fits: |case| {
            // Mistral ends what it says of too many texts with the same words.
            let texts = case.said.says(&["too many inputs"]);
            let sum = case.said.is(&["max_tokens_per_request"]) || case.said.says(&SUM_SAID);
            (client_error(case) && sum && !texts)
                // OpenAI, for more than a whole minute's tokens at once: waiting would never end.
                || (case.status == 429 && case.said.says(&["request too large"]))
        },
        verdict: |case| match case.count {
            0 | 1 => guilty(RejectReason::TooLong),
            _ => Verdict::Shrink(Cap::Tokens(case.said.number(&ALLOWED, u64::MAX))),
        },
    },
    Row {
        // Azure was seen to say a day where it meant a minute: the probe finds out.
        what: "a limit that is used up for long",
        fits: |case| case.status == 429 && case.distant,
        verdict: |_| suspend(SuspendReason::PaymentRequired),
    },
    Row { what: "rate limited", fits: |case| case.status == 429, verdict: limited },
    Row {
        what: "too many texts in one call",
        fits: |case| {
            client_error(case)
                && case.count > 1
                && !case.said.says(&["physical batch size"])
                && (case.said.is(&["3210"]) || case.said.says(&COUNT_SAID))
        },
        verdict: |case| {
            let cap = case.said.number(&ALLOWED, case.count as u64).and_then(|cap| usize::try_from(cap).ok());
            Verdict::Shrink(Cap::Records(cap))
        },
    },
    Row {
        what: "a text is longer than the model takes",
        fits: |case| {
            (client_error(case) && (case.said.is(&TOO_LONG) || case.said.says(&TOO_LONG_SAID)))
                || (case.status == 500 && case.said.says(&["too large to process", "physical batch size"]))
        },
        verdict: |_| guilty(RejectReason::TooLong),
    },
    Row {
        what: "the call is too large",
        fits: |case| case.status == 413,
        verdict: |case| match case.count {
            0 | 1 => guilty(RejectReason::TooLarge),
            _ => Verdict::Shrink(Cap::Bytes(None)),
        },
    },
    Row {
        what: "the server refuses a field of the request (dimensions, encoding_format or one of provider.body)",
        fits: |case| {
            matches!(case.status, 400 | 422)
                && (case.said.is(&FIELD)
                    || case.said.says(&FIELD_SAID)
                    || ["dimensions", "encoding_format"].iter().any(|field| case.said.names(field)))
        },
        verdict: |_| suspend(SuspendReason::BadRequest),
    },
    Row {
        what: "no upstream server answered",
        fits: |case| case.status == 404 && case.said.says(&["no successful provider responses"]),
        verdict: |case| retry(case, SuspendReason::NotFound),
    },
    Row {
        what: "no such model or address: check provider.model and provider.url",
        fits: |case| {
            matches!(case.status, 404 | 405 | 410 | 501)
                || (client_error(case) && (case.said.is(&MODEL) || case.said.says(&MODEL_SAID)))
        },
        verdict: |_| stop(SuspendReason::NotFound),
    },
    Row {
        what: "a gateway has no channel for the model: check provider.model",
        fits: |case| case.status == 503 && case.said.says(&["no available channel"]),
        verdict: |case| held(case, Attempts::Configured, SuspendReason::NotFound),
    },
    Row {
        what: "the server computed a vector that is not finite",
        fits: |case| case.status == 400 && case.said.says(&NOT_FINITE),
        verdict: |case| Verdict::Retry {
            after: case.after,
            hold_off: false,
            attempts: Attempts::Few(1),
            then: RejectReason::NonFinite,
            meanwhile: SuspendReason::MalformedResponse,
        },
    },
    Row {
        what: "the server fails on a vector that is not finite",
        fits: |case| case.status == 500 && case.said.says(&NOT_FINITE),
        verdict: |_| Verdict::Bisect {
            reason: RejectReason::NonFinite,
            clear: false,
            otherwise: SuspendReason::MalformedResponse,
        },
    },
    Row {
        what: "the server lost its own model process",
        fits: |case| {
            case.status == 400
                && case.said.says(&["do embedding request"])
                && case.said.says(&["eof", "connection refused", "connection reset"])
        },
        verdict: |case| retry(case, SuspendReason::Unreachable),
    },
    Row {
        what: "the server gave up waiting",
        fits: |case| matches!(case.status, 408 | 504 | 524),
        verdict: |case| retry(case, SuspendReason::Timeout),
    },
    Row {
        what: "the server could not do it this time",
        fits: |case| matches!(case.status, 409 | 424 | 425 | 499),
        verdict: |case| retry(case, SuspendReason::Unreachable),
    },
    Row {
        what: "the server is overloaded or starting",
        fits: |case| {
            matches!(case.status, 503 | 529)
                || (case.status >= 500
                    && case.said.is(&[
                        "provider_overloaded",
                        "server_is_overloaded",
                        "slow_down",
                        "overloaded",
                    ]))
        },
        // A refusal at the door, as a rate limit is: it says nothing about the records, unless one batch alone meets it. 529 is also what a server says that failed.
        verdict: |case| match case.status {
            529 => held(case, Attempts::Configured, SuspendReason::Unreachable),
            _ => held(case, Attempts::Unlimited, SuspendReason::Unreachable),
        },
    },
    Row {
        what: "the server failed",
        fits: |case| (500..600).contains(&case.status),
        verdict: |case| retry(case, SuspendReason::Unreachable),
    },
    Row {
        what: "a proxy wants a password",
        fits: |case| case.status == 407,
        verdict: |_| suspend(SuspendReason::Forbidden),
    },
    Row {
        what: "the server refuses every request of this kind",
        fits: |case| matches!(case.status, 406 | 411 | 412 | 415 | 417 | 421 | 426 | 431 | 451),
        verdict: |_| suspend(SuspendReason::BadRequest),
    },
    Row {
        what: "the server asks for the same request again",
        fits: |case| client_error(case) && case.worth_repeating,
        verdict: |case| retry(case, SuspendReason::Unreachable),
    },
    Row { what: "the server refuses the request", fits: client_error, verdict: refused },
];

/// Such as 103 or 999.
static NO_STATUS: Row =
    Row { what: "no HTTP status of an answer", fits: |_| true, verdict: |_| super::malformed() };

fn client_error(case: &Case<'_>) -> bool {
    (400..500).contains(&case.status)
}

/// Gemini says it with 400 and no code of its own.
fn key_refused(case: &Case<'_>) -> bool {
    case.status == 400 && case.said.is(&["invalid_argument"]) && case.said.says(&["api key not valid"])
}

fn stop(why: SuspendReason) -> Verdict {
    Verdict::Suspend { why, fatal_at_start: true }
}

fn suspend(why: SuspendReason) -> Verdict {
    Verdict::Suspend { why, fatal_at_start: false }
}

/// Only a record can be the cause.
fn guilty(reason: RejectReason) -> Verdict {
    Verdict::Bisect { reason, clear: true, otherwise: SuspendReason::BadRequest }
}

/// A record or the configuration: the text alone cannot tell.
fn refused(_: &Case<'_>) -> Verdict {
    Verdict::Bisect { reason: RejectReason::Rejected, clear: false, otherwise: SuspendReason::BadRequest }
}

fn retry(case: &Case<'_>, meanwhile: SuspendReason) -> Verdict {
    let (then, attempts) = (RejectReason::ProviderError, Attempts::Configured);
    Verdict::Retry { after: case.after, hold_off: false, attempts, then, meanwhile }
}

fn held(case: &Case<'_>, attempts: Attempts, meanwhile: SuspendReason) -> Verdict {
    let then = RejectReason::ProviderError;
    Verdict::Retry { after: case.after, hold_off: true, attempts, then, meanwhile }
}

/// It says nothing about the batch, so it costs no attempt.
fn limited(case: &Case<'_>) -> Verdict {
    held(case, Attempts::Unlimited, SuspendReason::Unreachable)
}
