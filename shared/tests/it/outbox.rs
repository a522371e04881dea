//! The outbox and the reconciler: what a death left behind is found.

use std::time::Duration;

use copilot_shared::id::WorkerId;
use copilot_shared::reconciler::Reconciler;
use copilot_shared::store::{Renewal, StepCommit};
use copilot_shared::testing::Services;
use copilot_shared::turn::{Attempt, FinishReason, TurnEnd, TurnStatus};
use copilot_shared::usage::TokenUsage;

use crate::setup::{claimed, ready, session, user, waiting};

fn reconciler(services: &Services) -> Reconciler {
    Reconciler {
        store: services.store(),
        streams: services.streams(),
        publisher: services.publisher(),
        longest_wait: Some(Duration::from_mins(1)),
    }
}

#[tokio::test]
async fn an_entry_is_taken_once_and_put_off() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    assert!(store.take_due(10).await.unwrap().is_empty(), "whoever saved it has a moment to publish it");
    store.note_unpublished(&[turn.id]).await.unwrap();
    services.sql("UPDATE outbox SET due_at = now()").await;
    assert_eq!(store.take_due(10).await.unwrap(), [turn.id]);
    assert!(store.take_due(10).await.unwrap().is_empty());
    store.note_published(&[turn.id]).await.unwrap();
    assert_eq!(services.count("SELECT publishes::bigint FROM outbox").await, 2);
}

#[tokio::test]
async fn a_turn_that_had_lapsed_leaves_no_entry_when_it_is_kept_or_ends() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let worker = WorkerId::generate();
    let claim = claimed(&store, turn.id, worker).await;
    let entries = async || services.count("SELECT count(*) FROM outbox").await;
    let lapse = async || {
        services.sql("UPDATE turns SET lease_until = now() - interval '1 minute'").await;
        assert_eq!(store.enqueue_lapsed().await.unwrap(), Some(1));
    };
    lapse().await;
    assert_eq!(store.renew(worker, &[(turn.id, claim.turn.attempt, 3)]).await.unwrap(), [(turn.id, Renewal::Kept)]);
    assert_eq!(entries().await, 0, "it is kept");

    lapse().await;
    let last = StepCommit {
        step: 1,
        parts: Vec::new(),
        usage: TokenUsage::default(),
        used_at: chrono::Utc::now(),
        chunk_sequence: 1,
    };
    store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), Some(&last)).await.unwrap();
    assert_eq!(entries().await, 0, "it has ended");

    services.sql("INSERT INTO outbox (turn_id, due_at) SELECT id, now() FROM turns").await;
    assert!(store.take_due(10).await.unwrap().is_empty(), "it was found lapsed while it ended");
    assert_eq!(entries().await, 0);
}

#[tokio::test]
async fn a_lapsed_turn_is_published_again_at_once_since_its_message_may_reach_the_worker_that_hangs() {
    let services = Services::isolated().await;
    let store = services.store_with(copilot_shared::store::StoreSettings {
        lease: Duration::from_mins(1),
        max_running: 0,
        max_in_flight: 0,
        connections: 2,
    });
    let ann = user("ann");
    let (hangs, waits) = (session(&store, &ann).await, session(&store, &ann).await);
    let lapsed = ready(&store, hangs, &ann, "hello").await;
    claimed(&store, lapsed.id, WorkerId::generate()).await;
    ready(&store, waits, &ann, "hello").await;
    services.sql("UPDATE turns SET lease_until = now() - interval '1 minute' WHERE status = 'running'").await;
    store.enqueue_lapsed().await.unwrap();
    services.sql("UPDATE outbox SET due_at = now()").await;
    assert_eq!(store.take_due(10).await.unwrap().len(), 2);
    let soon = "SELECT count(*) FROM outbox o JOIN turns t ON t.id = o.turn_id \
         WHERE due_at < now() + interval '2 seconds' AND t.status = 'running'";
    assert_eq!(services.count(soon).await, 1);
    assert_eq!(services.count("SELECT count(*) FROM outbox WHERE due_at > now() + interval '50 seconds'").await, 1);
}

#[tokio::test]
async fn a_failed_publication_does_not_put_off_the_next_one() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    for _ in 0..10 {
        services.sql("UPDATE outbox SET due_at = now()").await;
        assert_eq!(store.take_due(10).await.unwrap(), [turn.id]);
        store.note_unpublished(&[turn.id]).await.unwrap();
    }
    services.sql("UPDATE outbox SET due_at = now()").await;
    assert_eq!(store.take_due(10).await.unwrap(), [turn.id]);
    let late = "SELECT count(*) FROM outbox WHERE due_at > now() + interval '5 seconds'";
    assert_eq!(services.count(late).await, 0, "a lease of two seconds later at most");
}

#[tokio::test]
async fn what_is_forgotten_lapsed_or_stuck_is_found() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    services.sql("DELETE FROM outbox").await;
    services.sql("UPDATE turns SET ready_at = now() - interval '1 minute'").await;
    assert_eq!(store.enqueue_forgotten().await.unwrap(), 1);

    let (second, _) = waiting(&store, id, &ann, "two").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap();
    // As if nobody had been told that the second may run.
    services.sql("DELETE FROM outbox").await;
    services
        .sql("UPDATE messages SET sequence = NULL WHERE turn_id IN (SELECT id FROM turns WHERE status = 'queued')")
        .await;
    services
        .sql("UPDATE turns SET ready_at = NULL, created_at = now() - interval '1 minute' WHERE status = 'queued'")
        .await;
    assert_eq!(store.promote_stuck().await.unwrap(), [second.id]);
}

#[tokio::test]
async fn an_overdue_turn_fails_with_a_code_and_the_next_one_runs() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let (second, _) = waiting(&store, id, &ann, "two").await;
    services.sql("UPDATE turns SET ready_at = now() - interval '2 minutes' WHERE ready_at IS NOT NULL").await;
    reconciler(&services).look(true).await.unwrap();
    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.error_code.as_deref()), (TurnStatus::Failed, Some("queue_timeout")));
    assert_eq!(store.position(second.id).await.unwrap(), 0, "it no longer waits");
}

#[tokio::test]
async fn a_stop_that_nobody_carried_out_is_carried_out() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    claimed(&store, turn.id, WorkerId::generate()).await;
    store.request_cancel(id, ann.user_id(), "ann").await.unwrap();
    services.sql("UPDATE turns SET cancel_requested_at = now() - interval '1 minute'").await;
    reconciler(&services).look(true).await.unwrap();
    assert_eq!(store.find_turn(id, turn.id).await.unwrap().unwrap().status, TurnStatus::Cancelled);
    assert!(streams.meta(turn.id).await.unwrap().unwrap().closed);
}

#[tokio::test]
async fn a_stream_without_its_last_chunk_is_sealed() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap();
    services.sql("UPDATE turns SET finished_at = now() - interval '1 minute'").await;
    reconciler(&services).look(true).await.unwrap();
    assert!(streams.meta(turn.id).await.unwrap().unwrap().closed);
    assert_eq!(services.count("SELECT count(*) FROM turns WHERE NOT sealed").await, 0);
}

#[tokio::test]
async fn a_stream_is_sealed_although_its_worker_was_fenced_off_too_late() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    // Somebody begins to end it without its worker, and the worker ends it first.
    streams.raise(turn.id, Attempt(claim.turn.attempt.0 + 1), 0).await.unwrap();
    store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap();
    services.sql("UPDATE turns SET finished_at = now() - interval '1 minute'").await;
    reconciler(&services).look(true).await.unwrap();
    assert!(streams.meta(turn.id).await.unwrap().unwrap().closed);
    assert_eq!(services.count("SELECT count(*) FROM turns WHERE NOT sealed").await, 0);
}
