//! What most tests begin with.

use copilot_shared::id::{MessageId, SessionId, TurnId, UserId, WorkerId};
use copilot_shared::message::{Part, Speaker};
use copilot_shared::session::Caller;
use copilot_shared::store::{Claim, Claimed, NewTurn, OnBusy, StepCommit, Store, Submitted};
use copilot_shared::turn::Turn;
use copilot_shared::usage::TokenUsage;

pub fn user(name: &str) -> Caller {
    Caller::User(UserId::parse(name).unwrap())
}

pub fn text(text: &str) -> Part {
    Part::Text { id: None, text: text.to_owned() }
}

pub fn message(says: &str) -> NewTurn {
    NewTurn {
        id: TurnId::generate(),
        message_id: MessageId::generate(),
        ui_id: None,
        speaker: Speaker::User,
        parts: vec![text(says)],
        on_busy: OnBusy::Enqueue,
        idempotency: None,
    }
}

pub async fn session(store: &Store, owner: &Caller) -> SessionId {
    store.create_session(SessionId::random(), owner).await.unwrap().id
}

pub async fn submit(store: &Store, session: SessionId, caller: &Caller, says: &str) -> Submitted {
    store.submit(session, caller, &message(says)).await.unwrap()
}

pub async fn ready(store: &Store, session: SessionId, caller: &Caller, says: &str) -> Turn {
    match submit(store, session, caller, says).await {
        Submitted::Ready(turn) => turn,
        other => panic!("expected a ready turn, got {other:?}"),
    }
}

pub async fn waiting(store: &Store, session: SessionId, caller: &Caller, says: &str) -> (Turn, i64) {
    match submit(store, session, caller, says).await {
        Submitted::Waiting(turn, position) => (turn, position),
        other => panic!("expected a waiting turn, got {other:?}"),
    }
}

pub async fn claimed(store: &Store, turn: TurnId, worker: WorkerId) -> Claimed {
    match store.claim(turn, worker, false).await.unwrap() {
        Claim::Claimed(claimed) => *claimed,
        other => panic!("expected a claim, got {other:?}"),
    }
}

pub fn step(number: i32, parts: Vec<Part>) -> StepCommit {
    let usage = TokenUsage { prompt: 10, completion: 5, ..TokenUsage::default() };
    StepCommit { step: number, parts, usage, used_at: chrono::Utc::now(), chunk_sequence: 7 }
}
