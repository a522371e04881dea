//! Steps that no counter tells yet, and which turns may hold reservations.

use sqlx::FromRow;

use super::{Store, StoreError, interval};
use crate::id::{TurnId, UserId};
use crate::windows::StepUse;

/// A step that its user's counters may not tell yet.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct UnsettledStep {
    /// Whose usage it is.
    pub user_id: UserId,
    /// What is to be counted.
    #[sqlx(flatten)]
    pub used: StepUse,
}

/// How long a step is left alone that could not be settled, or that another process settles.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

impl Store {
    /// Takes steps whose settlement is overdue. Each is due again later, so that one that cannot be
    /// settled holds nobody up.
    pub async fn take_unsettled(&self, limit: i64) -> Result<Vec<UnsettledStep>, StoreError> {
        let taken = sqlx::query_as(
            "WITH due AS (SELECT turn_id, step FROM unsettled_steps WHERE due_at <= clock_timestamp() \
                 ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) \
             UPDATE unsettled_steps u SET due_at = clock_timestamp() + $2 FROM due \
             WHERE u.turn_id = due.turn_id AND u.step = due.step \
             RETURNING u.user_id, u.turn_id, u.step, u.weighted_tokens, u.used_at",
        )
        .bind(limit)
        .bind(interval(AGAIN))
        .fetch_all(&self.pool)
        .await?;
        Ok(taken)
    }

    /// Steps of a turn that its user's counters may not tell yet.
    pub async fn unsettled_of_turn(&self, turn: TurnId) -> Result<Vec<UnsettledStep>, StoreError> {
        let steps = sqlx::query_as(
            "SELECT user_id, turn_id, step, weighted_tokens, used_at FROM unsettled_steps WHERE turn_id = $1 ORDER BY step",
        )
        .bind(turn)
        .fetch_all(&self.pool)
        .await?;
        Ok(steps)
    }

    /// Notes that steps are counted.
    pub async fn note_settled(&self, steps: &[(TurnId, i32)]) -> Result<(), StoreError> {
        let (turns, numbers): (Vec<TurnId>, Vec<i32>) = steps.iter().copied().unzip();
        sqlx::query(
            "DELETE FROM unsettled_steps u USING unnest($1::uuid[], $2::integer[]) AS done (turn_id, step) \
             WHERE u.turn_id = done.turn_id AND u.step = done.step",
        )
        .bind(turns)
        .bind(numbers)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How many steps no counter tells yet.
    pub async fn count_unsettled(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM unsettled_steps").fetch_one(&self.pool).await?)
    }

    /// Those of the turns that are in flight.
    pub async fn in_flight_of(&self, turns: &[TurnId]) -> Result<Vec<TurnId>, StoreError> {
        let in_flight =
            sqlx::query_scalar("SELECT id FROM turns WHERE id = ANY ($1) AND status IN ('queued', 'running')")
                .bind(turns)
                .fetch_all(&self.pool)
                .await?;
        Ok(in_flight)
    }
}
