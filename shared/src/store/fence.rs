//! What tools write: only the newest attempt of a running turn commits it, so that a worker that
//! was taken over and comes back changes nothing.

use super::{Fenced, Store, Tx};
use crate::id::TurnId;
use crate::turn::Attempt;

/// On whose behalf something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The running turn.
    pub turn: TurnId,
    /// The attempt that must still be its newest.
    pub attempt: Attempt,
}

impl Store {
    /// A transaction that keeps the turn from being taken over until it ends. Whoever needs a lock
    /// of a user takes it with [`Self::begin_for_folders`] instead: that one goes first.
    pub(super) async fn begin_fenced(&self, fence: Fence) -> Result<sqlx::PgTransaction<'static>, Fenced> {
        let mut tx = self.pool.begin().await?;
        hold(&mut tx, fence).await?;
        Ok(tx)
    }
}

/// Holds the turn as long as the transaction lasts; fails if a newer attempt has it.
pub(super) async fn hold(tx: Tx<'_>, fence: Fence) -> Result<(), Fenced> {
    let held = sqlx::query("SELECT 1 FROM turns WHERE id = $1 AND attempt = $2 AND status = 'running' FOR SHARE")
        .bind(fence.turn)
        .bind(fence.attempt)
        .fetch_optional(&mut **tx)
        .await?;
    if held.is_some() { Ok(()) } else { Err(Fenced::Fenced) }
}
