//! Asking for an answer again.

use copilot_shared::id::{MessageId, TurnId, WorkerId};
use copilot_shared::message::{Part, Role, ToolOutcome, text_of};
use copilot_shared::store::{
    Again, CancelRequest, Idempotency, NewTurn, OnBusy, Resubmitted, Seen, SubmitError, Submitted,
};
use copilot_shared::turn::{Attempt, TurnEnd};
use futures_util::future::join_all;

use super::{Chat, DONE, again, name, ready_turn, waiting_turn};
use crate::setup::{claimed, message, ready, session, step, text, user, waiting};

#[tokio::test]
async fn an_answer_is_made_anew_without_a_new_message() {
    let chat = Chat::new().await;
    let old = chat.round("one", "1").await;
    let done = chat.again(Some(old.id)).await.unwrap();
    let new = ready_turn(&done);
    assert_eq!(chat.texts().await, ["one"], "the old answer has left the conversation");
    chat.finish(new.id, "uno").await;
    assert_eq!(chat.texts().await, ["one", "uno"]);
    assert_eq!(chat.services.count("SELECT count(*) FROM messages").await, 3, "and stays for the record");
    assert_eq!(
        chat.services.count("SELECT count(*) FROM messages WHERE superseded_by IS NOT NULL AND step = 1").await,
        1
    );
    let page = chat.store.message_page(chat.id, None, 10).await.unwrap();
    assert!(page.messages.iter().all(|message| message.turn_id == new.id), "a question belongs to what answers it");
    assert!(page.messages[0].turn_end.is_none() && page.messages[1].turn_end.is_some());
    let session = chat.store.find_session(chat.id, &chat.ann).await.unwrap().unwrap();
    assert_eq!(session.total_completion_tokens, 10, "what was used was used");
    assert!(matches!(chat.again(Some(old.id)).await, Err(SubmitError::NoMessage(_))), "an old answer is no more");
}

#[tokio::test]
async fn without_a_name_the_last_message_is_answered() {
    let chat = Chat::new().await;
    assert!(matches!(chat.again(None).await, Err(SubmitError::NothingToAnswer)));
    chat.round("one", "1").await;
    chat.round("two", "2").await;
    let done = chat.again(None).await.unwrap();
    chat.finish(ready_turn(&done).id, "dos").await;
    assert_eq!(chat.texts().await, ["one", "1", "two", "dos"]);
}

#[tokio::test]
async fn an_earlier_answer_takes_what_followed_along() {
    let chat = Chat::new().await;
    let first = chat.round("one", "1").await;
    let second = chat.round("two", "2").await;
    let done = chat.again(Some(first.id)).await.unwrap();
    chat.finish(ready_turn(&done).id, "uno").await;
    assert_eq!(chat.texts().await, ["one", "uno"]);
    assert!(matches!(chat.again(Some(second.id)).await, Err(SubmitError::NoMessage(_))));
    chat.round("three", "3").await;
    assert_eq!(chat.texts().await, ["one", "uno", "three", "3"]);
}

#[tokio::test]
async fn the_message_that_the_client_sees_last_is_answered_and_a_lost_one_is_not_mistaken() {
    let chat = Chat::new().await;
    let new = NewTurn { ui_id: Some(name("m1")), ..message("one") };
    let Submitted::Ready(first) = chat.store.submit(chat.id, &chat.ann, &new).await.unwrap() else { panic!() };
    chat.finish(first.id, "1").await;
    chat.round("two", "2").await;
    let sees = |id: Option<&str>, text: &str| Again {
        seen: Some(Seen { id: id.map(name), text: text.to_owned() }),
        ..again()
    };
    let lost = chat.store.ask_again(chat.id, &chat.ann, &sees(Some("m3"), "three")).await;
    assert!(matches!(lost, Err(SubmitError::NoMessage(id)) if id.as_str() == "m3"));
    assert_eq!(chat.texts().await, ["one", "1", "two", "2"], "a refusal changes nothing");
    let same = chat.store.ask_again(chat.id, &chat.ann, &sees(Some("unheard of"), " two ")).await.unwrap();
    chat.finish(ready_turn(&same).id, "dos").await;
    assert_eq!(chat.texts().await, ["one", "1", "two", "dos"]);
    let earlier = chat.store.ask_again(chat.id, &chat.ann, &sees(Some("m1"), "one")).await.unwrap();
    chat.finish(ready_turn(&earlier).id, "uno").await;
    assert_eq!(chat.texts().await, ["one", "uno"]);
}

#[tokio::test]
async fn a_running_answer_is_stopped_and_what_it_still_writes_is_superseded() {
    let chat = Chat::new().await;
    let old = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let claim = claimed(&chat.store, old.id, WorkerId::generate()).await;
    chat.store.commit_step(old.id, Attempt(1), &step(1, vec![text("early")])).await.unwrap();
    let done = chat.again(None).await.unwrap();
    let new = waiting_turn(&done);
    assert_eq!(done.stopped, Some(old.id));
    assert_eq!(chat.turn(old.id).await.cancelled_by.as_deref(), Some("ann"));
    chat.store.commit_step(old.id, Attempt(1), &step(2, vec![text("late")])).await.unwrap();
    assert_eq!(chat.texts().await, ["one"]);
    let last = step(3, vec![text("last")]);
    let next = chat.store.finish(&claim.turn, &TurnEnd::Cancelled, Some(&last)).await.unwrap().next;
    assert_eq!(next, [new.id]);
    assert_eq!(chat.texts().await, ["one"]);
    chat.finish(new.id, "uno").await;
    assert_eq!(chat.texts().await, ["one", "uno"]);
    assert_eq!(chat.services.count("SELECT count(*) FROM messages WHERE superseded_at IS NOT NULL").await, 3);
}

#[tokio::test]
async fn a_superseded_turns_tools_leave_no_trace_in_the_conversation() {
    let chat = Chat::new().await;
    let old = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let claim = claimed(&chat.store, old.id, WorkerId::generate()).await;
    let call = |id: &str| Part::ToolCall {
        id: copilot_shared::id::ToolCallId(id.into()),
        name: "t".into(),
        input: serde_json::json!({}),
    };
    chat.store.commit_step(old.id, Attempt(1), &step(1, vec![call("a"), call("b")])).await.unwrap();
    chat.again(None).await.unwrap();
    let pending = chat.store.calls_of_step(old.id, 1).await.unwrap();
    let outcome = ToolOutcome::Output(serde_json::json!(1));
    chat.store.finish_call(old.id, Attempt(1), &pending[0], &outcome).await.unwrap();
    chat.store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap();
    assert_eq!(chat.texts().await, ["one"]);
    assert_eq!(chat.services.count("SELECT count(*) FROM messages WHERE role = 'tool'").await, 2);
    assert_eq!(chat.store.turn_messages(old.id).await.unwrap().len(), 3, "its own stream still tells them");
}

#[tokio::test]
async fn an_answer_that_has_not_begun_is_not_asked_for_twice() {
    let chat = Chat::new().await;
    let first = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let done = chat.again(None).await.unwrap();
    assert!(matches!(done.submitted, Submitted::Repeated(turn) if turn.id == first.id));
    claimed(&chat.store, first.id, WorkerId::generate()).await;
    let one = chat.again(None).await.unwrap();
    let two = chat.again(None).await.unwrap();
    assert!(matches!(two.submitted, Submitted::Repeated(turn) if turn.id == waiting_turn(&one).id));
    assert_eq!(chat.services.count("SELECT count(*) FROM turns").await, 2);
}

#[tokio::test]
async fn the_same_key_asks_once() {
    let chat = Chat::new().await;
    let old = chat.round("one", "1").await;
    let of = Some(name(&old.id.to_string()));
    let keyed = |body: u8| Again {
        of: of.clone(),
        idempotency: Some(Idempotency { key: "k".into(), body_hash: [body; 32] }),
        ..again()
    };
    let same = keyed(1);
    let asked = join_all((0..8).map(|_| {
        let once = Again { id: TurnId::generate(), ..same.clone() };
        let (store, ann, id) = (chat.store.clone(), chat.ann.clone(), chat.id);
        async move { store.ask_again(id, &ann, &once).await }
    }))
    .await;
    let ids: std::collections::HashSet<TurnId> = asked
        .into_iter()
        .map(|done| match done.unwrap().submitted {
            Submitted::Ready(turn) | Submitted::Repeated(turn) => turn.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids.len(), 1);
    let other = chat.store.ask_again(chat.id, &chat.ann, &keyed(2)).await;
    assert!(matches!(other, Err(SubmitError::KeyConflict)));
}

#[tokio::test]
async fn a_failed_or_stopped_answer_is_made_anew() {
    let chat = Chat::new().await;
    for end in [
        TurnEnd::Cancelled,
        TurnEnd::Failed(copilot_shared::turn::Failure::new(copilot_shared::turn::ErrorCode::ProviderError, "no")),
    ] {
        let old = ready(&chat.store, chat.id, &chat.ann, "ask").await;
        let claim = claimed(&chat.store, old.id, WorkerId::generate()).await;
        chat.store.finish(&claim.turn, &end, None).await.unwrap();
        let done = chat.again(None).await.unwrap();
        chat.finish(ready_turn(&done).id, "answer").await;
    }
    assert_eq!(chat.texts().await, ["ask", "answer", "ask", "answer"]);
}

#[tokio::test]
async fn reject_refuses_and_changes_nothing() {
    let chat = Chat::new().await;
    let old = ready(&chat.store, chat.id, &chat.ann, "one").await;
    claimed(&chat.store, old.id, WorkerId::generate()).await;
    chat.store.commit_step(old.id, Attempt(1), &step(1, vec![text("early")])).await.unwrap();
    let reject = Again { on_busy: OnBusy::Reject, ..again() };
    let refused = chat.store.ask_again(chat.id, &chat.ann, &reject).await;
    assert!(matches!(refused, Err(SubmitError::Busy(turn)) if turn == old.id));
    let new = NewTurn { on_busy: OnBusy::Reject, ..message("uno") };
    let first = chat.turn(old.id).await.message_id.unwrap().to_string();
    let refused = chat.store.rewrite(chat.id, &chat.ann, &new, &name(&first)).await;
    assert!(matches!(refused, Err(SubmitError::Busy(turn)) if turn == old.id));
    assert_eq!(chat.texts().await, ["one", "early"]);
    assert!(chat.turn(old.id).await.cancelled_by.is_none());
}

#[tokio::test]
async fn asking_again_leaves_what_waits_and_goes_before_it() {
    let chat = Chat::new().await;
    let first = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let claim = claimed(&chat.store, first.id, WorkerId::generate()).await;
    let (later, _) = waiting(&chat.store, chat.id, &chat.ann, "two").await;
    let done = chat.again(Some(first.id)).await.unwrap();
    let new = waiting_turn(&done).id;
    assert_eq!(chat.store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap().next, [new]);
    assert_eq!(chat.finish(new, "uno").await, [later.id]);
    chat.finish(later.id, "2").await;
    assert_eq!(chat.texts().await, ["one", "uno", "two", "2"]);
}

#[tokio::test]
async fn a_question_outlives_the_turn_that_was_to_answer_it_again() {
    let chat = Chat::new().await;
    let first = chat.round("one", "1").await;
    chat.again(Some(first.id)).await.unwrap();
    let dropped = chat.store.request_cancel(chat.id, chat.ann.user_id(), "ann").await.unwrap();
    assert!(matches!(dropped, CancelRequest::Dropped(_)));
    assert_eq!(chat.texts().await, ["one"], "it was said before");
    let done = chat.again(None).await.unwrap();
    let running = ready_turn(&done).clone();
    let claim = claimed(&chat.store, running.id, WorkerId::generate()).await;
    let again = chat.again(None).await.unwrap();
    let waits = waiting_turn(&again);
    assert!(
        !chat.store.edit_queued(chat.id, waits.id, "other").await.unwrap(),
        "what was said is not changed in place"
    );
    let dropped = chat.store.drop_waiting(chat.id, chat.ann.user_id(), Some(waits.id), "ann").await.unwrap();
    assert_eq!(dropped.turns.len(), 1);
    chat.store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap();
    assert_eq!(chat.texts().await, ["one"]);
}

#[tokio::test]
async fn what_was_to_steer_a_superseded_turn_is_answered_on_its_own() {
    let chat = Chat::new().await;
    let first = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let claim = claimed(&chat.store, first.id, WorkerId::generate()).await;
    let steer = NewTurn { on_busy: OnBusy::Steer, ..message("two") };
    chat.store.submit(chat.id, &chat.ann, &steer).await.unwrap();
    chat.again(Some(first.id)).await.unwrap();
    assert!(chat.store.take_steering(first.id, Attempt(1)).await.unwrap().is_empty());
    assert_eq!(chat.store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap().next.len(), 1);
    assert_eq!(chat.store.list_queue(chat.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn strangers_take_nothing_back() {
    let chat = Chat::new().await;
    let first = chat.round("one", "1").await;
    let bob = user("bob");
    let foreign = session(&chat.store, &bob).await;
    let of = Some(name(&first.id.to_string()));
    let asked = chat.store.ask_again(chat.id, &bob, &Again { of: of.clone(), ..again() }).await;
    assert!(matches!(asked, Err(SubmitError::NotFound)));
    let asked = chat.store.ask_again(foreign, &bob, &Again { of, ..again() }).await;
    assert!(matches!(asked, Err(SubmitError::NoMessage(_))), "of another session");
    let one = name(&first.message_id.unwrap().to_string());
    assert!(matches!(chat.store.rewrite(foreign, &bob, &message("x"), &one).await, Err(SubmitError::NoMessage(_))));
    assert_eq!(chat.texts().await, ["one", "1"]);
}

#[tokio::test]
async fn pages_count_only_what_is_in_the_conversation() {
    let chat = Chat::new().await;
    chat.round("one", "1").await;
    for n in 0..5 {
        let done = chat.again(None).await.unwrap();
        chat.finish(ready_turn(&done).id, &format!("answer {n}")).await;
    }
    chat.round("two", "2").await;
    let newest = chat.store.message_page(chat.id, None, 2).await.unwrap();
    assert_eq!(newest.messages.iter().map(|m| text_of(&m.parts)).collect::<Vec<_>>(), ["two", "2"]);
    assert!(newest.has_more);
    let older = chat.store.message_page(chat.id, Some(newest.messages[0].sequence), 2).await.unwrap();
    assert_eq!(older.messages.iter().map(|m| text_of(&m.parts)).collect::<Vec<_>>(), ["one", "answer 4"]);
    assert!(!older.has_more);
    assert_eq!(chat.store.history(chat.id, 3).await.unwrap().len(), 3);
}

#[tokio::test]
async fn whatever_happens_at_once_one_answer_is_left() {
    let chat = Chat::new().await;
    chat.round("one", "1").await;
    let asks = (0..10).map(|n| {
        let (store, ann, id) = (chat.store.clone(), chat.ann.clone(), chat.id);
        async move {
            let done = if n % 2 == 0 {
                store.ask_again(id, &ann, &again()).await
            } else {
                let new = NewTurn { message_id: MessageId::generate(), ui_id: Some(name("m")), ..message("two") };
                store.submit(id, &ann, &new).await.map(Resubmitted::from)
            };
            done.map(|_| ())
        }
    });
    for done in join_all(asks).await {
        done.unwrap();
    }
    // Whoever is ready runs, until nobody is left.
    loop {
        let active = chat.store.active_turn(chat.id).await.unwrap();
        let Some(active) = active else { break };
        chat.finish(active.id, "answer").await;
    }
    let said = chat.said().await;
    let questions = said.iter().filter(|(role, _)| *role == Role::User).count();
    let answers = said.iter().filter(|(role, _)| *role == Role::Assistant).count();
    assert_eq!((questions, answers), (6, 6), "{said:?}");
}

#[tokio::test]
async fn a_page_of_the_transcript_has_whole_turns() {
    let chat = Chat::new().await;
    for n in 1..=3 {
        let turn = ready(&chat.store, chat.id, &chat.ann, &format!("ask {n}")).await;
        let claim = claimed(&chat.store, turn.id, WorkerId::generate()).await;
        for number in 1..=2 {
            chat.store.commit_step(turn.id, Attempt(1), &step(number, vec![text("so")])).await.unwrap();
        }
        chat.store.finish(&claim.turn, &DONE, Some(&step(3, vec![text("done")]))).await.unwrap();
    }
    let shapes = |page: &copilot_shared::store::TranscriptPage| -> Vec<(String, usize)> {
        page.turns.iter().map(|turn| (text_of(&turn.asked[0].parts), turn.steps.len())).collect()
    };
    let newest = chat.store.transcript(chat.id, None, 5).await.unwrap();
    assert_eq!(shapes(&newest), [("ask 2".to_owned(), 3), ("ask 3".to_owned(), 3)], "the older one is not cut");
    assert!(newest.has_more);
    let rest = chat.store.transcript(chat.id, newest.oldest_sequence, 5).await.unwrap();
    assert_eq!(shapes(&rest), [("ask 1".to_owned(), 3)]);
    assert!(!rest.has_more);
    chat.again(None).await.unwrap();
    let taken_back = chat.store.transcript(chat.id, None, 1).await.unwrap();
    assert_eq!(shapes(&taken_back), [("ask 3".to_owned(), 0)]);
    let empty = chat.store.transcript(chat.id, Some(1), 5).await.unwrap();
    assert_eq!((empty.turns.len(), empty.oldest_sequence, empty.has_more), (0, None, false));
}
