//! Limits of single users: an admin's, a flag's, the configuration's; and what admins see and reset.

use std::time::Duration;

use chrono::Utc;
use copilot_shared::flags::{Flags, WrittenFlags};
use copilot_shared::id::UserId;
use copilot_shared::stream::{StreamSettings, Streams};
use copilot_shared::testing::Services;
use copilot_shared::usage::limits::{TokenLimits, Used};
use fred::interfaces::KeysInterface;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, Limits, Settings};

const RATE_LIMIT: &str = "/api/copilot/admin/rate_limit";
const LIMITS: TokenLimits = TokenLimits { daily: 10_000, weekly: 50_000 };

async fn limited(flags: Value) -> Api {
    let flags = Flags::of(serde_json::from_value::<WrittenFlags>(flags).unwrap());
    Api::start_with(Settings { limits: Limits { limits: LIMITS, flags, ..Limits::default() }, ..Settings::default() })
        .await
}

async fn use_up(api: &Api, user: &str, daily: i64, weekly: i64) {
    let user = UserId::parse(user).unwrap();
    api.windows.set_used(&user, Used { daily, weekly }, Utc::now()).await.unwrap();
}

async fn read(api: &Api, user: &str) -> Value {
    api.get(format!("{RATE_LIMIT}?user_id={user}")).by_admin("root").send().await.ok()
}

async fn put(api: &Api, user: &str, body: Value) -> Answer {
    api.ask("PUT", format!("{RATE_LIMIT}/{user}")).by_admin("root").json(&body).send().await
}

async fn reset(api: &Api, body: Value) -> Answer {
    api.post(format!("{RATE_LIMIT}/reset")).by_admin("root").json(&body).send().await
}

async fn send(api: &Api, session: &str, user: &str) -> Answer {
    api.post(format!("{session}/messages")).by(user).json(&json!({"message": "hi"})).send().await
}

#[tokio::test]
async fn an_admin_sees_limits_and_usage_and_resets_day_and_week() {
    let api = limited(json!({})).await;
    use_up(&api, "ann", 10_000, 45_000).await;
    let shape = |daily: i64, weekly: i64| {
        json!({
            "user_id": "ann", "daily_token_limit": 10_000, "weekly_token_limit": 50_000,
            "daily_tokens_used": daily, "weekly_tokens_used": weekly,
        })
    };
    assert_eq!(read(&api, "ann").await, shape(10_000, 45_000));
    assert_eq!(reset(&api, json!({"user_id": "ann"})).await.ok(), shape(0, 45_000));
    assert_eq!(reset(&api, json!({"user_id": "ann", "reset_weekly": true})).await.ok(), shape(0, 0));
    assert_eq!(
        api.services.count("SELECT count(*) FROM audit_records WHERE actor = 'root' AND target = 'user:ann'").await,
        3
    );
    let weekly = "SELECT count(*) FROM audit_records WHERE action = 'reset_rate_limit' AND details @> '{\"windows\": [\"weekly\"]}'";
    assert_eq!(api.services.count(weekly).await, 1);
}

#[tokio::test]
async fn a_users_own_limit_goes_before_the_flag_and_the_flag_before_the_configuration() {
    let flags = json!({
        "defaults": {"copilot-daily-token-limit": "many", "copilot-weekly-token-limit": 40_000},
        "users": {"ann": {"copilot-daily-token-limit": 20_000}, "bob": {"copilot-daily-token-limit": -5}},
    });
    let api = limited(flags).await;
    let limits = async |user: &str| {
        let read = read(&api, user).await;
        (read["daily_token_limit"].as_i64().unwrap(), read["weekly_token_limit"].as_i64().unwrap())
    };
    assert_eq!(limits("eve").await, (10_000, 40_000), "what is no number has no value");
    assert_eq!(limits("ann").await, (20_000, 40_000));
    assert_eq!(limits("bob").await, (0, 40_000), "what is negative is nothing, and that is no limit");
    put(&api, "ann", json!({"daily_token_limit": 5, "weekly_token_limit": null})).await.ok();
    assert_eq!(limits("ann").await, (5, 40_000));
    put(&api, "ann", json!({"weekly_token_limit": 7})).await.ok();
    assert_eq!(limits("ann").await, (20_000, 7), "what is left out is everybody's again");
    assert_eq!(limits("a%20b").await, (10_000, 40_000));
    let answer = put(&api, "a%20b", json!({"daily_token_limit": 3})).await.ok();
    assert_eq!((&answer["user_id"], &answer["daily_token_limit"]), (&json!("a b"), &json!(3)));
}

#[tokio::test]
async fn a_users_own_limit_is_the_one_that_refuses_and_that_usage_tells() {
    let api = limited(json!({})).await;
    let session = api.session("ann").await;
    use_up(&api, "ann", 100, 100).await;
    assert_eq!(send(&api, &session, "ann").await.status, 202);
    put(&api, "ann", json!({"daily_token_limit": 100})).await.ok();
    send(&api, &session, "ann").await.refused(429, "usage_limit_reached");
    let usage = api.get("/api/chat/usage").by("ann").send().await.ok();
    assert_eq!((&usage["daily"]["limit"], &usage["weekly"]["limit"]), (&json!(100), &json!(50_000)));
    put(&api, "ann", json!({"daily_token_limit": 0, "weekly_token_limit": 0})).await.ok();
    use_up(&api, "ann", 1_000_000, 1_000_000).await;
    assert_eq!(send(&api, &session, "ann").await.status, 202, "0 is no limit");
}

#[tokio::test]
async fn a_limit_that_another_process_sets_holds_within_seconds() {
    let api = limited(json!({})).await;
    let session = api.session("ann").await;
    assert_eq!(send(&api, &session, "ann").await.status, 202);
    api.services.sql("INSERT INTO user_limits (user_id, daily_tokens) VALUES ('ann', 1)").await;
    use_up(&api, "ann", 1, 1).await;
    copilot_shared::testing::eventually("the limit is known", Duration::from_secs(10), || async {
        (send(&api, &session, "ann").await.status == 429).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bad_input_changes_nothing() {
    let api = limited(json!({})).await;
    for body in [
        json!({"daily_token_limit": -1}),
        json!({"daily_token_limit": 1_000_000_000_000_001_i64}),
        json!({"daily_token_limit": 9.5e30}),
        json!({"weekly_token_limit": "5"}),
        json!({"weekly_token_limit": 1.5}),
        json!([]),
    ] {
        put(&api, "ann", body).await.refused(422, "validation_error");
    }
    put(&api, &"x".repeat(256), json!({})).await.refused(422, "validation_error");
    for body in [json!({}), json!({"user_id": ""}), json!({"user_id": "a\u{0}b"}), json!({"user_id": 5})] {
        reset(&api, body).await.refused(422, "validation_error");
    }
    api.get(RATE_LIMIT).by_admin("root").send().await.refused(422, "validation_error");
    api.get(format!("{RATE_LIMIT}?user_id=")).by_admin("root").send().await.refused(422, "validation_error");
    assert_eq!(api.services.count("SELECT count(*) FROM user_limits").await, 0);
    assert_eq!(api.services.count("SELECT count(*) FROM audit_records").await, 0);
}

#[tokio::test]
async fn only_admins_administer() {
    let api = limited(json!({})).await;
    use_up(&api, "ann", 10, 10).await;
    api.get(format!("{RATE_LIMIT}?user_id=ann")).by("ann").send().await.refused(403, "admin_required");
    let body = json!({"user_id": "ann", "daily_token_limit": 0});
    api.ask("PUT", format!("{RATE_LIMIT}/ann")).by("ann").json(&body).send().await.refused(403, "admin_required");
    api.post(format!("{RATE_LIMIT}/reset")).by("ann").json(&body).send().await.refused(403, "admin_required");
    api.post(format!("{RATE_LIMIT}/reset")).json(&body).send().await.refused(401, "unauthorized");
    assert_eq!(read(&api, "ann").await["daily_tokens_used"], 10);
}

#[tokio::test]
async fn a_reset_heals_counters_that_are_no_numbers() {
    let api = limited(json!({})).await;
    let key = format!("{}usage:daily:ann:{}", api.services.redis_prefix, Utc::now().format("%Y-%m-%d"));
    let _: () = api.services.redis().await.set(key, "broken", None, None, false).await.unwrap();
    let read = api.get(format!("{RATE_LIMIT}?user_id=ann")).by_admin("root").send().await;
    read.refused(503, "unavailable");
    assert_eq!(reset(&api, json!({"user_id": "ann"})).await.ok()["daily_tokens_used"], 0);
}

#[tokio::test]
async fn without_redis_a_reset_fails_and_says_so() {
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
    let failed = reset(&api, json!({"user_id": "ann"})).await;
    failed.refused(500, "reset_failed");
    assert_eq!(failed.body["detail"], "Failed to reset usage");
}
