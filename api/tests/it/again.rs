//! Messages written anew and answers made anew, as `useChat` asks for them.

use copilot_shared::id::TurnId;
use serde_json::{Value, json};

use crate::harness::{Api, text_of};

fn said(id: &str, text: &str) -> Value {
    json!({"id": id, "role": "user", "parts": [{"type": "text", "text": text}]})
}

fn body(session: &str, trigger: &str, message_id: Option<&str>, last: &Value) -> Value {
    let id = session.rsplit('/').next().unwrap();
    json!({"id": id, "messages": [last], "trigger": trigger, "messageId": message_id})
}

async fn texts(api: &Api, session: &str) -> Vec<String> {
    let detail = api.get(session).by("u1").send().await.ok();
    let messages = detail["messages"].as_array().unwrap();
    messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

async fn newest_turn(api: &Api, session: &str) -> TurnId {
    let turns = api.get(format!("{session}/turns")).by("u1").send().await.ok();
    turns["turns"][0]["id"].as_str().unwrap().parse().unwrap()
}

/// Asks a question as `useChat` does, and answers it.
async fn round(api: &Api, session: &str, id: &str, asks: &str, says: &str) -> TurnId {
    let sent = body(session, "submit-message", None, &said(id, asks));
    let stream = api.post("/api/chat").by("u1").json(&sent).events().await;
    let turn = newest_turn(api, session).await;
    api.answer(turn, says).await;
    stream.all().await;
    turn
}

#[tokio::test]
async fn an_answer_is_made_anew_and_streamed() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let old = round(&api, &session, "m1", "one", "1").await;
    let again = body(&session, "regenerate-message", Some(&old.to_string()), &said("m1", "one"));
    let stream = api.post("/api/chat").by("u1").json(&again).events().await;
    let new = newest_turn(&api, &session).await;
    assert_ne!(new, old);
    assert_eq!(texts(&api, &session).await, ["one"]);
    api.answer(new, "uno").await;
    let events = stream.all().await;
    assert_eq!(events[0].json(), json!({"type": "start", "messageId": new}));
    assert_eq!(text_of(&events), "uno");
    assert_eq!(texts(&api, &session).await, ["one", "uno"]);
    api.post("/api/chat").by("u1").json(&again).send().await.refused(404, "message_not_found");
    let replay = api.get(format!("{session}/turns/{old}/stream")).by("u1").events().await.all().await;
    assert_eq!(text_of(&replay), "1", "the old answer can still be replayed");
}

#[tokio::test]
async fn a_message_is_written_anew_by_the_name_that_the_client_gave_it() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    round(&api, &session, "m1", "one", "1").await;
    round(&api, &session, "m2", "two", "2").await;
    let edit = body(&session, "submit-message", Some("m1"), &said("m1", "eins"));
    let stream = api.post(format!("{session}/stream")).by("u1").json(&edit).events().await;
    api.answer(newest_turn(&api, &session).await, "1!").await;
    assert_eq!(text_of(&stream.all().await), "1!");
    assert_eq!(texts(&api, &session).await, ["eins", "1!"]);
    let gone = body(&session, "submit-message", Some("m2"), &said("m2", "zwei"));
    api.post("/api/chat").by("u1").json(&gone).send().await.refused(404, "message_not_found");
    assert_eq!(texts(&api, &session).await, ["eins", "1!"]);
}

#[tokio::test]
async fn writing_anew_ends_the_streams_of_what_it_drops() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let send = |message_id, last| body(&session, "submit-message", message_id, &last);
    let first = api.post("/api/chat").by("u1").json(&send(None, said("m1", "one"))).events().await;
    let running = api.begin(newest_turn(&api, &session).await, "1").await;
    let waiting = api.post("/api/chat").by("u1").json(&send(None, said("m2", "two"))).events().await;
    let edit = api.post("/api/chat").by("u1").json(&send(Some("m1"), said("m1", "eins"))).events().await;
    let last = waiting.all().await.pop().unwrap();
    assert_eq!(last.json()["type"], "abort", "what waited is no more");
    let new = newest_turn(&api, &session).await;
    // The worker of the running one hears of it, or is fenced off.
    assert!(api.store.turn_of_any_session(running.id).await.unwrap().unwrap().cancelled_by.is_some());
    api.complete(&running, "1").await;
    first.all().await;
    api.answer(new, "1!").await;
    assert_eq!(text_of(&edit.all().await), "1!");
    assert_eq!(texts(&api, &session).await, ["eins", "1!"]);
}

#[tokio::test]
async fn nothing_to_answer_and_a_busy_session_are_refused_with_their_codes() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let mut again = body(&session, "regenerate-message", None, &said("m1", "one"));
    api.post("/api/chat").by("u1").json(&again).send().await.refused(422, "no_user_message");
    let turn = api.submit(&session, "u1", "one").await;
    api.begin(turn, "1").await;
    again["on_busy"] = json!("reject");
    let busy = api.post("/api/chat").by("u1").json(&again).send().await;
    busy.refused(409, "turn_in_progress");
    assert_eq!(busy.body["turn_id"], json!(turn));
    again["messages"] = json!([]);
    api.post("/api/chat").by("u1").json(&again).send().await.refused(422, "no_user_message");
}

#[tokio::test]
async fn an_answer_is_made_anew_without_a_stream_and_once_for_each_key() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let old = round(&api, &session, "m1", "one", "1").await;
    let again = body(&session, "regenerate-message", Some(&old.to_string()), &said("m1", "one"));
    let ask = || api.post(format!("{session}/messages")).by("u1").header("Idempotency-Key", "k").json(&again);
    let first = ask().send().await;
    assert_eq!(first.status, 202);
    assert_eq!(first.body["status"], "queued");
    let second = ask().send().await.ok();
    assert_eq!(first.body["turn_id"], second["turn_id"]);
}

#[tokio::test]
async fn a_note_of_the_system_is_shown_as_one() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let note = json!({"message": "an account was connected", "is_user_message": false});
    let made = api.post(format!("{session}/messages")).by("u1").json(&note).send().await.ok();
    api.answer(made["turn_id"].as_str().unwrap().parse().unwrap(), "good").await;
    let detail = api.get(&session).by("u1").send().await.ok();
    let roles: Vec<_> = detail["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["system", "assistant"]);
}

#[tokio::test]
async fn the_initial_messages_of_a_chat_are_those_that_were_streamed_less_what_is_in_flight() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let view = |query: &str| api.get(format!("{session}?format=ui{query}")).by("u1");
    assert_eq!(view("").send().await.ok(), json!([]));
    let first = round(&api, &session, "m1", "one", "1").await;
    let plain = api.submit(&session, "u1", "two").await;
    let said = |id: &Value, text: &str| json!({"id": id, "role": "user", "parts": [{"type": "text", "text": text}]});
    let answer = |turn: TurnId, text: &str| {
        let parts = json!([{"type": "step-start"}, {"type": "text", "text": text, "state": "done"}]);
        json!({"id": turn, "role": "assistant", "parts": parts})
    };
    let detail = api.get(&session).by("u1").send().await.ok();
    let id = &detail["messages"][2]["id"];
    let running = api.begin(plain, "2").await;
    let expected = json!([said(&json!("m1"), "one"), answer(first, "1"), said(id, "two")]);
    assert_eq!(view("").send().await.ok(), expected);
    api.complete(&running, "2").await;
    let newest = view("&limit=1").send().await;
    assert_eq!(newest.headers["x-has-more-messages"], "true");
    let oldest = newest.headers["x-oldest-sequence"].to_str().unwrap().to_owned();
    assert_eq!(newest.ok(), json!([said(id, "two"), answer(plain, "2")]), "a turn is whole");
    let older = view(&format!("&before_sequence={oldest}")).send().await;
    assert_eq!(older.headers["x-has-more-messages"], "false");
    assert_eq!(older.ok(), json!([said(&json!("m1"), "one"), answer(first, "1")]));
    let detail = api.get(format!("{session}?format=detail")).by("u1").send().await;
    assert!(!detail.headers.contains_key("x-has-more-messages"));
    assert_eq!(detail.ok()["messages"].as_array().unwrap().len(), 4);
    api.get(format!("{session}?format=xml")).by("u1").send().await.refused(422, "validation_error");
}
