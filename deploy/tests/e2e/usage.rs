//! What a user uses is counted once, and a turn that runs over a limit ends.

use std::time::Duration;

use chrono::Utc;
use copilot_shared::id::UserId;
use copilot_shared::testing::{Services, eventually};
use copilot_shared::usage::limits::Used;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::client::Client;
use crate::provider::Provider;
use crate::system::{Process, System};

fn ann() -> UserId {
    UserId::parse("ann").unwrap()
}

/// What PostgreSQL says that ann's steps weigh.
async fn weight_of_steps(services: &Services) -> i64 {
    services
        .count(
            "SELECT coalesce(sum(greatest(prompt_tokens, 0) + round(cache_creation_tokens * 0.25::float8) \
                 + round(cache_read_tokens * 0.1::float8) + greatest(completion_tokens, 0)), 0)::bigint FROM turn_steps",
        )
        .await
}

async fn used(client: &Client) -> i64 {
    client.get("/usage").await["daily"]["used"].as_i64().unwrap()
}

async fn reservations(services: &Services) -> usize {
    services.windows().reserved(&ann()).await.unwrap().len()
}

#[tokio::test]
async fn cached_prompt_tokens_weigh_a_tenth_and_titles_weigh_nothing() {
    let usage = json!({
        "prompt_tokens": 1000, "completion_tokens": 25, "total_tokens": 1025,
        "prompt_tokens_details": {"cached_tokens": 400},
    });
    let provider = Provider::reporting(usage).await;
    let environment = provider.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let system = System::start_with(1, 1, &environment).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let rest = ann.send(&session, "is it so?").await.rest().await;
    assert_eq!(used(&ann).await, 665, "counted when the stream has ended");
    let record = ann.turn(&session, &rest.turn()).await;
    assert_eq!((&record["usage"]["prompt_tokens"], &record["usage"]["cache_read_tokens"]), (&json!(600), &json!(400)));
    eventually("the title is made", Duration::from_secs(10), || async {
        (ann.get(&format!("/sessions/{session}")).await["title"] == "Yes").then_some(())
    })
    .await;
    assert_eq!(provider.calls(), 2);
    ann.send(&session, "and now?").await.rest().await;
    assert_eq!(used(&ann).await, 2 * 665);
    assert_eq!(weight_of_steps(&system.services).await, 2 * 665);
    assert_eq!(reservations(&system.services).await, 0);
}

#[tokio::test]
async fn a_turn_that_runs_over_a_limit_ends_before_its_next_model_call_and_keeps_its_text() {
    let system = System::start_with(1, 1, &[("CHAT_DAILY_TOKEN_LIMIT", "1")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let says = "demo:tokens=5,bytes=4 demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tokens=50,bytes=4";
    let rest = ann.send(&session, says).await.rest().await;
    assert!(rest.done);
    let record = ann.turn(&session, &rest.turn()).await;
    assert_eq!((&record["status"], &record["error_code"]), (&json!("failed"), &json!("limit_reached")));
    let sentence = record["error"].as_str().unwrap();
    assert!(sentence.starts_with("You've reached your daily usage limit. Resets in "), "{sentence}");
    let error = rest.events.iter().any(|event| event.data.contains("[code:limit_reached] You've reached"));
    assert!(error, "the stream says so as well");
    let detail = ann.get(&format!("/sessions/{session}")).await;
    let messages = detail["messages"].as_array().unwrap();
    let roles: Vec<&Value> = messages.iter().map(|message| &message["role"]).collect();
    assert_eq!(roles, [&json!("user"), &json!("assistant"), &json!("tool")], "what was said is kept");
    assert_eq!(used(&ann).await, weight_of_steps(&system.services).await);
    assert_eq!(reservations(&system.services).await, 0);
    let next = ann.request(Method::POST, &format!("/sessions/{session}/messages")).json(&json!({"message": "more"}));
    let refused = next.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "usage_limit_reached");
}

#[tokio::test]
async fn a_limit_that_is_reached_elsewhere_is_seen_before_the_next_model_call() {
    let system = System::start_with(1, 1, &[("CHAT_DAILY_TOKEN_LIMIT", "100000")]).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    // The first call speaks for two seconds; meanwhile the limit is reached elsewhere.
    let says = "demo:tokens=40,rate=20,bytes=4 demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tokens=5";
    let mut stream = ann.send(&session, says).await;
    stream.until("text-delta").await;
    let full = Used { daily: 100_000, weekly: 100_000 };
    system.services.windows().set_used(&self::ann(), full, Utc::now()).await.unwrap();
    let rest = stream.rest().await;
    let record = ann.turn(&session, &rest.turn()).await;
    assert_eq!(record["error_code"], "limit_reached");
}

#[tokio::test]
async fn a_taken_over_turn_is_counted_once_and_leaves_no_reservation() {
    let mut system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let says = "demo:tool=calculator,args={\"expression\":\"6*7\"} demo:tokens=60,rate=30,bytes=4";
    let mut stream = ann.send(&session, says).await;
    for _ in 0..5 {
        stream.until("text-delta").await;
    }
    assert_eq!(reservations(&system.services).await, 1);
    let second = Process::worker(&system.services, &[]).await;
    system.workers[0].kill().await;
    assert!(stream.rest().await.done);
    let counted = weight_of_steps(&system.services).await;
    assert_eq!((used(&ann).await, system.services.count("SELECT count(*) FROM turn_steps").await), (counted, 2));
    assert_eq!(reservations(&system.services).await, 0);
    drop(second);
}

#[tokio::test]
async fn what_a_cancelled_turn_said_is_charged_and_its_reservation_given_back() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let mut stream = ann.send(&session, "demo:tokens=20,bytes=4 demo:hang").await;
    stream.until("text-delta").await;
    ann.cancel(&session).await;
    let rest = stream.rest().await;
    let record = ann.turn(&session, &rest.events[0].id.unwrap().turn_id.to_string()).await;
    assert_eq!(record["status"], "cancelled");
    assert!(record["usage"]["completion_tokens"].as_i64().unwrap() > 0);
    assert_eq!(used(&ann).await, weight_of_steps(&system.services).await);
    assert_eq!(reservations(&system.services).await, 0);
}

#[tokio::test]
async fn a_turn_whose_users_counters_cannot_be_read_ends_with_a_code_and_hangs_nowhere() {
    let system = System::start(1, 1).await;
    let ann = system.client(0, "ann");
    let session = ann.session().await;
    let says = "demo:tokens=20,rate=20 demo:tool=current_time,args={} demo:tokens=5";
    let mut stream = ann.send(&session, says).await;
    stream.until("text-delta").await;
    let services = &system.services;
    let key = format!("{}usage:daily:ann:{}", services.redis_prefix, Utc::now().format("%Y-%m-%d"));
    let _: () =
        fred::interfaces::KeysInterface::set(&services.redis().await, key, "broken", None, None, false).await.unwrap();
    let next = ann.session().await;
    let refused = ann.request(Method::POST, &format!("/sessions/{next}/messages")).json(&json!({"message": "x"}));
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ann.request(Method::GET, "/usage").send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let rest = stream.rest().await;
    assert!(rest.done);
    assert_eq!(ann.turn(&session, &rest.turn()).await["error_code"], "usage_unavailable");
}
