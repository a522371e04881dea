//! The to-do list of each session. It is written as a whole.

use sqlx::types::Json;

use super::{Fence, Fenced, Store, StoreError};
use crate::id::SessionId;
use crate::tool::plain::Todo;

impl Store {
    /// What a session's model wants to do; nothing if it never said.
    pub async fn todos(&self, session: SessionId) -> Result<Vec<Todo>, StoreError> {
        let row: Option<Json<Vec<Todo>>> = sqlx::query_scalar("SELECT todos FROM todo_lists WHERE session_id = $1")
            .bind(session)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.0).unwrap_or_default())
    }

    /// Replaces a session's to-do list.
    pub async fn save_todos(&self, fence: Fence, session: SessionId, todos: &[Todo]) -> Result<(), Fenced> {
        let mut tx = self.begin_fenced(fence).await?;
        sqlx::query(
            "INSERT INTO todo_lists (session_id, todos) VALUES ($1, $2) \
             ON CONFLICT (session_id) DO UPDATE SET todos = excluded.todos, updated_at = now()",
        )
        .bind(session)
        .bind(Json(todos))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
