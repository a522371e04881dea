//! What is known of each user. News are merged under the lock of the user's row, so that two who
//! learn at once lose nothing.

use sqlx::types::Json;

use super::{Store, StoreError};
use crate::id::UserId;
use crate::understanding::{Learned, Understanding};

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
        // One statement makes the row or locks it: two first merges must not both begin with nothing.
        let Json(known): Json<Understanding> = sqlx::query_scalar(
            "INSERT INTO user_understandings (user_id) VALUES ($1) \
             ON CONFLICT (user_id) DO UPDATE SET updated_at = now() RETURNING understanding",
        )
        .bind(user)
        .fetch_one(&mut *tx)
        .await?;
        let merged = known.merge(learned);
        sqlx::query("UPDATE user_understandings SET understanding = $2, updated_at = now() WHERE user_id = $1")
            .bind(user)
            .bind(Json(&merged))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(merged)
    }

    /// Forgets everything that is known of a user.
    pub async fn forget_understanding(&self, user: &UserId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM user_understandings WHERE user_id = $1").bind(user).execute(&self.pool).await?;
        Ok(())
    }
}
