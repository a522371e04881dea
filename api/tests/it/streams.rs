//! Submitting, following, resuming.

use copilot_shared::id::TurnId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Api, Settings, text_of};

fn message(text: &str) -> Value {
    json!({ "message": text })
}

async fn queued_turn(api: &Api, session: &str) -> TurnId {
    let turns = api.get(format!("{session}/turns")).by("u1").send().await.ok();
    turns["turns"][0]["id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_submit_streams_every_chunk_with_its_cursor_to_the_end() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let mut stream = api.post(format!("{session}/stream")).by("u1").json(&message("hi")).events().await;
    let opening = stream.opening().await;
    assert!(opening.starts_with("retry: ") && opening.contains(": heartbeat"), "{opening}");
    let turn = queued_turn(&api, &session).await;
    api.answer(turn, "hello").await;
    let events = stream.all().await;
    let ids: Vec<_> = events.iter().filter_map(|event| event.id.clone()).collect();
    assert_eq!(ids, (1..=7).map(|n| format!("{turn}:{n}")).collect::<Vec<_>>());
    assert_eq!(events[0].json(), json!({"type": "start", "messageId": turn}));
    assert_eq!(text_of(&events), "hello");
}

#[tokio::test]
async fn an_event_streams_headers_are_those_of_the_wire() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let response = api.post(format!("{session}/stream")).by("u1").json(&message("hi")).response().await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
        ("x-vercel-ai-ui-message-stream", "v1"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_cursor_is_followed_by_exactly_the_later_chunks() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let turn = api.submit(&session, "u1", "hi").await;
    let running = api.begin(turn, "hello").await;
    let url = format!("{session}/stream");
    let by_header = api.get(&url).by("u1").header("Last-Event-ID", &format!("{turn}:3")).events().await;
    let by_query = api.get(format!("{url}?after={turn}:4")).by("u1").events().await;
    let everything = api.get(format!("{url}?after={turn}:0")).by("u1").events().await;
    let post = api.post(&url).by("u1").header("Last-Event-ID", &format!("{turn}:3")).json(&message("no")).events();
    let by_post = post.await;
    api.complete(&running, "hello").await;
    let ids = |events: Vec<crate::harness::Event>| -> Vec<String> {
        events.into_iter().map(|event| event.id.unwrap().rsplit_once(':').unwrap().1.to_owned()).collect()
    };
    assert_eq!(ids(by_header.all().await), ["4", "5", "6", "7"]);
    assert_eq!(ids(by_post.all().await), ["4", "5", "6", "7"], "a POST with a cursor never submits");
    assert_eq!(ids(everything.all().await), ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(ids(by_query.all().await), ["5", "6", "7"]);
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 1);
}

#[tokio::test]
async fn the_header_wins_over_the_query_and_an_empty_one_counts_as_absent() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let turn = api.submit(&session, "u1", "hi").await;
    api.answer(turn, "hello").await;
    let url = format!("{session}/stream?after={turn}:5");
    let header = api.get(&url).by("u1").header("Last-Event-ID", &format!("{turn}:6")).events().await.all().await;
    assert_eq!(header.len(), 1);
    let query = api.get(&url).by("u1").header("Last-Event-ID", "").events().await.all().await;
    assert_eq!(query.len(), 2);
}

#[tokio::test]
async fn a_post_that_says_what_it_has_received_submits_nothing_without_a_stream_either() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let turns = [api.submit(&session, "u1", "one").await, api.submit(&session, "u1", "two").await];
    for (turn, place) in turns.iter().zip(0..) {
        let again = api.post(format!("{session}/messages")).by("u1").header("Last-Event-ID", &format!("{turn}:3"));
        let answer = again.json(&message("no")).send().await;
        assert_eq!((answer.status.as_u16(), &answer.body["turn_id"]), (202, &json!(turn)));
        assert_eq!(answer.body["position"], place);
    }
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 2);
    let of_another = api.post(format!("{session}/messages")).by("u1").header("Last-Event-ID", &format!("{session}:3"));
    of_another.json(&message("no")).send().await.refused(400, "invalid_cursor");
}

#[tokio::test]
async fn cursors_that_cannot_be_resumed_from_say_why() {
    let api = Api::start().await;
    let (session, other) = (api.session("u1").await, api.session("u1").await);
    let turn = api.submit(&session, "u1", "hi").await;
    api.answer(turn, "hello").await;
    let foreign = api.submit(&other, "u1", "hi").await;
    let unbegun = api.submit(&session, "u1", "next").await;
    let ask = |cursor: String| api.get(format!("{session}/stream")).by("u1").header("Last-Event-ID", &cursor).send();
    for malformed in ["x", "1:2", &format!("{turn}"), &format!("{turn}:-1"), &format!("{turn}:1:1")] {
        ask((*malformed).to_owned()).await.refused(400, "invalid_cursor");
    }
    ask(format!("{turn}:8")).await.refused(400, "invalid_cursor");
    ask(format!("{unbegun}:1")).await.refused(400, "invalid_cursor");
    ask(format!("{foreign}:1")).await.refused(410, "expired");
    ask(format!("{}:1", Uuid::new_v4())).await.refused(410, "expired");
    assert_eq!(ask(format!("{turn}:7")).await.status, 204);
}

#[tokio::test]
async fn without_a_cursor_a_late_client_gets_the_shortest_replay_and_then_the_tail() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    assert_eq!(api.get(format!("{session}/stream")).by("u1").send().await.status, 204);
    let turn = api.submit(&session, "u1", "hi").await;
    let running = api.begin(turn, "hello").await;
    let late = api.get(format!("{session}/stream")).by("u1").events().await;
    let alias = api.get(format!("{}/stream", session.replace("/sessions", ""))).by("u1").events().await;
    api.complete(&running, "hello").await;
    for stream in [late, alias] {
        let events = stream.all().await;
        assert_eq!(events[0].json()["messageId"], json!(turn));
        assert_eq!(text_of(&events), "hello");
    }
    assert_eq!(api.get(format!("{session}/stream")).by("u1").send().await.status, 204);
    let again = api.get(format!("{session}/turns/{turn}/stream")).by("u1").events().await.all().await;
    assert_eq!(text_of(&again), "hello");
}

#[tokio::test]
async fn a_turn_in_the_path_must_be_the_sessions() {
    let api = Api::start().await;
    let (session, other) = (api.session("u1").await, api.session("u1").await);
    let foreign = api.submit(&other, "u1", "hi").await;
    for turn in [foreign.to_string(), Uuid::new_v4().to_string(), "no-uuid".to_owned()] {
        api.get(format!("{session}/turns/{turn}/stream")).by("u1").send().await.refused(404, "turn_not_found");
        api.get(format!("{session}/turns/{turn}")).by("u1").send().await.refused(404, "turn_not_found");
    }
}

#[tokio::test]
async fn a_stream_that_ran_out_is_expired_and_an_idempotent_attach_rebuilds_it() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let body = json!({"message": "hi", "message_id": Uuid::new_v4()});
    let made = api.post(format!("{session}/messages")).by("u1").json(&body).send().await.ok();
    let turn: TurnId = made["turn_id"].as_str().unwrap().parse().unwrap();
    api.answer(turn, "hello").await;
    api.streams.forget(turn).await.unwrap();
    api.services.sql("UPDATE turns SET finished_at = now() - interval '2 hours'").await;
    let path = format!("{session}/turns/{turn}/stream");
    api.get(&path).by("u1").send().await.refused(410, "expired");
    let cursor = format!("{turn}:2");
    api.get(&path).by("u1").header("Last-Event-ID", &cursor).send().await.refused(410, "expired");
    let events = api.post(format!("{session}/stream")).by("u1").json(&body).events().await.all().await;
    assert_eq!(text_of(&events), "hello");
}

#[tokio::test]
async fn a_lost_stream_that_began_anew_has_no_older_cursors() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let turn = api.submit(&session, "u1", "hi").await;
    api.answer(turn, "hello").await;
    api.streams.forget(turn).await.unwrap();
    let events = api.get(format!("{session}/turns/{turn}/stream")).by("u1").events().await;
    drop(events);
    let row = api.store.turn_of_any_session(turn).await.unwrap().unwrap();
    copilot_shared::seal::seal(&api.store, &api.streams, &row).await.unwrap();
    let refused = api.get(format!("{session}/stream?after={turn}:2")).by("u1").send().await;
    refused.refused(409, "cursor_trimmed");
    let base = api.streams.meta(turn).await.unwrap().unwrap().base;
    assert_eq!(refused.body["checkpoint"], json!({"turn_id": turn, "sequence": base}));
    let resumed = api.get(format!("{session}/stream?after={turn}:{base}")).by("u1").events().await.all().await;
    assert!(resumed.iter().all(|event| event.id.is_some()));
}

#[tokio::test]
async fn the_same_key_and_body_attach_and_another_body_conflicts() {
    let api = Api::start().await;
    let (session, other) = (api.session("u1").await, api.session("u1").await);
    let id = Uuid::new_v4();
    let body = json!({"message": "hi", "message_id": id});
    let submit = |path: &str, body: &Value| api.post(format!("{path}/messages")).by("u1").json(body).send();
    let first = submit(&session, &body).await.ok();
    let busy = json!({"message": "hi", "message_id": id, "on_busy": "reject"});
    assert_eq!(submit(&session, &busy).await.ok()["turn_id"], first["turn_id"]);
    let changed = json!({"message": "other", "message_id": id});
    submit(&session, &changed).await.refused(422, "idempotency_conflict");
    submit(&other, &body).await.refused(422, "idempotency_conflict");

    let turn: TurnId = first["turn_id"].as_str().unwrap().parse().unwrap();
    api.answer(turn, "hello").await;
    assert_eq!(submit(&session, &body).await.ok()["status"], "completed");
    let replay = api.post(format!("{session}/stream")).by("u1").json(&body).events().await.all().await;
    assert_eq!(text_of(&replay), "hello");
    let read = api.get(&session).by("u1").send().await.ok();
    assert_eq!(read["messages"][0]["id"], json!(id));
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 1);

    let taken = api.session("u2").await;
    api.post(format!("{taken}/messages")).by("u2").json(&body).send().await.refused(409, "message_id_taken");
    let key = api.post(format!("{session}/messages")).by("u1").header("Idempotency-Key", "k").json(&body).send().await;
    key.refused(422, "validation_error");
    assert_eq!(key.body["detail"][0]["loc"], json!(["header", "Idempotency-Key"]));
}

#[tokio::test]
async fn use_chat_needs_no_adapter() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let id = session.rsplit('/').next().unwrap();
    let ui = |id: &str| {
        json!({
            "id": id, "trigger": "submit-message",
            "messages": [{"id": "a", "role": "assistant", "parts": []}, {"id": "b", "role": "user", "parts": [{"type": "text", "text": "hi"}]}],
        })
    };
    let stream = api.post("/api/chat").by("u1").json(&ui(id)).events().await;
    let turn = queued_turn(&api, &session).await;
    api.answer(turn, "hello").await;
    assert_eq!(text_of(&stream.all().await), "hello");
    let elsewhere = api.post(format!("{session}/messages")).by("u1").json(&ui("any string")).send().await;
    assert_eq!(elsewhere.status, 202, "the path's session beats the body's id");

    api.post("/api/chat").by("u2").json(&ui(id)).send().await.refused(404, "session_not_found");
    api.post("/api/chat").by("u1").json(&ui("no uuid")).send().await.refused(404, "session_not_found");
    let hostile = json!({"id": id, "message": 5});
    api.post("/api/chat").by("u2").json(&hostile).send().await.refused(404, "session_not_found");
    let nameless = api.post("/api/chat").by("u1").json(&json!({"messages": []})).send().await;
    assert_eq!(nameless.body["detail"][0]["loc"], json!(["body", "id"]));
}

#[tokio::test]
async fn too_many_turns_are_refused_until_one_ends() {
    let api = Api::start_with(Settings { max_in_flight: 2, ..Settings::default() }).await;
    let session = api.session("u1").await;
    let first = api.submit(&session, "u1", "1").await;
    api.submit(&session, "u1", "2").await;
    let refused = api.post(format!("{session}/messages")).by("u1").json(&message("3")).send().await;
    refused.refused(429, "too_many_turns");
    assert!(refused.headers.contains_key("retry-after"));
    api.answer(first, "a").await;
    api.submit(&session, "u1", "3").await;
}

#[tokio::test]
async fn shutting_down_cuts_streams_without_an_end() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let mut stream = api.post(format!("{session}/stream")).by("u1").json(&message("hi")).events().await;
    stream.opening().await;
    api.stop.cancel();
    assert!(stream.next().await.is_err());
}
