//! Limits that a provider states in the headers of its answers.
//!
//! OpenAI, Azure and those that follow them: `x-ratelimit-limit-requests` and `x-ratelimit-limit-tokens`, both a minute
//! (OpenAI, "Rate limits", the table of headers). A header without a kind, as OpenRouter's `X-RateLimit-Limit`, says neither of what nor
//! of which period, and is not read.

/// What is stated, a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// Calls.
    pub requests: Option<u64>,
    /// Tokens.
    pub tokens: Option<u64>,
}

impl Stated {
    /// Reads an answer's headers, whose names are in lower case. A limit of 0 or one that is no number is none.
    pub fn read(headers: &[(String, String)]) -> Self {
        let limit = |name: &str| {
            let (_, value) = headers.iter().find(|(key, _)| key == name)?;
            value.trim().parse().ok().filter(|limit| *limit > 0)
        };
        Self { requests: limit("x-ratelimit-limit-requests"), tokens: limit("x-ratelimit-limit-tokens") }
    }

    /// What is known after `newer`: what it does not state stays.
    #[must_use]
    pub fn merged(self, newer: Self) -> Self {
        Self { requests: newer.requests.or(self.requests), tokens: newer.tokens.or(self.tokens) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_are_read_and_kept() {
        let headers = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let read = Stated::read(&headers(&[
            ("x-ratelimit-limit-requests", " 3000 "),
            ("x-ratelimit-limit-tokens", "1000000"),
            ("x-ratelimit-limit", "7"),
        ]));
        assert_eq!(read, Stated { requests: Some(3000), tokens: Some(1_000_000) });
        for odd in ["0", "-1", "many", "", "1e6"] {
            assert_eq!(
                Stated::read(&headers(&[("x-ratelimit-limit-tokens", odd)])),
                Stated::default(),
                "{odd}"
            );
        }
        let newer = Stated { requests: None, tokens: Some(5) };
        assert_eq!(read.merged(newer), Stated { requests: Some(3000), tokens: Some(5) });
    }
}
