//! Tokens that somebody made to get in.

use copilot_api::auth::{AuthError, SignAlgorithm};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::provider::Provider;
use super::{Signer, ann, crafted, fixed, gates};

const OTHER_ALGORITHM: AuthError = AuthError::Invalid("The specified alg value is not allowed");
const PUBLIC: &str = include_str!("keys/rsa_one.pub.pem");

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    for secret in [PUBLIC, PUBLIC.trim_end()] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let forger = Signer::shared(secret.as_bytes(), algorithm);
            let gate = fixed(SignAlgorithm::Rs256, PUBLIC);
            assert_eq!(gate.verify(&forger.sign(&ann())).await.unwrap_err(), OTHER_ALGORITHM);
            let provider = Provider::start(&[Signer::rsa().published_as("a")]);
            let forged = forger.sign_as("a", &ann());
            assert_eq!(provider.gate().verify(&forged).await.unwrap_err(), OTHER_ALGORITHM);
            let both = provider.gate().with_key(SignAlgorithm::Rs256, PUBLIC).unwrap();
            assert_eq!(both.verify(&forged).await.unwrap_err(), OTHER_ALGORITHM);
        }
    }
}

#[tokio::test]
async fn a_published_secret_signs_nothing() {
    let secret = Signer::shared(b"published by mistake", Algorithm::HS256);
    let provider = Provider::start(&[secret.published_as("a"), Signer::rsa().published_as("b")]);
    assert_eq!(provider.gate().verify(&secret.sign_as("a", &ann())).await.unwrap_err(), OTHER_ALGORITHM);
}

#[tokio::test]
async fn none_is_no_algorithm_however_it_is_spelled() {
    let provider = Provider::start(&[Signer::rsa().published_as("a")]);
    let ring = provider.gate();
    for name in [json!("none"), json!("None"), json!("nOnE"), json!(""), json!(null), json!(["RS256"])] {
        let head = json!({"alg": name, "kid": "a"});
        for signature in ["", "AAAA"] {
            let token = crafted(&head, &ann(), signature);
            for (gate, _) in gates() {
                assert_eq!(gate.verify(&token).await.unwrap_err(), OTHER_ALGORITHM, "{head}");
            }
            assert_eq!(ring.verify(&token).await.unwrap_err(), OTHER_ALGORITHM, "{head}");
        }
    }
    assert_eq!(ring.verify(&crafted(&json!({}), &ann(), "")).await.unwrap_err(), OTHER_ALGORITHM);
}

#[tokio::test]
async fn another_algorithm_of_the_same_kind_is_another_algorithm() {
    let provider = Provider::start(&[Signer::rsa().published_as("a")]);
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let token = Signer { algorithm, ..Signer::rsa() }.sign_as("a", &ann());
        assert_eq!(provider.gate().verify(&token).await.unwrap_err(), OTHER_ALGORITHM, "{algorithm:?}");
        assert_eq!(fixed(SignAlgorithm::Rs256, PUBLIC).verify(&token).await.unwrap_err(), OTHER_ALGORITHM);
    }
}

#[tokio::test]
async fn a_key_that_the_token_brings_along_is_not_used() {
    let provider = Provider::start(&[Signer::rsa().published_as("a")]);
    let mallory = Signer::another_rsa();
    let brought = mallory.published_as("mallory");
    for head in [
        json!({"alg": "RS256", "kid": "a", "jwk": brought}),
        json!({"alg": "RS256", "kid": "mallory", "jwk": brought, "jku": "https://mallory.example/jwks"}),
        json!({"alg": "RS256", "jwk": brought, "x5u": "https://mallory.example/x"}),
    ] {
        // The signature is mallory's over other parts; it must not even come to that.
        let signed = mallory.sign(&ann());
        let token = crafted(&head, &ann(), signed.rsplit('.').next().unwrap());
        assert!(matches!(provider.gate().verify(&token).await, Err(AuthError::Invalid(_))), "{head}");
    }
    let named = mallory.sign_as("a", &ann());
    let refused = provider.gate().verify(&named).await.unwrap_err();
    assert_eq!(refused, AuthError::Invalid("Signature verification failed"));
}

#[tokio::test]
async fn a_key_id_is_looked_up_and_nothing_else_is_done_with_it() {
    let provider = Provider::start(&[Signer::rsa().published_as("a")]);
    let gate = provider.gate();
    let long = "x".repeat(20_000);
    for kid in ["../../../../dev/null", "' OR 1=1 --", "a\u{0}", "", " a", "A", "http://mallory.example/", &long] {
        let refused = gate.verify(&Signer::rsa().sign_as(kid, &ann())).await.unwrap_err();
        assert_eq!(refused, AuthError::Invalid("Unable to find a signing key that matches"), "{kid:.20}");
    }
    for kid in [json!(1), json!(null), json!(["a"]), json!({"a": "a"})] {
        let token = crafted(&json!({"alg": "RS256", "kid": kid}), &ann(), "AAAA");
        assert!(matches!(gate.verify(&token).await, Err(AuthError::Invalid(_))), "{kid}");
    }
    let without = gate.verify(&Signer::rsa().sign(&ann())).await.unwrap_err();
    assert_eq!(without, AuthError::Invalid("Token is missing the \"kid\" header"));
    assert!(provider.asked() <= 1);
}

#[tokio::test]
async fn claims_are_checked_whatever_the_algorithm() {
    let past = 1_000_000_000;
    let far = 9_000_000_000_u64;
    let with = |name: &str, value: Value| {
        let mut claims = ann();
        claims.as_object_mut().unwrap().insert(name.into(), value);
        claims
    };
    let without = |name: &str| {
        let mut claims = ann();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    for (gate, signer) in gates() {
        for (claims, expected) in [
            (with("exp", json!(past)), AuthError::Expired),
            (with("nbf", json!(far)), AuthError::Invalid("The token is not yet valid (nbf)")),
            (with("iat", json!(far)), AuthError::Invalid("The token is not yet valid (iat)")),
            (with("exp", json!("tomorrow")), AuthError::Invalid("Invalid claims")),
            (with("aud", json!("other")), AuthError::Invalid("Audience doesn't match")),
            (with("aud", json!(["other", "authenticated2"])), AuthError::Invalid("Audience doesn't match")),
            (with("aud", json!([])), AuthError::Invalid("Audience doesn't match")),
            (without("aud"), AuthError::Invalid("Token is missing the \"aud\" claim")),
            (with("sub", json!("")), AuthError::NoUser),
            (with("sub", json!(5)), AuthError::NoUser),
            (with("sub", json!(null)), AuthError::NoUser),
            (with("sub", json!(["ann"])), AuthError::Invalid("Invalid claims")),
            (with("sub", json!("x".repeat(256))), AuthError::NoUser),
            (without("sub"), AuthError::NoUser),
        ] {
            assert_eq!(gate.verify(&signer.sign(&claims)).await.unwrap_err(), expected, "{claims}");
        }
        gate.verify(&signer.sign(&with("aud", json!(["other", "authenticated"])))).await.unwrap();
        gate.verify(&signer.sign(&with("exp", json!(far)))).await.unwrap();
    }
}

#[tokio::test]
async fn broken_and_huge_tokens_are_refused() {
    let (gate, signer) = gates().remove(1);
    let good = signer.sign(&ann());
    let (message, _) = good.rsplit_once('.').unwrap();
    let huge = "x".repeat(1024 * 1024);
    let critical = crafted(&json!({"alg": "RS256", "crit": ["b64"], "b64": false}), &ann(), "AAAA");
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        message.into(),
        format!("{good}.x"),
        format!("{message}."),
        format!("{message}.AAAA"),
        format!("{message}.{huge}"),
        format!("{huge}.{huge}.{huge}"),
        format!("=.{good}"),
        huge.clone(),
        critical,
    ] {
        assert!(matches!(gate.verify(&token).await, Err(AuthError::Invalid(_))), "{token:.40}");
    }
    let understood =
        jsonwebtoken::Header { crit: Some(vec!["exp".into()]), ..jsonwebtoken::Header::new(signer.algorithm) };
    let refused = gate.verify(&signer.sign_with(&understood, &ann())).await.unwrap_err();
    assert_eq!(refused, AuthError::Invalid("Unsupported critical extension"), "though the signature is good");
    gate.verify(&good).await.unwrap();
    gate.verify(&signer.sign(&json!({"sub": "ann", "aud": "authenticated", "filler": huge}))).await.unwrap();
}
