//! Which tokens open the gate.

use super::token::now;
use super::*;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

fn gate() -> Gate {
    Gate::new(SignAlgorithm::Hs256, DEVELOPMENT_KEY, false).unwrap()
}

fn token(claims: &Value) -> String {
    signed(claims, DEVELOPMENT_KEY)
}

fn signed(claims: &Value, key: &str) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

#[tokio::test]
async fn a_token_of_ours_opens() {
    let user = UserId::parse("u1").unwrap();
    let made = sign(SignAlgorithm::Hs256, DEVELOPMENT_KEY, &user, UserRole::Admin, 60).unwrap();
    let identity = gate().verify(&made).await.unwrap();
    assert_eq!((identity.user, identity.role), (user, UserRole::Admin));
}

#[tokio::test]
async fn a_token_without_role_or_expiry_is_an_ordinary_users() {
    let identity = gate().verify(&token(&json!({"sub": "u1", "aud": ["x", "authenticated"]}))).await.unwrap();
    assert_eq!(identity.role, UserRole::User);
}

#[tokio::test]
async fn refused_tokens_say_why() {
    let far = now() + 1000.0;
    let good = json!({"sub": "u1", "aud": "authenticated"});
    for (token, expected) in [
        (token(&json!({"sub": "u1", "aud": "authenticated", "exp": now() - 1.0})), AuthError::Expired),
        (
            token(&json!({"sub": "u1", "aud": "authenticated", "nbf": far})),
            AuthError::Invalid("The token is not yet valid (nbf)"),
        ),
        (
            token(&json!({"sub": "u1", "aud": "authenticated", "iat": far})),
            AuthError::Invalid("The token is not yet valid (iat)"),
        ),
        (token(&json!({"sub": "u1", "aud": "other"})), AuthError::Invalid("Audience doesn't match")),
        (token(&json!({"sub": "u1"})), AuthError::Invalid("Token is missing the \"aud\" claim")),
        (token(&json!({"sub": "", "aud": "authenticated"})), AuthError::NoUser),
        (token(&json!({"sub": "a\u{0}b", "aud": "authenticated"})), AuthError::NoUser),
        (token(&json!({"aud": "authenticated"})), AuthError::NoUser),
        (signed(&good, "another key"), AuthError::Invalid("Signature verification failed")),
        ("x".into(), AuthError::Invalid("Not enough segments")),
    ] {
        assert_eq!(gate().verify(&token).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn an_unsigned_token_is_refused() {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": "u1", "aud": "authenticated"});
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
    assert!(matches!(gate().verify(&unsigned).await, Err(AuthError::Invalid(_))));
}

#[tokio::test]
async fn another_algorithm_is_refused_even_with_the_right_key() {
    let claims = json!({"sub": "u1", "aud": "authenticated"});
    let key = EncodingKey::from_secret(DEVELOPMENT_KEY.as_bytes());
    let other = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &key).unwrap();
    assert_eq!(gate().verify(&other).await.unwrap_err(), AuthError::Invalid("The specified alg value is not allowed"));
}

#[test]
fn public_keys_verify_and_never_sign() {
    assert!(matches!(Gate::new(SignAlgorithm::Es256, "no pem", false), Err(KeyError::Pem(_))));
    assert!(matches!(Gate::new(SignAlgorithm::Hs256, " ", false), Err(KeyError::Empty)));
    let user = UserId::parse("u1").unwrap();
    let refused = sign(SignAlgorithm::EdDsa, "key", &user, UserRole::User, 1);
    assert!(matches!(refused, Err(KeyError::CannotSign)));
}

#[tokio::test]
async fn claim_tokens_are_only_heard_where_there_are_anonymous_sessions() {
    let request = Request::builder().header(CLAIM_HEADER, "t").finish();
    assert_eq!(gate().credential(&request).await.unwrap_err(), AuthError::Missing);
    let open = Gate::new(SignAlgorithm::Hs256, DEVELOPMENT_KEY, true).unwrap();
    let shown = open.credential(&request).await.unwrap();
    assert!(matches!(shown, Credential::Claim(hash) if hash == claim_hash("t")));
    let both = Request::builder().header(CLAIM_HEADER, "t").header("authorization", "Bearer x").finish();
    assert!(open.credential(&both).await.is_err(), "a wrong token is not made up for by another proof");
}

#[test]
fn the_scheme_is_read_without_case_and_a_blank_token_is_none() {
    for (value, token) in
        [("bearer abc", Some("abc")), ("BEARER  abc ", Some("abc")), ("Bearer ", None), ("Basic abc", None)]
    {
        let request = Request::builder().header("authorization", value).finish();
        assert_eq!(bearer(&request), token, "{value}");
    }
}
