//! Messages that wait behind a running turn.

use copilot_shared::chunk::Chunk;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::system::System;

#[tokio::test]
async fn waiting_messages_are_seen_edited_dropped_and_answered_in_order() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut first = ann.send(&session, "demo:tokens=3 demo:hang").await;
    first.until("text-delta").await;
    let mut second = ann.send(&session, "demo:tokens=1").await;
    let status = second.until("data-status").await;
    assert!(status.id.is_none(), "it is in no sequence");
    assert!(matches!(status.chunk(), Chunk::DataStatus { data, transient: true } if data.position == 1));
    let third = ann.submit(&session, "to be dropped").await;
    assert_eq!((&third["status"], &third["position"]), (&"queued".into(), &2.into()));

    let queue = ann.get(&format!("/sessions/{session}/queue")).await;
    assert_eq!(queue["queue"][1]["message"], "to be dropped");
    let waiting = queue["queue"][0]["turn_id"].as_str().unwrap().to_owned();
    let edit = ann.request(Method::PATCH, &format!("/sessions/{session}/queue/{waiting}"));
    let edited = edit.json(&json!({"message": "demo:tokens=2,bytes=7"})).send().await.unwrap();
    assert_eq!(edited.status(), StatusCode::OK);
    let third = third["turn_id"].as_str().unwrap();
    let path = format!("/sessions/{session}/queue/{third}");
    assert_eq!(ann.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(ann.request(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(ann.turn(&session, third).await["status"], "cancelled");

    ann.cancel(&session).await;
    let answer = second.rest().await;
    assert!(answer.done);
    assert_eq!(answer.text().len(), 14, "the edited message is answered");
    let detail = ann.get(&format!("/sessions/{session}")).await;
    let said: Vec<&str> = detail["messages"].as_array().unwrap().iter().filter_map(|m| m["content"].as_str()).collect();
    assert_eq!(said[2], "demo:tokens=2,bytes=7");
    assert_eq!(said.len(), 4);
}

#[tokio::test]
async fn busy_sessions_reject_or_interrupt_if_asked_to() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut first = ann.send(&session, "demo:tokens=3 demo:hang").await;
    let running = first.until("text-delta").await.id.unwrap().turn_id.to_string();
    let path = format!("/sessions/{session}/messages");
    let send = async |body: serde_json::Value| ann.request(Method::POST, &path).json(&body).send().await.unwrap();

    let rejected = send(json!({"message": "no", "on_busy": "reject"})).await;
    assert_eq!(rejected.status(), StatusCode::CONFLICT);
    let problem: serde_json::Value = rejected.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["turn_id"]), (&"turn_in_progress".into(), &running.into()));

    let waiting = ann.submit(&session, "demo:tokens=1,bytes=3").await;
    let urgent = send(json!({"message": "demo:tokens=1,bytes=9", "on_busy": "interrupt"})).await;
    let urgent: serde_json::Value = urgent.json().await.unwrap();
    assert!(matches!(first.rest().await.chunks().last(), Some(Chunk::Abort { .. })));
    let session_path = session.clone();
    let urgent = ann.replay(&session_path, urgent["turn_id"].as_str().unwrap(), None).await.unwrap().rest().await;
    assert_eq!(urgent.text().len(), 9);
    let waiting = ann.replay(&session, waiting["turn_id"].as_str().unwrap(), None).await.unwrap().rest().await;
    assert_eq!(waiting.text().len(), 3);
    let turns = ann.get(&format!("/sessions/{session}/turns")).await;
    assert_eq!(turns["turns"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_repeated_submit_attaches_to_its_turn_on_any_api() {
    let system = System::start(2, 1).await;
    let session = system.client(0, "ann").session().await;
    let message_id = uuid::Uuid::new_v4().to_string();
    let body = json!({"message": "demo:tokens=20,rate=100,bytes=4", "message_id": message_id});
    let path = format!("/sessions/{session}/messages");
    let submits = (0..20).map(|n| system.client(n, "ann").request(Method::POST, &path).json(&body).send());
    let mut turns = std::collections::HashSet::new();
    for answer in futures_util::future::join_all(submits).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let answer: serde_json::Value = answer.json().await.unwrap();
        turns.insert(answer["turn_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(turns.len(), 1);
    let ann = system.client(1, "ann");
    let stream =
        crate::client::Stream::open(ann.request(Method::POST, &format!("/sessions/{session}/stream")).json(&body));
    assert_eq!(stream.await.unwrap().rest().await.text().len(), 80);
    let other = json!({"message": "something else", "message_id": message_id});
    let conflict = ann.request(Method::POST, &path).json(&other).send().await.unwrap();
    assert_eq!(conflict.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(conflict.json::<serde_json::Value>().await.unwrap()["code"], "idempotency_conflict");
}

#[tokio::test]
async fn a_steering_message_is_taken_up_by_the_running_turn_at_its_next_step() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let script =
        "demo:tokens=10,rate=10,bytes=4 demo:tool=calculator,args={\"expression\":\"2+3\"} demo:tokens=1,bytes=5";
    let mut first = ann.send(&session, script).await;
    let running = first.until("text-delta").await.id.unwrap().turn_id.to_string();
    let path = format!("/sessions/{session}/messages");
    let steer = json!({"message": "demo:tokens=1,bytes=9", "on_busy": "steer", "message_id": uuid::Uuid::new_v4()});
    for _ in 0..2 {
        let taken = ann.request(Method::POST, &path).json(&steer).send().await.unwrap();
        assert_eq!(taken.status(), StatusCode::ACCEPTED);
        let taken: serde_json::Value = taken.json().await.unwrap();
        assert_eq!((&taken["turn_id"], &taken["position"]), (&json!(running), &json!(0)), "its answer is that turn");
    }
    let answer = first.rest().await;
    assert!(answer.done);
    assert_eq!(answer.text().len(), 36 + 9, "the steering message is answered in place of the script's last words");

    let detail = ann.get(&format!("/sessions/{session}")).await;
    let roles: Vec<&str> = detail["messages"].as_array().unwrap().iter().filter_map(|m| m["role"].as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user", "assistant"]);
    assert_eq!(detail["messages"][3]["turn_id"], json!(running));
    assert_eq!(ann.get(&format!("/sessions/{session}/turns")).await["turns"].as_array().unwrap().len(), 1);
    let again: serde_json::Value =
        ann.request(Method::POST, &path).json(&steer).send().await.unwrap().json().await.unwrap();
    assert_eq!((&again["turn_id"], &again["status"]), (&json!(running), &json!("completed")));
}

#[tokio::test]
async fn a_steering_message_that_no_step_takes_up_is_the_next_turn() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut first = ann.send(&session, "demo:tokens=3 demo:hang").await;
    let running = first.until("text-delta").await.id.unwrap().turn_id.to_string();
    let waiting = ann.submit(&session, "demo:tokens=1,bytes=3").await;
    let steering = json!({"message": "demo:tokens=1,bytes=9", "on_busy": "steer"});
    let mut steered =
        crate::client::Stream::open(ann.request(Method::POST, &format!("/sessions/{session}/stream")).json(&steering))
            .await
            .unwrap();
    assert_eq!(steered.until("start").await.chunk().clone(), Chunk::Start { message_id: running.parse().unwrap() });
    let queue = ann.get(&format!("/sessions/{session}/queue")).await;
    assert_eq!(queue["queue"][0]["message"], "demo:tokens=1,bytes=9", "it goes before those that wait");
    let next = queue["queue"][0]["turn_id"].as_str().unwrap().to_owned();
    ann.cancel(&session).await;
    assert!(steered.rest().await.done, "it followed the running turn to its end");
    assert_eq!(ann.replay(&session, &next, None).await.unwrap().rest().await.text().len(), 9);
    let waiting = waiting["turn_id"].as_str().unwrap();
    assert_eq!(ann.replay(&session, waiting, None).await.unwrap().rest().await.text().len(), 3);
}
