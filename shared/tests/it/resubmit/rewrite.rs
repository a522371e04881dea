//! Writing a message anew.

use copilot_shared::id::{TurnId, WorkerId};
use copilot_shared::store::{NewTurn, OnBusy, SubmitError, Submitted};
use copilot_shared::turn::{Attempt, TurnEnd, TurnStatus};

use super::{Chat, DONE, name, ready_turn, waiting_turn};
use crate::setup::{claimed, message, ready, step, text, waiting};

#[tokio::test]
async fn a_message_is_written_anew_and_what_followed_is_no_more() {
    let chat = Chat::new().await;
    let new = NewTurn { ui_id: Some(name("m1")), ..message("one") };
    let Submitted::Ready(first) = chat.store.submit(chat.id, &chat.ann, &new).await.unwrap() else { panic!() };
    chat.finish(first.id, "1").await;
    let second = chat.round("two", "2").await;
    let two = chat.turn(second.id).await.message_id.unwrap().to_string();
    let done = chat.rewrite(&two, "zwei").await.unwrap();
    chat.finish(ready_turn(&done).id, "2!").await;
    assert_eq!(chat.texts().await, ["one", "1", "zwei", "2!"], "by our id");
    let same_name = NewTurn { ui_id: Some(name("m1")), ..message("eins") };
    let done = chat.store.rewrite(chat.id, &chat.ann, &same_name, &name("m1")).await.unwrap();
    chat.finish(ready_turn(&done).id, "1!").await;
    assert_eq!(chat.texts().await, ["eins", "1!"], "by the client's id");
    let done = chat.rewrite("m1", "uno").await.unwrap();
    chat.finish(ready_turn(&done).id, "1?").await;
    assert_eq!(chat.texts().await, ["uno", "1?"], "the name now means what took its place");
    let unknown = [two, "m1".into(), TurnId::generate().to_string(), first.id.to_string()];
    for gone in &unknown {
        assert!(matches!(chat.rewrite(gone, "x").await, Err(SubmitError::NoMessage(_))), "{gone}");
    }
    assert_eq!(chat.texts().await, ["uno", "1?"]);
}

#[tokio::test]
async fn writing_anew_stops_what_runs_and_drops_what_waits() {
    let chat = Chat::new().await;
    let first = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let claim = claimed(&chat.store, first.id, WorkerId::generate()).await;
    let (later, _) = waiting(&chat.store, chat.id, &chat.ann, "two").await;
    let one = first.message_id.unwrap().to_string();
    let done = chat.rewrite(&one, "eins").await.unwrap();
    let new = waiting_turn(&done);
    assert_eq!(done.stopped, Some(first.id));
    assert_eq!(
        done.dropped.iter().map(|turn| (turn.id, turn.status)).collect::<Vec<_>>(),
        [(later.id, TurnStatus::Cancelled)]
    );
    assert!(chat.texts().await.is_empty(), "the new one has no place before its time");
    assert_eq!(chat.store.finish(&claim.turn, &TurnEnd::Cancelled, None).await.unwrap().next, [new.id]);
    chat.finish(new.id, "1").await;
    assert_eq!(chat.texts().await, ["eins", "1"]);
}

#[tokio::test]
async fn a_waiting_message_is_written_anew_and_what_runs_goes_on() {
    let chat = Chat::new().await;
    let first = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let claim = claimed(&chat.store, first.id, WorkerId::generate()).await;
    waiting(&chat.store, chat.id, &chat.ann, "two").await;
    let (third, _) = waiting(&chat.store, chat.id, &chat.ann, "three").await;
    waiting(&chat.store, chat.id, &chat.ann, "four").await;
    let three = third.message_id.unwrap().to_string();
    let done = chat.rewrite(&three, "drei").await.unwrap();
    assert!(matches!(&done.submitted, Submitted::Waiting(_, 2)), "behind what stood before it: {done:?}");
    assert_eq!((done.stopped, done.dropped.len()), (None, 2));
    assert!(chat.turn(first.id).await.cancelled_by.is_none());
    let queue = chat.store.list_queue(chat.id).await.unwrap();
    assert_eq!(queue.iter().map(|waiting| waiting.message.as_str()).collect::<Vec<_>>(), ["two", "drei"]);
    chat.store.finish(&claim.turn, &DONE, None).await.unwrap();
    assert_eq!(chat.texts().await, ["one", "two"]);
}

#[tokio::test]
async fn a_steered_answer_is_made_anew_as_a_whole() {
    let chat = Chat::new().await;
    let first = ready(&chat.store, chat.id, &chat.ann, "one").await;
    let claim = claimed(&chat.store, first.id, WorkerId::generate()).await;
    chat.store.commit_step(first.id, Attempt(1), &step(1, vec![text("1")])).await.unwrap();
    let steer = NewTurn { on_busy: OnBusy::Steer, ui_id: Some(name("m2")), ..message("two") };
    chat.store.submit(chat.id, &chat.ann, &steer).await.unwrap();
    assert_eq!(chat.store.take_steering(first.id, Attempt(1)).await.unwrap().len(), 1);
    chat.store.finish(&claim.turn, &DONE, Some(&step(2, vec![text("2")]))).await.unwrap();
    assert_eq!(chat.texts().await, ["one", "1", "two", "2"]);
    let done = chat.again(Some(first.id)).await.unwrap();
    assert_eq!(chat.texts().await, ["one", "two"]);
    let new = ready_turn(&done).id;
    chat.finish(new, "1 and 2").await;
    assert_eq!(chat.texts().await, ["one", "two", "1 and 2"]);
    assert_eq!(chat.store.turn_messages(new).await.unwrap().len(), 3, "both questions are the new turn's");
    let done = chat.rewrite("m2", "zwei").await.unwrap();
    chat.finish(ready_turn(&done).id, "2").await;
    assert_eq!(chat.texts().await, ["one", "zwei", "2"]);
}
