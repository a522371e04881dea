//! Stopping: with a worker, without one, and before there is one.

use std::time::Duration;

use copilot_shared::chunk::{Chunk, Frame, parse_frames};
use copilot_shared::fold::Fold;
use copilot_shared::id::{PartId, ToolCallId, WorkerId};
use copilot_shared::message::{Part, Role, ToolOutcome};
use copilot_shared::seal::{end_without_worker, seal};
use copilot_shared::store::{CancelRequest, Fenced, NewTurn, OnBusy, Renewal, StepCommit, Submitted};
use copilot_shared::stream::{Append, Appended};
use copilot_shared::testing::Services;
use copilot_shared::turn::{Attempt, ErrorCode, Failure, FinishReason, TurnEnd, TurnStatus};
use serde_json::json;

use crate::setup::{claimed, message, ready, session, step, text, user, waiting};

#[tokio::test]
async fn nothing_in_flight_is_nothing_to_cancel() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    assert!(matches!(store.request_cancel(id, ann.user_id(), "ann").await.unwrap(), CancelRequest::Idle));
}

#[tokio::test]
async fn with_none_running_all_that_waits_is_dropped_with_its_messages() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let first = ready(&store, id, &ann, "one").await;
    waiting(&store, id, &ann, "two").await;
    let CancelRequest::Dropped(dropped) = store.request_cancel(id, ann.user_id(), "ann").await.unwrap() else {
        panic!("nothing ran")
    };
    assert_eq!(dropped.turns.len(), 2);
    assert_eq!(dropped.turns[0].id, first.id);
    assert!(dropped.turns.iter().all(|turn| turn.status == TurnStatus::Cancelled));
    assert_eq!(services.count("SELECT count(*) FROM messages").await, 0);
    assert_eq!(services.count("SELECT count(*) FROM outbox").await, 0);
}

#[tokio::test]
async fn with_one_running_only_that_one_is_asked_to_stop() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let first = ready(&store, id, &ann, "one").await;
    let (second, _) = waiting(&store, id, &ann, "two").await;
    let worker = WorkerId::generate();
    let claim = claimed(&store, first.id, worker).await;
    let request = store.request_cancel(id, ann.user_id(), "ann").await.unwrap();
    assert!(matches!(request, CancelRequest::Requested(turn) if turn == first.id));
    // The renewal is the slow path of the cancel.
    assert_eq!(store.renew(worker, &[(first.id, claim.turn.attempt, 3)]).await.unwrap(), [(first.id, Renewal::ToStop)]);
    assert_eq!(store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap().next, [second.id]);
    let row = store.find_turn(id, first.id).await.unwrap().unwrap();
    assert_eq!(row.cancelled_by.as_deref(), Some("ann"));
}

#[tokio::test]
async fn one_waiting_message_is_dropped_and_the_others_move_up() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let first = ready(&store, id, &ann, "one").await;
    let (second, _) = waiting(&store, id, &ann, "two").await;
    let (third, _) = waiting(&store, id, &ann, "three").await;
    let dropped = store.drop_waiting(id, ann.user_id(), Some(second.id), "ann").await.unwrap();
    assert_eq!(dropped.turns.len(), 1);
    assert_eq!(store.position(third.id).await.unwrap(), 1);
    let gone = store.drop_waiting(id, ann.user_id(), Some(first.id), "ann").await.unwrap();
    assert!(gone.turns.is_empty(), "a ready turn no longer waits");
}

#[tokio::test]
async fn a_turn_is_ended_without_its_worker_and_keeps_what_was_said() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let (second, _) = waiting(&store, id, &ann, "two").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let part = PartId::nth(1);
    let said = [
        Chunk::Start { message_id: turn.id },
        Chunk::StartStep,
        Chunk::TextStart { id: part.clone() },
        Chunk::TextDelta { id: part.clone(), delta: "half an ans".into() },
    ];
    let frames: Vec<Frame> = said.into_iter().map(|chunk| Frame::Chunk(None, chunk)).collect();
    let append = Append::of(turn.id, claim.turn.attempt, 0, &frames);
    assert_eq!(streams.append(&append).await.unwrap(), Appended::Stored);

    let next = end_without_worker(&store, &streams, &claim.turn, &TurnEnd::Cancelled).await.unwrap();
    assert_eq!(next, Some(vec![second.id]));

    let late = Append::of(turn.id, claim.turn.attempt, 4, &[Frame::Chunk(None, Chunk::FinishStep)]);
    assert_eq!(streams.append(&late).await.unwrap(), Appended::Fenced, "the old worker is fenced off");
    let old = store.commit_step(turn.id, claim.turn.attempt, &step(1, vec![text("x")])).await;
    assert!(matches!(old, Err(Fenced::Fenced)));

    let history = store.turn_messages(turn.id).await.unwrap();
    assert_eq!(history[1].role, Role::Assistant);
    assert_eq!(history[1].parts, [Part::Text { id: Some(part), text: "half an ans".into() }]);
    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.attempt), (TurnStatus::Cancelled, Attempt(2)));
    assert!(row.usage.estimated && row.usage.completion > 0);
    let fold = streams.read_fold(turn.id).await.unwrap().unwrap();
    assert!(fold.has_ended());
    let again = end_without_worker(&store, &streams, &claim.turn, &TurnEnd::Cancelled).await.unwrap();
    assert_eq!(again, None, "it ends once");
}

#[tokio::test]
async fn a_turn_that_never_began_gets_a_whole_stream() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let failure = TurnEnd::Failed(Failure::new(ErrorCode::QueueTimeout, "Nobody came."));
    end_without_worker(&store, &streams, &turn, &failure).await.unwrap();
    let stored = streams.read_after(turn.id, 0).await.unwrap();
    let frames: Vec<Frame> = stored.batches.iter().flat_map(|batch| parse_frames(&batch.frames).unwrap()).collect();
    assert!(matches!(frames.first(), Some(Frame::Chunk(Some(1), Chunk::Start { .. }))));
    assert!(
        matches!(&frames[2], Frame::Chunk(_, Chunk::Error { error_text }) if error_text.starts_with("[code:queue_timeout] "))
    );
    assert!(matches!(frames.last(), Some(Frame::Chunk(_, Chunk::Finish { .. }))));
    assert!(store.unsealed_turns(Duration::ZERO).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lost_stream_of_an_ended_turn_is_rebuilt_from_the_history() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let part = Part::Text { id: Some(PartId::nth(1)), text: "the answer".into() };
    let end = TurnEnd::Completed(copilot_shared::turn::FinishReason::Stop);
    store.finish(&claim.turn, &end, Some(&step(1, vec![part]))).await.unwrap();
    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    assert!(seal(&store, &streams, &row).await.unwrap());
    let fold: Fold = streams.read_fold(turn.id).await.unwrap().unwrap();
    assert!(
        fold.replay()
            .iter()
            .any(|frame| matches!(frame, Frame::Chunk(_, Chunk::TextDelta { delta, .. }) if delta == "the answer"))
    );
    let told = fold.replay().iter().any(|frame| matches!(frame, Frame::Usage(usage) if *usage == row.usage));
    assert!(told && !row.usage.is_zero(), "what it used stands before its end, as in every stream");
    assert!(fold.sequence > 1_000_000, "no cursor of the lost stream fits into the new one");
    assert!(store.unsealed_turns(Duration::ZERO).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_seized_turn_takes_no_commit_of_its_worker_and_is_free_if_its_seizer_dies() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    store.commit_step(turn.id, Attempt(1), &step(1, vec![text("x")])).await.unwrap();

    let seized = store.seize(&claim.turn).await.unwrap();
    assert_eq!((seized.turn.attempt, seized.steps), (Attempt(2), 1));
    let late = store.commit_step(turn.id, Attempt(1), &step(2, vec![text("y")])).await;
    assert!(matches!(late, Err(Fenced::Fenced)), "else a step that is saved as unfinished is committed as well");
    assert!(matches!(store.seize(&claim.turn).await, Err(Fenced::Fenced)));

    services.sql("UPDATE outbox SET due_at = now()").await;
    assert_eq!(store.take_due(10).await.unwrap(), [turn.id]);
    let next = claimed(&store, turn.id, WorkerId::generate()).await;
    assert_eq!((next.turn.attempt, next.losses), (Attempt(3), 0));
    let end = store.end_without_worker(&seized.turn, &TurnEnd::Cancelled, &[]).await;
    assert!(matches!(end, Err(Fenced::Fenced)));
}

#[tokio::test]
async fn an_interrupt_stops_nothing_once_its_own_time_has_come() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let first = ready(&store, id, &ann, "one").await;
    let urgent = NewTurn { on_busy: OnBusy::Interrupt, ..message("now") };
    let Submitted::Waiting(urgent, _) = store.submit(id, &ann, &urgent).await.unwrap() else { panic!("it must wait") };
    let (later, _) = waiting(&store, id, &ann, "later").await;
    for turn in [first.id, urgent.id] {
        let claim = claimed(&store, turn, WorkerId::generate()).await;
        store.finish(&claim.turn, &TurnEnd::Completed(FinishReason::Stop), None).await.unwrap();
    }
    // The API that took the interrupt was slow: everything before it has ended by itself.
    assert_eq!(store.request_cancel_before(id, urgent.id, "ann").await.unwrap(), None);
    assert!(!claimed(&store, later.id, WorkerId::generate()).await.cancel_requested);
}

#[tokio::test]
async fn a_stop_wins_over_what_the_worker_came_to() {
    let services = Services::isolated().await;
    let store = services.store();
    let ann = user("ann");
    let failed = || TurnEnd::Failed(Failure::new(ErrorCode::ProviderError, "It broke."));
    for (end, last) in [
        (TurnEnd::Completed(FinishReason::Stop), Some(step(1, vec![text("all of it")]))),
        (TurnEnd::Completed(FinishReason::Stop), None),
        (failed(), Some(step(1, vec![text("half")]))),
        (failed(), None),
    ] {
        let id = session(&store, &ann).await;
        let turn = ready(&store, id, &ann, "one").await;
        let claim = claimed(&store, turn.id, WorkerId::generate()).await;
        assert!(matches!(store.request_cancel(id, ann.user_id(), "ann").await.unwrap(), CancelRequest::Requested(_)));
        let finished = store.finish(&claim.turn, &end, last.as_ref()).await.unwrap();
        assert_eq!(finished.end, TurnEnd::Cancelled);
        let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
        assert_eq!((row.status, row.error_code), (TurnStatus::Cancelled, None));
    }
}

#[tokio::test]
async fn a_sealer_sends_the_outcome_that_the_worker_recorded_and_could_not_send() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    claimed(&store, turn.id, WorkerId::generate()).await;
    let (call, input) = (ToolCallId("call_1".into()), json!({}));
    let said = [
        Chunk::Start { message_id: turn.id },
        Chunk::StartStep,
        Chunk::ToolInputAvailable {
            tool_call_id: call.clone(),
            tool_name: "t".into(),
            input: input.clone(),
            provider_executed: true,
        },
    ];
    let frames: Vec<Frame> = said.into_iter().map(|chunk| Frame::Chunk(None, chunk)).collect();
    streams.append(&Append::of(turn.id, Attempt(1), 0, &frames)).await.unwrap();
    let asked = Part::ToolCall { id: call.clone(), name: "t".into(), input };
    store.commit_step(turn.id, Attempt(1), &StepCommit { chunk_sequence: 3, ..step(1, vec![asked]) }).await.unwrap();
    store.start_calls(turn.id, Attempt(1), std::slice::from_ref(&call)).await.unwrap();
    let pending = store.calls_of_step(turn.id, 1).await.unwrap();
    store.finish_call(turn.id, Attempt(1), &pending[0], &ToolOutcome::Output(json!(42))).await.unwrap();

    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    end_without_worker(&store, &streams, &row, &TurnEnd::Cancelled).await.unwrap().unwrap();
    let replay = streams.read_fold(turn.id).await.unwrap().unwrap().replay();
    let told = replay.iter().any(|frame| {
        matches!(frame, Frame::Chunk(_, Chunk::ToolOutputAvailable { tool_call_id, output, .. })
            if *tool_call_id == call && *output == json!(42))
    });
    assert!(told, "clients have what the history has: {replay:?}");
}

#[tokio::test]
async fn what_was_saved_without_the_worker_outlives_its_stream() {
    let services = Services::isolated().await;
    let (store, streams) = (services.store(), services.streams());
    let ann = user("ann");
    let id = session(&store, &ann).await;
    let turn = ready(&store, id, &ann, "one").await;
    let claim = claimed(&store, turn.id, WorkerId::generate()).await;
    let part = PartId::nth(1);
    let said = [
        Chunk::Start { message_id: turn.id },
        Chunk::StartStep,
        Chunk::TextStart { id: part.clone() },
        Chunk::TextDelta { id: part, delta: "half an ans".into() },
    ];
    let frames: Vec<Frame> = said.into_iter().map(|chunk| Frame::Chunk(None, chunk)).collect();
    streams.append(&Append::of(turn.id, claim.turn.attempt, 0, &frames)).await.unwrap();
    end_without_worker(&store, &streams, &claim.turn, &TurnEnd::Cancelled).await.unwrap().unwrap();
    streams.forget(turn.id).await.unwrap();
    let row = store.find_turn(id, turn.id).await.unwrap().unwrap();
    assert!(seal(&store, &streams, &row).await.unwrap());
    let fold = streams.read_fold(turn.id).await.unwrap().unwrap();
    assert!(fold.sequence > 1_000_000 && fold.steps_begun() == 1, "it is begun anew, with all that was said");
}
