//! Tickets: they open the streams of their session for a minute, and nothing else.

use std::sync::Arc;

use copilot_api::auth::{Gate, Place, SignAlgorithm, Tickets};
use copilot_shared::id::{SessionId, UserId};
use copilot_shared::session::Caller;
use copilot_shared::testing::Services;
use serde_json::json;

use crate::harness::{Api, Settings, text_of};

async fn ticket(api: &Api, session: &str) -> String {
    let made = api.post(format!("{session}/stream-ticket")).by("u1").send().await.ok();
    let expires: chrono::DateTime<chrono::Utc> = made["expires_at"].as_str().unwrap().parse().unwrap();
    let seconds = (expires - chrono::Utc::now()).num_seconds();
    assert!((50..=60).contains(&seconds), "{seconds}");
    made["ticket"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ticket_opens_every_stream_of_its_session() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let turn = api.submit(&session, "u1", "hi").await;
    api.begin(turn, "hello").await;
    let ticket = ticket(&api, &session).await;
    let alias = session.replace("/sessions/", "/");
    for path in [format!("{session}/stream"), format!("{session}/turns/{turn}/stream"), format!("{alias}/stream")] {
        let mut stream = api.get(format!("{path}?ticket={ticket}")).events().await;
        assert_eq!(stream.next().await.unwrap().unwrap().json()["messageId"], json!(turn), "{path}");
    }
    let rest = api.get(format!("{session}/stream?after={turn}:3&ticket={ticket}")).events().await;
    api.complete(&api.store.find_turn(session_id(&session), turn).await.unwrap().unwrap(), "hello").await;
    assert_eq!(text_of(&rest.all().await), "hello");
}

fn session_id(path: &str) -> SessionId {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_ticket_opens_nothing_else() {
    let api = Api::start().await;
    let (session, other) = (api.session("u1").await, api.session("u1").await);
    let ticket = ticket(&api, &session).await;
    for (method, path) in [
        ("GET", session.clone()),
        ("GET", format!("{session}/turns")),
        ("POST", format!("{session}/cancel")),
        ("POST", format!("{session}/stream-ticket")),
        ("DELETE", session.clone()),
        ("GET", format!("{other}/stream")),
    ] {
        let asked = api.ask(method, format!("{path}?ticket={ticket}")).send().await;
        asked.refused(401, "unauthorized");
    }
    let as_token = api.get(format!("{session}/stream")).header("authorization", &format!("Bearer {ticket}"));
    as_token.send().await.refused(401, "unauthorized");
    api.post(format!("{session}/stream-ticket")).by("u2").send().await.refused(404, "session_not_found");
}

#[tokio::test]
async fn what_is_no_ticket_is_refused_and_a_header_counts_alone() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let good = ticket(&api, &session).await;
    let url = |ticket: &str| format!("{session}/stream?ticket={ticket}");
    let mut forged = good.clone();
    forged.replace_range(forged.len() - 4.., "AAAA");
    for bad in ["nonsense", "a.b.c", forged.as_str(), ""] {
        api.get(url(bad)).send().await.refused(401, "unauthorized");
    }
    let bad_header = api.get(url(&good)).header("authorization", "Bearer nonsense");
    bad_header.send().await.refused(401, "unauthorized");
    let stranger = api.get(url(&good)).by("u2");
    stranger.send().await.refused(404, "session_not_found");
    assert_eq!(api.get(url(&good)).by("u1").send().await.status, 204);
}

#[tokio::test]
async fn the_bearer_of_an_anonymous_session_gets_tickets_until_it_is_claimed() {
    let api = Api::start_with(Settings { anonymous: true, ..Settings::default() }).await;
    let made = api.post("/api/chat/sessions").send().await.ok();
    let session = format!("/api/chat/sessions/{}", made["id"].as_str().unwrap());
    let claim = made["claim_token"].as_str().unwrap();
    let asked = api.post(format!("{session}/stream-ticket")).header("X-Claim-Token", claim).send().await.ok();
    let url = format!("{session}/stream?ticket={}", asked["ticket"].as_str().unwrap());
    assert_eq!(api.get(&url).send().await.status, 204);
    let claimed = api.ask("PATCH", format!("{session}/assign-user")).by("u1").json(&json!({"claim_token": claim}));
    claimed.send().await.ok();
    api.get(&url).send().await.refused(404, "session_not_found");
}

#[tokio::test]
async fn with_a_public_key_all_processes_share_a_secret_of_the_deployment() {
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAEwuk/+FWZVhhVFUR/QIRlogEmQDjFF0cWjDs15rrC8M=\n-----END PUBLIC KEY-----\n";
    let services = Services::isolated().await;
    let gate = Gate::new(SignAlgorithm::EdDsa, PUBLIC, false).unwrap();
    assert!(gate.ticket_secret().is_none());
    let (one, two) = (Tickets::new(services.store(), None), Arc::new(Tickets::new(services.store(), None)));
    let place = Place { caller: Caller::User(UserId::parse("u1").unwrap()), session: SessionId::generate() };
    let (ticket, other) = tokio::join!(one.issue(&place), two.issue(&place));
    for ticket in [ticket.unwrap(), other.unwrap()] {
        assert_eq!(one.read(&ticket.text, place.session).await.unwrap().caller, place.caller);
        assert_eq!(two.read(&ticket.text, place.session).await.unwrap().caller, place.caller);
        assert!(two.read(&ticket.text, SessionId::generate()).await.is_err());
    }
    assert_eq!(services.count("SELECT count(*) FROM deployment_secrets").await, 1);
    let elsewhere = Services::isolated().await;
    let foreign = Tickets::new(elsewhere.store(), None).issue(&place).await.unwrap();
    assert!(one.read(&foreign.text, place.session).await.is_err());
}
