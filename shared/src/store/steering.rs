//! Messages for a turn that runs already: it takes them up at its next step boundary.
//!
//! Until then such a message waits as a turn of its own, so that nothing is lost if no step
//! follows: it is then simply the next turn. Taking it up moves the message into the running turn
//! and removes the turn that was never to be.

use sqlx::FromRow;

use super::{Fenced, Store};
use crate::id::{MessageId, SessionId, TurnId};
use crate::turn::Attempt;

#[derive(FromRow)]
struct SteeringRow {
    id: TurnId,
    message_id: MessageId,
}

impl Store {
    /// Makes the messages that steer a turn part of it. Returns the turns that they waited as, which
    /// are no more.
    pub async fn take_steering(&self, turn: TurnId, attempt: Attempt) -> Result<Vec<TurnId>, Fenced> {
        let waits: Option<bool> = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM turns s WHERE s.steers = t.id AND s.status = 'queued' AND s.ready_at IS NULL) \
             FROM turns t WHERE t.id = $1 AND t.attempt = $2 AND t.status = 'running'",
        )
        .bind(turn)
        .bind(attempt)
        .fetch_optional(&self.pool)
        .await?;
        match waits {
            None => Err(Fenced::Fenced),
            Some(false) => Ok(Vec::new()),
            Some(true) => self.move_steering(turn, attempt).await,
        }
    }

    async fn move_steering(&self, turn: TurnId, attempt: Attempt) -> Result<Vec<TurnId>, Fenced> {
        let mut tx = self.pool.begin().await?;
        let session: Option<SessionId> = sqlx::query_scalar(
            "SELECT session_id FROM turns WHERE id = $1 AND attempt = $2 AND status = 'running' FOR UPDATE",
        )
        .bind(turn)
        .bind(attempt)
        .fetch_optional(&mut *tx)
        .await?;
        let session = session.ok_or(Fenced::Fenced)?;
        sqlx::query("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE").bind(session).execute(&mut *tx).await?;
        let steering: Vec<SteeringRow> = sqlx::query_as(
            "SELECT id, message_id FROM turns WHERE steers = $1 AND status = 'queued' AND ready_at IS NULL \
             ORDER BY number FOR UPDATE",
        )
        .bind(turn)
        .fetch_all(&mut *tx)
        .await?;
        for row in &steering {
            sqlx::query(
                "WITH place AS (UPDATE sessions SET next_sequence = next_sequence + 1, updated_at = now() WHERE id = $1 \
                     RETURNING next_sequence - 1 AS sequence), \
                 said AS (UPDATE messages m SET turn_id = $2, sequence = place.sequence FROM place WHERE m.id = $4) \
                 UPDATE idempotency_keys SET turn_id = $2 WHERE turn_id = $3",
            )
            .bind(session)
            .bind(turn)
            .bind(row.id)
            .bind(row.message_id)
            .execute(&mut *tx)
            .await?;
            sqlx::query("DELETE FROM turns WHERE id = $1").bind(row.id).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(steering.into_iter().map(|row| row.id).collect())
    }
}
