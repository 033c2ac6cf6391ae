//! What the provider says of itself before the first call, and whether it fits the settings.

use tracing::{info, warn};

use super::exit::Failure;
use crate::config::Config;
use crate::provider::SuspendReason;
use crate::provider::client::{About, Client, KeyState, Upstream};

/// A price that differs by less is the same.
const SAME: f64 = 0.01;

/// What is said, in lines for the terminal and for the log.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Findings {
    /// What is so.
    pub(super) notes: Vec<String>,
    /// What does not fit the settings.
    pub(super) warnings: Vec<String>,
}

/// Asks the provider, where it is OpenRouter or speaks like it.
///
/// # Errors
/// The key is refused.
pub(super) async fn ask(config: &Config, client: &Client) -> Result<Findings, Failure> {
    if config.provider.profile != "openrouter" {
        return Ok(Findings::default());
    }
    findings(config, &client.about().await)
}

/// Asks, and logs what is said.
///
/// # Errors
/// The key is refused.
pub(super) async fn log(config: &Config, client: &Client) -> Result<(), Failure> {
    let Findings { notes, warnings } = ask(config, client).await?;
    for note in notes {
        info!("the provider: {note}");
    }
    for warning in warnings {
        warn!("the provider: {warning}");
    }
    Ok(())
}

fn findings(config: &Config, about: &About) -> Result<Findings, Failure> {
    let mut found = Findings::default();
    match &about.key {
        KeyState::Unknown => {}
        KeyState::Refused => {
            let message = "the key is missing, wrong or revoked (status 401 from /key)";
            return Err(Failure::refused(SuspendReason::Unauthorized, message));
        }
        KeyState::Good { usd_left, is_free_tier, expires_at } => {
            let left = usd_left.map_or("no limit".to_owned(), |usd| format!("${usd:.2} left"));
            let tier = if *is_free_tier { ", free tier" } else { "" };
            let ends = expires_at.as_ref().map_or(String::new(), |at| format!(", expires {at}"));
            found.notes.push(format!("the key is good: {left}{tier}{ends}"));
            if usd_left.is_some_and(|usd| usd <= 0.0) {
                found.warnings.push("the key's limit is used up: raise it, or wait for its reset".to_owned());
            }
        }
    }
    if !about.upstreams.is_empty() {
        upstreams(config, &about.upstreams, &mut found);
    }
    Ok(found)
}

fn upstreams(config: &Config, upstreams: &[Upstream], found: &mut Findings) {
    let contexts = || upstreams.iter().filter_map(|upstream| upstream.context_tokens);
    let prices = || upstreams.iter().filter_map(|upstream| upstream.usd_per_million_tokens);
    let shown = |upstream: &Upstream| {
        let name = upstream.name.as_deref().unwrap_or("one");
        let how = upstream.quantization.as_ref().map_or(String::new(), |how| format!(" {how}"));
        let takes = upstream.context_tokens.map_or(String::new(), |tokens| format!(", {tokens} tokens"));
        let costs =
            upstream.usd_per_million_tokens.map_or(String::new(), |usd| format!(", ${}/1M", rounded(usd)));
        format!("{name}{how}{takes}{costs}")
    };
    let first: Vec<_> = upstreams.iter().take(8).map(shown).collect();
    found.notes.push(format!("{} of {}: {}", upstreams.len(), config.provider.model, first.join("; ")));
    let text = config.batch.max_tokens.min(config.provider.context_tokens);
    if let Some(least) = contexts().min().filter(|least| *least < text) {
        found.warnings.push(format!(
            "an upstream server takes {least} tokens in a text, the settings allow {text}: set provider.context_tokens: {least}, or choose upstream servers by provider.body"
        ));
    }
    let price = config.provider.usd_per_million_tokens;
    let (low, high) = (prices().fold(f64::INFINITY, f64::min), prices().fold(0.0, f64::max));
    if prices().next().is_some() && (price < low * (1.0 - SAME) || price > high * (1.0 + SAME)) {
        let said = if low < high {
            format!("${} to ${}", rounded(low), rounded(high))
        } else {
            format!("${}", rounded(low))
        };
        found
            .warnings
            .push(format!("1,000,000 tokens cost {said}, provider.usd_per_million_tokens is {price}"));
    }
}

/// To a millionth, as prices are written.
fn rounded(usd: f64) -> f64 {
    (usd * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(context_tokens: u64, usd: f64) -> Upstream {
        Upstream {
            name: Some("DeepInfra".to_owned()),
            context_tokens: Some(context_tokens),
            usd_per_million_tokens: Some(usd),
            quantization: Some("bf16".to_owned()),
        }
    }

    fn about(upstreams: Vec<Upstream>) -> About {
        About { key: KeyState::Unknown, upstreams }
    }

    #[test]
    fn what_fits_is_a_note_and_what_does_not_a_warning() {
        let config = Config::default();
        let found = findings(&config, &about(vec![upstream(32_768, 0.020_000_000_1)])).unwrap();
        assert_eq!(found.notes, ["1 of qwen/qwen3-embedding-4b: DeepInfra bf16, 32768 tokens, $0.02/1M"]);
        assert_eq!(found.warnings, Vec::<String>::new());
        let found = findings(&config, &about(vec![upstream(32_768, 0.03), upstream(8192, 0.05)])).unwrap();
        assert!(found.warnings[0].contains("takes 8192 tokens in a text, the settings allow 32768"));
        assert_eq!(
            found.warnings[1],
            "1,000,000 tokens cost $0.03 to $0.05, provider.usd_per_million_tokens is 0.02"
        );
        let nothing = findings(&config, &About::default()).unwrap();
        assert_eq!(nothing, Findings::default());
    }

    #[test]
    fn a_refused_key_ends_it_and_a_used_up_one_is_a_warning() {
        let config = Config::default();
        let refused =
            findings(&config, &About { key: KeyState::Refused, upstreams: Vec::new() }).unwrap_err();
        assert_eq!(refused.code(), 78);
        assert!(refused.to_string().contains("the key is missing, wrong or revoked"), "{refused}");
        let key = KeyState::Good { usd_left: Some(-0.5), is_free_tier: true, expires_at: None };
        let found = findings(&config, &About { key, upstreams: Vec::new() }).unwrap();
        assert_eq!(found.notes, ["the key is good: $-0.50 left, free tier"]);
        assert_eq!(found.warnings.len(), 1);
    }
}
