//! Who calls: tokens are verified here, and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use copilot_shared::id::UserId;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use poem::Request;
use poem::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};

mod acting;
mod extract;
pub mod jwks;
mod scheme;
mod ticket;
mod token;

pub use acting::ACT_AS_HEADER;
pub use extract::{Admin, Anyone, Asking, FollowedSession, NamedSession, OwnedSession, Place, SignedIn, TurnPath};
pub use scheme::Scheme;
pub use ticket::{Ticket, Tickets};
pub use token::{KeyError, SignAlgorithm, sign};

use jwks::{KeyRing, KeysAway};
use token::{Head, OTHER_ALGORITHM, VerifyKey};

/// The key of a developer's machine. Everybody knows it, so `serve` refuses it where others can reach the API.
pub const DEVELOPMENT_KEY: &str = "copilot-development-key-known-to-everybody-0123456789";

/// The header of an anonymous session's bearer.
pub const CLAIM_HEADER: &str = "X-Claim-Token";

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UserRole {
    /// Its own sessions.
    User,
    /// Everybody's limits and turns as well.
    Admin,
}

/// The bearer of a valid token.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The `sub`.
    pub user: UserId,
    /// What it may do.
    pub role: UserRole,
}

/// Why a token is not accepted. The texts are the reference's (`usage-tools.md` §3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is none.
    #[error("Authorization header is missing")]
    Missing,
    /// It was valid once.
    #[error("Token has expired")]
    Expired,
    /// It is not valid.
    #[error("Invalid token: {0}")]
    Invalid(&'static str),
    /// It names no user.
    #[error("User ID not found in token")]
    NoUser,
    /// The ticket was valid once.
    #[error("The ticket has expired")]
    TicketExpired,
    /// The ticket is none, or one for another session.
    #[error("The ticket does not open this stream")]
    Ticket,
    /// Nobody can say: the provider's keys were never read. They may be after so many seconds.
    #[error("Tokens cannot be verified for the moment. Please try again.")]
    KeysAway(u64),
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Expired | AuthError::TicketExpired => Code::TokenExpired,
            AuthError::Missing | AuthError::Invalid(_) | AuthError::NoUser | AuthError::Ticket => Code::Unauthorized,
            AuthError::KeysAway(seconds) => return Self::unavailable(error.to_string()).retry_after(seconds),
        };
        Self::new(StatusCode::UNAUTHORIZED, code, error.to_string())
    }
}

impl From<KeysAway> for AuthError {
    fn from(away: KeysAway) -> Self {
        Self::KeysAway(away.retry_after)
    }
}

/// Verifies tokens, and knows whether there are callers without one.
pub struct Gate {
    /// The key of the settings.
    key: Option<VerifyKey>,
    /// The keys of a provider.
    ring: Option<KeyRing>,
    anonymous: bool,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("Gate").field("anonymous", &self.anonymous).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate for one algorithm and its key.
    pub fn new(algorithm: SignAlgorithm, key: &str, anonymous: bool) -> Result<Self, KeyError> {
        Ok(Self { key: Some(VerifyKey::from_settings(algorithm, key)?), ring: None, anonymous })
    }

    /// A gate for a provider's keys.
    pub fn of_ring(ring: KeyRing, anonymous: bool) -> Self {
        Self { key: None, ring: Some(ring), anonymous }
    }

    /// The same for the tokens of one more key: those from before there was a provider.
    pub fn with_key(self, algorithm: SignAlgorithm, key: &str) -> Result<Self, KeyError> {
        Ok(Self { key: Some(VerifyKey::from_settings(algorithm, key)?), ..self })
    }

    /// What tickets are signed with, where there is a shared secret to derive it from.
    pub fn ticket_secret(&self) -> Option<Vec<u8>> {
        self.key.as_ref().and_then(VerifyKey::ticket_secret)
    }

    /// The provider's keys, to be kept fresh.
    pub fn key_ring(&self) -> Option<&KeyRing> {
        self.ring.as_ref()
    }

    /// Whoever holds the token.
    ///
    /// The token's head only chooses the key. A key of the provider's is asked for by its id and
    /// never for a shared secret's algorithm; the key itself then says which algorithm must be used.
    pub async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let head = Head::read(token)?;
        let own = self.key.as_ref().filter(|key| key.is_for(head.algorithm));
        let refusal = match (&self.ring, &head.kid) {
            (None, _) => AuthError::Invalid(OTHER_ALGORITHM),
            (Some(_), _) if is_shared_secret(head.algorithm) => AuthError::Invalid(OTHER_ALGORITHM),
            (Some(_), None) => AuthError::Invalid("Token is missing the \"kid\" header"),
            (Some(ring), Some(kid)) => match ring.find(kid).await {
                Ok(Some(key)) => return key.verify(token),
                Ok(None) => AuthError::Invalid("Unable to find a signing key that matches"),
                // It may be the provider's: only a good signature of our own key says otherwise.
                Err(away) => return own.and_then(|key| key.verify(token).ok()).ok_or_else(|| away.into()),
            },
        };
        own.ok_or(refusal)?.verify(token)
    }

    /// The bearer of the request's token.
    pub async fn identify(&self, request: &Request) -> Result<Identity, AuthError> {
        self.verify(bearer(request).ok_or(AuthError::Missing)?).await
    }

    /// What the request shows of whoever makes it. Whoever sends a token is taken by it, also where
    /// there are callers without one.
    async fn credential(&self, request: &Request) -> Result<Credential, AuthError> {
        if !self.anonymous || request.headers().contains_key(header::AUTHORIZATION) {
            return self.identify(request).await.map(Credential::Token);
        }
        Ok(request.header(CLAIM_HEADER).map_or(Credential::Nothing, |token| Credential::Claim(claim_hash(token))))
    }
}

/// What a request shows of whoever makes it.
#[derive(Debug)]
enum Credential {
    /// A valid token.
    Token(Identity),
    /// A claim token: its hash. Whether it fits is seen at the session.
    Claim([u8; 32]),
    /// Nothing, where that is allowed.
    Nothing,
}

fn is_shared_secret(algorithm: Algorithm) -> bool {
    AlgorithmFamily::Hmac.algorithms().contains(&algorithm)
}

/// A fresh claim token: nobody can guess it.
pub fn new_claim_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a claim token.
pub fn claim_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
