//! What OpenRouter says of the key and of the model before the first call.
//!
//! Two questions, `GET {base}/key` and `GET {base}/models/{model}/endpoints`, which other servers need not know: whatever is no answer is
//! nothing known. Only a refused key is told as such. Both are bounded in time and size, and what is shown of an answer are numbers and
//! words of few characters.

use std::time::Duration;

use serde_json::Value;
use tracing::debug;
use url::Url;

use super::{Answer, Client};

/// Both questions together may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// More upstream servers are not looked at.
const MOST_UPSTREAMS: usize = 64;

/// What is known of the key and of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// The key.
    pub key: KeyState,
    /// The servers that may answer for the model; empty where that is not known.
    pub upstreams: Vec<Upstream>,
}

/// What the provider says of the key.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum KeyState {
    /// Nothing: it does not know the question, or did not answer in time.
    #[default]
    Unknown,
    /// 401: missing, wrong or revoked.
    Refused,
    /// It is good.
    Good {
        /// What may still be spent with it, in USD; `None`: no limit.
        usd_left: Option<f64>,
        /// Whether nothing was ever paid for: 50 calls a day to free models.
        is_free_tier: bool,
        /// When it ends, in the provider's words.
        expires_at: Option<String>,
    },
}

/// One server that may answer for the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Upstream {
    /// Its name.
    pub name: Option<String>,
    /// The tokens it takes in a text.
    pub context_tokens: Option<u64>,
    /// Its price of 1,000,000 tokens in USD.
    pub usd_per_million_tokens: Option<f64>,
    /// How exact its numbers are, such as `bf16`.
    pub quantization: Option<String>,
}

impl Client {
    /// Asks OpenRouter about the key and the model: for at most 5 s, and never with an error. The key goes to the host of `provider.url` only.
    pub async fn about(&self) -> About {
        let (key, upstreams) = tokio::join!(self.ask("key"), self.ask(&self.endpoints));
        let key = match key {
            Some(answer) if answer.status == 401 => KeyState::Refused,
            Some(answer) => key_state(&answer).unwrap_or_default(),
            None => KeyState::Unknown,
        };
        About { key, upstreams: upstreams.as_ref().and_then(upstreams_of).unwrap_or_default() }
    }

    async fn ask(&self, path: &str) -> Option<Answer> {
        let url = beside(&self.url, path)?;
        let asked = tokio::time::timeout(
            PATIENCE,
            self.answer(self.http.get(url).headers(self.headers.clone()), MOST_BYTES),
        )
        .await;
        match asked {
            Ok(Ok(answer)) => {
                debug!(path, status = answer.status, "asked the provider about itself");
                Some(answer)
            }
            Ok(Err(lost)) => {
                debug!(path, ?lost, "the provider says nothing about itself");
                None
            }
            Err(_) => {
                debug!(path, "the provider says nothing about itself in time");
                None
            }
        }
    }
}

/// Where a model's upstream servers are listed, below the base. A variant (`:free`) has its own.
pub(super) fn endpoints(model: &str) -> String {
    format!("models/{model}/endpoints")
}

/// An address beside `…/embeddings`.
fn beside(embeddings: &Url, path: &str) -> Option<Url> {
    let mut url = embeddings.clone();
    url.path_segments_mut().ok()?.pop_if_empty().pop().extend(path.split('/'));
    Some(url)
}

fn success(answer: &Answer) -> Option<Value> {
    let read = || serde_json::from_slice::<Value>(&answer.body).ok();
    (200..300).contains(&answer.status).then(read).flatten()
}

fn key_state(answer: &Answer) -> Option<KeyState> {
    let body = success(answer)?;
    let key = body.get("data").filter(|data| data.is_object())?;
    Some(KeyState::Good {
        usd_left: key.get("limit_remaining").and_then(number),
        is_free_tier: key.get("is_free_tier").and_then(Value::as_bool).unwrap_or(false),
        expires_at: key.get("expires_at").and_then(word),
    })
}

fn upstreams_of(answer: &Answer) -> Option<Vec<Upstream>> {
    let body = success(answer)?;
    let listed = body.pointer("/data/endpoints")?.as_array()?;
    let upstream = |of: &Value| Upstream {
        name: of.get("provider_name").or_else(|| of.get("tag")).and_then(word),
        context_tokens: [of.get("context_length"), of.get("max_prompt_tokens")]
            .into_iter()
            .filter_map(|tokens| tokens?.as_u64())
            .filter(|tokens| *tokens > 0)
            .min(),
        usd_per_million_tokens: of.pointer("/pricing/prompt").and_then(number).map(|usd| usd * 1e6),
        quantization: of.get("quantization").and_then(word),
    };
    Some(listed.iter().take(MOST_UPSTREAMS).map(upstream).collect())
}

/// A number of 0 or more, or one below it where more was spent than allowed; prices are written as strings.
fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    number.is_finite().then_some(number)
}

/// A short name or time; a longer or stranger one is not shown.
fn word(value: &Value) -> Option<String> {
    let word = value.as_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_./:+".contains(c);
    (!word.is_empty() && word.len() <= 40 && word.chars().all(plain)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: Vec::new(), body: body.to_owned().into() }
    }

    #[test]
    fn a_key_is_described() {
        let body = r#"{"data":{"label":"sk-or-v1-abc...123","limit":10,"limit_remaining":7.25,"limit_reset":null,"usage":2.75,
            "is_free_tier":false,"expires_at":"2027-01-01T00:00:00Z","rate_limit":{"requests":-1,"interval":"10s"}}}"#;
        let good = KeyState::Good {
            usd_left: Some(7.25),
            is_free_tier: false,
            expires_at: Some("2027-01-01T00:00:00Z".to_owned()),
        };
        assert_eq!(key_state(&answer(200, body)), Some(good));
        let unlimited =
            r#"{"data":{"limit":null,"limit_remaining":null,"is_free_tier":true,"expires_at":null}}"#;
        let free = KeyState::Good { usd_left: None, is_free_tier: true, expires_at: None };
        assert_eq!(key_state(&answer(200, unlimited)), Some(free));
        for (status, body) in [
            (404, r#"{"error":{"code":404,"message":"Not Found"}}"#),
            (200, "<html>"),
            (200, ""),
            (200, r#"{"data":[]}"#),
            (500, r#"{"data":{"limit_remaining":1}}"#),
        ] {
            assert_eq!(key_state(&answer(status, body)), None, "{body}");
        }
    }

    #[test]
    fn upstreams_are_described() {
        let body = r#"{"data":{"id":"qwen/qwen3-embedding-4b","name":"Qwen","endpoints":[
            {"provider_name":"DeepInfra","tag":"deepinfra/bf16","quantization":"bf16","context_length":32768,"max_prompt_tokens":null,
             "pricing":{"prompt":"0.00000002","completion":"0"},"status":0,"supported_parameters":[]},
            {"provider_name":"<script>","quantization":null,"context_length":40960,"max_prompt_tokens":8192,"pricing":{"prompt":3e-8}},
            7]}}"#;
        let upstreams = upstreams_of(&answer(200, body)).unwrap();
        assert_eq!(upstreams.len(), 3);
        assert_eq!(
            (upstreams[0].name.as_deref(), upstreams[0].quantization.as_deref()),
            (Some("DeepInfra"), Some("bf16"))
        );
        assert_eq!(upstreams[0].context_tokens, Some(32_768));
        assert!((upstreams[0].usd_per_million_tokens.unwrap() - 0.02).abs() < 1e-9);
        assert_eq!((upstreams[1].name.as_deref(), upstreams[1].context_tokens), (None, Some(8192)));
        assert_eq!(upstreams[2], Upstream::default());
        for body in ["", "{}", r#"{"data":{"endpoints":null}}"#, r#"{"data":[]}"#] {
            assert_eq!(upstreams_of(&answer(200, body)), None);
        }
        assert_eq!(upstreams_of(&answer(404, r#"{"data":{"endpoints":[]}}"#)), None);
    }

    #[test]
    fn the_questions_are_asked_beside_the_calls() {
        for (embeddings, key) in [
            ("https://openrouter.ai/api/v1/embeddings", "https://openrouter.ai/api/v1/key"),
            ("http://h/embeddings/", "http://h/key"),
            ("http://h/v1/embeddings?a=b", "http://h/v1/key?a=b"),
        ] {
            assert_eq!(beside(&Url::parse(embeddings).unwrap(), "key").unwrap().as_str(), key);
        }
        let url = Url::parse("http://h/v1/embeddings").unwrap();
        let endpoints = beside(&url, &endpoints("qwen/q 4b:free")).unwrap();
        assert_eq!(endpoints.as_str(), "http://h/v1/models/qwen/q%204b:free/endpoints");
        let escaping = beside(&url, &super::endpoints("../../x")).unwrap();
        assert_eq!(escaping.host_str(), Some("h"));
    }
}
