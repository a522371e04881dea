//! Counters, reservations and resets in a real Redis.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use copilot_shared::id::{TurnId, UserId};
use copilot_shared::testing::{Services, eventually};
use copilot_shared::usage::limits::{Reached, TokenLimits, Used};
use copilot_shared::usage::window::Window;
use copilot_shared::windows::{Carried, Reserved, ResetOrder, Settled, StepUse, Then, Windows, WindowsError};
use fred::interfaces::{HashesInterface, KeysInterface, SortedSetsInterface};
use futures_util::future::join_all;
use uuid::Uuid;

const LIMITS: TokenLimits = TokenLimits { daily: 10_000, weekly: 50_000 };

fn ann() -> UserId {
    UserId::parse("ann").unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A Thursday.
fn thursday() -> DateTime<Utc> {
    at("2026-03-26T13:52:08Z")
}

fn used(daily: i64, weekly: i64) -> Used {
    Used { daily, weekly }
}

fn step(turn: TurnId, number: i32, weighted: i64) -> StepUse {
    StepUse { turn, step: number, weighted, used_at: thursday() }
}

async fn reserve(windows: &Windows, turn: TurnId, amount: i64) -> Reserved {
    windows.reserve(&ann(), turn, amount, LIMITS, thursday()).await.unwrap()
}

#[tokio::test]
async fn the_keys_are_the_references_and_live_as_long_as_their_windows() {
    let services = Services::isolated().await;
    let (windows, redis) = (services.windows(), services.redis().await);
    windows.settle(&ann(), &step(TurnId::generate(), 1, 665), Then::GoesOn, thursday()).await.unwrap();
    for (key, ttl) in [("usage:daily:ann:2026-03-26", 36_472), ("usage:weekly:ann:2026-W13", 295_672)] {
        let key = format!("{}{key}", services.redis_prefix);
        let counter: Option<i64> = redis.get(&key).await.unwrap();
        assert_eq!(counter, Some(665), "{key}");
        let left: i64 = redis.ttl(&key).await.unwrap();
        assert!((ttl - 5..=ttl).contains(&left), "{key} {left}");
    }
    assert_eq!(windows.look(&ann(), thursday()).await.unwrap().used, used(665, 665));
    let other = UserId::parse("bob").unwrap();
    assert_eq!(windows.look(&other, thursday()).await.unwrap().used, used(0, 0));
}

#[tokio::test]
async fn a_step_is_counted_once_however_often_it_is_settled() {
    let services = Services::isolated().await;
    let windows = services.windows();
    let turn = TurnId::generate();
    let user = ann();
    let (first, second) = (step(turn, 1, 100), step(turn, 2, 30));
    let settled = join_all((0..50).map(|n| {
        let step = if n % 2 == 0 { &first } else { &second };
        windows.settle(&user, step, Then::GoesOn, thursday())
    }))
    .await;
    assert!(settled.iter().all(|settled| matches!(settled, Ok(Settled::Counted(_)))));
    assert_eq!(windows.look(&user, thursday()).await.unwrap().used, used(130, 130));
}

#[tokio::test]
async fn of_many_at_once_exactly_those_pass_that_find_room() {
    let services = Services::isolated().await;
    let windows = services.windows();
    windows.set_used(&ann(), used(9_999, 9_999), thursday()).await.unwrap();
    let one = join_all((0..1_000).map(|_| reserve(&windows, TurnId::generate(), 5_000))).await;
    assert_eq!(one.iter().filter(|reserved| **reserved == Reserved::Granted).count(), 1, "one below the limit");

    let bob = UserId::parse("bob").unwrap();
    let many = join_all((0..1_000).map(|_| windows.reserve(&bob, TurnId::generate(), 1_500, LIMITS, thursday()))).await;
    let granted = many.iter().filter(|reserved| matches!(reserved, Ok(Reserved::Granted))).count();
    assert_eq!(granted, 7, "the seventh begins at 9,000 and may end beyond the limit");
    assert_eq!(windows.reserved(&bob).await.unwrap().len(), 7);
}

#[tokio::test]
async fn a_refusal_names_the_window_and_says_what_reached_it() {
    let services = Services::isolated().await;
    let windows = services.windows();
    let turn = TurnId::generate();
    for (now, refused) in [
        (used(9_999, 49_999), None),
        (used(10_000, 10_000), Some(Window::Daily)),
        (used(0, 50_000), Some(Window::Weekly)),
        (used(10_000, 50_000), Some(Window::Daily)),
    ] {
        windows.set_used(&ann(), now, thursday()).await.unwrap();
        let found = match reserve(&windows, turn, i64::MAX).await {
            Reserved::Granted => None,
            Reserved::Refused(reached) => Some((reached.window, reached.by)),
        };
        assert_eq!(found, refused.map(|window| (window, Reached::Usage)), "{now:?}");
        windows.release(&ann(), turn).await.unwrap();
    }
    windows.set_used(&ann(), used(1, 1), thursday()).await.unwrap();
    assert_eq!(reserve(&windows, turn, 9_999).await, Reserved::Granted);
    assert_eq!(reserve(&windows, turn, 9_999).await, Reserved::Granted, "a repeated call finds its own");
    let other = reserve(&windows, TurnId::generate(), 1).await;
    assert!(matches!(other, Reserved::Refused(reached) if reached.by == Reached::Reservations), "{other:?}");
    let unlimited = TokenLimits { daily: 0, weekly: 0 };
    let passed = windows.reserve(&ann(), TurnId::generate(), 1, unlimited, thursday()).await.unwrap();
    assert_eq!(passed, Reserved::Granted);
}

#[tokio::test]
async fn usage_comes_off_a_reservation_and_the_rest_goes_with_the_turn() {
    let services = Services::isolated().await;
    let windows = services.windows();
    let turn = TurnId::generate();
    reserve(&windows, turn, 1_000).await;
    windows.settle(&ann(), &step(turn, 1, 400), Then::GoesOn, thursday()).await.unwrap();
    windows.settle(&ann(), &step(turn, 1, 400), Then::GoesOn, thursday()).await.unwrap();
    assert_eq!(windows.reserved(&ann()).await.unwrap(), [(turn, 600)]);
    windows.settle(&ann(), &step(turn, 2, 900), Then::GoesOn, thursday()).await.unwrap();
    assert_eq!(windows.reserved(&ann()).await.unwrap(), [(turn, 0)]);
    windows.settle(&ann(), &step(turn, 3, 1), Then::HasEnded, thursday()).await.unwrap();
    assert_eq!(windows.reserved(&ann()).await.unwrap(), []);
    let noted: i64 =
        services.redis().await.zcard(format!("{}usage:reservations", services.redis_prefix)).await.unwrap();
    assert_eq!(noted, 0);
    assert_eq!(windows.look(&ann(), thursday()).await.unwrap().used, used(1_301, 1_301));
}

#[tokio::test]
async fn what_is_settled_after_its_day_or_week_counts_where_it_still_can() {
    let services = Services::isolated().await;
    let windows = services.windows();
    let late = StepUse { used_at: at("2026-03-26T23:59:59.9Z"), ..step(TurnId::generate(), 1, 70) };
    let friday = at("2026-03-27T00:00:01Z");
    windows.settle(&ann(), &late, Then::GoesOn, friday).await.unwrap();
    assert_eq!(windows.look(&ann(), friday).await.unwrap().used, used(0, 70));
    let monday = at("2026-03-30T00:00:00Z");
    let turn = TurnId::generate();
    reserve(&windows, turn, 5).await;
    let last_week = StepUse { turn, ..late };
    assert_eq!(windows.settle(&ann(), &last_week, Then::HasEnded, monday).await.unwrap(), Settled::Late);
    assert_eq!(windows.reserved(&ann()).await.unwrap(), []);
    assert_eq!(windows.look(&ann(), monday).await.unwrap().used, used(0, 0));
}

#[tokio::test]
async fn what_is_no_number_is_refused_and_left_as_it_is() {
    let services = Services::isolated().await;
    let (windows, redis) = (services.windows(), services.redis().await);
    let key = format!("{}usage:daily:ann:2026-03-26", services.redis_prefix);
    let corrupt = |error: WindowsError| assert!(matches!(error, WindowsError::Corrupt), "{error:?}");
    let turn = TurnId::generate();
    for value in ["many", "", "1.5", "12 ", "0x10"] {
        let _: () = redis.set(&key, value, None, None, false).await.unwrap();
        corrupt(windows.look(&ann(), thursday()).await.unwrap_err());
        corrupt(windows.reserve(&ann(), turn, 1, LIMITS, thursday()).await.unwrap_err());
        corrupt(windows.settle(&ann(), &step(turn, 1, 1), Then::GoesOn, thursday()).await.unwrap_err());
        let left: String = redis.get(&key).await.unwrap();
        assert_eq!(left, value);
    }
    let _: i64 = redis.del(&key).await.unwrap();
    let _: i64 = redis.hset(&key, ("a", 1)).await.unwrap();
    corrupt(windows.look(&ann(), thursday()).await.unwrap_err());
    let _: i64 = redis.del(&key).await.unwrap();
    let reserved = format!("{}usage:reserved:ann", services.redis_prefix);
    let _: i64 = redis.hset(&reserved, (TurnId::generate().to_string(), "much")).await.unwrap();
    corrupt(windows.reserve(&ann(), turn, 1, LIMITS, thursday()).await.unwrap_err());
    let settled = windows.settle(&ann(), &step(turn, 1, 1), Then::GoesOn, thursday()).await.unwrap();
    assert_eq!(settled, Settled::Counted(used(1, 1)), "usage is counted whatever the reservations say");
}

#[tokio::test]
async fn huge_and_negative_counters_neither_overflow_nor_open_the_gate() {
    let services = Services::isolated().await;
    let (windows, redis) = (services.windows(), services.redis().await);
    let key = format!("{}usage:daily:ann:2026-03-26", services.redis_prefix);
    for huge in ["9223372036854775807", "99999999999999999999999", "9007199254740993"] {
        let _: () = redis.set(&key, huge, None, None, false).await.unwrap();
        let turn = TurnId::generate();
        assert!(matches!(reserve(&windows, turn, 1).await, Reserved::Refused(_)));
        let settled = windows.settle(&ann(), &step(turn, 1, i64::MAX), Then::GoesOn, thursday()).await.unwrap();
        assert!(matches!(settled, Settled::Counted(_)));
        let left: String = redis.get(&key).await.unwrap();
        assert_eq!(left, huge);
    }
    let _: () = redis.set(&key, "-500", None, None, false).await.unwrap();
    assert_eq!(windows.look(&ann(), thursday()).await.unwrap().used.daily, 0);
}

fn order(id: Uuid, limits: TokenLimits) -> ResetOrder {
    ResetOrder { id, at: thursday(), limits, most: 2 }
}

#[tokio::test]
async fn a_reset_empties_the_day_and_gives_the_week_back_what_the_day_held() {
    let services = Services::isolated().await;
    let (windows, redis) = (services.windows(), services.redis().await);
    for (weekly, after) in [(45_000, 35_000), (5_000, 0)] {
        // Appendix A6.
        windows.set_used(&ann(), used(10_000, weekly), thursday()).await.unwrap();
        let lock = windows.lock_reset(&ann()).await.unwrap().unwrap();
        let order = order(Uuid::new_v4(), LIMITS);
        let carried = windows.carry_out_reset(&ann(), &lock, &order, thursday()).await.unwrap();
        assert_eq!(carried, Carried::Now(after));
        windows.unlock_reset(&ann(), &lock).await.unwrap();
        assert_eq!(windows.look(&ann(), thursday()).await.unwrap().used, used(0, after));
        let day: bool = redis.exists(format!("{}usage:daily:ann:2026-03-26", services.redis_prefix)).await.unwrap();
        assert!(!day, "the day's key is gone");
        let week: i64 = redis.ttl(format!("{}usage:weekly:ann:2026-W13", services.redis_prefix)).await.unwrap();
        assert!(week > 0, "the week's key ends with its week");
        let count: i64 = redis.ttl(format!("{}reset_count:ann:2026-03-26", services.redis_prefix)).await.unwrap();
        assert!((1..=36_472).contains(&count));
    }
    assert_eq!(windows.look(&ann(), thursday()).await.unwrap().resets, 2);
    windows.set_used(&ann(), used(10_000, 10_000), thursday()).await.unwrap();
    let lock = windows.lock_reset(&ann()).await.unwrap().unwrap();
    let third = windows.carry_out_reset(&ann(), &lock, &order(Uuid::new_v4(), LIMITS), thursday()).await.unwrap();
    assert_eq!(third, Carried::Exhausted, "the count is decided with the reset");
}

#[tokio::test]
async fn a_missing_week_stays_missing() {
    let services = Services::isolated().await;
    let (windows, redis) = (services.windows(), services.redis().await);
    let key = |name: &str| format!("{}usage:{name}", services.redis_prefix);
    let _: () = redis.set(key("daily:ann:2026-03-26"), 10_000, None, None, false).await.unwrap();
    let lock = windows.lock_reset(&ann()).await.unwrap().unwrap();
    let order = order(Uuid::new_v4(), LIMITS);
    let carried = windows.carry_out_reset(&ann(), &lock, &order, thursday()).await.unwrap();
    assert_eq!(carried, Carried::Now(0));
    let week: bool = redis.exists(key("weekly:ann:2026-W13")).await.unwrap();
    assert!(!week, "a key without an end would never expire");
}

#[tokio::test]
async fn a_reset_is_carried_out_once_and_only_under_its_lock() {
    let services = Services::isolated().await;
    let windows = services.windows();
    windows.set_used(&ann(), used(10_000, 45_000), thursday()).await.unwrap();
    let lock = windows.lock_reset(&ann()).await.unwrap().unwrap();
    assert!(windows.lock_reset(&ann()).await.unwrap().is_none(), "one at a time");
    let order = order(Uuid::new_v4(), LIMITS);
    let user = ann();
    let carry_out = || windows.carry_out_reset(&user, &lock, &order, thursday());
    assert_eq!(carry_out().await.unwrap(), Carried::Now(35_000));
    assert_eq!(carry_out().await.unwrap(), Carried::Before(35_000), "a repeated call changes nothing");
    windows.unlock_reset(&ann(), &lock).await.unwrap();
    let late = windows.carry_out_reset(&ann(), &lock, &order, thursday()).await.unwrap();
    assert_eq!(late, Carried::Before(35_000));
    let other = ResetOrder { id: Uuid::new_v4(), ..order };
    let unlocked = windows.carry_out_reset(&ann(), &lock, &other, thursday()).await.unwrap();
    assert_eq!(unlocked, Carried::Unlocked, "a command that comes late does nothing");
    let theirs = windows.lock_reset(&ann()).await.unwrap().unwrap();
    windows.unlock_reset(&ann(), &lock).await.unwrap();
    assert!(windows.lock_reset(&ann()).await.unwrap().is_none(), "nobody frees another's lock");
    windows.unlock_reset(&ann(), &theirs).await.unwrap();
}

#[tokio::test]
async fn a_reset_that_comes_too_late_does_nothing_though_its_lock_stands() {
    let services = Services::isolated().await;
    let windows = services.windows();
    windows.set_used(&ann(), used(10_000, 45_000), thursday()).await.unwrap();
    let lock = windows.lock_reset(&ann()).await.unwrap().unwrap();
    eventually("the lock is spent", Duration::from_secs(9), || async { lock.is_spent().then_some(()) }).await;
    assert!(windows.lock_reset(&ann()).await.unwrap().is_none(), "it has not lapsed");
    let order = order(Uuid::new_v4(), LIMITS);
    assert_eq!(windows.carry_out_reset(&ann(), &lock, &order, thursday()).await.unwrap(), Carried::Unlocked);
    assert_eq!(windows.look(&ann(), thursday()).await.unwrap().used, used(10_000, 45_000));
}

#[tokio::test]
async fn a_reset_that_would_not_help_is_not_carried_out() {
    let services = Services::isolated().await;
    let windows = services.windows();
    let lock = windows.lock_reset(&ann()).await.unwrap().unwrap();
    let order = order(Uuid::new_v4(), LIMITS);
    for (now, carried) in [(used(9_999, 9_999), Carried::Room), (used(10_000, 50_000), Carried::Weekly)] {
        windows.set_used(&ann(), now, thursday()).await.unwrap();
        assert_eq!(windows.carry_out_reset(&ann(), &lock, &order, thursday()).await.unwrap(), carried);
        assert_eq!(windows.look(&ann(), thursday()).await.unwrap().used, now, "nothing was changed");
    }
    windows.set_used(&ann(), used(10_000, 10_000), thursday()).await.unwrap();
    let after_midnight = at("2026-03-27T00:00:00Z");
    let carried = windows.carry_out_reset(&ann(), &lock, &order, after_midnight).await.unwrap();
    assert_eq!(carried, Carried::Room, "the new day is fresh already");
}

#[tokio::test]
async fn old_reservations_are_found_and_are_due_again_later() {
    let services = Services::isolated().await;
    let windows = services.windows();
    let turn = TurnId::generate();
    reserve(&windows, turn, 10).await;
    let age = TimeDelta::seconds(20);
    let found = |now| windows.take_old_reservations(age, 10, now);
    assert_eq!(found(thursday() + TimeDelta::seconds(19)).await.unwrap(), []);
    let later = thursday() + TimeDelta::seconds(20);
    let old = found(later).await.unwrap();
    assert_eq!((old.len(), old[0].turn, &old[0].user), (1, turn, &ann()));
    assert_eq!(found(later).await.unwrap(), [], "looked at once by one process");
    assert_eq!(found(later + age).await.unwrap().len(), 1);
    windows.release(&ann(), turn).await.unwrap();
    assert_eq!(found(later + age + age).await.unwrap(), []);
}
