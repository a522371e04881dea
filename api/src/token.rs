//! JSON Web Tokens: who calls (`spec/contract.md`, Tokens).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use copilot_shared::id::UserId;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::config::{Algorithm, JwtConfig, Role, TokenRequest};

/// The audience that every token must name.
const AUDIENCE: &str = "authenticated";

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    aud: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
}

/// What a token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user_id: UserId,
    /// May it use the admin routes? A token without a role is an ordinary user's.
    pub is_admin: bool,
}

/// Why a token was refused, in the words of the reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its time is over.
    #[error("Token has expired")]
    Expired,
    /// Anything else that is wrong with it.
    #[error("Invalid token: {0}")]
    Invalid(&'static str),
    /// It names nobody.
    #[error("User ID not found in token")]
    NoUser,
}

/// Why tokens cannot be verified or issued.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key does not fit the algorithm.
    #[error("JWT_VERIFY_KEY is not a key for JWT_SIGN_ALGORITHM")]
    Unusable(#[source] jsonwebtoken::errors::Error),
    /// An empty key would accept everybody's tokens.
    #[error("JWT_VERIFY_KEY is empty")]
    Empty,
    /// A public key signs nothing.
    #[error("tokens are verified with a public key, which cannot sign one: ask whoever holds the private key")]
    CannotSign,
    /// The user is no user id.
    #[error("--user must be 1 to {} bytes without control characters", UserId::MAX_BYTES)]
    BadUser,
}

/// Verifies tokens with one key and one algorithm: a token does not choose how it is checked.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("algorithms", &self.validation.algorithms).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier by the configuration.
    pub fn new(config: &JwtConfig) -> Result<Self, KeyError> {
        let text = config.jwt_verify_key.as_bytes();
        if text.trim_ascii().is_empty() {
            return Err(KeyError::Empty);
        }
        let (algorithm, key) = match config.jwt_sign_algorithm {
            Algorithm::Hs256 => (jsonwebtoken::Algorithm::HS256, Ok(DecodingKey::from_secret(text))),
            Algorithm::Rs256 => (jsonwebtoken::Algorithm::RS256, DecodingKey::from_rsa_pem(text)),
            Algorithm::Es256 => (jsonwebtoken::Algorithm::ES256, DecodingKey::from_ec_pem(text)),
            Algorithm::EdDsa => (jsonwebtoken::Algorithm::EdDSA, DecodingKey::from_ed_pem(text)),
        };
        if config.jwt_sign_algorithm == Algorithm::Hs256 && text.len() < 32 {
            tracing::warn!("JWT_VERIFY_KEY is shorter than 32 bytes: it can be guessed");
        }
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["aud"]);
        validation.validate_nbf = true;
        validation.leeway = 0;
        Ok(Self { key: key.map_err(KeyError::Unusable)?, validation })
    }

    /// Who holds this token.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| refusal(error.kind()))?
            .claims;
        let user_id = claims.sub.as_deref().and_then(UserId::parse).ok_or(TokenError::NoUser)?;
        Ok(Identity { user_id, is_admin: claims.role.as_deref() == Some("admin") })
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::InvalidSignature => TokenError::Invalid("Signature verification failed"),
        ErrorKind::InvalidAudience => TokenError::Invalid("Audience doesn't match"),
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => {
            TokenError::Invalid("Token is missing the \"aud\" claim")
        }
        ErrorKind::ImmatureSignature => TokenError::Invalid("The token is not yet valid (nbf)"),
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::MissingAlgorithm => {
            TokenError::Invalid("The specified alg value is not allowed")
        }
        _ => TokenError::Invalid("Not enough segments"),
    }
}

/// Signs a token for a user, with the shared secret.
pub fn issue(request: &TokenRequest) -> Result<String, KeyError> {
    if request.jwt.jwt_sign_algorithm != Algorithm::Hs256 {
        return Err(KeyError::CannotSign);
    }
    let user = UserId::parse(&request.user).ok_or(KeyError::BadUser)?;
    let role = request.role.map(|role| match role {
        Role::User => "user".to_owned(),
        Role::Admin => "admin".to_owned(),
    });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let claims = Claims {
        sub: Some(user.to_string()),
        aud: AUDIENCE.into(),
        role,
        exp: Some((now + Duration::from_secs(request.ttl)).as_secs()),
    };
    let key = EncodingKey::from_secret(request.jwt.jwt_verify_key.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).map_err(KeyError::Unusable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "a-shared-secret-that-is-long-enough-to-use";

    fn config(key: &str) -> JwtConfig {
        JwtConfig { jwt_verify_key: key.into(), jwt_sign_algorithm: Algorithm::Hs256 }
    }

    fn signed(claims: &serde_json::Value, key: &str) -> String {
        jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
    }

    fn verified(claims: &serde_json::Value) -> Result<Identity, TokenError> {
        Verifier::new(&config(KEY)).unwrap().verify(&signed(claims, KEY))
    }

    #[test]
    fn an_issued_token_is_accepted() {
        let request = TokenRequest { user: "ann".into(), role: Some(Role::Admin), ttl: 60, jwt: config(KEY) };
        let identity = Verifier::new(&config(KEY)).unwrap().verify(&issue(&request).unwrap()).unwrap();
        assert_eq!((identity.user_id.as_str(), identity.is_admin), ("ann", true));
    }

    #[test]
    fn a_token_without_role_or_expiry_is_an_ordinary_users() {
        assert!(!verified(&json!({"sub": "ann", "aud": "authenticated"})).unwrap().is_admin);
        assert!(!verified(&json!({"sub": "ann", "aud": ["x", "authenticated"], "role": "boss"})).unwrap().is_admin);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_reason() {
        let cases = [
            (json!({"sub": "ann", "aud": "other"}), TokenError::Invalid("Audience doesn't match")),
            (json!({"sub": "ann", "aud": "authenticated", "exp": 1}), TokenError::Expired),
            (
                json!({"sub": "ann", "aud": "authenticated", "nbf": 99_999_999_999_u64}),
                TokenError::Invalid("The token is not yet valid (nbf)"),
            ),
            (json!({"aud": "authenticated"}), TokenError::NoUser),
            (json!({"sub": "", "aud": "authenticated"}), TokenError::NoUser),
        ];
        for (claims, expected) in cases {
            assert_eq!(verified(&claims).unwrap_err(), expected, "{claims}");
        }
        let verifier = Verifier::new(&config(KEY)).unwrap();
        let foreign = signed(&json!({"sub": "ann", "aud": "authenticated"}), "another-secret-that-is-long-enough-too");
        assert_eq!(verifier.verify(&foreign).unwrap_err(), TokenError::Invalid("Signature verification failed"));
        for text in ["", "a.b.c", "not a token"] {
            assert!(matches!(verifier.verify(text), Err(TokenError::Invalid(_))), "{text}");
        }
        // {"alg":"none"}
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJhdWQiOiJhdXRoZW50aWNhdGVkIn0.";
        assert!(verifier.verify(unsigned).is_err());
    }

    #[test]
    fn an_empty_key_is_refused() {
        assert!(matches!(Verifier::new(&config(" ")), Err(KeyError::Empty)));
    }
}
