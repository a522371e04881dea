//! What stands for the older messages of a long conversation when the model reads it.

use sqlx::FromRow;
use sqlx::types::Json;

use super::rows::StoredParts;
use super::{Fenced, Store, StoreError};
use crate::id::{SessionId, TurnId};
use crate::message::{HistoryMessage, Role};
use crate::turn::Attempt;

#[derive(FromRow)]
struct PlacedRow {
    sequence: i64,
    role: Role,
    parts: Json<StoredParts>,
}

impl Store {
    /// The newest `limit` messages of a conversation, oldest first, as the model reads them: the
    /// latest summary, as the system's word, then what followed it.
    pub async fn history(&self, session: SessionId, limit: i64) -> Result<Vec<HistoryMessage>, StoreError> {
        Ok(self.history_with_places(session, limit).await?.into_iter().map(|(_, message)| message).collect())
    }

    /// [`Self::history`], each message with its sequence number; a summary has that of the last
    /// message that it stands for.
    pub async fn history_with_places(
        &self,
        session: SessionId,
        limit: i64,
    ) -> Result<Vec<(i64, HistoryMessage)>, StoreError> {
        let rows: Vec<PlacedRow> = sqlx::query_as(
            "WITH s AS (SELECT up_to, summary FROM context_summaries WHERE session_id = $1 ORDER BY up_to DESC LIMIT 1), \
             m AS (SELECT sequence, role, parts FROM messages WHERE session_id = $1 \
                 AND superseded_at IS NULL AND sequence > coalesce((SELECT up_to FROM s), 0) ORDER BY sequence DESC LIMIT $2) \
             SELECT up_to AS sequence, 'system'::message_role AS role, \
                 jsonb_build_array(jsonb_build_object('type', 'text', 'text', summary)) AS parts FROM s \
             UNION ALL SELECT sequence, role, parts FROM m ORDER BY sequence",
        )
        .bind(session)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let placed =
            rows.into_iter().map(|row| (row.sequence, HistoryMessage { role: row.role, parts: row.parts.0.0 }));
        Ok(placed.collect())
    }

    /// Lets a summary stand for the messages up to a sequence number, under the fence of the
    /// attempt that made it. A later one replaces it. A turn that is superseded leaves none behind:
    /// it has read what is no more.
    pub async fn save_summary(&self, turn: TurnId, attempt: Attempt, up_to: i64, summary: &str) -> Result<(), Fenced> {
        let done = sqlx::query(
            "WITH fence AS (SELECT id, session_id, superseded_by FROM turns \
                 WHERE id = $1 AND attempt = $2 AND status = 'running' FOR SHARE), \
             saved AS (INSERT INTO context_summaries (session_id, up_to, summary, turn_id) \
                 SELECT session_id, $3, $4, id FROM fence WHERE superseded_by IS NULL \
                 ON CONFLICT (session_id, up_to) DO UPDATE SET summary = excluded.summary, turn_id = excluded.turn_id) \
             SELECT 1 FROM fence",
        )
        .bind(turn)
        .bind(attempt)
        .bind(up_to)
        .bind(summary)
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(Fenced::Fenced) }
    }
}
