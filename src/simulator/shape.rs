//! Errors as each kind of server words and shapes them.

use serde_json::{Value, json};

use super::profile::Profile;

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Problem {
    /// No JSON, or a member that is missing or of the wrong kind; in words.
    Request(String),
    Blank,
    Inputs {
        given: usize,
        most: usize,
    },
    /// One input is too long.
    Tokens {
        given: u64,
        most: u64,
    },
    /// All together are.
    Sum {
        given: u64,
        most: u64,
    },
    /// The body has too many bytes.
    Body,
    /// `dimensions`, and the native length.
    Dimensions(usize),
    NotMatryoshka,
    Encoding,
    /// A field that is not known.
    Field(String),
    TokenIds,
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Words {
    pub(super) status: u16,
    message: String,
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Problem {
    /// The words of this kind of server.
    pub(super) fn words(&self, profile: Profile) -> Words {
        let mut words = self.openai();
        match (profile, self) {
            (Profile::Tei, Self::Body) => {
                (words.status, words.message) = (413, "Failed to buffer the request body".into());
            }
            (_, Self::Body) => words.status = 413,
            (Profile::Tei, Self::Blank) => {
                (words.kind, words.message) = ("Empty", "`inputs` cannot be empty".into());
            }
            (Profile::Tei, problem) => {
                (words.status, words.kind) = (422, "Validation");
                if let Self::Inputs { given, most } = problem {
                    words.message = format!("batch size {given} > maximum allowed batch size {most}");
                }
            }
            (Profile::Vllm, Self::NotMatryoshka) | (Profile::Vllm, Self::Dimensions(_)) => {
                words.kind = "BadRequestError";
            }
            (Profile::Vllm, Self::Tokens { given, most }) => {
                words.message = format!(
                    "This model's maximum context length is {most} tokens. However, you requested {given} tokens in the \
                     input for embedding generation. Please reduce the length of the input."
                );
            }
            (Profile::LlamaCpp, Self::Tokens { given, .. }) => {
                (words.status, words.kind) = (500, "server_error");
                words.message = format!(
                    "input ({given} tokens) is too large to process. increase the physical batch size"
                );
            }
            (Profile::SiliconFlow, Self::Inputs { given, most }) => {
                words.status = 413;
                words.message = format!("input batch size {given} > maximum allowed batch size {most}");
            }
            (Profile::SiliconFlow, _) => {
                words.message = "The parameter is invalid. Please check again.".into();
            }
            (Profile::Mistral, Self::Inputs { most, .. }) => {
                words.code = Some("3210");
                words.message =
                    format!("Too many inputs in request, split into more batches: at most {most}.");
            }
            (Profile::Mistral, Self::Sum { given, most }) => {
                words.code = Some("3210");
                words.message = format!("Too many tokens in batch. Max is {most} got {given}");
            }
            (Profile::Infinity, Self::Inputs { most, .. }) => {
                words.status = 422;
                words.message = format!("List should have at most {most} items after validation");
            }
            _ => {}
        }
        words
    }

    fn openai(&self) -> Words {
        let words = |message: String, param, code| Words {
            status: 400,
            message,
            kind: "invalid_request_error",
            param,
            code,
        };
        match self {
            Self::Request(message) => words(message.clone(), None, None),
            Self::Blank => words(
                "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
                    .into(),
                None,
                None,
            ),
            Self::Inputs { given, most } => words(
                format!(
                    "Invalid 'input': array too long. Expected an array with maximum length {most}, but instead got an \
                     array with length {given}."
                ),
                Some("input"),
                Some("array_above_max_length"),
            ),
            Self::Tokens { given, most } => words(
                format!(
                    "This model's maximum context length is {most} tokens, however you requested {given} tokens \
                     ({given} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
                ),
                None,
                None,
            ),
            Self::Sum { given, most } => words(
                format!("Requested {given} tokens, max {most} tokens per request"),
                None,
                Some("max_tokens_per_request"),
            ),
            Self::Body => words("Payload too large".into(), None, None),
            Self::Dimensions(native) => words(
                format!("Invalid value for 'dimensions': it is not between 1 and {native}."),
                Some("dimensions"),
                None,
            ),
            Self::NotMatryoshka => words(
                "Model does not support matryoshka representation, changing output dimensions will lead to poor results."
                    .into(),
                Some("dimensions"),
                None,
            ),
            Self::Encoding => words(
                "Invalid value for 'encoding_format': it is not one of ['float', 'base64'].".into(),
                Some("encoding_format"),
                None,
            ),
            Self::Field(name) => words(format!("Unrecognized request argument supplied: {name}"), None, None),
            Self::TokenIds => {
                words("'input' holds token ids: this server embeds text only.".into(), Some("input"), None)
            }
        }
    }
}

impl Words {
    /// The body; a string is sent as plain text.
    pub(super) fn body(&self, profile: Profile) -> Value {
        let Self { status, message, kind, param, code } = self;
        match profile {
            Profile::OpenRouter | Profile::OpenAi => {
                json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
            }
            Profile::Azure => {
                json!({"error": {"code": code.map_or_else(|| status.to_string(), str::to_owned), "message": message}})
            }
            Profile::Tei if *status == 413 => json!(message),
            Profile::Tei => json!({"message": message, "code": status, "type": kind}),
            Profile::Vllm | Profile::Infinity => {
                json!({"error": {"message": message, "type": kind, "param": param, "code": status}})
            }
            Profile::Ollama => {
                json!({"error": {"message": message, "type": "api_error", "param": null, "code": null}})
            }
            Profile::LlamaCpp => json!({"error": {"code": status, "message": message, "type": kind}}),
            Profile::SiliconFlow => json!({"code": 20015, "message": message, "data": null}),
            Profile::Mistral => json!({
                "object": "error",
                "message": message,
                "type": kind,
                "param": param,
                "code": code.unwrap_or("1300"),
                "raw_status_code": status,
            }),
        }
    }
}

/// The error of a status, in the server's shape; `headers` is OpenRouter's copy of the limits.
pub(super) fn error(profile: Profile, status: u16, message: Option<&str>, headers: Option<Value>) -> Value {
    let (standard, kind) = standard(status);
    let message = message.unwrap_or(standard);
    if profile == Profile::OpenRouter {
        let mut metadata = json!({"error_type": kind});
        if let Some(headers) = headers {
            metadata["headers"] = headers;
        }
        return json!({"error": {"code": status, "message": message, "metadata": metadata}});
    }
    if profile == Profile::SiliconFlow && status == 401 {
        return json!(message);
    }
    let kind = match (profile, status) {
        (Profile::Tei, 429) => "Overloaded",
        (Profile::Tei, 424) => "Backend",
        (Profile::Tei, 503) => "Unhealthy",
        (Profile::Mistral, 429) => "rate_limited",
        _ => kind,
    };
    let code = (profile == Profile::OpenAi && status == 429).then_some("rate_limit_exceeded");
    Words { status, message: message.to_owned(), kind, param: None, code }.body(profile)
}

/// What a status is called.
fn standard(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("Input validation failed", "invalid_request"),
        401 => ("No auth credentials found", "authentication"),
        402 => (
            "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
            "payment_required",
        ),
        403 => ("Access to this model is not permitted", "permission_denied"),
        404 => ("No endpoints found for this model", "not_found"),
        408 | 504 => ("The request timed out", "timeout"),
        413 => ("Payload too large", "payload_too_large"),
        422 => ("Unprocessable request", "unprocessable"),
        429 => ("Rate limit exceeded", "rate_limit_exceeded"),
        502 => ("Provider returned error", "provider_unavailable"),
        503 | 529 => ("Provider is overloaded", "provider_overloaded"),
        500..=599 => ("Internal Server Error", "server"),
        _ => ("Unexpected status", "unmapped"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile::PROFILES;
    use super::*;

    #[test]
    fn errors_have_openrouters_shape() {
        for status in 400..=599 {
            let body = error(Profile::OpenRouter, status, None, None);
            assert_eq!(body["error"]["code"], status);
            assert!(!body["error"]["message"].as_str().unwrap().is_empty());
            assert!(body["error"]["metadata"]["error_type"].is_string());
        }
    }

    #[test]
    fn each_server_has_its_own_shape() {
        let code = |profile| error(profile, 429, None, None);
        assert_eq!(code(Profile::OpenAi)["error"]["code"], "rate_limit_exceeded");
        assert_eq!(code(Profile::Azure)["error"]["code"], "429");
        assert_eq!(
            code(Profile::Tei),
            json!({"message": "Rate limit exceeded", "code": 429, "type": "Overloaded"})
        );
        assert_eq!(code(Profile::Vllm)["error"]["code"], 429);
        assert!(code(Profile::Ollama)["error"]["code"].is_null());
        assert_eq!(code(Profile::SiliconFlow)["code"], 20015);
        assert_eq!(code(Profile::Mistral)["type"], "rate_limited");
    }

    #[test]
    fn each_server_has_its_own_words() {
        let many = Problem::Inputs { given: 77, most: 32 };
        let tei = many.words(Profile::Tei);
        assert_eq!(
            (tei.status, tei.message.as_str()),
            (422, "batch size 77 > maximum allowed batch size 32")
        );
        assert_eq!(many.words(Profile::Mistral).body(Profile::Mistral)["code"], "3210");
        assert_eq!(many.words(Profile::SiliconFlow).status, 413);
        let long = Problem::Tokens { given: 992, most: 512 };
        assert_eq!(long.words(Profile::LlamaCpp).status, 500);
        assert!(long.words(Profile::Vllm).message.contains("you requested 992 tokens"));
        for (name, profile) in PROFILES {
            assert!(!many.words(profile).message.is_empty(), "{name}");
            assert_eq!(Problem::Body.words(profile).status, 413, "{name}");
        }
        assert!(Problem::Body.words(Profile::Tei).body(Profile::Tei).is_string(), "plain text");
    }
}
