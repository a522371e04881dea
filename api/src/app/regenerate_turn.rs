//! Answering a message once more: its answer leaves the conversation, and a new turn takes its place.

use copilot_shared::id::{TurnId, UiMessageId};
use copilot_shared::session::{Caller, Session};
use copilot_shared::store::{Again, Idempotency, OnBusy, Seen};
use sha2::{Digest, Sha256};

use super::App;
use super::submit_turn::{Accepted, Reserves, SubmitTurnError, said_chars};

/// An answer that a client wants anew.
#[derive(Debug, Clone)]
pub struct Regeneration {
    /// The answer, which has its turn's id, or the message to be answered; else the last one.
    pub of: Option<UiMessageId>,
    /// The message that the client sees as the last one.
    pub seen: Seen,
    /// What makes it the same as an earlier one.
    pub key: Option<String>,
    /// What to do if the session is busy.
    pub on_busy: OnBusy,
}

impl App {
    /// Answers a message once more, or attaches to the turn that is about to answer it.
    pub async fn regenerate_turn(
        &self,
        session: &Session,
        caller: &Caller,
        wanted: Regeneration,
    ) -> Result<Accepted, SubmitTurnError> {
        let again = again(session, wanted);
        if let Some(idempotency) = &again.idempotency
            && let Some(turn) = self.store.find_submitted(session.id, caller, idempotency).await?
        {
            return self.attached(turn, again.on_busy, caller).await;
        }
        let asked = self.store.asked_again(session.id, &again).await?;
        let reserves = Reserves { turn: again.id, said: asked.iter().map(said_chars).sum() };
        let write = Box::pin(self.store.ask_again(session.id, caller, &again));
        let done = self.within_limits(caller, reserves, write).await?;
        self.accepted(done, again.on_busy, caller).await
    }
}

fn again(session: &Session, wanted: Regeneration) -> Again {
    let body_hash = body_hash(session, &wanted);
    let idempotency = wanted.key.map(|key| Idempotency { key, body_hash });
    Again { id: TurnId::generate(), of: wanted.of, seen: Some(wanted.seen), on_busy: wanted.on_busy, idempotency }
}

/// What the body means.
fn body_hash(session: &Session, wanted: &Regeneration) -> [u8; 32] {
    let seen = (&wanted.seen.id, &wanted.seen.text);
    Sha256::digest(serde_json::json!([session.id, "regenerate", wanted.of, seen]).to_string()).into()
}
