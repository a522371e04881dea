//! Usage limits as clients meet them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use copilot_shared::clock::Clock;
use copilot_shared::id::{TurnId, UserId};
use copilot_shared::meter::FailPolicy;
use copilot_shared::queue::{Broker, Publisher, Topology};
use copilot_shared::stream::{StreamSettings, Streams};
use copilot_shared::testing::Services;
use copilot_shared::usage::limits::{TokenLimits, Used};
use fred::interfaces::KeysInterface;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Api, Limits, Settings};

const LIMITS: TokenLimits = TokenLimits { daily: 10_000, weekly: 50_000 };

fn thursday() -> DateTime<Utc> {
    "2026-03-26T13:52:08Z".parse().unwrap()
}

fn u1() -> UserId {
    UserId::parse("u1").unwrap()
}

fn limits() -> Limits {
    Limits { limits: LIMITS, clock: Clock::standing(thursday()), ..Limits::default() }
}

async fn limited() -> Api {
    Api::start_with(Settings { limits: limits(), ..Settings::default() }).await
}

impl Api {
    async fn use_up(&self, daily: i64, weekly: i64) {
        self.windows.set_used(&u1(), Used { daily, weekly }, thursday()).await.unwrap();
    }

    async fn reserved(&self) -> usize {
        self.windows.reserved(&u1()).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_user_at_a_limit_is_refused_before_anything_is_written() {
    let api = limited().await;
    let session = api.session("u1").await;
    for (daily, weekly, detail, seconds) in [
        (10_000, 10_000, "You've reached your daily usage limit. Resets in 10h 7m.", "36472"),
        (0, 50_000, "You've reached your weekly usage limit. Resets in 82h 7m.", "295672"),
        (10_000, 50_000, "You've reached your daily usage limit. Resets in 10h 7m.", "36472"),
    ] {
        api.use_up(daily, weekly).await;
        for route in ["stream", "messages"] {
            let body = json!({"message": "hi"});
            let refused = api.post(format!("{session}/{route}")).by("u1").json(&body).send().await;
            refused.refused(429, "usage_limit_reached");
            assert_eq!(refused.body["detail"], detail);
            assert_eq!(refused.headers["retry-after"], seconds);
        }
    }
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 0);
    assert_eq!(api.services.count("SELECT count(*) FROM messages").await, 0);
    assert_eq!(api.reserved().await, 0);
    api.submit(&api.session("u2").await, "u2", "another user is not concerned").await;
}

#[tokio::test]
async fn owner_and_validation_are_checked_before_limits_and_limits_before_caps() {
    let settings = Settings { limits: limits(), max_in_flight: 1, ..Settings::default() };
    let api = Api::start_with(settings).await;
    let session = api.session("u1").await;
    let foreign = api.session("u2").await;
    api.submit(&session, "u1", "in flight").await;
    let send = |session: &str, body| api.post(format!("{session}/messages")).by("u1").json(&body).send();
    send(&session, json!({"message": "one too many"})).await.refused(429, "too_many_turns");
    assert_eq!(api.reserved().await, 1, "what was not accepted has nothing reserved");
    api.use_up(10_000, 10_000).await;
    send(&foreign, json!({"message": "hi"})).await.refused(404, "session_not_found");
    send(&session, json!({"message": " "})).await.refused(422, "validation_error");
    send(&session, json!({"message": "hi"})).await.refused(429, "usage_limit_reached");
}

#[tokio::test]
async fn a_repeated_submit_attaches_whatever_the_limits_say_and_reserves_nothing() {
    let api = limited().await;
    let session = api.session("u1").await;
    let send = |message: &str| {
        let body = json!({ "message": message });
        api.post(format!("{session}/messages")).by("u1").header("Idempotency-Key", "k").json(&body).send()
    };
    let first = send("hi").await.ok();
    api.use_up(10_000, 10_000).await;
    assert_eq!(send("hi").await.ok()["turn_id"], first["turn_id"]);
    send("something else").await.refused(422, "idempotency_conflict");
    assert_eq!(api.reserved().await, 1);
}

#[tokio::test]
async fn of_a_thousand_submits_at_the_edge_one_passes() {
    let api = limited().await;
    let sessions = join_all((0..10).map(|_| api.session("u1"))).await;
    api.use_up(9_999, 9_999).await;
    let answers = join_all((0..1_000).map(|n| {
        let body = json!({"message": "hi"});
        api.post(format!("{}/messages", sessions[n % 10])).by("u1").json(&body).send()
    }))
    .await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    let refused = answers.iter().filter(|answer| answer.status == 429 && answer.code() == "usage_limit_reached");
    assert_eq!((accepted, refused.count()), (1, 999));
    let refusal = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(refusal.headers["retry-after"], "30", "a turn in flight may give back what it reserved");
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 1);
    assert_eq!(api.reserved().await, 1);
}

#[tokio::test]
async fn of_a_thousand_submits_as_many_pass_as_find_room() {
    let settings = Limits { estimate: 2_999, ..limits() };
    let api = Api::start_with(Settings { limits: settings, ..Settings::default() }).await;
    let sessions = join_all((0..10).map(|_| api.session("u1"))).await;
    let answers = join_all((0..1_000).map(|n| {
        let body = json!({"message": "four"});
        api.post(format!("{}/messages", sessions[n % 10])).by("u1").json(&body).send()
    }))
    .await;
    // Each reserves 3,000 of 10,000: the fourth begins at 9,000.
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 4);
    assert_eq!(api.reserved().await, 4);
}

#[tokio::test]
async fn an_answer_that_is_made_anew_reserves_what_its_question_weighs_with_its_files() {
    let api = limited().await;
    let session = api.session("u1").await;
    let url = format!("data:text/plain;base64,{}", "YWFh".repeat(2_000));
    let file = json!({"type": "file", "mediaType": "text/plain", "filename": "a.txt", "url": url});
    let asks = |parts: Value, trigger: &str| {
        let body = json!({"id": "x", "messages": [{"role": "user", "parts": parts}], "trigger": trigger});
        let sent = api.post(format!("{session}/messages")).by("u1").json(&body).send();
        async { sent.await.ok()["turn_id"].as_str().unwrap().parse::<TurnId>().unwrap() }
    };
    let amount = async |turn: TurnId| {
        let reserved = api.windows.reserved(&u1()).await.unwrap();
        reserved.into_iter().find(|(id, _)| *id == turn).unwrap().1
    };
    let look = json!({"type": "text", "text": "Look"});
    let first = asks(json!([look, file]), "submit-message").await;
    let reserved = amount(first).await;
    assert!(reserved > 1_500, "6,000 bytes of text at least: {reserved}");
    api.answer(first, "I see").await;
    // What the client sends of the question is no more than its text.
    let again = asks(json!([look]), "regenerate-message").await;
    assert_eq!(amount(again).await, reserved);
}

#[tokio::test]
async fn a_dropped_turn_gives_its_reservation_back() {
    let api = limited().await;
    let session = api.session("u1").await;
    api.submit(&session, "u1", "first").await;
    let waiting = api.submit(&session, "u1", "second").await;
    assert_eq!(api.reserved().await, 2);
    api.ask("DELETE", format!("{session}/queue/{waiting}")).by("u1").send().await;
    assert_eq!(api.reserved().await, 1);
    api.post(format!("{session}/cancel")).by("u1").send().await.ok();
    assert_eq!(api.reserved().await, 0);
}

#[tokio::test]
async fn a_turn_that_is_fenced_off_or_deleted_gives_its_reservation_back() {
    let api = limited().await;
    let session = api.session("u1").await;
    let running = api.submit(&session, "u1", "first").await;
    api.begin(running, "so far").await;
    assert_eq!(api.ask("DELETE", &session).by("u1").send().await.status, 204);
    assert_eq!(api.reserved().await, 0);
}

#[tokio::test]
async fn usage_tells_settled_tokens_limits_and_when_they_reset() {
    let api = limited().await;
    api.use_up(665, 1_665).await;
    let session = api.session("u1").await;
    api.submit(&session, "u1", "what is reserved does not show").await;
    let usage = api.get("/api/chat/usage").by("u1").send().await.ok();
    assert_eq!(
        usage,
        json!({
            "daily": {"used": 665, "limit": 10_000, "resets_at": "2026-03-27T00:00:00Z"},
            "weekly": {"used": 1_665, "limit": 50_000, "resets_at": "2026-03-30T00:00:00Z"},
            "reset_cost": 500,
        })
    );
    api.get("/api/chat/usage").send().await.refused(401, "unauthorized");
}

#[tokio::test]
async fn a_new_day_begins_at_midnight_utc() {
    let clock = Clock::standing(thursday());
    let settings = Limits { clock: clock.clone(), ..limits() };
    let api = Api::start_with(Settings { limits: settings, ..Settings::default() }).await;
    let session = api.session("u1").await;
    api.use_up(10_000, 10_000).await;
    let send = || api.post(format!("{session}/messages")).by("u1").json(&json!({"message": "hi"})).send();
    clock.set("2026-03-26T23:59:59.999Z".parse().unwrap());
    let refused = send().await;
    refused.refused(429, "usage_limit_reached");
    assert_eq!(refused.body["detail"], "You've reached your daily usage limit. Resets in 0m.");
    assert_eq!(refused.headers["retry-after"], "1");
    clock.set("2026-03-27T00:00:00Z".parse().unwrap());
    assert_eq!(send().await.status, 202);
    let usage = api.get("/api/chat/usage").by("u1").send().await.ok();
    assert_eq!((&usage["daily"]["used"], &usage["weekly"]["used"]), (&json!(0), &json!(10_000)));
}

#[tokio::test]
async fn counters_that_are_no_numbers_are_503_and_left_as_they_are() {
    let api = limited().await;
    let session = api.session("u1").await;
    let (redis, key) = (api.services.redis().await, format!("{}usage:weekly:u1:2026-W13", api.services.redis_prefix));
    let _: () = redis.set(&key, "broken", None, None, false).await.unwrap();
    let refused = api.post(format!("{session}/messages")).by("u1").json(&json!({"message": "hi"})).send().await;
    refused.refused(503, "unavailable");
    assert_eq!(refused.headers["retry-after"], "30");
    api.get("/api/chat/usage").by("u1").send().await.refused(503, "unavailable");
    let left: String = redis.get(&key).await.unwrap();
    assert_eq!(left, "broken");
    assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 0);
}

/// An API whose Redis is away.
async fn without_redis(fail: FailPolicy) -> Api {
    let services = Services::isolated().await;
    let streams = Streams::connect(StreamSettings {
        url: "redis://127.0.0.1:1/0".into(),
        prefix: "none:".into(),
        ttl: Duration::from_mins(1),
        connections: 1,
    })
    .unwrap();
    let publisher = Publisher::new(Broker::new(&services.rabbitmq_url, Topology::new(&services.rabbitmq_prefix), "t"));
    let store = services.store();
    let limits = Limits { fail, ..limits() };
    Api::over(services, store, streams, publisher, Settings { limits, ..Settings::default() })
}

#[tokio::test]
async fn without_redis_the_check_is_closed_or_open_as_configured_and_usage_is_503() {
    for (fail, status) in [(FailPolicy::Closed, 503), (FailPolicy::Open, 202)] {
        let api = without_redis(fail).await;
        let session = api.session("u1").await;
        let answer = api.post(format!("{session}/messages")).by("u1").json(&json!({"message": "hi"})).send().await;
        assert_eq!(answer.status, status, "{fail:?}: {answer:?}");
        if fail == FailPolicy::Closed {
            answer.refused(503, "unavailable");
            assert_eq!(answer.headers["retry-after"], "30");
            assert_eq!(api.services.count("SELECT count(*) FROM turns").await, 0);
        }
        let usage = api.get("/api/chat/usage").by("u1").send().await;
        usage.refused(503, "unavailable");
        assert_eq!(usage.headers["retry-after"], "30");
    }
}

#[tokio::test]
async fn without_limits_redis_is_not_asked() {
    let services = Services::isolated().await;
    let streams = Streams::connect(StreamSettings {
        url: "redis://127.0.0.1:1/0".into(),
        prefix: "none:".into(),
        ttl: Duration::from_mins(1),
        connections: 1,
    })
    .unwrap();
    let (store, publisher) = (services.store(), services.publisher());
    let api = Api::over(services, store, streams, publisher, Settings::default());
    let session = api.session("u1").await;
    api.submit(&session, "u1", "hi").await;
}
