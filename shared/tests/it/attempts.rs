//! Claims, leases and fences.

use std::time::Duration;

use copilot_shared::id::{ToolCallId, WorkerId};
use copilot_shared::message::{Part, Role, ToolOutcome};
use copilot_shared::store::{Claim, Fenced, Renewal, StoreSettings};
use copilot_shared::testing::{Services, eventually};
use copilot_shared::tool::ToolCallStatus;
use copilot_shared::turn::{Attempt, ErrorCode, Failure, FinishReason, TurnEnd, TurnStatus};
use futures_util::future::join_all;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};

use crate::setup::{claimed, ready, session, step, text, user, waiting};

#[tokio::test]
async fn one_of_many_workers_claims_a_turn() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let claims = join_all((0..8).map(|_| store.claim(turn.id, WorkerId::generate(), false))).await;
    let won = claims.iter().filter(|claim| matches!(claim, Ok(Claim::Claimed(_)))).count();
    assert_eq!(won, 1);
    assert!(claims.iter().all(|claim| matches!(claim, Ok(Claim::Claimed(_) | Claim::Held(_)))));
    assert_eq!(services.count("SELECT count(*) FROM outbox").await, 0, "a claimed turn leaves the outbox");
}

#[tokio::test]
async fn a_waiting_turn_cannot_be_claimed() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    ready(&store, id, &ann, "one").await;
    let (second, _) = waiting(&store, id, &ann, "two").await;
    assert!(matches!(store.claim(second.id, WorkerId::generate(), true).await.unwrap(), Claim::NotReady));
}

#[tokio::test]
async fn a_live_lease_keeps_a_turn_and_a_lapsed_one_frees_it() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let (old, new) = (WorkerId::generate(), WorkerId::generate());
    let first = claimed(&store, turn.id, old).await;
    assert!(matches!(store.claim(turn.id, new, false).await.unwrap(), Claim::Held(holder) if holder == old));

    services.sql("UPDATE turns SET lease_until = now() - interval '1 second'").await;
    assert_eq!(store.enqueue_lapsed().await.unwrap(), Some(1));
    let second = claimed(&store, turn.id, new).await;
    assert_eq!((second.turn.attempt, second.losses), (Attempt(2), 1));

    let stale = [(turn.id, first.turn.attempt, 9)];
    assert!(store.renew(old, &stale).await.unwrap().is_empty(), "the old worker learns that it lost the turn");
    let held = [(turn.id, second.turn.attempt, 9)];
    assert_eq!(store.renew(new, &held).await.unwrap(), [(turn.id, Renewal::Kept)]);
    store.renew(new, &[(turn.id, second.turn.attempt, 4)]).await.unwrap();
    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    assert_eq!(row.chunk_sequence, 9, "the row knows how far the stream was, and forgets none of it");
}

#[tokio::test]
async fn a_redelivered_turn_is_claimed_at_once_when_its_worker_is_gone_and_only_then() {
    let services = Services::isolated().await;
    // A lease that does not lapse meanwhile: only the lock can tell.
    let lease = Duration::from_mins(1);
    let store = services.store_with(StoreSettings { lease, max_running: 0, max_in_flight: 0, connections: 4 });
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let (old, new) = (WorkerId::generate(), WorkerId::generate());
    let lock = store.lock_worker(old).await.unwrap();
    claimed(&store, turn.id, old).await;
    assert!(matches!(store.claim(turn.id, new, true).await.unwrap(), Claim::Held(_)), "the worker lives");
    drop(lock);
    eventually("the dead worker's turn is claimed", Duration::from_secs(10), || async {
        matches!(store.claim(turn.id, new, true).await.unwrap(), Claim::Claimed(_)).then_some(())
    })
    .await;
}

fn call(id: &str) -> Part {
    Part::ToolCall { id: ToolCallId(id.into()), name: "t".into(), input: json!({"a": 1}) }
}

#[tokio::test]
async fn a_fenced_attempt_writes_nothing() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let old = claimed(&store, turn.id, WorkerId::generate()).await;
    store.commit_step(turn.id, old.turn.attempt, &step(1, vec![text("x"), call("c1")])).await.unwrap();
    services.sql("UPDATE turns SET lease_until = now() - interval '1 second'").await;
    claimed(&store, turn.id, WorkerId::generate()).await;

    let attempt = old.turn.attempt;
    let calls = store.calls_of_step(turn.id, 1).await.unwrap();
    let before = services.count("SELECT count(*) FROM messages").await;
    let fenced = |result: Result<(), Fenced>| assert!(matches!(result, Err(Fenced::Fenced)));
    fenced(store.commit_step(turn.id, attempt, &step(2, vec![text("y")])).await);
    fenced(store.start_calls(turn.id, attempt, &[calls[0].id.clone()]).await);
    fenced(store.finish_call(turn.id, attempt, &calls[0], &ToolOutcome::Output(json!(1))).await);
    fenced(store.hand_back(turn.id, attempt).await);
    fenced(store.finish(&old.turn, &TurnEnd::Cancelled, Some(&step(2, vec![text("y")]))).await.map(|_| ()));
    assert!(!store.holds(turn.id, attempt).await.unwrap());
    assert_eq!(services.count("SELECT count(*) FROM messages").await, before);
    assert_eq!(services.count("SELECT count(*) FROM turn_steps").await, 1);
    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.attempt, row.usage.prompt), (TurnStatus::Running, Attempt(2), 10));
}

#[tokio::test]
async fn a_step_with_calls_is_committed_and_its_ledger_followed_to_the_end() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let attempt = claim.turn.attempt;
    store.commit_step(turn.id, attempt, &step(1, vec![text("let me see"), call("c1"), call("c2")])).await.unwrap();

    let calls = store.calls_of_step(turn.id, 1).await.unwrap();
    assert_eq!(calls.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["c1", "c2"]);
    store.start_calls(turn.id, attempt, &[calls[0].id.clone()]).await.unwrap();
    let noted = "SELECT (extract(epoch FROM max(started_at)) * 1000000)::bigint FROM tool_calls";
    let first = services.count(noted).await;
    store.start_calls(turn.id, attempt, &[calls[0].id.clone()]).await.unwrap();
    assert_eq!(services.count(noted).await, first, "an attempt notes a start once, also if it had to ask again");
    store.finish_call(turn.id, attempt, &calls[0], &ToolOutcome::Output(json!(42))).await.unwrap();
    assert!(store.has_finished_call(turn.id, attempt, &calls[0].id).await.unwrap());
    let again = store.finish_call(turn.id, attempt, &calls[0], &ToolOutcome::Output(json!(43))).await;
    assert!(matches!(again, Err(Fenced::Fenced)), "an outcome is recorded once");
    let statuses: Vec<_> = store.calls_of_step(turn.id, 1).await.unwrap().into_iter().map(|c| c.status).collect();
    assert_eq!(statuses, [ToolCallStatus::Finished, ToolCallStatus::Requested]);

    store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap();
    let history = store.turn_messages(turn.id).await.unwrap();
    assert_eq!(
        history.iter().map(|m| m.role).collect::<Vec<_>>(),
        [Role::User, Role::Assistant, Role::Tool, Role::Tool]
    );
    assert!(
        matches!(&history[3].parts[0], Part::ToolResult { outcome: ToolOutcome::Error(why), .. } if why.contains("Stopped")),
        "no call of an ended turn is left open"
    );
    assert_eq!(store.history(id, 2).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_end_is_written_once_with_usage_and_duration() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let failure = Failure::new(ErrorCode::ProviderError, "The provider is down.");
    store.finish(&claim.turn, &TurnEnd::Failed(failure.clone()), Some(&step(1, vec![text("par")]))).await.unwrap();
    let again = store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await;
    assert!(matches!(again, Err(Fenced::Fenced)));

    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    assert_eq!(TurnEnd::of(&row), Some(TurnEnd::Failed(failure)));
    assert_eq!(row.usage.total(), 15);
    let owned = store.find_session(id, &ann).await.unwrap().unwrap();
    assert_eq!((owned.total_prompt_tokens, owned.total_completion_tokens), (10, 5));
    let page = store.message_page(id, None, 10).await.unwrap();
    assert!(page.messages[0].turn_end.is_none());
    assert!(matches!(page.messages[1].turn_end, Some((TurnStatus::Failed, Some(_)))));
    assert!(matches!(store.claim(turn.id, WorkerId::generate(), true).await.unwrap(), Claim::Ended(_)));
    assert_eq!(store.list_turns(id, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_handed_back_turn_is_free_and_due_and_counts_no_loss() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "hello").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    store.hand_back(turn.id, claim.turn.attempt).await.unwrap();
    assert_eq!(services.count("SELECT count(*) FROM outbox").await, 1);
    let next = claimed(&store, turn.id, WorkerId::generate()).await;
    assert_eq!((next.turn.attempt, next.losses), (Attempt(2), 0));
    store.give_up(turn.id, next.turn.attempt).await.unwrap();
    let third = claimed(&store, turn.id, WorkerId::generate()).await;
    assert_eq!(third.losses, 1);
}

#[tokio::test]
async fn messages_are_paged_backwards() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    for n in 0..3 {
        let turn = ready(&store, id, &ann, &format!("q{n}")).await;
        let claim = claimed(&store, turn.id, WorkerId::generate()).await;
        let end = TurnEnd::Completed(FinishReason::Stop);
        store.finish(&claim.turn, &end, Some(&step(1, vec![text(&format!("a{n}"))]))).await.unwrap();
    }
    let page = store.message_page(id, None, 4).await.unwrap();
    assert!(page.has_more);
    assert_eq!(page.messages.iter().map(|m| m.sequence).collect::<Vec<_>>(), [3, 4, 5, 6]);
    let older = store.message_page(id, Some(3), 4).await.unwrap();
    assert!(!older.has_more);
    assert_eq!(older.messages.iter().map(|m| m.sequence).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_turn_that_a_transaction_holds_holds_up_no_other_lease() {
    let services = Services::isolated().await;
    let store = services.store();
    let (ann, worker) = (user("ann"), WorkerId::generate());
    let mut held = Vec::new();
    for _ in 0..2 {
        let id = session(&store, &ann).await;
        let turn = ready(&store, id, &ann, "hello").await;
        let claim = claimed(&store, turn.id, worker).await;
        held.push((turn.id, claim.turn.attempt, 3));
    }
    let mut holder = PgConnection::connect(&services.database_url).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    sqlx::query("SELECT 1 FROM turns WHERE id = $1 FOR SHARE").bind(held[0].0).execute(&mut holder).await.unwrap();
    let renewing = tokio::time::timeout(Duration::from_secs(5), store.renew(worker, &held));
    let renewed = renewing.await.expect("nobody waits").unwrap();
    let told = |turn| renewed.iter().find(|(id, _)| *id == turn).map(|(_, renewal)| *renewal);
    assert_eq!((told(held[0].0), told(held[1].0)), (Some(Renewal::PassedOver), Some(Renewal::Kept)));
    assert_eq!(services.count("SELECT count(*) FROM turns WHERE chunk_sequence = 3").await, 1);
    holder.execute("ROLLBACK").await.unwrap();
    store.renew(worker, &held).await.unwrap();
    assert_eq!(services.count("SELECT count(*) FROM turns WHERE chunk_sequence = 3").await, 2);
}
