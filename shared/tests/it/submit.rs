//! Accepting turns: one runs, the rest wait in order, and nothing is accepted twice.

use copilot_shared::id::{MessageId, TurnId, WorkerId};
use copilot_shared::session::Caller;
use copilot_shared::store::{Idempotency, NewTurn, OnBusy, StoreSettings, SubmitError, Submitted};
use copilot_shared::testing::Services;
use copilot_shared::turn::{FinishReason, TurnEnd, TurnStatus};
use futures_util::future::join_all;
use sqlx::{Connection, Executor, PgConnection};
use std::time::Duration;

use crate::setup::{claimed, message, ready, session, step, submit, text, user, waiting};

fn capped(max_running: i64, max_in_flight: i64) -> StoreSettings {
    StoreSettings { lease: Duration::from_secs(2), max_running, max_in_flight, connections: 16 }
}

#[tokio::test]
async fn a_submit_saves_message_turn_and_outbox_entry_together() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;

    assert_eq!(turn.status, TurnStatus::Queued);
    let page = store.message_page(id, None, 10).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    assert_eq!((page.messages[0].sequence, &page.messages[0].parts[..]), (1, &[text("hello")][..]));
    assert_eq!(services.count("SELECT count(*) FROM outbox").await, 1);
    assert_eq!(store.active_turn(id).await.unwrap().unwrap().id, turn.id);
}

#[tokio::test]
async fn a_foreign_session_takes_no_message() {
    let services = Services::isolated().await;
    let store = services.store();
    let id = session(&store, &user("ann")).await;
    let refused = store.submit(id, &user("bob"), &message("hello")).await.unwrap_err();
    assert!(matches!(refused, SubmitError::NotFound));
    assert_eq!(services.count("SELECT count(*) FROM messages").await, 0);
}

#[tokio::test]
async fn turns_of_a_session_run_one_after_another_in_order() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let worker = WorkerId::generate();
    let first = ready(&store, id, &ann, "one").await;
    let (second, place) = waiting(&store, id, &ann, "two").await;
    assert_eq!(place, 1);
    let (third, place) = waiting(&store, id, &ann, "three").await;
    assert_eq!(place, 2);
    assert_eq!(store.position(second.id).await.unwrap(), 1);
    assert_eq!(store.position(third.id).await.unwrap(), 2);
    assert_eq!(store.position(first.id).await.unwrap(), 0);
    let queue = store.list_queue(id).await.unwrap();
    assert_eq!(queue.iter().map(|q| (q.position, q.message.as_str())).collect::<Vec<_>>(), [(1, "two"), (2, "three")]);

    assert!(store.edit_queued(id, second.id, "two, better").await.unwrap());
    assert!(!store.edit_queued(id, first.id, "no longer waits").await.unwrap());

    let one = claimed(&store, first.id, worker).await;
    let end = TurnEnd::Completed(FinishReason::Stop);
    let next = store.finish(&one.turn, &end, Some(&step(1, vec![text("1")]))).await.unwrap().next;
    assert_eq!(next, [second.id]);
    let two = claimed(&store, second.id, worker).await;
    assert_eq!(store.finish(&two.turn, &end, Some(&step(1, vec![text("2")]))).await.unwrap().next, [third.id]);

    let said: Vec<String> = store
        .message_page(id, None, 10)
        .await
        .unwrap()
        .messages
        .iter()
        .map(|m| copilot_shared::message::text_of(&m.parts))
        .collect();
    assert_eq!(said, ["one", "1", "two, better", "2", "three"], "answers stand behind their questions");
}

#[tokio::test]
async fn concurrent_submits_leave_one_turn_ready_and_the_rest_in_line() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let submits = (0..12).map(|n| {
        let (store, ann) = (store.clone(), ann.clone());
        async move { submit(&store, id, &ann, &format!("message {n}")).await }
    });
    let accepted = join_all(submits).await;
    let ready = accepted.iter().filter(|one| matches!(one, Submitted::Ready(_))).count();
    let mut places: Vec<i64> = accepted
        .iter()
        .filter_map(|one| match one {
            Submitted::Waiting(_, place) => Some(*place),
            Submitted::Ready(_) | Submitted::Steering(_) | Submitted::Repeated(_) => None,
        })
        .collect();
    places.sort_unstable();
    assert_eq!(ready, 1);
    assert_eq!(places, (1..=11).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_session_without_an_owner_has_a_bounded_number_of_turns_in_flight() {
    let services = Services::isolated().await;
    let store = services.store_with(capped(2, 4));
    let nobody = Caller::Claim([7; 32]);
    let id = session(&store, &nobody).await;
    for _ in 0..4 {
        submit(&store, id, &nobody, "hello").await;
    }
    let fifth = store.submit(id, &nobody, &message("hello")).await;
    assert!(matches!(fifth, Err(SubmitError::TooManyTurns(4))), "{fifth:?}");
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_turns_in_flight() {
    let services = Services::isolated().await;
    let store = services.store_with(capped(2, 4));
    let ann = user("ann");
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(session(&store, &ann).await);
    }
    let submits = sessions.iter().map(|&id| {
        let (store, ann) = (store.clone(), ann.clone());
        async move { store.submit(id, &ann, &message("hello")).await }
    });
    let results = join_all(submits).await;
    let ready = results.iter().filter(|r| matches!(r, Ok(Submitted::Ready(_)))).count();
    let waiting = results.iter().filter(|r| matches!(r, Ok(Submitted::Waiting(..)))).count();
    let refused = results.iter().filter(|r| matches!(r, Err(SubmitError::TooManyTurns(4)))).count();
    assert_eq!((ready, waiting, refused), (2, 2, 2));

    let running = results.into_iter().find_map(|r| match r {
        Ok(Submitted::Ready(turn)) => Some(turn),
        _ => None,
    });
    let one = claimed(&store, running.unwrap().id, WorkerId::generate()).await;
    let next = store.finish(&one.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap().next;
    assert_eq!(next.len(), 1, "a turn of another session takes the free place");
}

#[tokio::test]
async fn reject_refuses_while_a_turn_is_in_flight_and_interrupt_goes_first() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let first = ready(&store, id, &ann, "one").await;
    waiting(&store, id, &ann, "two").await;

    let reject = NewTurn { on_busy: OnBusy::Reject, ..message("no") };
    assert!(matches!(store.submit(id, &ann, &reject).await.unwrap_err(), SubmitError::Busy(turn) if turn == first.id));

    let interrupt = NewTurn { on_busy: OnBusy::Interrupt, ..message("now") };
    let Submitted::Waiting(urgent, _) = store.submit(id, &ann, &interrupt).await.unwrap() else { panic!("must wait") };
    assert_eq!(store.position(urgent.id).await.unwrap(), 1);
    let one = claimed(&store, first.id, WorkerId::generate()).await;
    assert_eq!(store.finish(&one.turn, &TurnEnd::Cancelled, None).await.unwrap().next, [urgent.id]);
}

fn keyed(key: &str, body: u8) -> NewTurn {
    let idempotency = Some(Idempotency { key: key.to_owned(), body_hash: [body; 32] });
    NewTurn { idempotency, ..message("hello") }
}

#[tokio::test]
async fn the_same_key_and_body_attach_to_the_same_turn() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let submits = (0..20).map(|_| {
        let (store, ann) = (store.clone(), ann.clone());
        async move { store.submit(id, &ann, &keyed("k", 1)).await.unwrap() }
    });
    let turns: std::collections::HashSet<TurnId> = join_all(submits)
        .await
        .into_iter()
        .map(|one| match one {
            Submitted::Ready(turn)
            | Submitted::Steering(turn)
            | Submitted::Repeated(turn)
            | Submitted::Waiting(turn, _) => turn.id,
        })
        .collect();
    assert_eq!(turns.len(), 1);
    assert_eq!(services.count("SELECT count(*) FROM messages").await, 1);

    assert!(matches!(store.submit(id, &ann, &keyed("k", 2)).await.unwrap_err(), SubmitError::KeyConflict));
    // Keys belong to the user.
    let bob = user("bob");
    let his = session(&store, &bob).await;
    assert!(matches!(store.submit(his, &bob, &keyed("k", 2)).await.unwrap(), Submitted::Ready(_)));

    services.sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'").await;
    assert!(matches!(store.submit(id, &ann, &keyed("k", 2)).await.unwrap(), Submitted::Waiting(..)));
}

#[tokio::test]
async fn a_message_id_is_used_once() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let message_id = MessageId::generate();
    store.submit(id, &ann, &NewTurn { message_id, ..message("a") }).await.unwrap();
    let again = store.submit(id, &ann, &NewTurn { message_id, ..message("b") }).await.unwrap_err();
    assert!(matches!(again, SubmitError::MessageIdTaken));
}

/// The second line: whoever decides what runs next holds the session's row, so that none gets here.
#[tokio::test]
async fn the_database_itself_refuses_a_second_turn_of_a_session_that_may_run() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    ready(&store, id, &ann, "one").await;
    waiting(&store, id, &ann, "two").await;
    let mut connection = PgConnection::connect(&services.database_url).await.unwrap();
    let second = connection.execute("UPDATE turns SET ready_at = now() WHERE ready_at IS NULL").await.unwrap_err();
    let broken = second.as_database_error().and_then(sqlx::error::DatabaseError::constraint);
    assert_eq!(broken, Some("turns_one_at_a_time"), "{second}");
}
