//! Paid resets of a user's day: each is written down in the transaction that takes the money, and
//! ended in the one that says that it was carried out, or gives the money back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::credits::{grant_in, spend_in};
use super::{GrantError, SpendError, Store, StoreError, interval};
use crate::credit::{Amount, Cents, Insufficient, Metadata, TransactionKey};
use crate::id::UserId;
use crate::usage::limits::TokenLimits;

/// How far a reset has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "usage_reset_status", rename_all = "lowercase")]
pub enum ResetStatus {
    /// It is paid, and not carried out as far as is known.
    Charged,
    /// It is carried out.
    Done,
    /// It was not carried out, and the money went back.
    Refunded,
}

/// A reset that is to be paid.
#[derive(Debug, Clone)]
pub struct NewReset {
    /// Which one.
    pub id: Uuid,
    /// Whose day.
    pub user: UserId,
    /// The client's key, or one of ours; 1 to 255 bytes.
    pub key: String,
    /// The moment whose day is reset.
    pub asked_at: DateTime<Utc>,
    /// The limits at that moment.
    pub limits: TokenLimits,
    /// What it costs.
    pub cost: Amount,
}

/// A reset that was paid.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PaidReset {
    /// Which one.
    pub id: Uuid,
    /// Whose day.
    #[sqlx(rename = "user_id")]
    pub user: UserId,
    /// The client's key, or one of ours.
    pub key: String,
    /// How far it has come.
    pub status: ResetStatus,
    /// The moment whose day is reset.
    pub asked_at: DateTime<Utc>,
    /// The daily limit at that moment.
    daily_limit: i64,
    /// The weekly limit at that moment.
    weekly_limit: i64,
    /// What was taken.
    pub cost: Cents,
    /// What was left.
    pub balance: Cents,
    /// What the week's counter said after it; absent until it is done.
    pub weekly_used: Option<i64>,
}

impl PaidReset {
    /// The limits when it was asked for.
    pub fn limits(&self) -> TokenLimits {
        TokenLimits { daily: self.daily_limit, weekly: self.weekly_limit }
    }
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    /// The balance does not cover it.
    #[error(transparent)]
    Insufficient(#[from] Insufficient),
    /// Another reset of the user is paid and not yet ended, or has this key.
    #[error("another reset is under way")]
    UnderWay,
    /// Nobody has credits here.
    #[error("credits are disabled")]
    Disabled,
    /// The store failed. It may be taken all the same: the reset is found then.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the money is not back yet.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// The ledger refuses.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a reset that was to be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refunded {
    /// The money is back.
    Back,
    /// It was carried out meanwhile; this is what the week's counter said.
    WasDone(i64),
}

impl From<sqlx::Error> for ChargeError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|e| e.constraint()) {
            Some("usage_resets_one_at_a_time" | "usage_resets_by_key") => Self::UnderWay,
            _ => Self::Store(error.into()),
        }
    }
}

impl From<SpendError> for ChargeError {
    fn from(error: SpendError) -> Self {
        match error {
            SpendError::Insufficient(insufficient) => Self::Insufficient(insufficient),
            // The key holds a random id.
            SpendError::Conflict => Self::UnderWay,
            SpendError::Store(error) => Self::Store(error),
        }
    }
}

/// The columns of [`PaidReset`].
macro_rules! reset_columns {
    () => {
        "id, user_id, key, status, asked_at, daily_limit, weekly_limit, cost, balance, weekly_used"
    };
}

impl Store {
    /// Takes what a reset costs and writes it down, or neither.
    pub async fn charge_reset(&self, new: &NewReset) -> Result<PaidReset, ChargeError> {
        let mut tx = self.pool.begin().await?;
        let metadata = Metadata::reason("CoPilot daily rate limit reset");
        let spent = spend_in(&mut tx, &new.user, new.cost, &key_of(new.id)?, &metadata).await?;
        let paid = sqlx::query_as(concat!(
            "INSERT INTO usage_resets (id, user_id, key, asked_at, daily_limit, weekly_limit, cost, balance) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ",
            reset_columns!()
        ))
        .bind(new.id)
        .bind(&new.user)
        .bind(&new.key)
        .bind(new.asked_at)
        .bind(new.limits.daily)
        .bind(new.limits.weekly.max(0))
        .bind(new.cost.cents())
        .bind(spent.balance)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(paid)
    }

    /// The reset of a user that a request with this key continues: the one that was done under the
    /// key, else one that is paid and not ended, whatever its key.
    pub async fn reset_to_continue(&self, user: &UserId, key: Option<&str>) -> Result<Option<PaidReset>, StoreError> {
        let found = sqlx::query_as(concat!(
            "SELECT ",
            reset_columns!(),
            " FROM usage_resets WHERE user_id = $1 AND status <> 'refunded' AND (status = 'charged' OR (key = $2 AND status = 'done')) \
             ORDER BY status DESC LIMIT 1"
        ))
        .bind(user)
        .bind(key)
        .fetch_optional(&self.pool)
        .await?;
        Ok(found)
    }

    /// Notes that a reset was carried out.
    pub async fn finish_reset(&self, id: Uuid, weekly_used: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE usage_resets SET status = 'done', weekly_used = $2, finished_at = now() WHERE id = $1 AND status = 'charged'",
        )
        .bind(id)
        .bind(weekly_used)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Gives the money back and ends the reset, or neither. Again, to no effect.
    pub async fn refund_reset(&self, paid: &PaidReset) -> Result<Refunded, RefundError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::from)?;
        let ended = sqlx::query(
            "UPDATE usage_resets SET status = 'refunded', finished_at = now() WHERE id = $1 AND status = 'charged'",
        )
        .bind(paid.id)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::from)?;
        if ended.rows_affected() == 0 {
            let done: Option<i64> = sqlx::query_scalar("SELECT weekly_used FROM usage_resets WHERE id = $1")
                .bind(paid.id)
                .fetch_one(&mut *tx)
                .await
                .map_err(StoreError::from)?;
            return Ok(done.map_or(Refunded::Back, Refunded::WasDone));
        }
        let amount = Amount::new(paid.cost.0).ok_or_else(|| broken("a reset that cost nothing"))?;
        let metadata = Metadata::reason("CoPilot daily rate limit reset failed");
        grant_in(&mut tx, &paid.user, amount, &key_of(paid.id)?.refund(), &metadata).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(Refunded::Back)
    }

    /// Resets that were paid so long ago and are not ended, oldest first.
    pub async fn unfinished_resets(&self, age: Duration) -> Result<Vec<PaidReset>, StoreError> {
        let found = sqlx::query_as(concat!(
            "SELECT ",
            reset_columns!(),
            " FROM usage_resets WHERE status = 'charged' AND created_at < now() - $1 ORDER BY created_at LIMIT 20"
        ))
        .bind(interval(age))
        .fetch_all(&self.pool)
        .await?;
        Ok(found)
    }
}

/// What makes a reset's spend happen once.
fn key_of(reset: Uuid) -> Result<TransactionKey, StoreError> {
    TransactionKey::new("reset", &reset.to_string()).ok_or_else(|| broken("a reset's id is no key"))
}

fn broken(what: &str) -> StoreError {
    StoreError::Broken(sqlx::Error::Protocol(what.to_owned()))
}
