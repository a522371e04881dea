//! Turns of all users, for admins. Each act is written down before it is done, or with it.

use copilot_shared::audit::{AuditAction, AuditRecord, AuditTarget};
use copilot_shared::id::{TurnId, UserId};
use copilot_shared::store::{AdminTurn, CancelRequest, Requeue, StoreError, TurnFilter};
use copilot_shared::turn::Turn;

use super::cancel_turn::Cancelled;
use super::{App, StopError};

/// Why a turn was not requeued.
#[derive(Debug, thiserror::Error)]
pub enum RequeueError {
    /// There is no such turn.
    #[error("no such turn")]
    NotFound(TurnId),
    /// It has ended, and no turn runs twice.
    #[error("the turn has ended")]
    Ended(TurnId),
    /// A worker has it.
    #[error("the turn runs under a live lease")]
    Running(TurnId),
    /// Its time has not come.
    #[error("the turn waits")]
    Waiting(TurnId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a turn was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelAnyError {
    /// There is no such turn.
    #[error("no such turn")]
    NotFound(TurnId),
    /// It could not be stopped.
    #[error(transparent)]
    Stop(#[from] StopError),
}

impl App {
    /// A page of all turns, newest first.
    pub async fn list_all_turns(
        &self,
        admin: &UserId,
        filter: &TurnFilter,
        limit: i64,
    ) -> Result<Vec<AdminTurn>, StoreError> {
        let target = filter.user.clone().map_or(AuditTarget::Everything, AuditTarget::User);
        self.store.record_audit(&AuditRecord::new(admin.clone(), AuditAction::ListTurns, target)).await?;
        self.store.list_all_turns(filter, limit).await
    }

    /// Publishes a stuck turn again. Its outbox entry is there before it is published, so that a
    /// death in between only makes it later.
    pub async fn requeue_turn(&self, admin: &UserId, id: TurnId) -> Result<Turn, RequeueError> {
        let record = AuditRecord::new(admin.clone(), AuditAction::RequeueTurn, AuditTarget::Turn(id));
        match self.store.requeue(id, &record).await? {
            Requeue::Due(turns) => {
                self.publish_soon(turns);
                self.store.turn_of_any_session(id).await?.ok_or(RequeueError::NotFound(id))
            }
            Requeue::Ended => Err(RequeueError::Ended(id)),
            Requeue::Running => Err(RequeueError::Running(id)),
            Requeue::Waiting => Err(RequeueError::Waiting(id)),
            Requeue::Missing => Err(RequeueError::NotFound(id)),
        }
    }

    /// Stops one turn as its owner would, and no other; the turn names the admin.
    pub async fn cancel_any_turn(&self, admin: &UserId, id: TurnId) -> Result<Cancelled, CancelAnyError> {
        let found = self.store.turn_of_any_session(id).await.map_err(StopError::from)?;
        let turn = found.ok_or(CancelAnyError::NotFound(id))?;
        let record = AuditRecord::new(admin.clone(), AuditAction::CancelTurn, AuditTarget::Turn(id));
        self.store.record_audit(&record).await.map_err(StopError::from)?;
        match self.store.request_cancel_of(&turn, admin.as_str()).await.map_err(StopError::from)? {
            CancelRequest::Idle => Ok(Cancelled::Idle),
            CancelRequest::Dropped(dropped) => {
                self.see_off(dropped).await;
                Ok(Cancelled::Dequeued)
            }
            CancelRequest::Requested(turn) => {
                self.stop_turn(turn).await?;
                Ok(Cancelled::Stopped)
            }
        }
    }
}
