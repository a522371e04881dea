//! The messages that wait behind a running turn: seen, edited, dropped.

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::session::{Caller, Session};
use copilot_shared::store::{QueuedMessage, StoreError};

use super::App;
use super::submit_turn::by;

/// Why a waiting message was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum QueueEditError {
    /// It does not wait any more, or never did.
    #[error("no such turn waits")]
    NotWaiting(TurnId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// What waits in a session, in order.
    pub async fn list_queue(&self, session: SessionId) -> Result<Vec<QueuedMessage>, StoreError> {
        self.store.list_queue(session).await
    }

    /// Changes what a waiting message says.
    pub async fn edit_queued(&self, session: SessionId, turn: TurnId, text: &str) -> Result<(), QueueEditError> {
        if self.store.edit_queued(session, turn, text).await? { Ok(()) } else { Err(QueueEditError::NotWaiting(turn)) }
    }

    /// Drops a waiting message with its turn.
    pub async fn drop_queued(&self, session: &Session, caller: &Caller, turn: TurnId) -> Result<(), QueueEditError> {
        let dropped = self.store.drop_waiting(session.id, caller.user_id(), Some(turn), by(caller)).await?;
        let found = !dropped.turns.is_empty();
        self.see_off(dropped).await;
        if found { Ok(()) } else { Err(QueueEditError::NotWaiting(turn)) }
    }
}
