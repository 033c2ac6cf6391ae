//! The named profiles: what is known of a provider, as one layer between the defaults and the file.
//!
//! A profile says what the server takes and how it is spoken to; whatever the file or the environment says comes before it. Batches are not made as large as
//! a server allows: beyond 128 texts a call gains little and waits long (measured: 58 to 53 ms a text, at 7 times the latency).

use ::config::{Map, Value, ValueKind};

use super::problem::Problem;
use super::provider::Provider;

/// The profile that the defaults are for.
pub(super) const DEFAULT: &str = "openrouter";

/// A batch of more texts is worth little.
const WORTH: u64 = 128;

/// What is known of one provider; `None`: nothing that differs from the defaults.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    /// The public address. Without one `provider.url` must be written.
    url: Option<&'static str>,
    /// Texts in a call that the server takes.
    texts: Option<u64>,
    /// Tokens in a call, all texts together.
    tokens: Option<u64>,
    /// Tokens in a text.
    context: Option<u64>,
    /// The header that carries the bare key; otherwise `Authorization: Bearer`.
    key_header: Option<&'static str>,
    /// USD for 1,000,000 tokens; 0 where it costs nothing or depends on the model.
    usd: Option<f64>,
}

const NOTHING: Profile = Profile {
    name: "",
    url: None,
    texts: None,
    tokens: None,
    context: None,
    key_header: None,
    usd: Some(0.0),
};

/// Every profile. The limits are those that the servers' documents, sources or errors tell.
pub(super) const PROFILES: [Profile; 17] = [
    // https://openrouter.ai/qwen/qwen3-embedding-4b: 32,768 tokens, $0.02. How many texts it takes is told nowhere.
    Profile { name: DEFAULT, url: Some("https://openrouter.ai/api/v1"), usd: Some(0.02), ..NOTHING },
    // openai-python, embeddings.py: 2048 texts, 8192 tokens each, 300,000 together.
    Profile {
        name: "openai",
        url: Some("https://api.openai.com/v1"),
        texts: Some(2048),
        tokens: Some(300_000),
        context: Some(8192),
        ..NOTHING
    },
    // learn.microsoft.com, REST reference: OpenAI's models, 2048 texts, the header api-key.
    Profile { name: "azure", texts: Some(2048), context: Some(8192), key_header: Some("api-key"), ..NOTHING },
    // text-embeddings-inference, router: --max-client-batch-size 32, --max-batch-tokens 16384.
    Profile { name: "tei", texts: Some(32), tokens: Some(16_384), ..NOTHING },
    // vLLM: --max-model-len bounds a text, nothing the number of them.
    Profile { name: "vllm", ..NOTHING },
    // Ollama: no bound on the number; it cuts long texts without a word.
    Profile { name: "ollama", ..NOTHING },
    // infinity, pydantic_v2.py: 2048 texts.
    Profile { name: "infinity", texts: Some(2048), ..NOTHING },
    // llama.cpp, server: a text must fit into --ubatch-size, 512 unless it is set.
    Profile { name: "llamacpp", context: Some(512), ..NOTHING },
    // "input batch size 473 > maximum allowed batch size 64".
    Profile { name: "siliconflow", url: Some("https://api.siliconflow.cn/v1"), texts: Some(64), ..NOTHING },
    // Error 3210 beyond 512 texts; "Too many tokens in batch" beyond 16,384.
    Profile {
        name: "mistral",
        url: Some("https://api.mistral.ai/v1"),
        texts: Some(512),
        tokens: Some(16_384),
        ..NOTHING
    },
    // 1000 texts; 120,000 tokens with the larger models, more with the others.
    Profile {
        name: "voyage",
        url: Some("https://api.voyageai.com/v1"),
        texts: Some(1000),
        tokens: Some(120_000),
        ..NOTHING
    },
    // 400 beyond 2048 texts.
    Profile { name: "jina", url: Some("https://api.jina.ai/v1"), texts: Some(2048), ..NOTHING },
    // 422 beyond 1024 texts.
    Profile {
        name: "deepinfra",
        url: Some("https://api.deepinfra.com/v1/openai"),
        texts: Some(1024),
        usd: Some(0.02),
        ..NOTHING
    },
    // "batch size is invalid, it should not be larger than 10".
    Profile {
        name: "dashscope",
        url: Some("https://dashscope.aliyuncs.com/compatible-mode/v1"),
        texts: Some(10),
        ..NOTHING
    },
    // 96 texts.
    Profile {
        name: "cohere",
        url: Some("https://api.cohere.ai/compatibility/v1"),
        texts: Some(96),
        ..NOTHING
    },
    // "at most 100 requests can be in one batch", 2048 tokens each.
    Profile {
        name: "gemini",
        url: Some("https://generativelanguage.googleapis.com/v1beta/openai"),
        texts: Some(100),
        context: Some(2048),
        ..NOTHING
    },
    // Nothing is known: all stays as it is by default.
    Profile { name: "custom", usd: None, ..NOTHING },
];

impl Profile {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name.trim())
    }

    /// The host of its public address.
    pub(super) fn host(&self) -> Option<&'static str> {
        self.url?.split('/').nth(2)
    }

    /// What it sets; nothing for the profile that the defaults are for.
    fn settings(&self) -> Map<String, Value> {
        let origin = format!("profile {}", self.name);
        let mut layer = Map::new();
        if self.name == DEFAULT {
            return layer;
        }
        let mut set = |section: &str, key: &str, text: Option<String>| {
            let Some(text) = text else { return };
            let table = layer
                .entry(section.to_owned())
                .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
            if let ValueKind::Table(table) = &mut table.kind {
                table.insert(key.to_owned(), Value::new(Some(&origin), text));
            }
        };
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        set("provider", "url", self.url.map(str::to_owned));
        set("provider", "context_tokens", number(self.context));
        set("provider", "key_header", self.key_header.map(str::to_owned));
        set("provider", "response_cache", Some("false".to_owned()));
        set("provider", "usd_per_million_tokens", self.usd.map(|usd| usd.to_string()));
        set("batch", "max_records", number(self.texts.map(|texts| texts.min(WORTH))));
        let most = super::Batch::default().max_tokens;
        set("batch", "max_tokens", number(self.tokens.map(|tokens| tokens.min(most))));
        layer
    }
}

/// The layer of the profile that the file or the environment names, and what is wrong with it: without an address of its own one must be
/// written, or the key and the texts would go to somebody else.
pub(super) fn layer(
    file: &Map<String, Value>,
    environment: &Map<String, Value>,
) -> (Map<String, Value>, Option<Problem>) {
    let written = |key: &str| written(environment, key).or_else(|| written(file, key));
    let name = written("profile");
    let Some(profile) = Profile::named(&name.map_or_else(|| DEFAULT.to_owned(), Value::to_string)) else {
        return (Map::new(), None);
    };
    let homeless = profile.url.is_none() && written("url").is_none();
    let problem = homeless.then(|| {
        let message = format!(
            "is not set, and provider.profile: {} has no address of its own; write for example http://localhost:8080/v1",
            profile.name
        );
        Problem::with("provider.url", message).at(name.and_then(Value::origin))
    });
    (profile.settings(), problem)
}

fn written<'a>(layer: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    match &layer.get("provider")?.kind {
        ValueKind::Table(provider) => provider.get(key),
        _ => None,
    }
}

/// Adds what follows from other settings. OpenRouter drops parameters that an upstream does not know, without a word; whoever asks for shorter vectors or an
/// input type means it.
pub(super) fn complete(provider: &mut Provider) {
    let sends = provider.shorten == super::Shorten::Remote || provider.body.contains_key("input_type");
    if provider.profile != DEFAULT || !sends {
        return;
    }
    let routing = provider.body.entry("provider").or_insert_with(|| serde_json::Map::new().into());
    if let Some(routing) = routing.as_object_mut()
        && !routing.contains_key("require_parameters")
    {
        routing.insert("require_parameters".to_owned(), true.into());
    }
    provider.body.sort_keys();
    provider.body.values_mut().for_each(serde_json::Value::sort_all_objects);
}
