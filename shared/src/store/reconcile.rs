//! What nobody looks after any more, found by looking.

use std::time::{Duration, Instant};

use sqlx::FromRow;

use super::rows::{TurnRow, turn_columns};
use super::{Store, StoreError, interval};
use crate::id::{SessionId, TurnId, UserId};
use crate::turn::Turn;

#[derive(FromRow)]
struct StuckSession {
    session_id: SessionId,
    user_id: Option<UserId>,
}

impl Store {
    /// Puts running turns whose lease has lapsed into the outbox. Returns how many are new there;
    /// `None` if the server kept us waiting: nobody could renew meanwhile either, and the leases
    /// say nothing.
    pub async fn enqueue_lapsed(&self) -> Result<Option<u64>, StoreError> {
        let asked = Instant::now();
        let mut connection = self.pool.acquire().await?;
        if asked.elapsed() > self.settings.lease / 3 {
            return Ok(None);
        }
        let done = sqlx::query(
            "INSERT INTO outbox (turn_id, due_at) SELECT id, now() FROM turns \
             WHERE status = 'running' AND lease_until < clock_timestamp() - interval '200 milliseconds' \
             ON CONFLICT (turn_id) DO NOTHING",
        )
        .execute(&mut *connection)
        .await?;
        Ok(Some(done.rows_affected()))
    }

    /// Puts ready turns that have no entry into the outbox. None should exist.
    pub async fn enqueue_forgotten(&self) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "INSERT INTO outbox (turn_id, due_at) SELECT id, now() FROM turns t \
             WHERE status = 'queued' AND ready_at < now() - interval '10 seconds' \
               AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.turn_id = t.id) \
             ON CONFLICT (turn_id) DO NOTHING",
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Ready turns that no worker has taken for too long.
    pub async fn overdue_turns(&self, longest_wait: Duration) -> Result<Vec<Turn>, StoreError> {
        let rows: Vec<TurnRow> = sqlx::query_as(concat!(
            "SELECT ",
            turn_columns!(),
            " FROM turns t WHERE t.status = 'queued' AND t.ready_at < now() - $1 ORDER BY t.ready_at LIMIT 100"
        ))
        .bind(interval(longest_wait))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Turn::from).collect())
    }

    /// Running turns whose user has waited too long for their stop.
    pub async fn uncancelled_turns(&self, patience: Duration) -> Result<Vec<Turn>, StoreError> {
        let rows: Vec<TurnRow> = sqlx::query_as(concat!(
            "SELECT ",
            turn_columns!(),
            " FROM turns t WHERE t.status = 'running' AND t.cancel_requested_at < now() - $1 LIMIT 100"
        ))
        .bind(interval(patience))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Turn::from).collect())
    }

    /// Ended turns whose stream may lack its last chunk.
    pub async fn unsealed_turns(&self, settled: Duration) -> Result<Vec<Turn>, StoreError> {
        let rows: Vec<TurnRow> = sqlx::query_as(concat!(
            "SELECT ",
            turn_columns!(),
            " FROM turns t WHERE NOT t.sealed AND t.finished_at IS NOT NULL AND t.finished_at < now() - $1 \
             ORDER BY t.finished_at LIMIT 100"
        ))
        .bind(interval(settled))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Turn::from).collect())
    }

    /// Notes that streams have their last chunk.
    pub async fn note_sealed(&self, turns: &[TurnId]) -> Result<(), StoreError> {
        sqlx::query("UPDATE turns SET sealed = true WHERE id = ANY ($1) AND finished_at IS NOT NULL")
            .bind(turns)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Lets run what waits behind nothing. None should exist. Returns what is to be published.
    pub async fn promote_stuck(&self) -> Result<Vec<TurnId>, StoreError> {
        let stuck: Vec<StuckSession> = sqlx::query_as(
            "SELECT DISTINCT ON (w.session_id) w.session_id, w.user_id FROM turns w \
             WHERE w.status = 'queued' AND w.ready_at IS NULL AND w.created_at < now() - interval '5 seconds' \
               AND NOT EXISTS (SELECT 1 FROM turns b WHERE b.session_id = w.session_id \
                   AND b.ready_at IS NOT NULL AND b.status IN ('queued', 'running')) LIMIT 100",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut next = Vec::new();
        for StuckSession { session_id, user_id } in stuck {
            let mut tx = self.begin_for(user_id.as_ref()).await?;
            sqlx::query("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE").bind(session_id).execute(&mut *tx).await?;
            next.extend(self.promote(&mut tx, session_id, user_id.as_ref()).await?);
            tx.commit().await?;
        }
        Ok(next)
    }

    /// Forgets idempotency keys that are older than their promise.
    pub async fn forget_old_keys(&self) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM idempotency_keys WHERE created_at < now() - interval '25 hours'")
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
