//! What kind of server is simulated: its limits, its manners, the shape of its errors (see `shape`).

use std::fmt;
use std::str::FromStr;

/// A kind of server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// OpenRouter: probes of the key and the model's endpoints, a response cache, `usage.cost`.
    #[default]
    OpenRouter,
    /// OpenAI: strict.
    OpenAi,
    /// Azure: the key in `api-key`, deployments, `api-version`.
    Azure,
    /// Hugging Face text-embeddings-inference: 32 inputs, truncates silently, one permit an input.
    Tei,
    /// vLLM, for a model that is not said to be Matryoshka.
    Vllm,
    /// Ollama: truncates silently.
    Ollama,
    /// The llama.cpp server: 512 tokens an input.
    LlamaCpp,
    /// SiliconFlow: 64 inputs, one code for nearly everything.
    SiliconFlow,
    /// Mistral: 512 inputs, 16,384 tokens in all.
    Mistral,
    /// infinity.
    Infinity,
}

/// Every profile by its name.
pub const PROFILES: [(&str, Profile); 10] = [
    ("openrouter", Profile::OpenRouter),
    ("openai", Profile::OpenAi),
    ("azure", Profile::Azure),
    ("tei", Profile::Tei),
    ("vllm", Profile::Vllm),
    ("ollama", Profile::Ollama),
    ("llamacpp", Profile::LlamaCpp),
    ("siliconflow", Profile::SiliconFlow),
    ("mistral", Profile::Mistral),
    ("infinity", Profile::Infinity),
];

/// What a 429 of the limits tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hints {
    /// All of it: `Retry-After`, OpenAI's headers on every answer, OpenRouter's copy in the body.
    #[default]
    All,
    /// Nothing at all, in no answer: the limits are hidden.
    None,
    /// `Retry-After` only, on the 429.
    RetryAfter,
    /// As OpenRouter: `X-RateLimit-*` in milliseconds since 1970, on the 429 and in its body; no `Retry-After`.
    OpenRouter,
    /// As OpenAI: `x-ratelimit-*` on every answer, and `Retry-After`.
    OpenAi,
}

/// Every kind of hint by its name.
pub const HINTS: [(&str, Hints); 5] = [
    ("all", Hints::All),
    ("none", Hints::None),
    ("retry_after", Hints::RetryAfter),
    ("openrouter", Hints::OpenRouter),
    ("openai", Hints::OpenAi),
];

/// Not the name of a profile or of hints.
#[derive(Debug, thiserror::Error)]
#[error("it is one of {}", .0.join(", "))]
pub struct NoSuchName(Vec<&'static str>);

fn find<T: Copy>(names: &[(&'static str, T)], text: &str) -> Result<T, NoSuchName> {
    let found = names.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| NoSuchName(names.iter().map(|(name, _)| *name).collect()))
}

impl FromStr for Profile {
    type Err = NoSuchName;

    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        find(&PROFILES, text)
    }
}

impl FromStr for Hints {
    type Err = NoSuchName;

    fn from_str(text: &str) -> Result<Self, NoSuchName> {
        find(&HINTS, text)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PROFILES.iter().find(|(_, profile)| profile == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What becomes of an input above the server's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooLong {
    Refused,
    /// Only its beginning is embedded and billed, and nobody is told.
    Truncated,
}

/// What becomes of `dimensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dimensions {
    /// Sliced and normalised.
    Taken,
    /// Refused, as for a model that is not said to be Matryoshka.
    Refused,
    /// The vector has its native length.
    Ignored,
    /// Only these, if the model's vectors are that long.
    Listed(&'static [u64]),
}

/// How many calls or inputs may be here at a time; more are refused at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permits {
    Unlimited,
    Calls(u64),
    Inputs(u64),
}

/// How a server behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    pub(super) most_inputs: usize,
    /// Tokens of one input.
    pub(super) most_tokens: u64,
    pub(super) too_long: TooLong,
    /// Tokens of all inputs of a call.
    pub(super) most_tokens_in_all: u64,
    pub(super) most_bytes: usize,
    /// Whether a blank input is embedded like any other.
    pub(super) takes_blank: bool,
    pub(super) dimensions: Dimensions,
    /// Whether a field that it does not know is refused.
    pub(super) strict: bool,
    /// Whether a request must name a model.
    pub(super) needs_model: bool,
    pub(super) hints: Hints,
    pub(super) permits: Permits,
}

/// OpenRouter's, and what most others share.
const COMMON: Traits = Traits {
    most_inputs: 2048,
    most_tokens: 32_768,
    too_long: TooLong::Refused,
    most_tokens_in_all: u64::MAX,
    most_bytes: 64 << 20,
    takes_blank: false,
    dimensions: Dimensions::Taken,
    strict: false,
    needs_model: true,
    hints: Hints::None,
    permits: Permits::Unlimited,
};

const SILICONFLOW_LENGTHS: [u64; 9] = [64, 128, 256, 512, 768, 1024, 1536, 2048, 2560];

impl Profile {
    pub(super) fn traits(self) -> Traits {
        match self {
            // All, not only what it really tells: whoever asks for nothing else wants to be told.
            Self::OpenRouter => Traits { hints: Hints::All, ..COMMON },
            Self::OpenAi => Traits {
                most_tokens: 8_192,
                most_tokens_in_all: 300_000,
                strict: true,
                hints: Hints::OpenAi,
                ..COMMON
            },
            Self::Azure => Traits {
                most_tokens: 8_192,
                strict: true,
                needs_model: false,
                hints: Hints::OpenAi,
                ..COMMON
            },
            Self::Tei => Traits {
                most_inputs: 32,
                most_tokens: 16_384,
                too_long: TooLong::Truncated,
                most_bytes: 2_000_000,
                needs_model: false,
                permits: Permits::Inputs(512),
                ..COMMON
            },
            Self::Vllm => Traits { most_inputs: usize::MAX, dimensions: Dimensions::Refused, ..COMMON },
            Self::Ollama => Traits {
                most_inputs: usize::MAX,
                too_long: TooLong::Truncated,
                takes_blank: true,
                permits: Permits::Calls(512),
                ..COMMON
            },
            Self::LlamaCpp => Traits {
                most_inputs: usize::MAX,
                most_tokens: 512,
                needs_model: false,
                takes_blank: true,
                dimensions: Dimensions::Ignored,
                ..COMMON
            },
            Self::SiliconFlow => Traits {
                most_inputs: 64,
                dimensions: Dimensions::Listed(&SILICONFLOW_LENGTHS),
                hints: Hints::RetryAfter,
                ..COMMON
            },
            Self::Mistral => Traits {
                most_inputs: 512,
                most_tokens: 8_192,
                most_tokens_in_all: 16_384,
                hints: Hints::RetryAfter,
                ..COMMON
            },
            Self::Infinity => Traits { takes_blank: true, ..COMMON },
        }
    }
}
