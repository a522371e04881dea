//! Secrets of users at rest: sealed with a key that is not in the database, and each to its place,
//! so that a row that is copied elsewhere cannot be opened.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes of a nonce, long enough to be drawn at random.
const NONCE_BYTES: usize = 24;

/// What secrets are sealed with. Never shown.
#[derive(Clone)]
pub struct SecretsKey(XChaCha20Poly1305);

impl std::fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretsKey")
    }
}

/// Not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {KEY_BYTES} random bytes in base64, as `openssl rand -base64 32` prints them")]
pub struct NotAKey;

/// A secret cannot be sealed, or was sealed with another key, or for another place, or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret cannot be sealed or opened with this key")]
pub struct SealError;

impl FromStr for SecretsKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| NotAKey)?;
        let key: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| NotAKey)?;
        Ok(Self(XChaCha20Poly1305::new(&key.into())))
    }
}

impl SecretsKey {
    /// Seals a secret for its place.
    pub fn seal(&self, secret: &str, place: &str) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload { msg: secret.as_bytes(), aad: place.as_bytes() };
        let sealed = self.0.encrypt(&nonce.into(), payload).map_err(|_| SealError)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<String, SealError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let secret = self.0.decrypt(&(*nonce).into(), payload).map_err(|_| SealError)?;
        String::from_utf8(secret).map_err(|_| SealError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretsKey {
        STANDARD.encode([byte; KEY_BYTES]).parse().unwrap()
    }

    #[test]
    fn a_secret_is_opened_by_its_key_at_its_place_alone() {
        let sealed = key(1).seal("s3cret é", "here").unwrap();
        assert_eq!(key(1).open(&sealed, "here").unwrap(), "s3cret é");
        assert_eq!(key(2).open(&sealed, "here"), Err(SealError));
        assert_eq!(key(1).open(&sealed, "there"), Err(SealError));
        let mut changed = sealed.clone();
        changed[30] ^= 1;
        assert_eq!(key(1).open(&changed, "here"), Err(SealError));
        assert_eq!(key(1).open(&sealed[..10], "here"), Err(SealError));
        assert!(!sealed.windows(6).any(|window| window == b"s3cret"));
        assert_ne!(sealed, key(1).seal("s3cret é", "here").unwrap(), "the same secret never looks the same");
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        for nonsense in ["", "short", &STANDARD.encode([0; 31]), "***"] {
            assert_eq!(nonsense.parse::<SecretsKey>().unwrap_err(), NotAKey);
        }
    }
}
