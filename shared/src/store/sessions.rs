//! Sessions: made, found by their caller alone, listed, named, claimed, deleted.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::rows::SessionRow;
use super::submit::key_owner;
use super::{Store, StoreError};
use crate::id::{SessionId, UserId};
use crate::session::{Caller, Session, Title};

/// A session in a list.
#[derive(Debug, Clone, FromRow)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// Its name.
    pub title: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When something last happened in it.
    pub updated_at: DateTime<Utc>,
    /// Is a turn of it in flight?
    pub is_processing: bool,
}

/// Why a session was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimSessionError {
    /// There is no such session for this user, and it is not anonymous.
    #[error("no such session")]
    NotFound,
    /// It is anonymous, and the token is wrong or missing.
    #[error("the claim token does not fit")]
    WrongToken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a user's row on first sight.
    pub async fn ensure_user(&self, user: &UserId) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING").bind(user).execute(&self.pool).await?;
        Ok(())
    }

    /// Makes a session for a caller.
    pub async fn create_session(&self, id: SessionId, owner: &Caller) -> Result<Session, StoreError> {
        if let Some(user) = owner.user_id() {
            self.ensure_user(user).await?;
        }
        let row: SessionRow = sqlx::query_as(
            "INSERT INTO sessions AS s (id, user_id, claim_token_hash) VALUES ($1, $2, $3) RETURNING s.*",
        )
        .bind(id)
        .bind(owner.user_id())
        .bind(owner.claim_hash())
        .fetch_one(&self.pool)
        .await?;
        Ok(row.into())
    }

    /// A session, if it is the caller's.
    pub async fn find_session(&self, id: SessionId, caller: &Caller) -> Result<Option<Session>, StoreError> {
        let row: Option<SessionRow> =
            sqlx::query_as("SELECT * FROM sessions WHERE id = $1 AND (user_id = $2 OR claim_token_hash = $3)")
                .bind(id)
                .bind(caller.user_id())
                .bind(caller.claim_hash())
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(Session::from))
    }

    /// A page of a user's sessions, newest updated first, and how many there are.
    pub async fn list_sessions(
        &self,
        user: &UserId,
        limit: i64,
        offset: i64,
    ) -> Result<(Vec<SessionSummary>, i64), StoreError> {
        let sessions = sqlx::query_as(
            "SELECT s.id, s.title, s.created_at, s.updated_at, \
                    EXISTS (SELECT 1 FROM turns t WHERE t.session_id = s.id AND t.status IN ('queued', 'running')) AS is_processing \
             FROM sessions s WHERE s.user_id = $1 ORDER BY s.updated_at DESC, s.id DESC LIMIT $2 OFFSET $3",
        )
        .bind(user)
        .bind(limit)
        .bind(offset)
        .fetch_all(&self.pool)
        .await?;
        let total = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE user_id = $1")
            .bind(user)
            .fetch_one(&self.pool)
            .await?;
        Ok((sessions, total))
    }

    /// Names a session; false if it is not the caller's.
    pub async fn rename_session(&self, id: SessionId, caller: &Caller, title: &Title) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE sessions SET title = $4, updated_at = now() WHERE id = $1 AND (user_id = $2 OR claim_token_hash = $3)",
        )
        .bind(id)
        .bind(caller.user_id())
        .bind(caller.claim_hash())
        .bind(title.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Names a session that has no name yet: a user's own title always wins.
    pub async fn title_if_untitled(&self, id: SessionId, title: &Title) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE sessions SET title = $2 WHERE id = $1 AND title IS NULL")
            .bind(id)
            .bind(title.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Is the session without a name, and is this its first message?
    pub async fn wants_title(&self, id: SessionId) -> Result<bool, StoreError> {
        let wants: Option<bool> = sqlx::query_scalar(
            "SELECT s.title IS NULL AND 1 = (SELECT count(*) FROM (SELECT 1 FROM messages m \
                 WHERE m.session_id = s.id AND m.role = 'user' AND m.superseded_at IS NULL LIMIT 2) AS first_two) \
             FROM sessions s WHERE s.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        Ok(wants.unwrap_or(false))
    }

    /// Deletes a session with its messages and turns; false if it is not the caller's.
    pub async fn delete_session(&self, id: SessionId, caller: &Caller) -> Result<bool, StoreError> {
        let mut tx = self.begin_for(caller.user_id()).await?;
        // Running turns before their session: the order of every writer.
        sqlx::query("SELECT 1 FROM turns WHERE session_id = $1 AND status IN ('queued', 'running') FOR UPDATE")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        let done = sqlx::query("DELETE FROM sessions WHERE id = $1 AND (user_id = $2 OR claim_token_hash = $3)")
            .bind(id)
            .bind(caller.user_id())
            .bind(caller.claim_hash())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Those of `ids` that exist.
    pub async fn sessions_among(&self, ids: &[SessionId]) -> Result<HashSet<SessionId>, StoreError> {
        let found: Vec<SessionId> =
            sqlx::query_scalar("SELECT id FROM sessions WHERE id = ANY ($1)").bind(ids).fetch_all(&self.pool).await?;
        Ok(found.into_iter().collect())
    }

    /// Makes an anonymous session a user's, once, with what is in flight in it. The owner's own call
    /// changes nothing.
    pub async fn claim_session(
        &self,
        id: SessionId,
        user: &UserId,
        token_hash: Option<&[u8]>,
    ) -> Result<(), ClaimSessionError> {
        self.ensure_user(user).await?;
        if let Some(hash) = token_hash {
            self.hand_over(id, user, hash).await?;
        }
        let owner: Option<Option<UserId>> = sqlx::query_scalar("SELECT user_id FROM sessions WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(StoreError::from)?;
        match owner {
            Some(Some(owner)) if &owner == user => Ok(()),
            // Anonymous ids cannot be guessed, so saying that one exists reveals nothing.
            Some(None) => Err(ClaimSessionError::WrongToken),
            Some(Some(_)) | None => Err(ClaimSessionError::NotFound),
        }
    }

    /// Gives a session to a user if the token fits: its turns count against the user from now on,
    /// and a submit that is sent again is still known. Of two at once, one finds the token gone.
    async fn hand_over(&self, id: SessionId, user: &UserId, token_hash: &[u8]) -> Result<(), StoreError> {
        let mut tx = self.begin_for(Some(user)).await?;
        // Running turns before their session: the order of every writer.
        sqlx::query("SELECT 1 FROM turns WHERE session_id = $1 AND status IN ('queued', 'running') FOR UPDATE")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        let claimed = sqlx::query(
            "UPDATE sessions SET user_id = $2, claim_token_hash = NULL WHERE id = $1 AND claim_token_hash = $3",
        )
        .bind(id)
        .bind(user)
        .bind(token_hash)
        .execute(&mut *tx)
        .await?;
        if claimed.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::query("UPDATE turns SET user_id = $2 WHERE session_id = $1")
            .bind(id)
            .bind(user)
            .execute(&mut *tx)
            .await?;
        // A key that the user has used for something else keeps that meaning.
        sqlx::query(
            "UPDATE idempotency_keys k SET owner = $2 WHERE owner = $1 AND NOT EXISTS \
                 (SELECT 1 FROM idempotency_keys taken WHERE taken.owner = $2 AND taken.key = k.key)",
        )
        .bind(key_owner(id, None))
        .bind(key_owner(id, Some(user)))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }
}
