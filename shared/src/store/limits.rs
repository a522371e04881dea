//! Limits that admins have set for single users.

use sqlx::FromRow;

use super::{Store, StoreError};
use crate::id::UserId;

/// What an admin has set for a user, in weighted tokens: 0 for no limit, `None` for everybody's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub struct LimitOverride {
    /// In a day.
    #[sqlx(rename = "daily_tokens")]
    pub daily: Option<i64>,
    /// In a week.
    #[sqlx(rename = "weekly_tokens")]
    pub weekly: Option<i64>,
}

impl Store {
    /// What was set for a user; nothing for most.
    pub async fn limit_override(&self, user: &UserId) -> Result<LimitOverride, StoreError> {
        let own: Option<LimitOverride> =
            sqlx::query_as("SELECT daily_tokens, weekly_tokens FROM user_limits WHERE user_id = $1")
                .bind(user)
                .fetch_optional(&self.pool)
                .await?;
        Ok(own.unwrap_or_default())
    }

    /// Sets it.
    pub async fn set_limit_override(&self, user: &UserId, own: LimitOverride) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO user_limits (user_id, daily_tokens, weekly_tokens) VALUES ($1, $2, $3) \
             ON CONFLICT (user_id) DO UPDATE SET daily_tokens = excluded.daily_tokens, \
                 weekly_tokens = excluded.weekly_tokens, updated_at = now()",
        )
        .bind(user)
        .bind(own.daily)
        .bind(own.weekly)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
