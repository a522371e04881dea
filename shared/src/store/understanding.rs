//! What is known of each user. News are merged under the lock of the user's row, so that two who
//! learn at once lose nothing.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{Fence, Fenced, Store, StoreError, Tx};
use crate::id::UserId;
use crate::understanding::{Learned, SuggestedPrompts, Understanding};

/// The task to suggest prompts to a user.
#[derive(Debug, Clone)]
pub struct Suggesting {
    /// What is known of them.
    pub known: Understanding,
    taken_at: DateTime<Utc>,
}

impl Store {
    /// What is known of a user; nothing of one who is unknown.
    pub async fn understanding(&self, user: &UserId) -> Result<Understanding, StoreError> {
        let row: Option<Json<Understanding>> =
            sqlx::query_scalar("SELECT understanding FROM user_understandings WHERE user_id = $1")
                .bind(user)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|row| row.0).unwrap_or_default())
    }

    /// Takes in what was learned of a known user. Safe to repeat: learning the same again changes
    /// nothing.
    pub async fn merge_understanding(&self, user: &UserId, learned: Learned) -> Result<Understanding, StoreError> {
        let mut tx = self.pool.begin().await?;
        let merged = merge(&mut tx, user, learned).await?;
        tx.commit().await?;
        Ok(merged)
    }

    /// The same on behalf of a turn.
    pub async fn learn(&self, fence: Fence, user: &UserId, learned: Learned) -> Result<Understanding, Fenced> {
        let mut tx = self.begin_fenced(fence).await?;
        let merged = merge(&mut tx, user, learned).await?;
        tx.commit().await?;
        Ok(merged)
    }

    /// Takes the task to suggest prompts from what is known of a user, if nobody has it: one asks at
    /// a time, and one who failed holds the next one up for a day or until something new is known.
    pub async fn take_suggesting(&self, user: &UserId) -> Result<Option<Suggesting>, StoreError> {
        let row: Option<(Json<Understanding>, DateTime<Utc>)> = sqlx::query_as(
            "UPDATE user_understandings SET suggested_at = clock_timestamp() \
             WHERE user_id = $1 AND (suggested_at IS NULL OR suggested_at < now() - interval '1 day') \
             RETURNING understanding, suggested_at",
        )
        .bind(user)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(known, taken_at)| Suggesting { known: known.0, taken_at }))
    }

    /// Saves the prompts of a task; false if something new is known since it was taken, or if
    /// everything was forgotten.
    pub async fn save_suggestions(
        &self,
        user: &UserId,
        task: &Suggesting,
        prompts: &SuggestedPrompts,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE user_understandings SET understanding = jsonb_set(understanding, '{suggested_prompts}', $3), \
                    updated_at = now() \
             WHERE user_id = $1 AND suggested_at = $2",
        )
        .bind(user)
        .bind(task.taken_at)
        .bind(Json(prompts))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets everything that is known of a user.
    pub async fn forget_understanding(&self, user: &UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM user_understandings WHERE user_id = $1").bind(user).execute(&self.pool).await?;
        Ok(())
    }
}

async fn merge(tx: Tx<'_>, user: &UserId, learned: Learned) -> Result<Understanding, StoreError> {
    // One statement makes the row or locks it: two first merges must not both begin with nothing.
    let Json(known): Json<Understanding> = sqlx::query_scalar(
        "INSERT INTO user_understandings (user_id) VALUES ($1) \
         ON CONFLICT (user_id) DO UPDATE SET updated_at = now() RETURNING understanding",
    )
    .bind(user)
    .fetch_one(&mut **tx)
    .await?;
    let merged = known.merge(learned);
    // Whoever was asked for prompts before did not know this.
    sqlx::query("UPDATE user_understandings SET understanding = $2, suggested_at = NULL WHERE user_id = $1")
        .bind(user)
        .bind(Json(&merged))
        .execute(&mut **tx)
        .await?;
    Ok(merged)
}
