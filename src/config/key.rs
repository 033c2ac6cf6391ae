//! The provider's key: where it is read from, and whether it can be one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::profile::{DEFAULT, Profile};
use super::provider::Provider;
use super::secret::Secret;

/// The largest key file, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// Why there is no key that can be used. Holds no part of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read.
    #[error("provider.api_key_file: {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is empty.
    #[error("provider.api_key_file: {path} is empty; it must hold the key")]
    Empty {
        /// The file.
        path: String,
    },
    /// The key holds what no key does.
    #[error("the key from {from} holds {what}; a key is one line of ASCII without spaces")]
    Malformed {
        /// Where it is from.
        from: String,
        /// What it holds.
        what: &'static str,
    },
    /// A provider that wants a key, and none given.
    #[error(
        "{host} needs a key: set the environment variable EMBEDSTREAM__PROVIDER__API_KEY, or provider.api_key_file to a file that holds it{also}"
    )]
    Missing {
        /// The provider's host.
        host: String,
        /// Another way, where there is one.
        also: &'static str,
    },
}

impl Provider {
    /// Reads the key: `api_key` (which `EMBEDSTREAM__PROVIDER__API_KEY` sets) before `api_key_file` before
    /// `OPENROUTER_API_KEY`, which is used for any URL while no other is given, but for profiles of other providers: it is none of theirs.
    ///
    /// The file is read at every call, so that a rotated key is taken up. White space around the key is dropped.
    ///
    /// # Errors
    /// The file cannot be read or is empty, or the key cannot be one.
    pub fn read_key(&self) -> Result<Option<Secret>, KeyError> {
        if let Some(key) = &self.api_key {
            return usable(key.expose(), "provider.api_key (EMBEDSTREAM__PROVIDER__API_KEY)").map(Some);
        }
        if let Some(path) = &self.api_key_file {
            let shown = path.display().to_string();
            let text =
                text_of(path).map_err(|source| KeyError::Unreadable { path: shown.clone(), source })?;
            let text = text.trim_start_matches('\u{feff}').trim();
            if text.is_empty() {
                return Err(KeyError::Empty { path: shown });
            }
            return usable(text, &shown).map(Some);
        }
        let theirs = [DEFAULT, "custom"].contains(&&*self.profile);
        self.openrouter_key
            .as_ref()
            .filter(|_| theirs)
            .map(|key| usable(key.expose(), "OPENROUTER_API_KEY"))
            .transpose()
    }

    /// Whether OpenRouter's key may go to this provider.
    fn takes_openrouters(&self) -> bool {
        [DEFAULT, "custom"].contains(&&*self.profile)
    }

    /// Checks that there is a key where the provider is known to want one.
    pub(super) fn check_key(&self) -> Result<(), KeyError> {
        let host = self.url.host_str().unwrap_or_default();
        let wants_one = host == "openrouter.ai"
            || host.ends_with(".openrouter.ai")
            || Profile::named(&self.profile).and_then(Profile::host) == Some(host);
        let own = |name: &String| {
            name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case(&self.key_header)
        };
        let by_header = self.headers.keys().any(own);
        let also =
            if self.takes_openrouters() { ", or the environment variable OPENROUTER_API_KEY" } else { "" };
        if self.read_key()?.is_none() && wants_one && !by_header {
            return Err(KeyError::Missing { host: host.to_owned(), also });
        }
        Ok(())
    }
}

fn usable(key: &str, from: &str) -> Result<Secret, KeyError> {
    let key = key.trim();
    let malformed = |what| Err(KeyError::Malformed { from: from.to_owned(), what });
    match key.chars().find(|c| !c.is_ascii_graphic()) {
        None => Ok(Secret::new(key.to_owned())),
        Some('\n' | '\r') => malformed("more than one line"),
        Some(c) if c.is_ascii_control() => malformed("a control character"),
        Some(' ') => malformed("a space"),
        Some(_) => malformed("a character that is not ASCII"),
    }
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // Anything else may keep its reader waiting.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 KiB, so it is no key"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}
