//! The key: read from a file again whenever somebody may have rotated it, and never shown.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use reqwest::header::HeaderValue;
use tracing::info;

use super::ClientError;
use crate::config::Secret;

/// A larger file holds something else.
const MOST_BYTES: u64 = 16 * 1024;
/// A shorter key could be a word of any message.
const LEAST_REDACTED: usize = 6;

#[derive(Debug)]
struct Key {
    secret: Secret,
    /// `Bearer …`, marked as sensitive: not shown by `Debug`, not kept by HTTP/2's compression.
    header: HeaderValue,
}

impl Key {
    fn new(secret: Secret) -> Result<Self, ClientError> {
        let key = secret.expose().trim();
        if key.is_empty() {
            return Err(ClientError::Key);
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ClientError::Key)?;
        header.set_sensitive(true);
        let secret = Secret::new(key.to_owned());
        Ok(Self { secret, header })
    }
}

/// The present key, if any, and where a new one would appear.
#[derive(Debug)]
pub(super) struct Keyring {
    key: RwLock<Option<Key>>,
    file: Option<PathBuf>,
}

impl Keyring {
    /// A key that was given counts before the file's. Then the file is followed only if it holds the same key, that is if it is where the
    /// given one came from.
    pub(super) fn new(given: Option<&Secret>, file: Option<PathBuf>) -> Result<Self, ClientError> {
        let given = given.filter(|secret| !secret.expose().trim().is_empty());
        let (key, file) = match (given, file) {
            (None, None) => (None, None),
            (None, Some(path)) => (Some(Key::new(read(&path)?)?), Some(path)),
            (Some(secret), None) => (Some(Key::new(secret.clone())?), None),
            (Some(secret), Some(path)) => {
                let same = read(&path).is_ok_and(|read| read.expose() == secret.expose().trim());
                (Some(Key::new(secret.clone())?), same.then_some(path))
            }
        };
        Ok(Self { key: RwLock::new(key), file })
    }

    pub(super) fn header(&self) -> Option<HeaderValue> {
        self.key.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|key| key.header.clone())
    }

    /// Reads the file again. If that fails, the present key stays.
    pub(super) fn refresh(&self) -> Result<(), ClientError> {
        let Some(path) = &self.file else { return Ok(()) };
        let fresh = Key::new(read(path)?)?;
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
        let hidden = key.len() >= LEAST_REDACTED && message.to_lowercase().contains(&key.to_lowercase());
        if hidden { "an error that holds the API key and is not shown".to_owned() } else { message }
    }
}

fn read(path: &Path) -> Result<Secret, ClientError> {
    let failed = |source| ClientError::KeyFile { path: path.to_owned(), source };
    let mut content = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MOST_BYTES).read_to_string(&mut content).map_err(failed)?;
    Ok(Secret::new(content.trim().to_owned()))
}
