//! Requests that nobody should send.

use serde_json::json;

use crate::harness::{Api, Settings};

#[tokio::test]
async fn broken_bodies_are_refused_and_change_nothing() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let deep = format!("{{\"message\":\"a\",\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let send = |body: Vec<u8>, kind: &'static str| {
        api.post(format!("{session}/messages")).by("u1").header("content-type", kind).raw(body).send()
    };
    for broken in [b"{".to_vec(), b"\xff\xfe".to_vec(), b"{\"message\":\"a\"}}".to_vec(), deep.into_bytes()] {
        send(broken, "application/json").await.refused(400, "invalid_json");
    }
    send(b"{\"message\":\"a\"}".to_vec(), "text/plain").await.refused(415, "unsupported_media_type");
    for (body, field) in [
        (json!({}), "message"),
        (json!({"message": "  "}), "message"),
        (json!({"message": "a\u{0}b"}), "message"),
        (json!({"message": ["a"]}), "message"),
        (json!({"message": "a", "message_id": "x"}), "message_id"),
        (json!({"message": "a", "on_busy": 1}), "on_busy"),
    ] {
        let refused = send(body.to_string().into_bytes(), "application/json").await;
        refused.refused(422, "validation_error");
        assert_eq!(refused.body["detail"][0]["loc"], json!(["body", field]), "{body}");
    }
    let huge = send(b"{\"message\": 1e999}".to_vec(), "application/json").await;
    assert_eq!(huge.body["detail"][0]["loc"], json!(["body", "message"]));
    // By their order the fields are nobody's: a later version may have others.
    for list in [json!([1]), json!(["a", null, true, null, null, null, null, null, null])] {
        send(list.to_string().into_bytes(), "application/json").await.refused(422, "validation_error");
    }
    let list = send(br#"{"message":"a","context":["u","c"]}"#.to_vec(), "application/json").await;
    assert_eq!(list.body["detail"][0]["loc"], json!(["body", "context"]));
    let place = send(br#"{"message":"a","file_ids":["a",5]}"#.to_vec(), "application/json").await;
    assert_eq!(place.body["detail"][0]["loc"], json!(["body", "file_ids", 1]));
    send(Vec::new(), "application/json").await.refused(422, "validation_error");
    // As a browser sends "clé": two of it would be two turns.
    let strange = api.post(format!("{session}/messages")).by("u1").header_bytes("idempotency-key", b"cl\xe9");
    let strange = strange.json(&json!({"message": "a"})).send().await;
    strange.refused(422, "validation_error");
    assert_eq!(strange.body["detail"][0]["loc"], json!(["header", "idempotency-key"]));
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 0);
}

#[tokio::test]
async fn bodies_and_headers_are_bounded() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let long = json!({"title": "x".repeat(1024 * 1024)});
    let title = api.ask("PATCH", format!("{session}/title")).by("u1").json(&long).send().await;
    title.refused(413, "payload_too_large");
    let chat = api.post(format!("{session}/stream")).by("u1").json(&json!({"message": "x".repeat(2_000_000)}));
    chat.send().await.refused(413, "payload_too_large");
    let filler = "x".repeat(33 * 1024 * 1024);
    let conversation = json!({"messages": [{"filler": filler}, {"role": "user", "parts": []}]});
    api.post(format!("{session}/stream")).by("u1").json(&conversation).send().await.refused(413, "payload_too_large");
    let headers = api.get(&session).by("u1").header("x-filler", &"x".repeat(40_000)).send().await;
    headers.refused(431, "headers_too_large");
}

#[tokio::test]
async fn a_long_conversation_is_taken_for_its_last_message() {
    let api = Api::start().await;
    let session = api.session("u1").await;
    let old = json!({"role": "assistant", "parts": [{"type": "text", "text": "x".repeat(4 * 1024 * 1024)}]});
    let last = json!({"role": "user", "parts": [{"type": "text", "text": "last"}]});
    let sent = api.post(format!("{session}/messages")).by("u1").json(&json!({"messages": [old, last]})).send().await;
    assert_eq!(sent.status, 202);
    assert_eq!(api.get(&session).by("u1").send().await.ok()["messages"][0]["content"], "last");
}

#[tokio::test]
async fn unknown_routes_answer_in_the_same_shape_with_every_security_header() {
    let api = Api::start().await;
    for path in ["/nope", "/api/nope", "/api/chat/sessions/x/y/z/w"] {
        let answer = api.get(path).send().await;
        answer.refused(404, "not_found");
        for name in ["x-content-type-options", "x-frame-options", "x-xss-protection", "referrer-policy", "x-request-id"]
        {
            assert!(answer.headers.contains_key(name), "{path} {name}");
        }
    }
    let answer = api.get("/api/chat/config/ttl").header("x-request-id", "mine-1").send().await;
    assert_eq!(answer.headers["x-request-id"], "mine-1");
    assert_eq!(answer.headers["cache-control"], "no-store, no-cache, must-revalidate, private");
}

#[tokio::test]
async fn only_listed_origins_may_read() {
    let origin = "https://app.example";
    let api = Api::start_with(Settings { origins: vec![origin.into()], ..Settings::default() }).await;
    let asked = |origin: &str| {
        api.ask("OPTIONS", "/api/chat/sessions")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization")
            .send()
    };
    let preflight = asked(origin).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.headers["access-control-allow-origin"], origin);
    assert_eq!(preflight.headers["access-control-allow-credentials"], "true");
    assert_eq!(preflight.headers["access-control-allow-headers"], "authorization");
    assert!(!asked("https://evil.example").await.headers.contains_key("access-control-allow-origin"));
    let foreign = api.post("/api/chat/sessions").by("u1").header("origin", "http://localhost").send().await;
    assert_eq!(foreign.status, 200, "a page of ours names its origin too");
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
    let refused = api.get("/api/chat/sessions").header("origin", origin).send().await;
    refused.refused(401, "unauthorized");
    assert_eq!(refused.headers["access-control-allow-origin"], origin, "the page may read why");
}

#[tokio::test]
async fn long_json_is_compressed_and_event_streams_never_are() {
    let api = Api::start().await;
    let document = api.get("/openapi.json").header("accept-encoding", "gzip").response().await;
    assert_eq!(document.header("content-encoding"), Some("gzip"));
    let small = api.get("/api/chat/config/ttl").header("accept-encoding", "gzip").response().await;
    assert_eq!(small.header("content-encoding"), None);
    let session = api.session("u1").await;
    let stream = api.post(format!("{session}/stream")).by("u1").header("accept-encoding", "gzip");
    assert_eq!(stream.json(&json!({"message": "hi"})).response().await.header("content-encoding"), None);
}
