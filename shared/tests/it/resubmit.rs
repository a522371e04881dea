//! Asking again and writing anew: what is taken back, what takes its place, what stops.

use copilot_shared::id::{SessionId, TurnId, UiMessageId, WorkerId};
use copilot_shared::message::{Role, text_of};
use copilot_shared::session::Caller;
use copilot_shared::store::{Again, OnBusy, Resubmitted, Store, SubmitError, Submitted};
use copilot_shared::testing::Services;
use copilot_shared::turn::{FinishReason, Turn, TurnEnd};

use crate::setup::{claimed, message, ready, session, step, text, user};

mod again;
mod rewrite;

const DONE: TurnEnd = TurnEnd::Completed(FinishReason::Stop);

struct Chat {
    services: Services,
    store: Store,
    ann: Caller,
    id: SessionId,
}

impl Chat {
    async fn new() -> Self {
        let services = Services::isolated().await;
        let store = services.store();
        let ann = user("ann");
        let id = session(&store, &ann).await;
        Self { services, store, ann, id }
    }

    async fn finish(&self, turn: TurnId, says: &str) -> Vec<TurnId> {
        let claim = claimed(&self.store, turn, WorkerId::generate()).await;
        self.store.finish(&claim.turn, &DONE, Some(&step(1, vec![text(says)]))).await.unwrap().next
    }

    /// A question with its answer.
    async fn round(&self, asks: &str, says: &str) -> Turn {
        let turn = ready(&self.store, self.id, &self.ann, asks).await;
        self.finish(turn.id, says).await;
        turn
    }

    async fn again(&self, of: Option<TurnId>) -> Result<Resubmitted, SubmitError> {
        let of = of.map(|turn| name(&turn.to_string()));
        self.store.ask_again(self.id, &self.ann, &Again { of, ..again() }).await
    }

    async fn rewrite(&self, instead_of: &str, says: &str) -> Result<Resubmitted, SubmitError> {
        self.store.rewrite(self.id, &self.ann, &message(says), &name(instead_of)).await
    }

    /// What a client and the model read, which must be the same.
    async fn said(&self) -> Vec<(Role, String)> {
        let page = self.store.message_page(self.id, None, 100).await.unwrap();
        let shown: Vec<_> = page.messages.iter().map(|m| (m.role, text_of(&m.parts))).collect();
        let history = self.store.history(self.id, 100).await.unwrap();
        assert_eq!(shown, history.iter().map(|m| (m.role, text_of(&m.parts))).collect::<Vec<_>>());
        shown
    }

    async fn texts(&self) -> Vec<String> {
        self.said().await.into_iter().map(|(_, text)| text).collect()
    }

    async fn turn(&self, id: TurnId) -> Turn {
        self.store.find_turn(self.id, id).await.unwrap().unwrap()
    }
}

fn name(text: &str) -> UiMessageId {
    UiMessageId::parse(text).unwrap()
}

fn again() -> Again {
    Again { id: TurnId::generate(), of: None, seen: None, on_busy: OnBusy::Enqueue, idempotency: None }
}

fn ready_turn(done: &Resubmitted) -> &Turn {
    match &done.submitted {
        Submitted::Ready(turn) => turn,
        other => panic!("expected a ready turn, got {other:?}"),
    }
}

fn waiting_turn(done: &Resubmitted) -> &Turn {
    match &done.submitted {
        Submitted::Waiting(turn, 1) => turn,
        other => panic!("expected the next turn, got {other:?}"),
    }
}
