//! The queue of a session: messages that wait behind its running turn.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::types::Json;

use super::rows::StoredParts;
use super::{Store, StoreError};
use crate::id::{SessionId, TurnId};
use crate::message::{Part, text_of};

/// A message that waits.
#[derive(Debug, Clone)]
pub struct QueuedMessage {
    /// Its turn.
    pub turn_id: TurnId,
    /// Its place; 1 is next.
    pub position: i64,
    /// What it says.
    pub message: String,
    /// The files that belong to it, as [`Part::File`].
    pub files: Vec<Part>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct QueuedRow {
    id: TurnId,
    created_at: DateTime<Utc>,
    parts: Json<StoredParts>,
}

impl Store {
    /// What waits in a session, in order.
    pub async fn list_queue(&self, session: SessionId) -> Result<Vec<QueuedMessage>, StoreError> {
        let rows: Vec<QueuedRow> = sqlx::query_as(
            "SELECT t.id, t.created_at, m.parts FROM turns t JOIN messages m ON m.id = t.message_id \
             WHERE t.session_id = $1 AND t.status = 'queued' AND t.ready_at IS NULL ORDER BY t.priority DESC, t.number",
        )
        .bind(session)
        .fetch_all(&self.pool)
        .await?;
        let queue = rows.into_iter().zip(1..).map(|(row, position)| {
            let StoredParts(parts) = row.parts.0;
            QueuedMessage {
                turn_id: row.id,
                position,
                message: text_of(&parts),
                files: parts.into_iter().filter(|part| matches!(part, Part::File { .. })).collect(),
                created_at: row.created_at,
            }
        });
        Ok(queue.collect())
    }

    /// Changes the text of a message that waits; false if it no longer does. One that was answered
    /// before and waits to be answered again is written anew by a submit instead.
    pub async fn edit_queued(&self, session: SessionId, turn: TurnId, text: &str) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        // The lock keeps the turn from being promoted, and so from being answered, in between.
        let parts: Option<Json<StoredParts>> = sqlx::query_scalar(
            "SELECT m.parts FROM turns t JOIN messages m ON m.id = t.message_id \
             WHERE t.id = $1 AND t.session_id = $2 AND t.status = 'queued' AND t.ready_at IS NULL \
               AND t.regenerates IS NULL FOR UPDATE OF t",
        )
        .bind(turn)
        .bind(session)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(Json(StoredParts(parts))) = parts else { return Ok(false) };
        sqlx::query("UPDATE messages m SET parts = $2 FROM turns t WHERE t.id = $1 AND m.id = t.message_id")
            .bind(turn)
            .bind(Json(with_text(parts, text)))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// The same parts with another text.
fn with_text(parts: Vec<Part>, text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = parts.into_iter().filter(|part| !matches!(part, Part::Text { .. })).collect();
    parts.push(Part::Text { id: None, text: text.to_owned() });
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_replaces_the_text_and_keeps_the_context() {
        let context = Part::Context { url: "u".into(), content: "c".into() };
        let old = vec![context.clone(), Part::Text { id: None, text: "a".into() }];
        assert_eq!(with_text(old, "b"), vec![context, Part::Text { id: None, text: "b".into() }]);
    }
}
