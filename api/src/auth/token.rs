//! One token and one key: what is checked, and in which words it is refused (`usage-tools.md` §3).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use copilot_shared::id::UserId;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Deserialize;

use super::{AuthError, Identity, UserRole};

/// The audience that every token must name.
const AUDIENCE: &str = "authenticated";

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
    #[error("tokens can be made with HS256 only; public keys only verify")]
    CannotSign,
    /// Signing failed.
    #[error("the token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// A key with the one algorithm that it is for: what the token says about its algorithm is compared
/// with it, and never followed.
pub(super) struct VerifyKey {
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
    ticket_secret: Option<Vec<u8>>,
}

impl VerifyKey {
    /// A key out of the settings.
    pub(super) fn from_settings(algorithm: SignAlgorithm, key: &str) -> Result<Self, KeyError> {
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
        Ok(Self { ticket_secret, ..Self::new(algorithm, key.map_err(KeyError::Pem)?) })
    }

    /// A key and its algorithm.
    pub(super) fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["aud"]);
        // The times are checked below: the library has one tolerance for all of them.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { algorithm, key, validation, ticket_secret: None }
    }

    /// What tickets are signed with, if the key is a shared secret.
    pub(super) fn ticket_secret(&self) -> Option<Vec<u8>> {
        self.ticket_secret.clone()
    }

    /// Is the key for tokens that are signed so?
    pub(super) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm == algorithm
    }

    /// Whoever holds the token.
    pub(super) fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| AuthError::Invalid(reason(error.kind())))?
            .claims;
        check_times(&claims, now())?;
        let user = claims.sub.as_ref().and_then(|sub| sub.as_str()).and_then(UserId::parse).ok_or(AuthError::NoUser)?;
        let is_admin = claims.role.as_ref().and_then(|role| role.as_str()) == Some("admin");
        Ok(Identity { user, role: if is_admin { UserRole::Admin } else { UserRole::User } })
    }
}

/// A key of its own purpose: whoever learned it could make no token of a user.
fn derive_ticket_secret(key: &[u8]) -> Result<Vec<u8>, KeyError> {
    let purpose = b"copilot stream tickets, version 1";
    jsonwebtoken::crypto::sign(purpose, &EncodingKey::from_secret(key), Algorithm::HS256)
        .map(String::into_bytes)
        .map_err(KeyError::Sign)
}

/// What a token says about its signature, before anybody has checked it: good for finding a key,
/// and for nothing else. Keys and addresses of keys that a token brings along are not even read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

#[derive(Deserialize)]
struct RawHead {
    alg: Option<serde_json::Value>,
    kid: Option<serde_json::Value>,
    crit: Option<serde_json::Value>,
}

impl Head {
    /// Reads the first of a token's three parts.
    pub(super) fn read(token: &str) -> Result<Self, AuthError> {
        let mut parts = token.split('.');
        let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(AuthError::Invalid("Not enough segments"));
        };
        let bytes = URL_SAFE_NO_PAD.decode(head).map_err(|_| AuthError::Invalid("Invalid header padding"))?;
        let raw: RawHead = serde_json::from_slice(&bytes).map_err(|_| AuthError::Invalid("Invalid header string"))?;
        if raw.crit.is_some() {
            // Whoever does not understand an extension must refuse (RFC 7515, 4.1.11); we know none.
            return Err(AuthError::Invalid("Unsupported critical extension"));
        }
        let algorithm = raw.alg.and_then(|alg| serde_json::from_value(alg).ok());
        let kid = match raw.kid {
            None => None,
            Some(serde_json::Value::String(kid)) => Some(kid),
            Some(_) => return Err(AuthError::Invalid("Key ID header parameter must be a string")),
        };
        Ok(Self { algorithm: algorithm.ok_or(AuthError::Invalid(OTHER_ALGORITHM))?, kid })
    }
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

#[derive(Deserialize)]
struct Claims {
    sub: Option<serde_json::Value>,
    role: Option<serde_json::Value>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
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

pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

pub(super) const OTHER_ALGORITHM: &str = "The specified alg value is not allowed";

fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "Signature verification failed",
        ErrorKind::InvalidAudience => "Audience doesn't match",
        ErrorKind::MissingRequiredClaim(_) => "Token is missing the \"aud\" claim",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            OTHER_ALGORITHM
        }
        ErrorKind::InvalidToken => "Not enough segments",
        ErrorKind::Base64(_) => "Invalid payload padding",
        ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidClaimFormat(_) => "Invalid claims",
        _ => "Not a token of ours",
    }
}
