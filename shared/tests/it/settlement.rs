//! Usage reaches the counters once, and no reservation outlives its turn, whoever died in between.

use chrono::{TimeDelta, Utc};
use copilot_shared::chunk::{Chunk, Frame};
use copilot_shared::id::{PartId, TurnId, UserId, WorkerId};
use copilot_shared::seal::{end_without_worker, seal};
use copilot_shared::session::Caller;
use copilot_shared::settlement::{release_orphans, settle_overdue};
use copilot_shared::store::{Store, StoreSettings};
use copilot_shared::stream::Append;
use copilot_shared::testing::Services;
use copilot_shared::turn::{FinishReason, TurnEnd};
use copilot_shared::usage::limits::{TokenLimits, Used};
use copilot_shared::windows::{Reserved, Then, Windows};
use fred::interfaces::KeysInterface;

use crate::setup::{claimed, ready, session, step, text, user, waiting};

/// What [`step`] weighs.
const WEIGHT: i64 = 15;

fn ann() -> UserId {
    UserId::parse("ann").unwrap()
}

async fn used(windows: &Windows) -> Used {
    windows.look(&ann(), Utc::now()).await.unwrap().used
}

async fn reserve(windows: &Windows, turn: TurnId) {
    let limits = TokenLimits { daily: 1_000_000, weekly: 1_000_000 };
    windows.reserve(&ann(), turn, 100, limits, Utc::now()).await.unwrap();
}

async fn make_due(services: &Services) {
    services.sql("UPDATE unsettled_steps SET due_at = now()").await;
}

#[tokio::test]
async fn a_step_whose_worker_died_before_it_was_counted_is_counted_once() {
    let services = Services::isolated().await;
    let (store, windows, caller) = (services.store(), services.windows(), user("ann"));
    let id = session(&store, &caller).await;
    let turn = ready(&store, id, &caller, "hello").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let step = step(1, vec![text("x")]);
    store.commit_step(turn.id, claim.turn.attempt, &step).await.unwrap();
    assert_eq!(settle_overdue(&store, &windows, Utc::now()).await.unwrap(), 0, "the worker has some seconds");

    make_due(&services).await;
    let note = store.unsettled_of_turn(turn.id).await.unwrap().remove(0);
    // Counted, and then died before the note was gone.
    windows.settle(&ann(), &note.used, Then::GoesOn, Utc::now()).await.unwrap();
    assert_eq!(settle_overdue(&store, &windows, Utc::now()).await.unwrap(), 1);
    assert_eq!(used(&windows).await, Used { daily: WEIGHT, weekly: WEIGHT });
    assert_eq!(store.count_unsettled().await.unwrap(), 0);
    // A process that read the note before it was gone, and slept.
    windows.settle(&ann(), &note.used, Then::GoesOn, Utc::now()).await.unwrap();
    assert_eq!(used(&windows).await, Used { daily: WEIGHT, weekly: WEIGHT });
}

#[tokio::test]
async fn what_was_used_is_counted_though_its_session_is_deleted() {
    let services = Services::isolated().await;
    let (store, windows, caller) = (services.store(), services.windows(), user("ann"));
    let id = session(&store, &caller).await;
    let turn = ready(&store, id, &caller, "hello").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let end = TurnEnd::Completed(FinishReason::Stop);
    store.finish(&claim.turn, &end, Some(&step(1, vec![text("x")]))).await.unwrap();
    assert!(store.delete_session(id, &caller).await.unwrap());
    make_due(&services).await;
    settle_overdue(&store, &windows, Utc::now()).await.unwrap();
    assert_eq!(used(&windows).await.daily, WEIGHT);
}

#[tokio::test]
async fn an_anonymous_session_leaves_nothing_to_settle() {
    let services = Services::isolated().await;
    let store = services.store();
    let caller = Caller::Claim([7; 32]);
    let id = session(&store, &caller).await;
    let turn = ready(&store, id, &caller, "hello").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    store.commit_step(turn.id, claim.turn.attempt, &step(1, vec![text("x")])).await.unwrap();
    assert_eq!(store.count_unsettled().await.unwrap(), 0);
}

#[tokio::test]
async fn a_turn_that_ends_without_its_worker_is_charged_and_gives_its_reservation_back() {
    let services = Services::isolated().await;
    let (store, streams, windows, caller) = (services.store(), services.streams(), services.windows(), user("ann"));
    let id = session(&store, &caller).await;
    let turn = ready(&store, id, &caller, "hello").await;
    reserve(&windows, turn.id).await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let part = PartId::nth(1);
    let said = [
        Chunk::Start { message_id: turn.id },
        Chunk::StartStep,
        Chunk::TextStart { id: part.clone() },
        Chunk::TextDelta { id: part, delta: "twelve chars".into() },
    ];
    let frames: Vec<Frame> = said.into_iter().map(|chunk| Frame::Chunk(None, chunk)).collect();
    streams.append(&Append::of(turn.id, claim.turn.attempt, 0, &frames)).await.unwrap();
    end_without_worker(&store, &streams, &claim.turn, &TurnEnd::Cancelled).await.unwrap().unwrap();
    assert_eq!(used(&windows).await.daily, 3, "four characters a token");
    assert_eq!(windows.reserved(&ann()).await.unwrap(), []);
    assert_eq!(store.count_unsettled().await.unwrap(), 0);
}

#[tokio::test]
async fn a_dropped_turn_gives_its_reservation_back() {
    let services = Services::isolated().await;
    let (store, streams, windows, caller) = (services.store(), services.streams(), services.windows(), user("ann"));
    let id = session(&store, &caller).await;
    ready(&store, id, &caller, "one").await;
    let (second, _) = waiting(&store, id, &caller, "two").await;
    reserve(&windows, second.id).await;
    let dropped = store.drop_waiting(id, caller.user_id(), Some(second.id), "ann").await.unwrap();
    assert!(seal(&store, &streams, &dropped.turns[0]).await.unwrap());
    assert_eq!(windows.reserved(&ann()).await.unwrap(), []);
}

#[tokio::test]
async fn a_reservation_without_a_turn_in_flight_is_given_back_and_another_is_not() {
    let services = Services::isolated().await;
    let (store, windows, caller) = (services.store(), services.windows(), user("ann"));
    let id = session(&store, &caller).await;
    let running = ready(&store, id, &caller, "hello").await;
    // The API died between the reservation and the row.
    let never = TurnId::generate();
    reserve(&windows, running.id).await;
    reserve(&windows, never).await;
    assert_eq!(release_orphans(&store, &windows, Utc::now()).await.unwrap(), 0, "a submit takes its time");
    let later = Utc::now() + TimeDelta::minutes(1);
    assert_eq!(release_orphans(&store, &windows, later).await.unwrap(), 1);
    let left: Vec<TurnId> = windows.reserved(&ann()).await.unwrap().into_iter().map(|(turn, _)| turn).collect();
    assert_eq!(left, [running.id]);
}

#[tokio::test]
async fn nothing_is_reserved_that_is_not_in_the_index_of_all_reservations() {
    let services = Services::isolated().await;
    let (store, windows, redis) = (services.store(), services.windows(), services.redis().await);
    let limits = TokenLimits { daily: 1_000_000, weekly: 1_000_000 };
    let index = format!("{}usage:reservations", services.redis_prefix);
    let _: () = redis.set(&index, "no index", None, None, false).await.unwrap();
    let unnoted = windows.reserve(&ann(), TurnId::generate(), 100, limits, Utc::now()).await;
    assert!(unnoted.is_err(), "{unnoted:?}");
    assert_eq!(windows.reserved(&ann()).await.unwrap(), [], "nobody would ever find it");

    let _: i64 = redis.del(&index).await.unwrap();
    reserve(&windows, TurnId::generate()).await;
    let later = Utc::now() + TimeDelta::minutes(1);
    assert_eq!(release_orphans(&store, &windows, later).await.unwrap(), 1);
    assert_eq!(windows.reserved(&ann()).await.unwrap(), []);
}

#[tokio::test]
async fn a_reservation_that_cannot_be_given_back_now_is_given_back_later() {
    let services = Services::isolated().await;
    let (store, windows, redis) = (services.store(), services.windows(), services.redis().await);
    let turn = TurnId::generate();
    reserve(&windows, turn).await;
    let (reserved, away) = (format!("{}usage:reserved:ann", services.redis_prefix), TurnId::generate().to_string());
    let _: () = redis.rename(&reserved, &away).await.unwrap();
    let _: () = redis.set(&reserved, "no reservations", None, None, false).await.unwrap();
    let failed = windows.release(&ann(), turn).await;
    assert!(failed.is_err(), "{failed:?}");

    let _: i64 = redis.del(&reserved).await.unwrap();
    let _: () = redis.rename(&away, &reserved).await.unwrap();
    let later = Utc::now() + TimeDelta::minutes(1);
    assert_eq!(release_orphans(&store, &windows, later).await.unwrap(), 1, "its note was kept");
    assert_eq!(windows.reserved(&ann()).await.unwrap(), []);
}

#[tokio::test]
async fn what_the_index_has_lost_counts_against_nobody_for_ever() {
    let services = Services::isolated().await;
    let (windows, redis) = (services.windows(), services.redis().await);
    reserve(&windows, TurnId::generate()).await;
    let _: i64 = redis.del(format!("{}usage:reservations", services.redis_prefix)).await.unwrap();
    let limits = TokenLimits { daily: 100, weekly: 100 };
    let (turn, now) = (TurnId::generate(), Utc::now());
    let soon = windows.reserve(&ann(), turn, 1, limits, now + TimeDelta::days(7)).await.unwrap();
    assert!(matches!(soon, Reserved::Refused(_)), "its turn may still run");
    let late = windows.reserve(&ann(), turn, 1, limits, now + TimeDelta::days(9)).await.unwrap();
    assert_eq!(late, Reserved::Granted);
    assert_eq!(windows.reserved(&ann()).await.unwrap(), [(turn, 1)]);
}

#[tokio::test]
async fn counters_that_cannot_be_read_hold_nobody_else_up() {
    let services = Services::isolated().await;
    let (store, streams, windows) = (services.store(), services.streams(), services.windows());
    for name in ["ann", "bob"] {
        let caller = user(name);
        let id = session(&store, &caller).await;
        let turn = ready(&store, id, &caller, "hello").await;
        let claim = claimed(&store, turn.id, WorkerId::generate()).await;
        store.finish(&claim.turn, &TurnEnd::Cancelled, Some(&step(1, vec![text("x")]))).await.unwrap();
        if name == "ann" {
            let day = Utc::now().format("%Y-%m-%d");
            let key = format!("{}usage:daily:ann:{day}", services.redis_prefix);
            let _: () = services.redis().await.set(key, "broken", None, None, false).await.unwrap();
            let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
            assert!(seal(&store, &streams, &row).await.unwrap(), "its stream ends all the same");
        }
    }
    make_due(&services).await;
    assert_eq!(settle_overdue(&store, &windows, Utc::now()).await.unwrap(), 1);
    let bob = UserId::parse("bob").unwrap();
    assert_eq!(windows.look(&bob, Utc::now()).await.unwrap().used.daily, WEIGHT);
    assert_eq!(store.count_unsettled().await.unwrap(), 1, "the other waits for somebody to put it right");
}

#[tokio::test]
async fn processes_that_look_at_once_count_each_step_once() {
    let services = Services::isolated().await;
    let caller = user("ann");
    let store = services.store_with(StoreSettings { connections: 16, ..*services.store().settings() });
    let id = session(&store, &caller).await;
    for n in 0..20 {
        let turn = ready(&store, id, &caller, &format!("q{n}")).await;
        let claim = claimed(&store, turn.id, WorkerId::generate()).await;
        store.finish(&claim.turn, &TurnEnd::Cancelled, Some(&step(1, vec![text("x")]))).await.unwrap();
    }
    make_due(&services).await;
    let windows = services.windows();
    let look = |store: Store| {
        let windows = windows.clone();
        async move { settle_overdue(&store, &windows, Utc::now()).await.unwrap() }
    };
    let found = futures_util::future::join_all((0..8).map(|_| look(store.clone()))).await;
    assert_eq!(found.iter().sum::<u64>(), 20);
    assert_eq!(used(&windows).await.daily, 20 * WEIGHT);
}
