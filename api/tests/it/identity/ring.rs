//! Keys by their ids: kept, rotated, and asked for no more than is good for their server.

use std::time::Duration;

use copilot_api::auth::{AuthError, Gate, SignAlgorithm};
use copilot_shared::testing::eventually;
use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use poem::http::StatusCode;
use serde_json::json;

use super::provider::{Answer, OLDEST, Provider, set};
use super::{Signer, ann, crafted};
use crate::harness::{Api, PATIENCE, Settings};

const UNKNOWN: AuthError = AuthError::Invalid("Unable to find a signing key that matches");
const REST: Duration = Duration::from_secs(10);

#[tokio::test]
async fn tokens_are_verified_by_the_key_that_they_name_and_the_keys_are_read_once() {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::p256(), Signer::ed25519());
    let provider = Provider::start(&[rsa.published_as("r"), ec.published_as("e"), ed.published_as("d")]);
    let gate = provider.gate();
    for (signer, kid) in [(&rsa, "r"), (&ec, "e"), (&ed, "d"), (&rsa, "r")] {
        assert_eq!(gate.verify(&signer.sign_as(kid, &ann())).await.unwrap().user.as_str(), "ann");
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn requests_wait_for_the_one_fetch_that_is_on_its_way() {
    let signer = Signer::ed25519();
    let provider = Provider::start(&[]);
    provider.say(Answer { after: Duration::from_millis(300), ..set(&[signer.published_as("a")]) });
    let (gate, token) = (provider.gate(), signer.sign_as("a", &ann()));
    let opened = join_all((0..50).map(|_| gate.verify(&token))).await;
    assert!(opened.iter().all(Result::is_ok));
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_storm_of_unknown_ids_is_one_fetch_in_ten_seconds() {
    let signer = Signer::ed25519();
    let provider = Provider::start(&[signer.published_as("a")]);
    let gate = provider.gate();
    gate.verify(&signer.sign_as("a", &ann())).await.unwrap();
    let storm = async || {
        let token = |n: i32| crafted(&json!({"alg": "EdDSA", "kid": format!("unknown-{n}")}), &ann(), "AAAA");
        let tokens: Vec<String> = (0..200).map(token).collect();
        let refused = join_all(tokens.iter().map(|token| gate.verify(token))).await;
        assert!(refused.into_iter().all(|result| result.unwrap_err() == UNKNOWN));
    };
    storm().await;
    provider.pass(REST.saturating_sub(Duration::from_millis(1)));
    storm().await;
    assert_eq!(provider.asked(), 1, "the first fetch was less than ten seconds ago");
    provider.pass(Duration::from_millis(1));
    storm().await;
    assert_eq!(provider.asked(), 2);
    gate.verify(&signer.sign_as("a", &ann())).await.unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_take_the_fetch_with_it() {
    let signer = Signer::ed25519();
    let provider = Provider::start(&[]);
    provider.say(Answer { after: Duration::from_millis(200), ..set(&[signer.published_as("a")]) });
    let (gate, token) = (provider.gate(), signer.sign_as("a", &ann()));
    let hung_up = tokio::time::timeout(Duration::from_millis(50), gate.verify(&token)).await;
    assert!(hung_up.is_err());
    gate.verify(&token).await.unwrap();
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_found_and_a_removed_one_stops_at_the_next_refresh() {
    let (old, new) = (Signer::rsa(), Signer::p256());
    let provider = Provider::start(&[old.published_as("old")]);
    let gate = provider.gate();
    let (old_token, new_token) = (old.sign_as("old", &ann()), new.sign_as("new", &ann()));
    gate.verify(&old_token).await.unwrap();
    provider.publish(&[new.published_as("new")]);
    gate.verify(&old_token).await.unwrap();
    provider.pass(REST);
    gate.verify(&new_token).await.unwrap();
    assert_eq!(gate.verify(&old_token).await.unwrap_err(), UNKNOWN);
}

#[tokio::test]
async fn a_removed_key_stops_with_age_though_nobody_asks_for_another() {
    let signer = Signer::ed25519();
    let provider = Provider::start(&[signer.published_as("a")]);
    let (gate, token) = (provider.gate(), signer.sign_as("a", &ann()));
    gate.verify(&token).await.unwrap();
    provider.publish(&[]);
    provider.pass(OLDEST.saturating_sub(Duration::from_secs(1)));
    provider.ring.refresh_if_old().await;
    gate.verify(&token).await.unwrap();
    provider.pass(Duration::from_secs(1));
    provider.ring.refresh_if_old().await;
    assert_eq!(gate.verify(&token).await.unwrap_err(), UNKNOWN);
}

#[tokio::test]
async fn the_ring_reads_its_keys_by_itself() {
    let provider = Provider::start(&[Signer::ed25519().published_as("a")]);
    let stop = tokio_util::sync::CancellationToken::new();
    let keeping = tokio::spawn(provider.ring.clone().keep_fresh(stop.clone()));
    eventually("the first fetch", PATIENCE, || async { (provider.asked() == 1).then_some(()) }).await;
    provider.pass(OLDEST);
    eventually("the fetch by age", PATIENCE, || async { (provider.asked() == 2).then_some(()) }).await;
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn the_same_id_with_another_key_is_another_key() {
    let (one, two) = (Signer::rsa(), Signer::another_rsa());
    let provider = Provider::start(&[one.published_as("a")]);
    let gate = provider.gate();
    gate.verify(&one.sign_as("a", &ann())).await.unwrap();
    provider.publish(&[two.published_as("a")]);
    provider.pass(OLDEST);
    provider.ring.refresh_if_old().await;
    gate.verify(&two.sign_as("a", &ann())).await.unwrap();
    let refused = gate.verify(&one.sign_as("a", &ann())).await.unwrap_err();
    assert_eq!(refused, AuthError::Invalid("Signature verification failed"));
}

#[tokio::test]
async fn an_outage_keeps_the_last_known_keys() {
    let signer = Signer::ed25519();
    let provider = Provider::start(&[signer.published_as("a")]);
    let (gate, token) = (provider.gate(), signer.sign_as("a", &ann()));
    gate.verify(&token).await.unwrap();
    let outages = [
        Answer { status: StatusCode::INTERNAL_SERVER_ERROR, ..set(&[]) },
        Answer { body: "<html>".into(), ..set(&[]) },
        Answer { body: json!({"keys": [], "filler": "x".repeat(300 * 1024)}).to_string(), ..set(&[]) },
        Answer { status: StatusCode::FOUND, ..set(&[]) },
    ];
    for (outage, asked) in outages.into_iter().zip(2..) {
        provider.say(outage);
        provider.pass(OLDEST);
        provider.ring.refresh_if_old().await;
        assert_eq!(provider.asked(), asked);
        gate.verify(&token).await.unwrap();
    }
}

#[tokio::test]
async fn without_any_keys_yet_nobody_can_say_and_it_is_said_when_to_come_back() {
    let signer = Signer::ed25519();
    let provider = Provider::start(&[signer.published_as("a")]);
    provider.fail();
    let api = Api::start_with(Settings { gate: Some(provider.gate()), ..Settings::default() }).await;
    let bearer = format!("Bearer {}", signer.sign_as("a", &ann()));
    let ask = || api.get("/api/chat/sessions").header("authorization", &bearer).send();
    let away = ask().await;
    away.refused(503, "unavailable");
    let seconds: u64 = away.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=11).contains(&seconds));
    ask().await.refused(503, "unavailable");
    assert_eq!(provider.asked(), 1);
    api.get("/api/chat/sessions").send().await.refused(401, "unauthorized");
    let forged = Signer::shared(b"x", Algorithm::HS256).sign_as("a", &ann());
    let forged = api.get("/api/chat/sessions").header("authorization", &format!("Bearer {forged}")).send().await;
    forged.refused(401, "unauthorized");
    provider.publish(&[signer.published_as("a")]);
    provider.pass(Duration::from_secs(seconds));
    assert_eq!(ask().await.status, 200);
}

#[tokio::test]
async fn a_server_that_never_answers_costs_seconds_and_not_the_request() {
    let signer = Signer::ed25519();
    let provider = Provider::start(&[]);
    provider.say(Answer { after: Duration::from_mins(1), ..set(&[]) });
    let refused = tokio::time::timeout(PATIENCE, provider.gate().verify(&signer.sign_as("a", &ann()))).await;
    assert!(matches!(refused.unwrap().unwrap_err(), AuthError::KeysAway(_)));
}

#[tokio::test]
async fn an_old_key_opens_beside_the_providers_and_only_with_its_own_algorithm() {
    let (rsa, ec) = (Signer::rsa(), Signer::p256());
    let provider = Provider::start(&[rsa.published_as("a")]);
    let secret = "a secret from before there was a provider";
    let gate: Gate = provider.gate().with_key(SignAlgorithm::Hs256, secret).unwrap();
    gate.verify(&rsa.sign_as("a", &ann())).await.unwrap();
    let legacy = Signer::shared(secret.as_bytes(), Algorithm::HS256);
    gate.verify(&legacy.sign(&ann())).await.unwrap();
    gate.verify(&legacy.sign_as("a", &ann())).await.unwrap();
    assert_eq!(gate.verify(&ec.sign_as("e", &ann())).await.unwrap_err(), UNKNOWN);

    let gate = provider.gate().with_key(SignAlgorithm::Es256, include_str!("keys/p256.pub.pem")).unwrap();
    gate.verify(&ec.sign(&ann())).await.unwrap();
    gate.verify(&ec.sign_as("of old", &ann())).await.unwrap();
    provider.fail();
    let cold = Provider::start(&[]);
    cold.fail();
    let gate = cold.gate().with_key(SignAlgorithm::Es256, include_str!("keys/p256.pub.pem")).unwrap();
    gate.verify(&ec.sign_as("of old", &ann())).await.unwrap();
    assert!(matches!(gate.verify(&rsa.sign_as("a", &ann())).await, Err(AuthError::KeysAway(_))));
}
