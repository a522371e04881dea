//! Whatever is sent: a clear answer, and nothing half-written.

use copilot_shared::chunk::Chunk;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::system::{System, http};

#[tokio::test]
async fn hostile_requests_get_clear_answers_and_change_nothing() {
    let system = System::start(1, 0).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let path = format!("/sessions/{session}/stream");
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("no JSON", "{".into(), 400, "invalid_json"),
        ("too deep", format!("{{\"message\":\"x\",\"more\":{}", "[".repeat(5_000)), 400, "invalid_json"),
        ("no message", "{}".into(), 422, "validation_error"),
        ("a number", json!({"message": 5}).to_string(), 422, "validation_error"),
        ("blank", json!({"message": " \n"}).to_string(), 422, "validation_error"),
        ("a NUL", json!({"message": "a\u{0}b"}).to_string(), 422, "validation_error"),
        ("too long", json!({"message": "x".repeat(64_001)}).to_string(), 422, "validation_error"),
        ("21 files", json!({"message": "x", "file_ids": vec!["f"; 21]}).to_string(), 422, "validation_error"),
        ("a bad id", json!({"message": "x", "message_id": "1"}).to_string(), 422, "validation_error"),
        ("a bad word", json!({"message": "x", "on_busy": "explode"}).to_string(), 422, "validation_error"),
        (
            "no user message",
            json!({"messages": [{"role": "assistant", "parts": []}]}).to_string(),
            422,
            "no_user_message",
        ),
        (
            "a file part",
            json!({"messages": [{"role": "user", "parts": [{"type": "file"}]}]}).to_string(),
            422,
            "unsupported_part",
        ),
    ];
    for (name, body, status, code) in cases {
        let request = ann.request(Method::POST, &path).header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{name}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code, "{name}: {problem}");
        assert!(problem["detail"].is_string() || problem["detail"].is_array(), "{name}");
    }
    let text = ann.request(Method::POST, &path).header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_eq!(text.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let huge =
        ann.request(Method::PATCH, &format!("/sessions/{session}/title")).header("content-type", "application/json");
    let huge = huge.body(vec![b' '; 2 << 20]).send().await.unwrap();
    assert_eq!(huge.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(system.services.count("SELECT count(*) FROM messages").await, 0);
    assert_eq!(system.services.count("SELECT count(*) FROM turns").await, 0);
}

#[tokio::test]
async fn foreign_unknown_and_malformed_sessions_are_the_same_404() {
    let system = System::start(1, 0).await;
    let (ann, bob) = (system.client(0, "ann"), system.client(0, "bob"));
    let session = ann.session().await;
    let unknown = uuid::Uuid::new_v4().to_string();
    let routes = [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::PATCH, "/title"),
        (Method::POST, "/stream"),
        (Method::GET, "/stream"),
        (Method::POST, "/messages"),
        (Method::POST, "/cancel"),
        (Method::GET, "/turns"),
        (Method::GET, "/turns/00000000-0000-7000-8000-000000000000"),
        (Method::GET, "/turns/00000000-0000-7000-8000-000000000000/stream"),
        (Method::GET, "/queue"),
        (Method::PATCH, "/queue/00000000-0000-7000-8000-000000000000"),
        (Method::DELETE, "/queue/00000000-0000-7000-8000-000000000000"),
    ];
    for id in [session.as_str(), unknown.as_str(), "not-a-uuid"] {
        for (method, suffix) in &routes {
            let request = bob.request(method.clone(), &format!("/sessions/{id}{suffix}"));
            // A body that is wrong as well: the session is looked at first.
            let answer = request.header("content-type", "application/json").body("{").send().await.unwrap();
            let at = format!("{method} {id}{suffix}");
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{at}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["detail"], format!("Session {id} not found."), "{at}");
        }
    }
    assert_eq!(ann.get(&format!("/sessions/{session}")).await["id"], session);
}

#[tokio::test]
async fn every_route_wants_a_token_unless_it_says_otherwise() {
    let system = System::start(1, 0).await;
    let (_, address) = &system.apis[0];
    let client = http();
    let document: Value =
        client.get(format!("http://{address}/openapi.json")).send().await.unwrap().json().await.unwrap();
    let open = ["config/ttl", "health", "schema/tool-responses", "schema/stream-chunks"];
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, _) in operations.as_object().unwrap() {
            let path = path.replace("{session_id}", &uuid::Uuid::nil().to_string()).replace("{turn_id}", "x");
            let method: Method = method.to_uppercase().parse().unwrap();
            for authorization in ["", "Bearer nonsense", "Bearer a.b.c", "Basic YTpi"] {
                let request = client.request(method.clone(), format!("http://{address}{path}"));
                let request = request.header("authorization", authorization);
                let request = request.header("content-type", "application/json").body("{}");
                let status = request.send().await.unwrap().status();
                let is_open = open.iter().any(|open| path == format!("/api/chat/{open}"));
                assert_eq!(status == StatusCode::UNAUTHORIZED, !is_open, "{method} {path}: {status}");
                asked += 1;
            }
        }
    }
    assert!(asked > 50);
}

#[tokio::test]
async fn unknown_routes_and_methods_answer_in_the_same_shape() {
    let system = System::start(1, 0).await;
    let ann = system.client(0, "ann");
    let answer = ann.request(Method::GET, "/nothing/here").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "not_found");
    let answer = ann.request(Method::PUT, "/sessions").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()["allow"], "GET, POST");
    assert_eq!(answer.json::<Value>().await.unwrap()["code"], "method_not_allowed");
    for path in ["/sessions?limit=0", "/sessions?limit=101", "/sessions?limit=x", "/sessions?offset=-1"] {
        let answer = ann.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["detail"][0]["loc"][0], "query", "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_failing_model_ends_the_turn_with_a_code() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let rest = ann.send(&session, "demo:tokens=3 demo:error=fatal").await.rest().await;
    assert!(rest.done);
    let chunks = rest.chunks();
    assert!(
        chunks
            .iter()
            .any(|c| matches!(c, Chunk::Error { error_text } if error_text.starts_with("[code:provider_error] ")))
    );
    assert!(matches!(chunks.last(), Some(Chunk::Finish { .. })));
    let record = ann.turn(&session, &rest.turn()).await;
    assert_eq!((&record["status"], &record["error_code"]), (&"failed".into(), &"provider_error".into()));
    let transient = ann.send(&session, "demo:error=transient demo:tokens=3,bytes=4").await.rest().await;
    assert_eq!(transient.text().len(), 12, "a passing error is tried again");
}

#[tokio::test]
async fn a_deleted_session_takes_its_running_turn_with_it() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=3 demo:hang").await;
    stream.until("text-delta").await;
    let viewer = tokio::spawn(stream.rest());
    let deleted = ann.request(Method::DELETE, &format!("/sessions/{session}")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    viewer.await.unwrap();
    assert_eq!(ann.resume(&session, None).await.err(), Some(StatusCode::NOT_FOUND));
    let late = ann.request(Method::POST, &format!("/sessions/{session}/stream")).json(&json!({"message": "x"}));
    assert_eq!(late.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    for table in ["messages", "turns", "outbox", "sessions"] {
        assert_eq!(system.services.count(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

#[tokio::test]
async fn an_anonymous_session_is_its_bearers_until_it_is_claimed() {
    let system = System::start_with(1, 1, &[("ALLOW_ANONYMOUS_SESSIONS", "true")]).await;
    let (_, address) = &system.apis[0];
    let client = http();
    let base = format!("http://{address}/api/chat/sessions");
    let made: Value = client.post(&base).send().await.unwrap().json().await.unwrap();
    let (id, claim) = (made["id"].as_str().unwrap(), made["claim_token"].as_str().unwrap());
    assert!(made["user_id"].is_null());
    let read = |token: &str| client.get(format!("{base}/{id}")).header("X-Claim-Token", token.to_owned()).send();
    assert_eq!(read(claim).await.unwrap().status(), StatusCode::OK);
    assert_eq!(read("wrong").await.unwrap().status(), StatusCode::NOT_FOUND);
    let ann = system.client(0, "ann");
    let assign = async |body: Value| {
        let request = ann.request(Method::PATCH, &format!("/sessions/{id}/assign-user")).json(&body);
        request.send().await.unwrap().status()
    };
    assert_eq!(assign(json!({})).await, StatusCode::FORBIDDEN);
    assert_eq!(assign(json!({"claim_token": "wrong"})).await, StatusCode::FORBIDDEN);
    assert_eq!(assign(json!({"claim_token": claim})).await, StatusCode::OK);
    assert_eq!(assign(json!({})).await, StatusCode::OK, "the owner's own call changes nothing");
    assert_eq!(read(claim).await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.get(&format!("/sessions/{id}")).await["user_id"], "ann");
}
