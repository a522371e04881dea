//! Tokens against real keys, and keys from a real server.

use copilot_api::auth::{AuthError, DEVELOPMENT_KEY, Gate, SignAlgorithm, UserRole};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

mod attacks;
mod provider;
mod ring;

/// What signs in a test.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    key: jsonwebtoken::EncodingKey,
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(include_bytes!("identity/keys/rsa_one.pem")).unwrap();
        Self { algorithm: Algorithm::RS256, key }
    }

    fn another_rsa() -> Self {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(include_bytes!("identity/keys/rsa_two.pem")).unwrap();
        Self { algorithm: Algorithm::RS256, key }
    }

    fn p256() -> Self {
        let key = jsonwebtoken::EncodingKey::from_ec_pem(include_bytes!("identity/keys/p256.pem")).unwrap();
        Self { algorithm: Algorithm::ES256, key }
    }

    fn ed25519() -> Self {
        let key = jsonwebtoken::EncodingKey::from_ed_pem(include_bytes!("identity/keys/ed25519.pem")).unwrap();
        Self { algorithm: Algorithm::EdDSA, key }
    }

    pub(crate) fn shared(secret: &[u8], algorithm: Algorithm) -> Self {
        Self { algorithm, key: jsonwebtoken::EncodingKey::from_secret(secret) }
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&jsonwebtoken::Header::new(self.algorithm), claims)
    }

    fn sign_as(&self, kid: &str, claims: &Value) -> String {
        let header = jsonwebtoken::Header { kid: Some(kid.into()), ..jsonwebtoken::Header::new(self.algorithm) };
        self.sign_with(&header, claims)
    }

    fn sign_with(&self, header: &jsonwebtoken::Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }

    /// The public half as a provider publishes it.
    fn published_as(&self, kid: &str) -> Value {
        let key = jsonwebtoken::jwk::Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        let mut value = serde_json::to_value(key).unwrap();
        let object = value.as_object_mut().unwrap();
        object.insert("kid".into(), json!(kid));
        object.insert("use".into(), json!("sig"));
        value
    }
}

fn encoded(value: &Value) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token with any head, signed or not.
pub(crate) fn crafted(head: &Value, claims: &Value, signature: &str) -> String {
    format!("{}.{}.{signature}", encoded(head), encoded(claims))
}

fn ann() -> Value {
    json!({"sub": "ann", "aud": "authenticated", "role": "admin"})
}

fn fixed(algorithm: SignAlgorithm, key: &str) -> Gate {
    Gate::new(algorithm, key, false).unwrap()
}

/// A gate of each algorithm, and who signs for it.
fn gates() -> Vec<(Gate, Signer)> {
    vec![
        (fixed(SignAlgorithm::Hs256, DEVELOPMENT_KEY), Signer::shared(DEVELOPMENT_KEY.as_bytes(), Algorithm::HS256)),
        (fixed(SignAlgorithm::Rs256, include_str!("identity/keys/rsa_one.pub.pem")), Signer::rsa()),
        (fixed(SignAlgorithm::Es256, include_str!("identity/keys/p256.pub.pem")), Signer::p256()),
        (fixed(SignAlgorithm::EdDsa, include_str!("identity/keys/ed25519.pub.pem")), Signer::ed25519()),
    ]
}

#[tokio::test]
async fn each_algorithm_opens_its_own_gate_and_no_other() {
    for (gate, signer) in gates() {
        let identity = gate.verify(&signer.sign(&ann())).await.unwrap();
        assert_eq!((identity.user.as_str(), identity.role), ("ann", UserRole::Admin));
        for (_, other) in gates().into_iter().filter(|(_, other)| other.algorithm != signer.algorithm) {
            let refused = gate.verify(&other.sign(&ann())).await.unwrap_err();
            assert_eq!(refused, AuthError::Invalid("The specified alg value is not allowed"));
        }
    }
}

#[tokio::test]
async fn a_key_of_the_same_kind_is_not_the_same_key() {
    let gate = fixed(SignAlgorithm::Rs256, include_str!("identity/keys/rsa_one.pub.pem"));
    let refused = gate.verify(&Signer::another_rsa().sign(&ann())).await.unwrap_err();
    assert_eq!(refused, AuthError::Invalid("Signature verification failed"));
}
