//! What servers were seen to answer, row by row.

use super::*;

/// What headers alone say.
pub(super) fn by_header() -> Vec<(u16, &'static str, &'static str, Verdict)> {
    use SuspendReason::{PaymentRequired, Unreachable};
    let after = |milliseconds| Verdict::Retry {
        after: Some(Duration::from_millis(milliseconds)),
        hold_off: true,
        attempts: Attempts::Unlimited,
        then: RejectReason::ProviderError,
        meanwhile: Unreachable,
    };
    vec![
        (429, "retry-after", "86400", suspend(PaymentRequired)),
        // The next midnight, as of a day's limit.
        (429, "retry-after", "Sun, 02 Aug 2026 00:00:00 GMT", suspend(PaymentRequired)),
        (429, "retry-after", "600", after(60_000)),
        (429, "retry-after", "1.5", after(1500)),
        (429, "retry-after-ms", "250", after(250)),
        (429, "retry-after", "0", held(Attempts::Unlimited, Unreachable)),
        (429, "retry-after", "-1", held(Attempts::Unlimited, Unreachable)),
        (429, "retry-after", "NaN", held(Attempts::Unlimited, Unreachable)),
        (429, "retry-after", "Fri, 31 Jul 2026 00:00:00 GMT", held(Attempts::Unlimited, Unreachable)),
        (400, "x-should-retry", "true", retry(Unreachable)),
        (400, "x-should-retry", "false", refused()),
        (401, "x-should-retry", "true", stop(SuspendReason::Unauthorized)),
        // Bounded attempts, and others may be luckier.
        (500, "x-should-retry", "false", retry(Unreachable)),
    ]
}

/// Recorded shapes: what servers were seen to answer (64 texts).
pub(super) fn recorded() -> Vec<(u16, &'static str, Verdict)> {
    use SuspendReason::{
        BadRequest, Forbidden, MalformedResponse, NotFound, PaymentRequired, Redirect, Timeout, Unauthorized,
        Unreachable,
    };
    vec![
        // What the server says about trying again comes first.
        (
            404,
            r#"{"error":{"message":"No endpoints","availability":{"code":"no_endpoints","retryable":true}}}"#,
            held(Attempts::Configured, Unreachable),
        ),
        (
            503,
            r#"{"error":{"message":"x","availability":{"code":"capacity_exhausted","retryable":true}}}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (
            503,
            r#"{"error":{"message":"x","availability":{"code":"region_restricted","retryable":false}}}"#,
            suspend(NotFound),
        ),
        // Redirects, keys, money.
        (301, "<html>", stop(Redirect)),
        (308, "", stop(Redirect)),
        (401, r#"{"error":{"message":"No auth credentials found","code":401}}"#, stop(Unauthorized)),
        (401, "<html><h1>401</h1>", stop(Unauthorized)),
        (
            400,
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
            stop(Unauthorized),
        ),
        (402, r#"{"error":{"message":"Insufficient credits","code":402}}"#, suspend(PaymentRequired)),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            suspend(PaymentRequired),
        ),
        (
            429,
            r#"{"error":{"message":"x","type":"requests","code":"credit_balance_exhausted"}}"#,
            suspend(PaymentRequired),
        ),
        (
            429,
            r#"{"error":{"message":"Rate limit exceeded: free-models-per-day","code":429}}"#,
            suspend(PaymentRequired),
        ),
        // Content.
        (
            400,
            r#"{"error":{"message":"flagged","code":"content_policy_violation"}}"#,
            guilty(RejectReason::Content),
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"Your input was flagged","metadata":{"reasons":["violence"],"flagged_input":"…"}}}"#,
            guilty(RejectReason::Content),
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"guardrail","metadata":{"patterns":["x"]}}}"#,
            guilty(RejectReason::Content),
        ),
        (403, "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>", stop(Forbidden)),
        (
            403,
            r#"{"error":{"message":"not allowed","metadata":{"reasons":[],"error_type":"permission_denied"}}}"#,
            stop(Forbidden),
        ),
        // Limits.
        (
            429,
            r#"{"error":{"code":"429","message":"Requests have exceeded call rate limit."}}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (
            429,
            r#"{"message":"Model is overloaded","code":429,"type":"Overloaded"}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (429, "", held(Attempts::Unlimited, Unreachable)),
        (
            429,
            r#"{"error":{"message":"Request too large for text-embedding-3-small on tokens per min (TPM): Limit 30000, Requested 40000.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            Verdict::Shrink(Cap::Tokens(Some(30_000))),
        ),
        // Sums.
        (
            400,
            r#"{"error":{"message":"Requested 375703 tokens, max 300000 tokens per request","type":"max_tokens_per_request","param":null,"code":"max_tokens_per_request"}}"#,
            Verdict::Shrink(Cap::Tokens(Some(300_000))),
        ),
        (
            400,
            r#"{"object":"error","message":"Too many tokens in batch. Max is 16384 got 20103","type":"invalid_request_error","param":null,"code":"3210","raw_status_code":400}"#,
            Verdict::Shrink(Cap::Tokens(Some(16_384))),
        ),
        (
            400,
            r#"{"object":"error","message":"Too many tokens overall, split into more batches.","type":"invalid_request_error","code":null}"#,
            Verdict::Shrink(Cap::Tokens(None)),
        ),
        (
            400,
            r#"{"detail":"Request to model failed. The max allowed tokens per submitted batch is 120000. Your batch has 130000 tokens after truncation."}"#,
            Verdict::Shrink(Cap::Tokens(Some(120_000))),
        ),
        // Counts.
        (
            413,
            r#"{"code":20042,"message":"input batch size 64 > maximum allowed batch size 32","data":null}"#,
            records(32),
        ),
        (
            422,
            r#"{"message":"batch size 64 > maximum allowed batch size 32","code":422,"type":"Validation"}"#,
            records(32),
        ),
        (
            400,
            r#"{"error":{"code":"InvalidParameter","param":null,"message":"<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should not be larger than 10.: input.contents","type":"InvalidParameter"},"id":"x","request_id":"x"}"#,
            records(10),
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"* BatchEmbedContentsRequest.requests: at most 50 requests can be in one batch","status":"INVALID_ARGUMENT"}}"#,
            records(50),
        ),
        (
            422,
            r#"{"detail":[{"type":"too_long","loc":["body","input"],"msg":"List should have at most 48 items after validation, not 64","input":["batch size 3"]}]}"#,
            records(48),
        ),
        (
            400,
            r#"{"object":"error","message":"Too many inputs in request. Max is 60 got 64","type":"x","code":"3210"}"#,
            records(60),
        ),
        (
            400,
            r#"{"object":"error","message":"Too many inputs in request, split into more batches.","type":"invalid_request_error","code":"3210"}"#,
            Verdict::Shrink(Cap::Records(None)),
        ),
        (400, r#"{"error":{"message":"batch size too large"}}"#, Verdict::Shrink(Cap::Records(None))),
        // Length.
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens, however you requested 17143 tokens (17143 in your prompt; 0 for the completion). Please reduce your prompt.","type":"invalid_request_error","param":null,"code":null}}"#,
            guilty(RejectReason::TooLong),
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"x","metadata":{"error_type":"context_length_exceeded"}}}"#,
            guilty(RejectReason::TooLong),
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"input exceeds","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}"#,
            guilty(RejectReason::TooLong),
        ),
        (
            422,
            r#"{"message":"Input validation error: `inputs` must have less than 512 tokens. Given: 600","code":422,"type":"Validation"}"#,
            guilty(RejectReason::TooLong),
        ),
        (
            422,
            r#"{"detail":[{"type":"string_too_long","loc":["body","input",0],"msg":"String should have at most 122880 characters","input":"…"}]}"#,
            guilty(RejectReason::TooLong),
        ),
        (
            500,
            r#"{"error":{"code":500,"message":"input (992 tokens) is too large to process. increase the physical batch size (current batch size: 512)","type":"server_error"}}"#,
            guilty(RejectReason::TooLong),
        ),
        (
            400,
            r#"{"error":{"message":"You passed 513 input tokens and requested 0 output tokens. However, the model's context length is only 512 tokens: it contains at least 513 input tokens. (parameter=input_tokens, value=513)","type":"BadRequestError","param":"input_tokens","code":400}}"#,
            guilty(RejectReason::TooLong),
        ),
        (413, "Failed to buffer the request body: length limit exceeded", Verdict::Shrink(Cap::Bytes(None))),
        (413, "<html><h1>413 Request Entity Too Large</h1>", Verdict::Shrink(Cap::Bytes(None))),
        // The request itself.
        (
            400,
            r#"{"error":{"message":"Model \"Qwen/Qwen3-Embedding-4B\" does not support matryoshka representation, changing output dimensions will lead to poor results.","type":"BadRequestError","param":null,"code":400}}"#,
            suspend(BadRequest),
        ),
        (
            400,
            r#"{"error":{"message":"x","param":"encoding_format","type":"invalid_request_error"}}"#,
            suspend(BadRequest),
        ),
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","dimensions"],"msg":"Extra inputs are not permitted","input":256}]}"#,
            suspend(BadRequest),
        ),
        // Models and addresses.
        (404, r#"{"error":{"message":"No successful provider responses.","code":404}}"#, retry(NotFound)),
        (200, r#"{"error":{"message":"No successful provider responses.","code":404}}"#, retry(NotFound)),
        (
            404,
            r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
            stop(NotFound),
        ),
        (404, "404 page not found", stop(NotFound)),
        (405, "", stop(NotFound)),
        (501, "", stop(NotFound)),
        (400, r#"{"error":{"message":"qwen/x is not a valid model ID","code":400}}"#, stop(NotFound)),
        (
            400,
            r#"{"error":{"message":"x","availability":{"code":"wrong_endpoint","retryable":false}}}"#,
            stop(NotFound),
        ),
        (
            503,
            r#"{"error":{"message":"no available channel for model x under group default","type":"new_api_error"}}"#,
            held(Attempts::Configured, NotFound),
        ),
        // Not finite.
        (
            400,
            r#"{"error":{"message":"embedding contains NaN or Inf values","type":"api_error"}}"#,
            again(Attempts::Few(1), RejectReason::NonFinite, MalformedResponse),
        ),
        (
            500,
            r#"{"error":{"message":"failed to encode response: json: unsupported value: NaN","type":"api_error"}}"#,
            Verdict::Bisect { reason: RejectReason::NonFinite, clear: false, otherwise: MalformedResponse },
        ),
        (
            500,
            "Out of range float values are not JSON compliant: nan",
            Verdict::Bisect { reason: RejectReason::NonFinite, clear: false, otherwise: MalformedResponse },
        ),
        // Trouble that passes.
        (
            400,
            r#"{"error":{"message":"do embedding request: Post \"http://127.0.0.1:1/embedding\": EOF","type":"api_error"}}"#,
            retry(Unreachable),
        ),
        (408, "", retry(Timeout)),
        (504, "<html>", retry(Timeout)),
        (524, "", retry(Timeout)),
        (409, "", retry(Unreachable)),
        (424, r#"{"message":"DriverError(CUDA_ERROR)","code":424,"type":"Backend"}"#, retry(Unreachable)),
        (425, "", retry(Unreachable)),
        (499, "", retry(Unreachable)),
        (
            503,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (529, "", held(Attempts::Configured, Unreachable)),
        (
            500,
            r#"{"error":{"message":"x","code":"server_is_overloaded"}}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (500, "", retry(Unreachable)),
        (502, "<html><center>nginx</center>", retry(Unreachable)),
        (520, "", retry(Unreachable)),
        (522, "", retry(Unreachable)),
        (503, "", held(Attempts::Unlimited, Unreachable)),
        (
            503,
            r#"{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (
            429,
            r#"{"object":"error","message":"Requests rate limit exceeded","type":"rate_limited","param":null,"code":"1300","raw_status_code":429}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (
            429,
            r#"{"error":{"message":"x","type":"insufficient_quota","code":429,"metadata":null}}"#,
            suspend(PaymentRequired),
        ),
        (200, r#"{"error":"upstream broke"}"#, retry(Unreachable)),
        (200, r#"{"code":20015,"message":"The parameter is invalid.","data":null}"#, retry(Unreachable)),
        // OpenRouter's names stand for a status where there is no number.
        (
            200,
            r#"{"error":{"message":"x","error_type":"rate_limit_exceeded"}}"#,
            held(Attempts::Unlimited, Unreachable),
        ),
        (200, r#"{"error":{"message":"x","metadata":{"error_type":"authentication"}}}"#, stop(Unauthorized)),
        (
            200,
            r#"{"error":{"message":"x","http_status":402,"error_type":"payment_required"}}"#,
            suspend(PaymentRequired),
        ),
        (
            200,
            r#"{"error":{"message":"x","error_type":"not_found","availability":{"code":"model_deprecated","retryable":false}}}"#,
            stop(NotFound),
        ),
        (
            200,
            r#"{"error":{"message":"x","availability":{"code":"temporarily_unavailable","retryable":true,"retry_after":null}}}"#,
            held(Attempts::Configured, Unreachable),
        ),
        (
            200,
            r#"{"error":{"message":"x","metadata":{"error_type":"context_length_exceeded"}}}"#,
            guilty(RejectReason::TooLong),
        ),
        // Errors in other wrappings.
        (
            429,
            r#"{"detail":{"error":{"message":"x","type":"insufficient_quota"}}}"#,
            suspend(PaymentRequired),
        ),
        (
            400,
            r#"{"detail":{"message":"This model's maximum context length is 512 tokens","code":400}}"#,
            guilty(RejectReason::TooLong),
        ),
        (400, r#"{"errors":[{"message":"x","code":"model_not_found"}]}"#, stop(NotFound)),
        (404, r#"{"detail":"Not Found"}"#, stop(NotFound)),
        (422, r#"{"error":"input: [] or {}","error_type":"Validation"}"#, refused()),
        // Configuration.
        (421, "", suspend(BadRequest)),
        (410, "", stop(NotFound)),
        (407, "", suspend(Forbidden)),
        (412, "", suspend(BadRequest)),
        (415, "", suspend(BadRequest)),
        (431, "", suspend(BadRequest)),
        (451, "", suspend(BadRequest)),
        // Who knows.
        (
            400,
            r#"{"code":20015,"message":"The parameter is invalid. Please check again.","data":null}"#,
            refused(),
        ),
        (
            200,
            r#"{"error":{"code":400,"message":"HTTP 400: {\"code\":20015,\"message\":\"The parameter is invalid. Please check again.\",\"data\":null}"}}"#,
            refused(),
        ),
        (
            400,
            r#"{"error":{"message":"'$.input' is invalid. Please check the API reference","type":"invalid_request_error","param":null,"code":null}}"#,
            refused(),
        ),
        (
            422,
            r#"{"detail":[{"type":"string_type","loc":["body","input",0],"msg":"Input should be a valid string"}]}"#,
            refused(),
        ),
        (
            400,
            r#"{"error":{"message":"[''] is not valid under any of the given schemas - 'input'","type":"invalid_request_error","param":null,"code":null}}"#,
            refused(),
        ),
        (400, r#"{"message":"`inputs` cannot be empty","code":400,"type":"Empty"}"#, refused()),
        (
            400,
            r#"{"error":{"message":"Incorrect padding","type":"invalid_request_error","param":null,"code":null,"metadata":null}}"#,
            refused(),
        ),
        (400, "", refused()),
        (418, "", refused()),
        (999, "", malformed()),
        (103, "", malformed()),
    ]
}
