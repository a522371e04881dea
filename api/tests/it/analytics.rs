//! What is told of messages: that they were sent, once, and how long they are.

use std::time::Duration;

use copilot_shared::analytics::{Analytics, Environment, Pace, PostHog};
use copilot_shared::testing::{Reply, Witness};
use serde_json::{Value, json};

use crate::harness::{Api, Settings};

#[tokio::test]
async fn a_message_is_told_of_once_and_by_its_length_alone() {
    let witness = Witness::start(vec![], Reply::status(200)).await;
    let (analytics, delivery) = Analytics::posted(PostHog {
        host: witness.url.parse().unwrap(),
        api_key: "key".into(),
        environment: Environment::Local,
        pace: Pace { gather: Duration::from_mins(10), ..Pace::default() },
    })
    .unwrap();
    let api = Api::start_with(Settings { analytics: Some(analytics), ..Settings::default() }).await;
    let session = api.session("ann").await;
    let send = |says: &str, key: &str| {
        let ask = api.post(format!("{session}/messages")).by("ann").header("idempotency-key", key);
        ask.json(&json!({ "message": says })).send()
    };
    for _ in 0..2 {
        assert_eq!(send("geheim €", "one").await.status, 202);
    }
    // It waits behind the first one.
    assert_eq!(send("and more", "two").await.status, 202);
    send(" ", "three").await.refused(422, "validation_error");
    send("another body", "one").await.refused(422, "idempotency_conflict");
    delivery.close().await;
    let bodies: Vec<Value> = witness.seen().into_iter().map(|seen| seen.body).collect();
    let [body] = bodies.as_slice() else { panic!("{bodies:?}") };
    let events = body["batch"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{events:?}");
    let told: Vec<_> = events.iter().map(|event| (&event["event"], &event["properties"]["message_length"])).collect();
    let sent = json!("copilot_message_sent");
    assert_eq!(told, [(&sent, &json!(8)), (&sent, &json!(8))]);
    assert_eq!(events[0]["distinct_id"], "ann");
    assert!(session.ends_with(events[0]["properties"]["session_id"].as_str().unwrap()));
    assert!(!body.to_string().contains("geheim"));
}
