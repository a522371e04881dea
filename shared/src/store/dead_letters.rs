//! Dead letters: kept once, listed without loss, replayed.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Store, StoreError};
use crate::dead_letter::DeadLetter;
use crate::id::{DeadLetterId, TurnId, UserId};

/// How much of a body a list shows, in bytes.
const EXCERPT: i32 = 2_000;

/// A dead letter in a list.
#[derive(Debug, Clone, FromRow)]
pub struct DeadLetterSummary {
    /// Its id.
    pub id: DeadLetterId,
    /// Its place in the order of arrival.
    pub number: i64,
    /// The turn that it names.
    pub turn_id: Option<TurnId>,
    /// Why nobody could handle it.
    pub reason: String,
    /// When it was given up.
    pub at: DateTime<Utc>,
    /// The first bytes of the message's body.
    pub excerpt: Vec<u8>,
    /// How long the body is, in bytes.
    pub body_bytes: i32,
}

/// A dead letter, whole.
#[derive(Debug, Clone, FromRow)]
pub struct KeptDeadLetter {
    /// The turn that it names.
    pub turn_id: Option<TurnId>,
    /// The message's body.
    pub body: Vec<u8>,
    /// When it was published again.
    pub replayed_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Keeps a letter, however often it arrives.
    pub async fn keep_dead_letter(&self, letter: &DeadLetter) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO dead_letters (id, turn_id, reason, body, at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(letter.id)
        .bind(letter.turn_id)
        .bind(&letter.reason)
        .bind(&letter.body)
        .bind(letter.at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The letters that were not replayed, newest first.
    pub async fn list_dead_letters(
        &self,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<DeadLetterSummary>, StoreError> {
        let letters = sqlx::query_as(
            "SELECT id, number, turn_id, reason, at, substring(body FOR $3) AS excerpt, octet_length(body) AS body_bytes \
             FROM dead_letters WHERE replayed_at IS NULL AND number < $1 ORDER BY number DESC LIMIT $2",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .bind(EXCERPT)
        .fetch_all(&self.pool)
        .await?;
        Ok(letters)
    }

    /// A letter.
    pub async fn find_dead_letter(&self, id: DeadLetterId) -> Result<Option<KeptDeadLetter>, StoreError> {
        let letter = sqlx::query_as("SELECT turn_id, body, replayed_at FROM dead_letters WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(letter)
    }

    /// Notes that a letter was published again; the first one who did so is kept.
    pub async fn note_replayed(&self, id: DeadLetterId, by: &UserId) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE dead_letters SET replayed_at = now(), replayed_by = $2 WHERE id = $1 AND replayed_at IS NULL",
        )
        .bind(id)
        .bind(by)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
