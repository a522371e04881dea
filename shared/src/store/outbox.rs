//! The outbox: ready turns that no worker has claimed yet.

use super::{Store, StoreError, interval};
use crate::id::TurnId;

impl Store {
    /// Takes entries that are due, and puts each off: by the lease after the first publication,
    /// then by twice as long each time, so that a long backlog is not published over and over.
    pub async fn take_due(&self, limit: i64) -> Result<Vec<TurnId>, StoreError> {
        let due = sqlx::query_scalar(
            "UPDATE outbox o SET publishes = o.publishes + 1, due_at = now() + $2 * power(2, least(o.publishes, 5)) \
             FROM (SELECT turn_id FROM outbox WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) AS due \
             WHERE o.turn_id = due.turn_id RETURNING o.turn_id",
        )
        .bind(limit)
        .bind(interval(self.settings.lease))
        .fetch_all(&self.pool)
        .await?;
        Ok(due)
    }

    /// Notes that turns were published; those that are claimed already have no entry any more.
    pub async fn note_published(&self, turns: &[TurnId]) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET publishes = publishes + 1, due_at = now() + $2 WHERE turn_id = ANY ($1)")
            .bind(turns)
            .bind(interval(self.settings.lease))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Makes entries due again whose publication failed.
    pub async fn note_unpublished(&self, turns: &[TurnId]) -> Result<(), StoreError> {
        sqlx::query("UPDATE outbox SET due_at = now() + interval '500 milliseconds' WHERE turn_id = ANY ($1)")
            .bind(turns)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
