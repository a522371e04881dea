//! Records of turns, and what of a session is in flight.

use sqlx::FromRow;

use super::rows::{TurnRow, turn_columns};
use super::{DISPATCH_GRACE, Store, StoreError, Tx, interval};
use crate::id::{MessageId, SessionId, TurnId, UserId};
use crate::turn::{Turn, TurnStatus};

/// The turn of a session that a client would follow.
#[derive(Debug, Clone, FromRow)]
pub struct ActiveTurn {
    /// The turn.
    pub id: TurnId,
    /// Queued or running.
    pub status: TurnStatus,
    /// The newest message of the conversation that is already in the history.
    pub last_message_id: Option<MessageId>,
}

impl Store {
    /// A turn of a session.
    pub async fn find_turn(&self, session: SessionId, turn: TurnId) -> Result<Option<Turn>, StoreError> {
        let row: Option<TurnRow> =
            sqlx::query_as(concat!("SELECT ", turn_columns!(), " FROM turns t WHERE t.id = $1 AND t.session_id = $2"))
                .bind(turn)
                .bind(session)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(Turn::from))
    }

    /// A turn, whoever's it is: for workers and the reconciler, never for a request.
    pub async fn turn_of_any_session(&self, turn: TurnId) -> Result<Option<Turn>, StoreError> {
        let row: Option<TurnRow> = sqlx::query_as(concat!("SELECT ", turn_columns!(), " FROM turns t WHERE t.id = $1"))
            .bind(turn)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(Turn::from))
    }

    /// A session's turns, newest first.
    pub async fn list_turns(&self, session: SessionId, limit: i64) -> Result<Vec<Turn>, StoreError> {
        let rows: Vec<TurnRow> = sqlx::query_as(concat!(
            "SELECT ",
            turn_columns!(),
            " FROM turns t WHERE t.session_id = $1 ORDER BY t.number DESC LIMIT $2"
        ))
        .bind(session)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Turn::from).collect())
    }

    /// What a client of the session would follow: the running turn, else the next one.
    pub async fn active_turn(&self, session: SessionId) -> Result<Option<ActiveTurn>, StoreError> {
        let active = sqlx::query_as(
            "SELECT t.id, t.status, (SELECT m.id FROM messages m WHERE m.session_id = $1 AND m.superseded_at IS NULL \
                 AND m.sequence IS NOT NULL ORDER BY m.sequence DESC LIMIT 1) AS last_message_id \
             FROM turns t WHERE t.session_id = $1 AND t.status IN ('queued', 'running') \
             ORDER BY t.ready_at IS NULL, t.priority DESC, t.number LIMIT 1",
        )
        .bind(session)
        .fetch_optional(&self.pool)
        .await?;
        Ok(active)
    }

    /// Where a turn waits: 1 is next; 0 if it does not wait.
    pub async fn position(&self, turn: TurnId) -> Result<i64, StoreError> {
        let position = sqlx::query_scalar(
            "SELECT count(*) FROM turns t JOIN turns w ON w.id = $1 AND w.status = 'queued' AND w.ready_at IS NULL \
             WHERE t.session_id = w.session_id AND t.status = 'queued' AND t.ready_at IS NULL \
               AND (t.priority, -t.number) >= (w.priority, -w.number)",
        )
        .bind(turn)
        .fetch_one(&self.pool)
        .await?;
        Ok(position)
    }

    /// Lets wait no longer than needed: the next turn of the session, and those of the user's
    /// other sessions that only their cap held back. Returns what is to be published.
    pub(super) async fn promote(
        &self,
        tx: Tx<'_>,
        session: SessionId,
        user: Option<&UserId>,
    ) -> Result<Vec<TurnId>, StoreError> {
        let cap = if user.is_some() { self.settings.max_running } else { 0 };
        let promoted = sqlx::query_scalar(
            "WITH room AS (SELECT CASE WHEN $3 = 0 THEN 1000 ELSE greatest(0, $3 - (SELECT count(*) FROM turns \
                 WHERE user_id = $2 AND status IN ('queued', 'running') AND ready_at IS NOT NULL)) END AS turns), \
             heads AS (SELECT DISTINCT ON (w.session_id) w.id, w.number FROM turns w \
                 WHERE w.status = 'queued' AND w.ready_at IS NULL AND (w.session_id = $1 OR w.user_id = $2) \
                   AND NOT EXISTS (SELECT 1 FROM turns b WHERE b.session_id = w.session_id \
                       AND b.ready_at IS NOT NULL AND b.status IN ('queued', 'running')) \
                 ORDER BY w.session_id, w.priority DESC, w.number), \
             picked AS (SELECT id FROM heads ORDER BY number LIMIT (SELECT turns FROM room)), \
             promoted AS (UPDATE turns t SET ready_at = now() FROM picked \
                 WHERE t.id = picked.id AND t.status = 'queued' AND t.ready_at IS NULL \
                 RETURNING t.id, t.session_id, t.message_id), \
             places AS (UPDATE sessions s SET next_sequence = next_sequence + 1, updated_at = now() FROM promoted p \
                 WHERE s.id = p.session_id RETURNING s.id, s.next_sequence - 1 AS sequence), \
             placed AS (UPDATE messages m SET sequence = places.sequence FROM promoted p \
                 JOIN places ON places.id = p.session_id WHERE m.id = p.message_id AND m.sequence IS NULL), \
             boxed AS (INSERT INTO outbox (turn_id, due_at) SELECT id, now() + $4 FROM promoted) \
             SELECT id FROM promoted",
        )
        .bind(session)
        .bind(user)
        .bind(cap)
        .bind(interval(DISPATCH_GRACE))
        .fetch_all(&mut **tx)
        .await?;
        Ok(promoted)
    }
}
