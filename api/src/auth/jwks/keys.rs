//! Which keys of a set are used, and for which algorithm: the key says so, never the token.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::Keys;
use crate::auth::token::VerifyKey;

/// The shortest RSA modulus, in bytes (RFC 7518, 3.3).
const SHORTEST_MODULUS: usize = 256;

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Why a key of a set is left out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("it is no key of a kind that is known here")]
    Unknown,
    #[error("it has no id")]
    NoId,
    #[error("it is not for verifying signatures")]
    OtherUse,
    #[error("a shared secret must not be published")]
    Secret,
    #[error("its algorithm does not fit its kind")]
    Algorithm,
    #[error("it is too short")]
    TooShort,
}

/// The usable keys of a set, by their ids. What is not usable is left out, so that a provider may
/// publish keys for others as well; a set without any is a set all the same: every key was revoked.
pub(super) fn read(body: &[u8]) -> Result<Keys, serde_json::Error> {
    let set: Set = serde_json::from_slice(body)?;
    let mut keys = Keys::new();
    for value in set.keys {
        match usable(value) {
            Ok((kid, key)) => {
                if keys.insert(kid.clone(), Arc::new(key)).is_some() {
                    tracing::warn!(kid, "two keys of JWT_JWKS_URL have one id; the last one is used");
                }
            }
            Err(why) => tracing::debug!(%why, "a key of JWT_JWKS_URL is left out"),
        }
    }
    if keys.is_empty() {
        tracing::warn!("JWT_JWKS_URL has no usable key: no token of it is valid");
    }
    Ok(keys)
}

fn usable(value: Value) -> Result<(String, VerifyKey), Unusable> {
    let key: Jwk = serde_json::from_value(value).map_err(|_| Unusable::Unknown)?;
    let common = &key.common;
    let kid = common.key_id.clone().filter(|kid| !kid.is_empty()).ok_or(Unusable::NoId)?;
    let signs = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !signs || !verifies {
        return Err(Unusable::OtherUse);
    }
    let algorithm = algorithm_of(&key)?;
    let decoding = DecodingKey::from_jwk(&key).map_err(|_| Unusable::Unknown)?;
    Ok((kid, VerifyKey::new(algorithm, decoding)))
}

/// The one algorithm of a key: the one that it names, if its kind has it, else its kind's usual one.
fn algorithm_of(key: &Jwk) -> Result<Algorithm, Unusable> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let (usual, others): (Algorithm, &[Algorithm]) = match &key.algorithm {
        AlgorithmParameters::RSA(parameters) => {
            let modulus = URL_SAFE_NO_PAD.decode(&parameters.n).map_err(|_| Unusable::Unknown)?;
            if modulus.iter().skip_while(|byte| **byte == 0).count() < SHORTEST_MODULUS {
                return Err(Unusable::TooShort);
            }
            (RS256, &[RS384, RS512, PS256, PS384, PS512])
        }
        AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
            EllipticCurve::P256 => (ES256, &[]),
            EllipticCurve::P384 => (ES384, &[]),
            _ => return Err(Unusable::Unknown),
        },
        AlgorithmParameters::OctetKeyPair(parameters) => match parameters.curve {
            EllipticCurve::Ed25519 => (EdDSA, &[]),
            _ => return Err(Unusable::Unknown),
        },
        AlgorithmParameters::OctetKey(_) => return Err(Unusable::Secret),
        _ => return Err(Unusable::Unknown),
    };
    let Some(named) = key.common.key_algorithm else { return Ok(usual) };
    let named = Algorithm::try_from(named).map_err(|_| Unusable::OtherUse)?;
    if named == usual || others.contains(&named) { Ok(named) } else { Err(Unusable::Algorithm) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn why_not(key: Value) -> Unusable {
        usable(key).err().unwrap()
    }

    fn rsa(modulus: usize) -> Value {
        let n = URL_SAFE_NO_PAD.encode([0xff_u8].repeat(modulus));
        json!({"kty": "RSA", "kid": "a", "n": n, "e": "AQAB"})
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key.as_object_mut().unwrap().insert(name.into(), value);
        key
    }

    fn point(curve: &str) -> Value {
        json!({"kty": "EC", "kid": "a", "crv": curve, "x": "AQ", "y": "AQ"})
    }

    #[test]
    fn the_algorithm_is_the_keys_own() {
        for (key, expected) in [
            (rsa(256), Algorithm::RS256),
            (with(rsa(256), "alg", json!("PS512")), Algorithm::PS512),
            (point("P-256"), Algorithm::ES256),
            (point("P-384"), Algorithm::ES384),
            (json!({"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": "AQ"}), Algorithm::EdDSA),
        ] {
            let (_, key) = usable(key).ok().unwrap();
            assert!(key.is_for(expected), "{expected:?}");
        }
    }

    #[test]
    fn shared_secrets_and_keys_for_other_ends_are_left_out() {
        let secret = json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0"});
        assert_eq!(why_not(secret.clone()), Unusable::Secret);
        assert_eq!(why_not(with(secret, "alg", json!("HS256"))), Unusable::Secret);
        assert_eq!(why_not(with(rsa(256), "alg", json!("HS256"))), Unusable::Algorithm);
        assert_eq!(why_not(with(rsa(256), "alg", json!("ES256"))), Unusable::Algorithm);
        assert_eq!(why_not(with(point("P-256"), "alg", json!("ES384"))), Unusable::Algorithm);
        assert_eq!(why_not(with(rsa(256), "alg", json!("RSA-OAEP"))), Unusable::OtherUse);
        assert_eq!(why_not(with(rsa(256), "use", json!("enc"))), Unusable::OtherUse);
        assert_eq!(why_not(with(rsa(256), "key_ops", json!(["sign"]))), Unusable::OtherUse);
        assert_eq!(why_not(with(rsa(256), "kid", json!(""))), Unusable::NoId);
        assert_eq!(why_not(rsa(128)), Unusable::TooShort);
        assert_eq!(why_not(point("P-521")), Unusable::Unknown);
        for strange in [json!(5), json!({}), json!({"kty": "AKP", "kid": "a"})] {
            assert!(matches!(why_not(strange), Unusable::Unknown | Unusable::NoId));
        }
    }

    #[test]
    fn one_strange_key_does_not_spoil_the_set_and_an_empty_set_is_one() {
        let set = json!({"keys": [{"kty": "AKP"}, rsa(256), 7]}).to_string();
        assert_eq!(read(set.as_bytes()).unwrap().keys().collect::<Vec<_>>(), ["a"]);
        assert!(read(b"{\"keys\":[]}").unwrap().is_empty());
        assert!(read(b"{}").is_err() && read(b"[]").is_err() && read(b"<html>").is_err());
    }
}
