//! The outbox: ready turns that no worker has claimed yet.

use super::{Store, StoreError, interval};
use crate::id::TurnId;

impl Store {
    /// Takes entries that are due, and puts each off: by the lease after the first publication,
    /// then by twice as long each time, so that a long backlog is not published over and over.
    /// A turn whose lease has lapsed is at first published twice a second: its message may be
    /// given to the very worker that hangs, and each time its viewers wait for the next one.
    /// Entries of ended turns go: a turn can end while it is found to have lapsed.
    pub async fn take_due(&self, limit: i64) -> Result<Vec<TurnId>, StoreError> {
        let due = sqlx::query_scalar(
            "WITH due AS (SELECT o.turn_id, t.finished_at IS NOT NULL AS ended, \
                     t.status = 'running' AS lapsed FROM outbox o JOIN turns t ON t.id = o.turn_id \
                 WHERE o.due_at <= now() ORDER BY o.due_at LIMIT $1 FOR UPDATE OF o SKIP LOCKED), \
             gone AS (DELETE FROM outbox WHERE turn_id IN (SELECT turn_id FROM due WHERE ended)) \
             UPDATE outbox o SET publishes = o.publishes + 1, \
                 due_at = now() + CASE WHEN due.lapsed AND o.publishes < 4 THEN interval '400 milliseconds' \
                     ELSE $2 * power(2, least(o.publishes - CASE WHEN due.lapsed THEN 4 ELSE 0 END, 5)) END FROM due \
             WHERE o.turn_id = due.turn_id AND NOT due.ended RETURNING o.turn_id",
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

    /// Makes entries due again whose publication failed. It does not count: what counts puts the
    /// next one off, and after a long outage of the broker that would be for minutes.
    pub async fn note_unpublished(&self, turns: &[TurnId]) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE outbox SET publishes = greatest(publishes - 1, 0), due_at = now() + interval '500 milliseconds' \
             WHERE turn_id = ANY ($1)",
        )
        .bind(turns)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
