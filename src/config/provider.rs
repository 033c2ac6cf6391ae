//! The `provider` section.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::choice::{self, Encoding, Shorten};
use super::secret::Secret;
use super::units::duration;
use super::{scalar, secret};

/// Headers that belong to the connection or to the body: the worker writes them itself.
pub const RESERVED_HEADERS: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Who embeds, with which model, and how long it may take.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// The base URL, to whose path `/embeddings` is appended. Its query is kept.
    #[serde(deserialize_with = "url")]
    pub url: Url,
    /// The name of a set of limits and quirks.
    #[serde(deserialize_with = "scalar::text")]
    pub profile: String,
    /// The header that carries the key: `authorization` (as `Bearer KEY`), or another one, such as Azure's `api-key`, with the bare key.
    #[serde(deserialize_with = "scalar::text")]
    pub key_header: String,
    /// Azure's `api-version`, added to the URL's query.
    #[serde(deserialize_with = "scalar::optional_text")]
    pub api_version: Option<String>,
    /// Tokens that the model takes in one text.
    #[serde(deserialize_with = "scalar::number")]
    pub context_tokens: u64,
    /// Who makes vectors shorter than the model's own.
    #[serde(with = "choice")]
    pub shorten: Shorten,
    /// Whether OpenRouter is asked to keep answers for a repetition of the same call.
    #[serde(deserialize_with = "scalar::truth")]
    pub response_cache: bool,
    /// The model's name, as the provider knows it.
    #[serde(deserialize_with = "scalar::text")]
    pub model: String,
    /// The key. Prefer `api_key_file`; see [`Provider::read_key`] for what comes first.
    #[serde(deserialize_with = "scalar::optional_secret")]
    pub api_key: Option<Secret>,
    /// A file with the key, which may be rotated.
    #[serde(deserialize_with = "scalar::optional_path")]
    pub api_key_file: Option<PathBuf>,
    /// What `OPENROUTER_API_KEY` holds. Not a setting: the last of the three ways to give the key.
    #[serde(skip)]
    pub(super) openrouter_key: Option<Secret>,
    /// The length of the published vectors. A longer answer is sliced and normalised again.
    #[serde(deserialize_with = "scalar::number")]
    pub dimensions: usize,
    /// How the provider is asked to write vectors.
    #[serde(with = "choice")]
    pub encoding: Encoding,
    /// How long a whole call may take.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long a connection may take to be made.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long no call may succeed, while some are in flight, before the worker is unready.
    #[serde(with = "duration")]
    pub unready_after: Duration,
    /// How a suspended worker tries again.
    pub probe: Probe,
    /// The price of 1,000,000 tokens in USD.
    #[serde(deserialize_with = "scalar::fraction")]
    pub usd_per_million_tokens: f64,
    /// An instruction before every text that is sent. Counted, never published.
    #[serde(deserialize_with = "scalar::text")]
    pub prefix: String,
    /// How tokens are counted; see [`Provider::tokens`].
    #[serde(deserialize_with = "scalar::text")]
    pub tokenizer: String,
    /// Extra request headers. Some are secrets: `Debug` and `Serialize` redact them.
    #[serde(deserialize_with = "scalar::text_map", serialize_with = "secret::serialize_map")]
    pub headers: BTreeMap<String, String>,
    /// Extra fields of the request, sorted by name at every depth so that retries send the same bytes.
    #[serde(deserialize_with = "body", serialize_with = "secret::serialize_body")]
    pub body: Map<String, Value>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            url: Url::parse("https://openrouter.ai/api/v1").expect("a constant that parses"),
            profile: "openrouter".to_owned(),
            key_header: "authorization".to_owned(),
            api_version: None,
            context_tokens: 32_768,
            shorten: Shorten::Local,
            response_cache: true,
            model: "qwen/qwen3-embedding-4b".to_owned(),
            api_key: None,
            api_key_file: None,
            openrouter_key: None,
            dimensions: 2560,
            encoding: Encoding::Auto,
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(5),
            unready_after: Duration::from_secs(30),
            probe: Probe::default(),
            usd_per_million_tokens: 0.02,
            prefix: String::new(),
            tokenizer: AUTO.to_owned(),
            headers: BTreeMap::new(),
            body: Map::new(),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("url", &self.url.as_str())
            .field("profile", &self.profile)
            .field("key_header", &self.key_header)
            .field("api_version", &self.api_version)
            .field("context_tokens", &self.context_tokens)
            .field("shorten", &self.shorten)
            .field("response_cache", &self.response_cache)
            .field("model", &self.model)
            .field("api_key", &self.api_key)
            .field("api_key_file", &self.api_key_file)
            .field("openrouter_key", &self.openrouter_key)
            .field("dimensions", &self.dimensions)
            .field("encoding", &self.encoding)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("unready_after", &self.unready_after)
            .field("probe", &self.probe)
            .field("usd_per_million_tokens", &self.usd_per_million_tokens)
            .field("prefix", &self.prefix)
            .field("tokenizer", &self.tokenizer)
            .field("headers", &secret::redacted(&self.headers))
            .field("body", &secret::redacted_body(&self.body))
            .finish()
    }
}

/// `provider.tokenizer`: what fits the model's name.
const AUTO: &str = "auto";
/// The names of ways to count; anything else is a file.
pub(super) const TOKENIZERS: [&str; 3] = [AUTO, "qwen3", "estimate"];
/// The models whose tokenizer is built in have it in their name, in whatever case.
const QWEN3: &str = "qwen3-embedding";

/// How the tokens of a text are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Exactly, by the tokenizer of Qwen3-Embedding.
    Qwen3,
    /// By an estimate that learns from what is billed.
    Estimate,
    /// Exactly, by this `tokenizer.json`.
    File(PathBuf),
}

impl Provider {
    /// How tokens are counted: as `tokenizer` says, and for `auto` as the model's name says.
    pub fn tokens(&self) -> Tokens {
        match self.tokenizer.as_str() {
            AUTO if self.model.to_ascii_lowercase().contains(QWEN3) => Tokens::Qwen3,
            "qwen3" => Tokens::Qwen3,
            AUTO | "estimate" => Tokens::Estimate,
            path => Tokens::File(path.into()),
        }
    }
}

/// How a suspended worker tries again: first after `first`, then ever later up to `cap`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// The first wait.
    #[serde(with = "duration")]
    pub first: Duration,
    /// The longest wait.
    #[serde(with = "duration")]
    pub cap: Duration,
}

impl Default for Probe {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), cap: Duration::from_secs(10) }
    }
}

/// Reads the URL. A value with an `@` may hold a password: it is not quoted.
fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let written = scalar::text(deserializer)?;
    let written = written.trim();
    let shown = if written.contains('@') { "the value".to_owned() } else { scalar::quoted(written) };
    let url = Url::parse(written).map_err(|reason| {
        Error::custom(format_args!(
            "{shown} is not a URL ({reason}); write for example https://openrouter.ai/api/v1"
        ))
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::custom(
            "the URL holds a user name or a password, which would end up in logs; give the key by provider.api_key_file, or a header by provider.headers",
        ));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(Error::custom(format_args!(
            "{shown} is not an http or https URL; write for example https://openrouter.ai/api/v1"
        )));
    }
    if let Some((name, _)) = url.query_pairs().find(|(name, _)| secret::is_secret_name(name)) {
        return Err(Error::custom(format_args!(
            "the URL's query holds what may be a secret, {}, which would end up in logs; give it by provider.headers",
            scalar::quoted(&name)
        )));
    }
    if url.fragment().is_some() {
        return Err(Error::custom(format_args!(
            "{shown} has a fragment (#…), which is never sent; leave it out"
        )));
    }
    Ok(url)
}

fn body<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    let mut body = Map::deserialize(deserializer)?;
    body.sort_keys();
    body.values_mut().for_each(Value::sort_all_objects);
    Ok(body)
}
