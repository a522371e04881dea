//! What an admin sees and does across all users. Never called for an owner's request.

use sqlx::{FromRow, QueryBuilder};

use super::rows::{TurnRow, turn_columns};
use super::{DISPATCH_GRACE, Store, StoreError, interval};
use crate::audit::AuditRecord;
use crate::id::{TurnId, UserId};
use crate::turn::{Turn, TurnStatus};

/// Which turns an admin wants to see.
#[derive(Debug, Clone, Default)]
pub struct TurnFilter {
    /// Only those that stand so.
    pub status: Option<TurnStatus>,
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those accepted before the turn of this number.
    pub before: Option<i64>,
}

/// A turn with what only an admin sees.
#[derive(Debug, Clone)]
pub struct AdminTurn {
    /// Its record.
    pub turn: Turn,
    /// Its place in the order of acceptance over all users.
    pub number: i64,
}

#[derive(FromRow)]
struct AdminTurnRow {
    #[sqlx(flatten)]
    turn: TurnRow,
    number: i64,
}

impl From<AdminTurnRow> for AdminTurn {
    fn from(row: AdminTurnRow) -> Self {
        Self { turn: row.turn.into(), number: row.number }
    }
}

/// What a requeue came to.
#[derive(Debug)]
pub enum Requeue {
    /// These may run now, the turn among them: to be published.
    Due(Vec<TurnId>),
    /// It has ended.
    Ended,
    /// It runs under a live lease.
    Running,
    /// It waits behind another turn, or behind its user's cap.
    Waiting,
    /// There is no such turn.
    Missing,
}

impl Store {
    /// Puts a stuck turn into the outbox again, with its record in one transaction: one that no
    /// worker has taken, one whose lease has lapsed, or one that waits behind nothing any more.
    pub async fn requeue(&self, turn: TurnId, record: &AuditRecord) -> Result<Requeue, StoreError> {
        let Some(row) = self.turn_of_any_session(turn).await? else { return Ok(Requeue::Missing) };
        let mut tx = self.begin_for(row.user_id.as_ref()).await?;
        sqlx::query("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE").bind(row.session_id).execute(&mut *tx).await?;
        let mut due = self.promote(&mut tx, row.session_id, row.user_id.as_ref()).await?;
        // The turn's row is not locked: a claim in between leaves a needless entry, which is
        // published in vain once and goes with the turn.
        let boxed: Option<TurnId> = sqlx::query_scalar(
            "INSERT INTO outbox (turn_id, due_at) SELECT id, now() + $2 FROM turns WHERE id = $1 AND CASE status \
                 WHEN 'queued' THEN ready_at IS NOT NULL \
                 WHEN 'running' THEN worker_id IS NULL OR lease_until < clock_timestamp() \
                 ELSE false END \
             ON CONFLICT (turn_id) DO UPDATE SET due_at = excluded.due_at, publishes = 0 RETURNING turn_id",
        )
        .bind(turn)
        .bind(interval(DISPATCH_GRACE))
        .fetch_optional(&mut *tx)
        .await?;
        if boxed.is_none() {
            tx.rollback().await?;
            return self.why_not_requeued(turn).await;
        }
        Self::record_audit_in(&mut tx, record).await?;
        tx.commit().await?;
        if !due.contains(&turn) {
            due.push(turn);
        }
        Ok(Requeue::Due(due))
    }

    async fn why_not_requeued(&self, turn: TurnId) -> Result<Requeue, StoreError> {
        let status = self.turn_of_any_session(turn).await?.map(|row| row.status);
        Ok(match status {
            None => Requeue::Missing,
            Some(TurnStatus::Queued) => Requeue::Waiting,
            Some(TurnStatus::Running) => Requeue::Running,
            Some(TurnStatus::Completed | TurnStatus::Failed | TurnStatus::Cancelled) => Requeue::Ended,
        })
    }

    /// Does a worker hold the turn under a live lease?
    pub async fn is_held(&self, turn: TurnId) -> Result<bool, StoreError> {
        let held: Option<bool> = sqlx::query_scalar(
            "SELECT status = 'running' AND worker_id IS NOT NULL AND lease_until >= clock_timestamp() \
             FROM turns WHERE id = $1",
        )
        .bind(turn)
        .fetch_optional(&self.pool)
        .await?;
        Ok(held.unwrap_or(false))
    }

    /// Turns of all users, newest first.
    pub async fn list_all_turns(&self, filter: &TurnFilter, limit: i64) -> Result<Vec<AdminTurn>, StoreError> {
        let mut query =
            QueryBuilder::new(concat!("SELECT ", turn_columns!(), ", t.number FROM turns t WHERE t.number < "));
        query.push_bind(filter.before.unwrap_or(i64::MAX));
        if let Some(status) = filter.status {
            query.push(" AND t.status = ").push_bind(status);
        }
        if let Some(user) = &filter.user {
            query.push(" AND t.user_id = ").push_bind(user);
        }
        query.push(" ORDER BY t.number DESC LIMIT ").push_bind(limit);
        let rows: Vec<AdminTurnRow> = query.build_query_as().fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(AdminTurn::from).collect())
    }
}
