//! Who calls: tokens are verified here, and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use copilot_shared::id::UserId;
use copilot_shared::session::Caller;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use poem::Request;
use poem::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};

mod extract;
mod ticket;

pub use extract::{Anyone, Asking, FollowedSession, NamedSession, OwnedSession, Place, SignedIn, TurnPath};
pub use ticket::{Ticket, Tickets};

/// The key of a developer's machine. Everybody knows it, so `serve` refuses it where others can reach the API.
pub const DEVELOPMENT_KEY: &str = "copilot-development-key-known-to-everybody-0123456789";

/// The audience that every token must name.
const AUDIENCE: &str = "authenticated";

/// The header of an anonymous session's bearer.
pub const CLAIM_HEADER: &str = "X-Claim-Token";

/// How far another machine's clock may be ahead, in seconds, before its token is from the future.
const CLOCK_SKEW: f64 = 5.0;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SignAlgorithm {
    /// HMAC with SHA-256: the key is a shared secret.
    #[value(name = "HS256")]
    Hs256,
    /// RSA with SHA-256: the key is a public key in PEM.
    #[value(name = "RS256")]
    Rs256,
    /// ECDSA on P-256: the key is a public key in PEM.
    #[value(name = "ES256")]
    Es256,
    /// Ed25519: the key is a public key in PEM.
    #[value(name = "EdDSA")]
    EdDsa,
}

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

/// The configured key is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is empty.
    #[error("JWT_VERIFY_KEY must not be empty")]
    Empty,
    /// It is no public key of the algorithm.
    #[error("JWT_VERIFY_KEY is no public key in PEM for JWT_SIGN_ALGORITHM")]
    Pem(#[source] jsonwebtoken::errors::Error),
    /// The key verifies only.
    #[error("tokens can be made with HS256 only; JWT_SIGN_ALGORITHM verifies with a public key")]
    CannotSign,
    /// Signing failed.
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
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
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Expired | AuthError::TicketExpired => Code::TokenExpired,
            AuthError::Missing | AuthError::Invalid(_) | AuthError::NoUser | AuthError::Ticket => Code::Unauthorized,
        };
        Self::new(StatusCode::UNAUTHORIZED, code, error.to_string())
    }
}

/// Verifies tokens, and knows whether there are callers without one.
pub struct Gate {
    key: DecodingKey,
    validation: Validation,
    anonymous: bool,
    ticket_secret: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<serde_json::Value>,
    role: Option<serde_json::Value>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
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
        if key.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        let pem = key.as_bytes();
        let (algorithm, key) = match algorithm {
            SignAlgorithm::Hs256 => (Algorithm::HS256, Ok(DecodingKey::from_secret(pem))),
            SignAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(pem)),
            SignAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_pem(pem)),
            SignAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem)),
        };
        let ticket_secret = match algorithm {
            Algorithm::HS256 => Some(derive_ticket_secret(pem)?),
            _ => None,
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["aud"]);
        // The times are checked below: the library has one tolerance for all of them.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self { key: key.map_err(KeyError::Pem)?, validation, anonymous, ticket_secret })
    }

    /// What tickets are signed with where the key is a shared secret.
    pub fn ticket_secret(&self) -> Option<Vec<u8>> {
        self.ticket_secret.clone()
    }

    /// Whoever holds the token.
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| AuthError::Invalid(reason(error.kind())))?
            .claims;
        check_times(&claims, now())?;
        let user = claims.sub.as_ref().and_then(|sub| sub.as_str()).and_then(UserId::parse).ok_or(AuthError::NoUser)?;
        let is_admin = claims.role.as_ref().and_then(|role| role.as_str()) == Some("admin");
        Ok(Identity { user, role: if is_admin { UserRole::Admin } else { UserRole::User } })
    }

    /// The bearer of the request's token.
    pub fn identify(&self, request: &Request) -> Result<Identity, AuthError> {
        self.verify(bearer(request).ok_or(AuthError::Missing)?)
    }

    /// Whoever calls a session's route: a user, or the bearer of an anonymous session's claim token.
    pub fn caller(&self, request: &Request) -> Result<Caller, AuthError> {
        if self.anonymous
            && !request.headers().contains_key(header::AUTHORIZATION)
            && let Some(token) = request.header(CLAIM_HEADER)
        {
            return Ok(Caller::Claim(claim_hash(token)));
        }
        Ok(Caller::User(self.identify(request)?.user))
    }

    /// Whoever wants a new session; nobody in particular where that is allowed.
    pub fn anyone(&self, request: &Request) -> Result<Option<UserId>, AuthError> {
        if self.anonymous && !request.headers().contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        Ok(Some(self.identify(request)?.user))
    }
}

/// A key of its own purpose: whoever learned it could make no token of a user.
fn derive_ticket_secret(key: &[u8]) -> Result<Vec<u8>, KeyError> {
    let purpose = b"copilot stream tickets, version 1";
    jsonwebtoken::crypto::sign(purpose, &EncodingKey::from_secret(key), Algorithm::HS256)
        .map(String::into_bytes)
        .map_err(KeyError::Sign)
}

/// A fresh claim token: nobody can guess it.
pub fn new_claim_token() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a claim token.
pub fn claim_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Signs a token with the shared secret.
pub fn sign(
    algorithm: SignAlgorithm,
    key: &str,
    user: &UserId,
    role: UserRole,
    seconds: u64,
) -> Result<String, KeyError> {
    if algorithm != SignAlgorithm::Hs256 {
        return Err(KeyError::CannotSign);
    }
    let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = serde_json::json!({
        "sub": user, "role": role, "aud": AUDIENCE, "iat": issued, "exp": issued.saturating_add(seconds),
    });
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(key.as_bytes()))
        .map_err(KeyError::Sign)
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header(header::AUTHORIZATION)?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn check_times(claims: &Claims, now: f64) -> Result<(), AuthError> {
    if claims.exp.is_some_and(|exp| exp <= now) {
        return Err(AuthError::Expired);
    }
    if claims.nbf.is_some_and(|nbf| nbf > now + CLOCK_SKEW) {
        return Err(AuthError::Invalid("The token is not yet valid (nbf)"));
    }
    if claims.iat.is_some_and(|iat| iat > now + CLOCK_SKEW) {
        return Err(AuthError::Invalid("The token is not yet valid (iat)"));
    }
    Ok(())
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "Signature verification failed",
        ErrorKind::InvalidAudience => "Audience doesn't match",
        ErrorKind::MissingRequiredClaim(_) => "Token is missing the \"aud\" claim",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            "The specified alg value is not allowed"
        }
        ErrorKind::InvalidToken => "Not enough segments",
        ErrorKind::Base64(_) => "Invalid header padding",
        ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidClaimFormat(_) => "Invalid claims",
        _ => "Not a token of ours",
    }
}

#[cfg(test)]
mod tests;
