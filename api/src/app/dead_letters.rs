//! What nobody could handle, for admins: seen, and tried again.

use copilot_shared::audit::{AuditAction, AuditRecord, AuditTarget};
use copilot_shared::id::{DeadLetterId, TurnId, UserId};
use copilot_shared::queue::QueueError;
use copilot_shared::store::{DeadLetterSummary, StoreError};
use copilot_shared::turn::TurnStatus;

use super::App;

/// A letter that is in the queue of turns again.
#[derive(Debug, Clone, Copy)]
pub struct Replayed {
    /// The letter.
    pub id: DeadLetterId,
    /// The turn that it names.
    pub turn_id: Option<TurnId>,
    /// How the turn stands. One that has ended stays so, whatever is published.
    pub turn_status: Option<TurnStatus>,
}

/// Why a letter was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such letter.
    #[error("no such dead letter")]
    NotFound(DeadLetterId),
    /// It was replayed before. If it died again, there is another letter of it.
    #[error("the dead letter was replayed")]
    Replayed(DeadLetterId),
    /// The broker did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl App {
    /// A page of the letters that were not replayed, newest first.
    pub async fn list_dead_letters(
        &self,
        admin: &UserId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<DeadLetterSummary>, StoreError> {
        let record = AuditRecord::new(admin.clone(), AuditAction::ListDeadLetters, AuditTarget::Everything);
        self.store.record_audit(&record).await?;
        self.store.list_dead_letters(before, limit).await
    }

    /// Publishes a letter again as it was. It is published before that is noted: a death in between
    /// leaves it to be replayed once more, which does no harm, since the row decides what runs.
    pub async fn replay_dead_letter(&self, admin: &UserId, id: DeadLetterId) -> Result<Replayed, ReplayError> {
        let letter = self.store.find_dead_letter(id).await?.ok_or(ReplayError::NotFound(id))?;
        if letter.replayed_at.is_some() {
            return Err(ReplayError::Replayed(id));
        }
        let turn = match letter.turn_id {
            Some(turn) => self.store.turn_of_any_session(turn).await?,
            None => None,
        };
        let record = AuditRecord::new(admin.clone(), AuditAction::ReplayDeadLetter, AuditTarget::DeadLetter(id));
        self.store.record_audit(&record).await?;
        self.publisher.replay(id, &letter.body).await?;
        self.store.note_replayed(id, admin).await?;
        Ok(Replayed { id, turn_id: letter.turn_id, turn_status: turn.map(|turn| turn.status) })
    }
}
