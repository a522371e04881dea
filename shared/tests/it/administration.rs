//! What admins do to any turn, and what is written down of it.

use copilot_shared::audit::{AuditAction, AuditRecord, AuditTarget};
use copilot_shared::id::{TurnId, UserId, WorkerId};
use copilot_shared::store::{CancelRequest, Requeue, Store};
use copilot_shared::testing::Services;
use copilot_shared::turn::{FinishReason, TurnEnd, TurnStatus};

use crate::setup::{claimed, ready, session, user, waiting};

async fn requeue(store: &Store, turn: TurnId) -> Requeue {
    let root = UserId::parse("root").unwrap();
    let record = AuditRecord::new(root, AuditAction::RequeueTurn, AuditTarget::Turn(turn));
    store.requeue(turn, &record).await.unwrap()
}

#[tokio::test]
async fn a_turn_that_nobody_took_is_due_again_at_once_however_often_it_was_published() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    services.sql("UPDATE outbox SET publishes = 9, due_at = now() + interval '1 hour'").await;
    assert!(matches!(requeue(&store, turn.id).await, Requeue::Due(due) if due == [turn.id]));
    let soon = "SELECT count(*) FROM outbox WHERE publishes = 0 AND due_at < now() + interval '3 seconds'";
    assert_eq!(services.count(soon).await, 1);
    services.sql("DELETE FROM outbox").await;
    assert!(matches!(requeue(&store, turn.id).await, Requeue::Due(_)));
    assert_eq!(services.count(soon).await, 1);
    assert_eq!(services.count("SELECT count(*) FROM audit_records WHERE action = 'requeue_turn'").await, 2);
}

#[tokio::test]
async fn a_turn_that_runs_waits_or_has_ended_is_left_alone_and_nothing_is_written_down() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let first = ready(&store, id, &ann, "one").await;
    let (second, _) = waiting(&store, id, &ann, "two").await;
    assert!(matches!(requeue(&store, second.id).await, Requeue::Waiting));
    let claim = claimed(&store, first.id, WorkerId::generate()).await;
    assert!(matches!(requeue(&store, first.id).await, Requeue::Running));
    store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap();
    assert!(matches!(requeue(&store, first.id).await, Requeue::Ended));
    assert!(matches!(requeue(&store, TurnId::generate()).await, Requeue::Missing));
    assert_eq!(services.count("SELECT count(*) FROM outbox").await, 1, "the second one's own");
    assert_eq!(services.count("SELECT count(*) FROM audit_records").await, 0);
}

#[tokio::test]
async fn a_lapsed_turn_and_one_that_waits_behind_nothing_are_stuck() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let lapsed = ready(&store, session(&store, &ann).await, &ann, "one").await;
    claimed(&store, lapsed.id, WorkerId::generate()).await;
    assert!(store.is_held(lapsed.id).await.unwrap());
    services.sql("UPDATE turns SET lease_until = now() - interval '1 second'").await;
    assert!(!store.is_held(lapsed.id).await.unwrap());
    assert!(matches!(requeue(&store, lapsed.id).await, Requeue::Due(due) if due == [lapsed.id]));

    let stuck = ready(&store, session(&store, &ann).await, &ann, "two").await;
    services.sql(&format!("UPDATE turns SET ready_at = NULL WHERE id = '{}'", stuck.id)).await;
    services.sql(&format!("DELETE FROM outbox WHERE turn_id = '{}'", stuck.id)).await;
    assert!(matches!(requeue(&store, stuck.id).await, Requeue::Due(due) if due.contains(&stuck.id)));
    assert_eq!(services.count("SELECT count(*) FROM turns WHERE ready_at IS NULL").await, 0);
}

#[tokio::test]
async fn one_turn_is_cancelled_and_no_other_of_its_session() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let first = ready(&store, id, &ann, "one").await;
    let (second, _) = waiting(&store, id, &ann, "two").await;
    let (third, _) = waiting(&store, id, &ann, "three").await;
    let status = async |turn| store.find_turn(id, turn).await.unwrap().unwrap();

    let CancelRequest::Dropped(dropped) = store.request_cancel_of(&second, "root").await.unwrap() else { panic!() };
    assert_eq!(dropped.turns.iter().map(|turn| turn.id).collect::<Vec<_>>(), [second.id]);
    assert_eq!(status(second.id).await.cancelled_by.as_deref(), Some("root"));
    let CancelRequest::Dropped(dropped) = store.request_cancel_of(&first, "root").await.unwrap() else { panic!() };
    assert_eq!((dropped.turns[0].id, dropped.next), (first.id, vec![third.id]));
    assert_eq!(status(third.id).await.status, TurnStatus::Queued);

    claimed(&store, third.id, WorkerId::generate()).await;
    let requested = store.request_cancel_of(&third, "root").await.unwrap();
    assert!(matches!(requested, CancelRequest::Requested(turn) if turn == third.id));
    assert!(matches!(store.request_cancel_of(&first, "root").await.unwrap(), CancelRequest::Idle));
}
