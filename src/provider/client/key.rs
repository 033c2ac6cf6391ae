//! The key: read again whenever somebody may have rotated it, and never shown.

use std::error::Error;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tracing::info;

use super::ClientError;
use crate::config::Secret;

/// A shorter key could be a word of any message.
const LEAST_REDACTED: usize = 6;

/// Why a key cannot be read: the settings' own error.
pub type KeyError = Box<dyn Error + Send + Sync>;

struct Key {
    secret: Secret,
    /// `Bearer …`, or the key alone in a header of its own; marked as sensitive: not shown by `Debug`, not kept by HTTP/2's compression.
    header: HeaderValue,
}

impl Key {
    fn new(secret: &Secret, name: &HeaderName) -> Result<Self, ClientError> {
        let key = secret.expose().trim();
        if key.is_empty() {
            return Err(ClientError::Key);
        }
        let value = if *name == AUTHORIZATION { format!("Bearer {key}") } else { key.to_owned() };
        let mut header = HeaderValue::from_str(&value).map_err(|_| ClientError::Key)?;
        header.set_sensitive(true);
        Ok(Self { secret: Secret::new(key.to_owned()), header })
    }
}

/// The present key, if any, and how to read it again. Where keys come from is the settings' business.
pub(super) struct Keyring {
    /// The header that carries it.
    name: HeaderName,
    key: RwLock<Option<Key>>,
    read: Box<dyn Fn() -> Result<Option<Secret>, KeyError> + Send + Sync>,
}

impl Keyring {
    pub(super) fn new<E: Into<KeyError>>(
        name: HeaderName,
        read: impl Fn() -> Result<Option<Secret>, E> + Send + Sync + 'static,
    ) -> Result<Self, ClientError> {
        let read = Box::new(move || read().map_err(Into::into));
        let key = read().map_err(ClientError::KeySource)?;
        let key = key.as_ref().map(|key| Key::new(key, &name)).transpose()?;
        Ok(Self { name, key: RwLock::new(key), read })
    }

    /// The header and its value.
    pub(super) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        key.as_ref().map(|key| (self.name.clone(), key.header.clone()))
    }

    /// Reads the key again. If that fails or there is none, the present key stays.
    pub(super) fn refresh(&self) -> Result<(), ClientError> {
        let Some(fresh) = (self.read)().map_err(ClientError::KeySource)? else { return Ok(()) };
        let fresh = Key::new(&fresh, &self.name)?;
        let mut key = self.key.write().unwrap_or_else(PoisonError::into_inner);
        if key.as_ref().is_none_or(|key| key.secret != fresh.secret) {
            *key = Some(fresh);
            info!("the API key was rotated");
        }
        Ok(())
    }

    /// The message without the key: should a server pass it off as an error code, it ends here.
    pub(super) fn redacted(&self, message: String) -> String {
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = key.as_ref().map(|key| key.secret.expose()) else { return message };
        hidden(message, key)
    }
}

/// The message with `[hidden]` in place of a secret, in whatever case.
pub(super) fn hidden(message: String, secret: &str) -> String {
    let (lower, secret) = (message.to_lowercase(), secret.to_lowercase());
    if secret.len() < LEAST_REDACTED || !lower.contains(&secret) {
        return message;
    }
    lower.replace(&secret, "[hidden]")
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.header().is_some() { "Keyring(a key)" } else { "Keyring(none)" })
    }
}
