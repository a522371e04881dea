//! Messages that steer a running turn: taken up once, at a step boundary, or answered on their own.

use copilot_shared::id::{SessionId, TurnId, WorkerId};
use copilot_shared::message::{Role, text_of};
use copilot_shared::session::Caller;
use copilot_shared::store::{CancelRequest, Fenced, Idempotency, NewTurn, OnBusy, Store, Submitted};
use copilot_shared::testing::Services;
use copilot_shared::turn::{Attempt, FinishReason, TurnEnd, TurnStatus};

use crate::setup::{claimed, message, ready, session, step, text, user, waiting};

fn steering(says: &str) -> NewTurn {
    let idempotency = Some(Idempotency { key: says.to_owned(), body_hash: [7; 32] });
    NewTurn { on_busy: OnBusy::Steer, idempotency, ..message(says) }
}

async fn steer(store: &Store, session: SessionId, caller: &Caller, says: &str) -> TurnId {
    match store.submit(session, caller, &steering(says)).await.unwrap() {
        Submitted::Steering(turn) | Submitted::Repeated(turn) => turn.id,
        other => panic!("expected a turn to steer, got {other:?}"),
    }
}

#[tokio::test]
async fn a_steering_message_becomes_part_of_the_running_turn() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let (later, _) = waiting(&store, id, &ann, "later").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    assert!(!claim.is_steered);
    assert_eq!(steer(&store, id, &ann, "two").await, turn.id);
    assert_eq!(steer(&store, id, &ann, "three").await, turn.id);
    assert_eq!(steer(&store, id, &ann, "two").await, turn.id, "repeated while it waits");
    assert_eq!(store.list_queue(id).await.unwrap().len(), 3, "until then it waits, before the others");
    assert_eq!(store.position(later.id).await.unwrap(), 3);

    store.commit_step(turn.id, Attempt(1), &step(1, vec![text("said")])).await.unwrap();
    assert_eq!(store.take_steering(turn.id, Attempt(1)).await.unwrap().len(), 2);
    assert!(store.take_steering(turn.id, Attempt(1)).await.unwrap().is_empty(), "once");
    let history = store.history(id, 10).await.unwrap();
    let said: Vec<(Role, String)> = history.iter().map(|m| (m.role, text_of(&m.parts))).collect();
    let expected = [(Role::User, "one"), (Role::Assistant, "said"), (Role::User, "two"), (Role::User, "three")];
    assert_eq!(said, expected.map(|(role, text)| (role, text.to_owned())));
    assert_eq!(services.count("SELECT count(*) FROM turns").await, 2);
    assert_eq!(steer(&store, id, &ann, "two").await, turn.id, "repeated after it was taken up");

    let next = store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap().next;
    assert_eq!(next, [later.id]);
}

#[tokio::test]
async fn what_no_step_takes_up_is_the_next_turn() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    waiting(&store, id, &ann, "later").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    steer(&store, id, &ann, "two").await;
    let next = store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap().next;
    let own = store.find_turn(id, next[0]).await.unwrap().unwrap();
    assert_eq!(own.status, TurnStatus::Queued);
    let repeated = steer(&store, id, &ann, "two").await;
    assert_eq!(repeated, own.id, "the same key now means the turn that answers it");
    assert!(matches!(store.take_steering(turn.id, Attempt(1)).await, Err(Fenced::Fenced)));
    assert!(!claimed(&store, own.id, WorkerId::generate()).await.is_steered);
    assert!(store.take_steering(own.id, Attempt(1)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_turn_that_has_not_begun_is_steered_at_its_first_step() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    steer(&store, id, &ann, "two").await;
    assert!(claimed(&store, turn.id, WorkerId::generate()).await.is_steered);
    assert_eq!(store.take_steering(turn.id, Attempt(1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_idle_session_answers_a_steering_message_at_once() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    assert!(matches!(store.submit(id, &ann, &steering("one")).await.unwrap(), Submitted::Ready(_)));
}

#[tokio::test]
async fn an_older_attempt_takes_nothing_up() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let worker = WorkerId::generate();
    claimed(&store, turn.id, worker).await;
    steer(&store, id, &ann, "two").await;
    store.hand_back(turn.id, Attempt(1)).await.unwrap();
    assert!(claimed(&store, turn.id, WorkerId::generate()).await.is_steered, "the next one hears of it");
    assert!(matches!(store.take_steering(turn.id, Attempt(1)).await, Err(Fenced::Fenced)));
    assert_eq!(services.count("SELECT count(*) FROM turns").await, 2);
    assert_eq!(store.take_steering(turn.id, Attempt(2)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_cancel_stops_the_running_turn_and_the_steering_message_runs_next() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    steer(&store, id, &ann, "two").await;
    let request = store.request_cancel(id, ann.user_id(), "ann").await.unwrap();
    assert!(matches!(request, CancelRequest::Requested(stopped) if stopped == turn.id));
    assert_eq!(store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap().next.len(), 1);
}
