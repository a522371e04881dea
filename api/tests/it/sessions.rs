//! Conversations: made, listed, read, named, claimed, deleted.

use serde_json::{Value, json};

use crate::harness::{Api, Settings};

#[tokio::test]
async fn a_session_is_made_listed_read_named_and_deleted() {
    let api = Api::start().await;
    let made = api.post("/api/chat/sessions").by("u1").send().await.ok();
    assert_eq!((&made["user_id"], &made["claim_token"]), (&json!("u1"), &Value::Null));
    let path = format!("/api/chat/sessions/{}", made["id"].as_str().unwrap());

    let title = api.ask("PATCH", format!("{path}/title")).by("u1").json(&json!({"title": "  a name "}));
    assert_eq!(title.send().await.ok(), json!({"status": "ok"}));
    let list = api.get("/api/chat/sessions").by("u1").send().await.ok();
    assert_eq!((&list["total"], &list["sessions"][0]["title"]), (&json!(1), &json!("a name")));
    assert_eq!(list["sessions"][0]["is_processing"], json!(false));
    let read = api.get(&path).by("u1").send().await.ok();
    for (key, expected) in [
        ("title", json!("a name")),
        ("messages", json!([])),
        ("active_stream", Value::Null),
        ("oldest_sequence", Value::Null),
        ("has_more_messages", json!(false)),
        ("total_prompt_tokens", json!(0)),
    ] {
        assert_eq!(read.get(key), Some(&expected), "{key}");
    }

    assert_eq!(api.ask("DELETE", &path).by("u1").send().await.status, 204);
    api.get(&path).by("u1").send().await.refused(404, "session_not_found");
    api.ask("DELETE", &path).by("u1").send().await.refused(404, "session_not_found");
}

#[tokio::test]
async fn lists_are_paged_and_newest_updated_first() {
    let api = Api::start().await;
    let first = api.session("u1").await;
    api.session("u1").await;
    api.session("u2").await;
    api.submit(&first, "u1", "wakes the first one").await;
    let page = api.get("/api/chat/sessions?limit=1").by("u1").send().await.ok();
    assert_eq!(page["total"], json!(2));
    assert!(first.ends_with(page["sessions"][0]["id"].as_str().unwrap()));
    assert_eq!(page["sessions"][0]["is_processing"], json!(true));
    let rest = api.get("/api/chat/sessions?limit=1&offset=1").by("u1").send().await.ok();
    assert_ne!(rest["sessions"][0]["id"], page["sessions"][0]["id"]);
    for wrong in ["limit=0", "limit=101", "limit=x", "offset=-1"] {
        let refused = api.get(format!("/api/chat/sessions?{wrong}")).by("u1").send().await;
        refused.refused(422, "validation_error");
        assert_eq!(refused.body["detail"][0]["loc"][0], "query");
    }
}

#[tokio::test]
async fn messages_are_paged_backwards_with_their_places_and_durations() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    for n in 1..=3 {
        let turn = api.submit(&session, "u1", &format!("question {n}")).await;
        api.answer(turn, &format!("answer {n}")).await;
    }
    let page = api.get(format!("{session}?limit=2")).by("u1").send().await.ok();
    let said = |page: &Value| -> Vec<String> {
        let messages = page["messages"].as_array().unwrap().iter();
        messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(said(&page), ["question 3", "answer 3"]);
    assert_eq!(page["has_more_messages"], json!(true));
    assert!(page["messages"][1]["duration_ms"].is_i64() && page["messages"][0]["duration_ms"].is_null());
    assert_eq!((&page["total_prompt_tokens"], &page["total_completion_tokens"]), (&json!(9), &json!(6)));
    let oldest = page["oldest_sequence"].as_i64().unwrap();
    let before = api.get(format!("{session}?limit=200&before_sequence={oldest}")).by("u1").send().await.ok();
    assert_eq!(said(&before), ["question 1", "answer 1", "question 2", "answer 2"]);
    assert_eq!(before["has_more_messages"], json!(false));
}

#[tokio::test]
async fn a_title_that_is_blank_or_endless_changes_nothing() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    for title in [json!("  "), json!("x".repeat(257)), json!(5), json!(null), json!("a\u{0}b")] {
        let body = json!({"title": title});
        let refused = api.ask("PATCH", format!("{session}/title")).by("u1").json(&body).send().await;
        refused.refused(422, "validation_error");
        assert_eq!(refused.body["detail"][0]["loc"], json!(["body", "title"]));
    }
    assert_eq!(api.get(&session).by("u1").send().await.ok()["title"], Value::Null);
}

#[tokio::test]
async fn an_anonymous_session_is_its_bearers_until_it_is_claimed_once() {
    let api = Api::start_with(Settings { anonymous: true, ..Settings::default() }).await;
    let made = api.post("/api/chat/sessions").send().await.ok();
    let token = made["claim_token"].as_str().unwrap();
    assert_eq!((&made["user_id"], token.len()), (&Value::Null, 43));
    let path = format!("/api/chat/sessions/{}", made["id"].as_str().unwrap());

    assert_eq!(api.get(&path).header("X-Claim-Token", token).send().await.status, 200);
    let message = json!({"message": "hi"});
    let sent = api.post(format!("{path}/messages")).header("X-Claim-Token", token).json(&message).send().await;
    assert_eq!(sent.status, 202);
    api.get(&path).header("X-Claim-Token", "wrong").send().await.refused(404, "session_not_found");
    api.get(&path).by("u1").send().await.refused(404, "session_not_found");
    api.get(&path).send().await.refused(401, "unauthorized");

    let claim = |user: &'static str, body: Value| api.ask("PATCH", format!("{path}/assign-user")).by(user).json(&body);
    claim("u1", json!({"claim_token": "wrong"})).send().await.refused(403, "claim_refused");
    let without = api.ask("PATCH", format!("{path}/assign-user")).by("u1").send().await;
    without.refused(403, "claim_refused");
    assert_eq!(claim("u1", json!({"claim_token": token})).send().await.ok(), json!({"status": "ok"}));
    assert_eq!(api.get(&path).by("u1").send().await.ok()["user_id"], json!("u1"));
    api.get(&path).header("X-Claim-Token", token).send().await.refused(404, "session_not_found");
    claim("u2", json!({"claim_token": token})).send().await.refused(404, "session_not_found");
    assert_eq!(claim("u1", json!({})).send().await.status, 200, "the owner's call changes nothing");
}

#[tokio::test]
async fn without_the_setting_there_is_nothing_anonymous() {
    let api = Api::start().await;
    api.post("/api/chat/sessions").send().await.refused(401, "unauthorized");
    let session = api.session("u1").await;
    api.get(&session).header("X-Claim-Token", "t").send().await.refused(401, "unauthorized");
}

#[tokio::test]
async fn deleting_a_session_stops_what_is_in_flight_and_forgets_its_streams() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let ended = api.submit(&session, "u1", "first").await;
    api.answer(ended, "answer").await;
    let waiting_for_a_worker = api.submit(&session, "u1", "second").await;
    api.submit(&session, "u1", "third").await;
    assert_eq!(api.ask("DELETE", &session).by("u1").send().await.status, 204);
    for turn in [ended, waiting_for_a_worker] {
        assert_eq!(api.streams.meta(turn).await.unwrap(), None);
    }
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 0);
    assert_eq!(api.services.count("SELECT count(*) FROM messages").await, 0);
}
