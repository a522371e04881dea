//! Paid resets: the eleven outcomes, and every way to die on the way.

use chrono::{DateTime, Utc};
use copilot_shared::clock::Clock;
use copilot_shared::credit::{Amount, Cents};
use copilot_shared::id::UserId;
use copilot_shared::ledger::{Ledger, Mode};
use copilot_shared::reset::end_left_behind;
use copilot_shared::store::{NewReset, PaidReset};
use copilot_shared::usage::limits::{TokenLimits, Used};
use copilot_shared::windows::{Carried, ResetOrder};
use fred::interfaces::{HashesInterface, KeysInterface};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Api, Limits, ResetTerms, Settings};

const LIMITS: TokenLimits = TokenLimits { daily: 10_000, weekly: 50_000 };
const REFILL: Mode = Mode::Enabled { refill: Cents(1_500) };

fn thursday() -> DateTime<Utc> {
    "2026-03-26T13:52:08Z".parse().unwrap()
}

fn u1() -> UserId {
    UserId::parse("u1").unwrap()
}

fn settings(clock: &Clock) -> Settings {
    let limits = Limits { limits: LIMITS, clock: clock.clone(), ..Limits::default() };
    Settings { credits: REFILL, limits, ..Settings::default() }
}

/// An API where a user has 15 dollars and has used up the day.
async fn used_up() -> (Api, Clock) {
    let clock = Clock::standing(thursday());
    let api = Api::start_with(settings(&clock)).await;
    use_up(&api, 10_000, 45_000).await;
    (api, clock)
}

async fn use_up(api: &Api, daily: i64, weekly: i64) {
    api.windows.set_used(&u1(), Used { daily, weekly }, thursday()).await.unwrap();
}

async fn reset(api: &Api, key: Option<&str>) -> Answer {
    let ask = api.post("/api/chat/usage/reset").by("u1");
    match key {
        Some(key) => ask.header("Idempotency-Key", key).send().await,
        None => ask.send().await,
    }
}

async fn balance(api: &Api) -> i64 {
    api.get("/api/credits").by("u1").send().await.ok()["credits"].as_i64().unwrap()
}

async fn used(api: &Api) -> Used {
    api.windows.look(&u1(), thursday()).await.unwrap().used
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, detail: &str) {
    answer.refused(status, code);
    assert_eq!(answer.body["detail"], detail);
    assert_eq!(answer.headers.contains_key("retry-after"), matches!(status, 429 | 503));
}

/// A reset that was paid by a request that died right after it.
async fn paid(api: &Api, key: &str) -> PaidReset {
    let new = NewReset {
        id: Uuid::new_v4(),
        user: u1(),
        key: key.into(),
        asked_at: thursday(),
        limits: LIMITS,
        cost: Amount::new(500).unwrap(),
    };
    Ledger::new(api.store.clone(), REFILL).charge_reset(&new).await.unwrap()
}

/// What the reconciler does once the request is surely dead.
async fn reconcile(api: &Api, clock: &Clock) -> u64 {
    api.services.sql("UPDATE usage_resets SET created_at = now() - interval '1 minute'").await;
    end_left_behind(&api.store, &api.windows, clock).await.unwrap()
}

async fn statuses(api: &Api, status: &str) -> i64 {
    api.services.count(&format!("SELECT count(*) FROM usage_resets WHERE status = '{status}'")).await
}

#[tokio::test]
async fn a_reset_empties_the_day_for_its_price() {
    let (api, _) = used_up().await;
    let answer = reset(&api, None).await;
    assert_eq!(
        answer.ok(),
        json!({
            "success": true, "credits_charged": 500, "remaining_balance": 1_000,
            "usage": {
                "daily": {"used": 0, "limit": 10_000, "resets_at": "2026-03-27T00:00:00Z"},
                "weekly": {"used": 35_000, "limit": 50_000, "resets_at": "2026-03-30T00:00:00Z"},
                "reset_cost": 500,
            },
        })
    );
    assert_eq!(used(&api).await, Used { daily: 0, weekly: 35_000 });
    let ledger = api.get("/api/credits/transactions").by("u1").send().await.ok();
    let spent = &ledger["transactions"][0];
    assert_eq!((&spent["kind"], &spent["amount"]), (&json!("USAGE"), &json!(-500)));
    assert_eq!(spent["metadata"]["reason"], "CoPilot daily rate limit reset");
    let session = api.session("u1").await;
    api.submit(&session, "u1", "and on it goes").await;
}

#[tokio::test]
async fn without_a_price_credits_or_a_limit_there_is_no_reset() {
    let clock = Clock::standing(thursday());
    let mut free = settings(&clock);
    free.limits.reset = ResetTerms { cost: 0, most: 5 };
    let mut poor = settings(&clock);
    poor.credits = Mode::Disabled;
    let mut unlimited = settings(&clock);
    unlimited.limits.limits = TokenLimits { daily: 0, weekly: 50_000 };
    for (settings, code, detail) in [
        (free, "reset_not_available", "Rate limit reset is not available."),
        (poor, "credits_disabled", "Rate limit reset is not available (credit system is disabled)."),
        (unlimited, "no_daily_limit", "No daily limit is configured — nothing to reset."),
    ] {
        let api = Api::start_with(settings).await;
        refused(&reset(&api, None).await, 400, code, detail);
    }
}

#[tokio::test]
async fn a_count_that_cannot_be_read_is_no_right_to_a_reset() {
    let (api, _) = used_up().await;
    let key = format!("{}reset_count:u1:2026-03-26", api.services.redis_prefix);
    let _: () = api.services.redis().await.set(key, "some", None, None, false).await.unwrap();
    let detail = "Unable to verify reset eligibility — please try again later.";
    refused(&reset(&api, None).await, 503, "unavailable", detail);
    assert_eq!(balance(&api).await, 1_500);
}

#[tokio::test]
async fn a_day_has_so_many_resets_and_no_more() {
    let clock = Clock::standing(thursday());
    let mut settings = settings(&clock);
    settings.limits.reset = ResetTerms { cost: 500, most: 2 };
    let api = Api::start_with(settings).await;
    for _ in 0..2 {
        use_up(&api, 10_000, 10_000).await;
        reset(&api, None).await.ok();
    }
    use_up(&api, 10_000, 10_000).await;
    let third = reset(&api, None).await;
    refused(&third, 429, "resets_exhausted", "You've used all 2 resets for today.");
    assert_eq!(third.headers["retry-after"], "36472");
    assert_eq!(balance(&api).await, 500);
}

#[tokio::test]
async fn one_reset_at_a_time() {
    let (api, _) = used_up().await;
    let lock = api.windows.lock_reset(&u1()).await.unwrap().unwrap();
    let detail = "A reset is already in progress. Please try again.";
    refused(&reset(&api, None).await, 429, "reset_in_progress", detail);
    api.windows.unlock_reset(&u1(), &lock).await.unwrap();
    let answers = join_all((0..20).map(|_| reset(&api, None))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 400 | 429)), "{answers:?}");
    assert_eq!((balance(&api).await, used(&api).await.weekly), (1_000, 35_000));
}

#[tokio::test]
async fn a_reset_that_would_not_help_is_not_sold() {
    let (api, _) = used_up().await;
    use_up(&api, 9_999, 9_999).await;
    let detail = "You have not reached your daily limit yet.";
    refused(&reset(&api, None).await, 400, "daily_limit_not_reached", detail);
    use_up(&api, 10_000, 50_000).await;
    let detail = "Your weekly limit is also reached. Resetting the daily limit won't help.";
    refused(&reset(&api, None).await, 400, "weekly_limit_reached", detail);
    assert_eq!(balance(&api).await, 1_500);
    let lock = api.windows.lock_reset(&u1()).await.unwrap();
    assert!(lock.is_some(), "the lock is free again");
}

#[tokio::test]
async fn who_cannot_pay_gets_no_reset() {
    let clock = Clock::standing(thursday());
    let mut settings = settings(&clock);
    settings.credits = Mode::Enabled { refill: Cents(499) };
    let api = Api::start_with(settings).await;
    use_up(&api, 10_000, 45_000).await;
    let detail = "Insufficient credits to reset your rate limit.";
    refused(&reset(&api, Some("k")).await, 402, "insufficient_credits", detail);
    assert_eq!((balance(&api).await, used(&api).await.daily), (499, 10_000));
    assert_eq!(api.services.count("SELECT count(*) FROM usage_resets").await, 0);
    assert!(api.windows.lock_reset(&u1()).await.unwrap().is_some(), "the lock is free again");
}

#[tokio::test]
async fn the_same_key_charges_once_and_is_answered_the_same() {
    let (api, clock) = used_up().await;
    let first = reset(&api, Some("k")).await.ok();
    use_up(&api, 10_000, 45_000).await;
    clock.set("2026-03-26T15:00:00Z".parse().unwrap());
    assert_eq!(reset(&api, Some("k")).await.ok(), first);
    assert_eq!((balance(&api).await, used(&api).await.daily), (1_000, 10_000));
    let other = reset(&api, Some("another")).await.ok();
    assert_eq!(other["remaining_balance"], 500);
    let long = "x".repeat(300);
    reset(&api, Some(&long)).await.refused(422, "validation_error");
}

#[tokio::test]
async fn many_at_once_with_one_key_charge_once() {
    let (api, _) = used_up().await;
    let answers = join_all((0..20).map(|_| reset(&api, Some("k")))).await;
    let done: Vec<&Value> = answers.iter().filter(|answer| answer.status == 200).map(|answer| &answer.body).collect();
    assert!(!done.is_empty() && done.iter().all(|answer| *answer == done[0]));
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 429)), "{answers:?}");
    assert_eq!(balance(&api).await, 1_000);
}

/// Makes the script fail for good.
async fn break_counters(api: &Api) -> String {
    let key = format!("{}reset_last:u1", api.services.redis_prefix);
    let _: i64 = api.services.redis().await.hset(&key, ("not", "a string")).await.unwrap();
    key
}

#[tokio::test]
async fn a_reset_that_fails_is_paid_back_and_its_key_can_be_used_again() {
    let (api, _) = used_up().await;
    let broken = break_counters(&api).await;
    let detail = "Rate limit reset failed — please try again later. Your credits have not been charged.";
    refused(&reset(&api, Some("k")).await, 503, "reset_failed", detail);
    assert_eq!((balance(&api).await, used(&api).await), (1_500, Used { daily: 10_000, weekly: 45_000 }));
    let ledger = api.get("/api/credits/transactions").by("u1").send().await.ok();
    let [back, spent] = [&ledger["transactions"][0], &ledger["transactions"][1]];
    assert_eq!((&back["kind"], &back["amount"]), (&json!("GRANT"), &json!(500)));
    assert_eq!(back["key"], format!("refund:{}", spent["key"].as_str().unwrap()));
    assert!(api.windows.lock_reset(&u1()).await.unwrap().is_some(), "the lock is free again");
    let redis = api.services.redis().await;
    let _: i64 = redis.del(vec![broken, format!("{}reset_lock:u1", api.services.redis_prefix)]).await.unwrap();
    assert_eq!(reset(&api, Some("k")).await.ok()["remaining_balance"], 1_000);
}

#[tokio::test]
async fn a_refund_that_fails_as_well_is_made_good_by_the_reconciler() {
    let (api, clock) = used_up().await;
    let broken = break_counters(&api).await;
    api.services
        .sql(
            "CREATE FUNCTION refuse_refunds() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
             CREATE TRIGGER refuse_refunds BEFORE INSERT ON credit_transactions FOR EACH ROW \
                 WHEN (NEW.kind = 'GRANT' AND NEW.key LIKE 'refund:%') EXECUTE FUNCTION refuse_refunds()",
        )
        .await;
    let detail = "Rate limit reset failed and the automatic refund also failed. Please contact support for assistance.";
    refused(&reset(&api, None).await, 503, "reset_refund_pending", detail);
    assert_eq!((balance(&api).await, statuses(&api, "charged").await), (1_000, 1));
    assert!(api.windows.lock_reset(&u1()).await.unwrap().is_some(), "the lock is free again");
    let _: i64 = api.services.redis().await.del(format!("{}reset_lock:u1", api.services.redis_prefix)).await.unwrap();

    api.services.sql("DROP TRIGGER refuse_refunds ON credit_transactions").await;
    assert_eq!(reconcile(&api, &clock).await, 1);
    assert_eq!((balance(&api).await, statuses(&api, "refunded").await), (1_500, 1));
    let _: i64 = api.services.redis().await.del(broken).await.unwrap();
    assert_eq!(reset(&api, None).await.ok()["remaining_balance"], 1_000);
}

#[tokio::test]
async fn who_paid_and_lost_the_request_gets_the_reset_by_asking_again() {
    for key in [None, Some("k"), Some("another")] {
        let (api, _) = used_up().await;
        paid(&api, "k").await;
        let answer = reset(&api, key).await.ok();
        assert_eq!((&answer["credits_charged"], &answer["remaining_balance"]), (&json!(500), &json!(1_000)));
        assert_eq!((balance(&api).await, statuses(&api, "done").await), (1_000, 1), "{key:?}");
        assert_eq!(used(&api).await, Used { daily: 0, weekly: 35_000 });
    }
}

#[tokio::test]
async fn who_paid_and_never_asked_again_gets_the_reset_from_the_reconciler() {
    let (api, clock) = used_up().await;
    paid(&api, "k").await;
    assert_eq!(end_left_behind(&api.store, &api.windows, &clock).await.unwrap(), 0, "the request may live");
    assert_eq!(reconcile(&api, &clock).await, 1);
    assert_eq!((balance(&api).await, used(&api).await.daily), (1_000, 0));
    use_up(&api, 10_000, 10_000).await;
    assert_eq!(reconcile(&api, &clock).await, 0, "once");
    let answer = reset(&api, Some("k")).await.ok();
    assert_eq!((&answer["remaining_balance"], used(&api).await.daily), (&json!(1_000), 10_000));
}

#[tokio::test]
async fn a_reset_over_midnight_is_paid_back_and_the_new_day_is_left_alone() {
    let (api, clock) = used_up().await;
    paid(&api, "k").await;
    let friday = "2026-03-27T00:00:01Z".parse().unwrap();
    clock.set(friday);
    let after = Used { daily: 7, weekly: 45_007 };
    api.windows.set_used(&u1(), after, friday).await.unwrap();
    let detail = "You have not reached your daily limit yet.";
    refused(&reset(&api, Some("k")).await, 400, "daily_limit_not_reached", detail);
    assert_eq!((balance(&api).await, statuses(&api, "refunded").await), (1_500, 1));
    assert_eq!(api.windows.look(&u1(), friday).await.unwrap().used, after);
}

#[tokio::test]
async fn a_reset_that_was_carried_out_and_not_noted_is_neither_repeated_nor_sold_as_the_next() {
    let (api, clock) = used_up().await;
    let paid = paid(&api, "k").await;
    let lock = api.windows.lock_reset(&u1()).await.unwrap().unwrap();
    let order = ResetOrder { id: paid.id, at: paid.asked_at, limits: LIMITS, most: 5 };
    let carried = api.windows.carry_out_reset(&u1(), &lock, &order, thursday()).await.unwrap();
    assert_eq!(carried, Carried::Now(35_000));
    api.windows.unlock_reset(&u1(), &lock).await.unwrap();

    use_up(&api, 10_000, 40_000).await;
    let next = reset(&api, Some("another")).await.ok();
    assert_eq!((&next["credits_charged"], &next["remaining_balance"]), (&json!(500), &json!(500)));
    assert_eq!((used(&api).await, statuses(&api, "done").await), (Used { daily: 0, weekly: 30_000 }, 2));
    use_up(&api, 10_000, 30_000).await;
    assert_eq!(reset(&api, Some("k")).await.ok()["remaining_balance"], 1_000, "the first is answered as it was");
    assert_eq!((reconcile(&api, &clock).await, balance(&api).await), (0, 500));
}

#[tokio::test]
async fn a_reset_needs_a_token() {
    let api = Api::start().await;
    api.post("/api/chat/usage/reset").send().await.refused(401, "unauthorized");
}
