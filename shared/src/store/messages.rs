//! Messages: the pages that a client reads and the history that a model reads. Superseded ones are
//! in neither.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::types::Json;

use super::rows::{HistoryRow, StoredParts};
use super::{Store, StoreError};
use crate::id::{MessageId, SessionId, TurnId};
use crate::message::{HistoryMessage, Part, Role};
use crate::turn::TurnStatus;

/// A message with its place.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// The turn that it belongs to.
    pub turn_id: TurnId,
    /// Its place in the conversation.
    pub sequence: i64,
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part>,
    /// When it was saved.
    pub created_at: DateTime<Utc>,
    /// On the last message of an ended turn: how it ended and how long it took, in milliseconds.
    pub turn_end: Option<(TurnStatus, Option<i64>)>,
}

/// A page of messages, oldest first.
#[derive(Debug, Clone)]
pub struct MessagePage {
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Are there older ones?
    pub has_more: bool,
}

#[derive(FromRow)]
struct MessageRow {
    id: MessageId,
    turn_id: TurnId,
    sequence: i64,
    role: Role,
    parts: Json<StoredParts>,
    created_at: DateTime<Utc>,
    status: TurnStatus,
    duration_ms: Option<i64>,
    is_last: bool,
}

impl From<MessageRow> for StoredMessage {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id,
            turn_id: row.turn_id,
            sequence: row.sequence,
            role: row.role,
            parts: row.parts.0.0,
            created_at: row.created_at,
            turn_end: (row.is_last && row.status.is_terminal()).then_some((row.status, row.duration_ms)),
        }
    }
}

impl Store {
    /// The newest messages before a sequence number, or the newest of all.
    pub async fn message_page(
        &self,
        session: SessionId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<MessagePage, StoreError> {
        let mut rows: Vec<MessageRow> = sqlx::query_as(
            "SELECT m.id, m.turn_id, m.sequence, m.role, m.parts, m.created_at, t.status, \
                    (extract(epoch FROM t.finished_at - t.started_at) * 1000)::bigint AS duration_ms, \
                    NOT EXISTS (SELECT 1 FROM messages l WHERE l.turn_id = m.turn_id AND l.superseded_at IS NULL \
                        AND l.sequence > m.sequence) AS is_last \
             FROM messages m JOIN turns t ON t.id = m.turn_id \
             WHERE m.session_id = $1 AND m.superseded_at IS NULL AND m.sequence IS NOT NULL \
               AND ($2::bigint IS NULL OR m.sequence < $2) \
             ORDER BY m.sequence DESC LIMIT $3",
        )
        .bind(session)
        .bind(before)
        .bind(limit + 1)
        .fetch_all(&self.pool)
        .await?;
        let wanted = usize::try_from(limit).unwrap_or(0);
        let has_more = rows.len() > wanted;
        rows.truncate(wanted);
        Ok(MessagePage { messages: rows.into_iter().rev().map(StoredMessage::from).collect(), has_more })
    }

    /// The rows of one turn, in order, superseded ones included: they are what its stream tells.
    pub async fn turn_messages(&self, turn: TurnId) -> Result<Vec<HistoryMessage>, StoreError> {
        let rows: Vec<HistoryRow> = sqlx::query_as(
            "SELECT role, parts FROM messages WHERE turn_id = $1 AND sequence IS NOT NULL ORDER BY sequence",
        )
        .bind(turn)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| HistoryMessage { role: row.role, parts: row.parts.0.0 }).collect())
    }
}
