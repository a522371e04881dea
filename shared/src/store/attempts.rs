//! Who runs a turn: claims, leases, and the fence that each write of an attempt is held against.

use sqlx::FromRow;

use super::rows::{TurnRow, turn_columns};
use super::{Store, StoreError, interval};
use crate::id::{TurnId, UserId, WorkerId};
use crate::turn::{Attempt, Turn};

/// A claimed turn: what the worker needs to go on from where it stands.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The turn; its attempt is the fence.
    pub turn: Turn,
    /// Model calls that earlier attempts committed.
    pub steps: i32,
    /// Attempts that were lost with their worker.
    pub losses: i32,
    /// Its user wants it stopped.
    pub cancel_requested: bool,
    /// A message waits to be taken up by it.
    pub is_steered: bool,
}

/// What a claim came to.
#[derive(Debug)]
pub enum Claim {
    /// The turn is the worker's.
    Claimed(Box<Claimed>),
    /// It runs under a live lease of this worker or another.
    Held(WorkerId),
    /// It waits behind another turn; it is published when its time comes.
    NotReady,
    /// It has ended.
    Ended(Box<Turn>),
    /// There is no such turn: its session was deleted.
    Missing,
}

/// A newer attempt exists, the turn has ended, or it is gone: stop at once and write nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fenced {
    /// The attempt may write no more.
    #[error("the attempt was fenced off")]
    Fenced,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for Fenced {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

#[derive(FromRow)]
struct ClaimedRow {
    #[sqlx(flatten)]
    turn: TurnRow,
    steps: i32,
    losses: i32,
    cancel_requested: bool,
    is_steered: bool,
}

/// What became of a lease that a worker still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It is renewed, and the row knows how far the stream is.
    Kept,
    /// The user wants the turn stopped.
    ToStop,
    /// A transaction held the row, so nothing was written.
    PassedOver,
}

impl Store {
    /// Claims a turn for a worker: a free one, a lapsed one, or one whose worker is gone when the
    /// broker says that it redelivers.
    pub async fn claim(&self, turn: TurnId, worker: WorkerId, redelivered: bool) -> Result<Claim, StoreError> {
        let claimed: Option<ClaimedRow> = sqlx::query_as(concat!(
            "WITH t AS (UPDATE turns SET status = 'running', attempt = attempt + 1, worker_id = $2, \
                 lease_until = clock_timestamp() + $3, started_at = coalesce(started_at, clock_timestamp()), \
                 losses = losses + (worker_id IS NOT NULL)::integer \
             WHERE id = $1 AND CASE status \
                 WHEN 'queued' THEN ready_at IS NOT NULL \
                 WHEN 'running' THEN worker_id IS NULL OR lease_until < clock_timestamp() \
                     OR ($4 AND worker_id <> $2 AND pg_try_advisory_xact_lock_shared(worker_lock_key(worker_id))) \
                 ELSE false END \
             RETURNING *), \
             gone AS (DELETE FROM outbox WHERE turn_id IN (SELECT id FROM t)) \
             SELECT ",
            turn_columns!(),
            ", t.steps, t.losses, t.cancel_requested_at IS NOT NULL AS cancel_requested, \
             EXISTS (SELECT 1 FROM turns s WHERE s.steers = t.id AND s.status = 'queued' AND s.ready_at IS NULL) AS is_steered \
             FROM t"
        ))
        .bind(turn)
        .bind(worker)
        .bind(interval(self.settings.lease))
        .bind(redelivered)
        .fetch_optional(&self.pool)
        .await?;
        if let Some(row) = claimed {
            return Ok(Claim::Claimed(Box::new(Claimed {
                turn: row.turn.into(),
                steps: row.steps,
                losses: row.losses,
                cancel_requested: row.cancel_requested,
                is_steered: row.is_steered,
            })));
        }
        self.why_unclaimed(turn).await
    }

    async fn why_unclaimed(&self, turn: TurnId) -> Result<Claim, StoreError> {
        let Some(row) = self.turn_of_any_session(turn).await? else { return Ok(Claim::Missing) };
        if row.status.is_terminal() {
            return Ok(Claim::Ended(Box::new(row)));
        }
        let holder: Option<WorkerId> =
            sqlx::query_scalar("SELECT worker_id FROM turns WHERE id = $1").bind(turn).fetch_one(&self.pool).await?;
        Ok(holder.map_or(Claim::NotReady, Claim::Held))
    }

    /// Renews the leases of a worker's turns. Returns those that it still holds, each with
    /// whether its user wants it stopped. One that had lapsed has no outbox entry any more: it
    /// would put off the next one, should the turn lapse again. Each also says the last chunk that
    /// is in the turn's stream: should it be lost with the worker, its successor counts on from there.
    ///
    /// A row that a transaction holds, such as one of the turn's own tools that waits for something, is
    /// passed over until the next time: it would hold up the leases of all other turns.
    pub async fn renew(
        &self,
        worker: WorkerId,
        held: &[(TurnId, Attempt, u64)],
    ) -> Result<Vec<(TurnId, Renewal)>, StoreError> {
        let turns: Vec<TurnId> = held.iter().map(|held| held.0).collect();
        let attempts: Vec<Attempt> = held.iter().map(|held| held.1).collect();
        let stored: Vec<i64> = held.iter().map(|held| i64::try_from(held.2).unwrap_or(i64::MAX)).collect();
        let renewed: Vec<(TurnId, bool, bool)> = sqlx::query_as(
            "WITH held AS (SELECT t.id, t.cancel_requested_at IS NOT NULL AS cancelled, h.stored \
                 FROM unnest($2::uuid[], $3::integer[], $5::bigint[]) AS h (id, attempt, stored) \
                 JOIN turns t ON t.id = h.id AND t.attempt = h.attempt AND t.worker_id = $1 AND t.status = 'running'), \
             free AS (SELECT t.id FROM turns t JOIN held ON held.id = t.id FOR NO KEY UPDATE OF t SKIP LOCKED), \
             kept AS (UPDATE turns t SET lease_until = clock_timestamp() + $4, \
                     chunk_sequence = greatest(t.chunk_sequence, held.stored) \
                 FROM held JOIN free ON free.id = held.id \
                 JOIN unnest($2::uuid[], $3::integer[]) AS h (id, attempt) ON h.id = held.id \
                 WHERE t.id = held.id AND t.attempt = h.attempt AND t.worker_id = $1 AND t.status = 'running' \
                 RETURNING t.id, t.cancel_requested_at IS NOT NULL AS cancelled), \
             gone AS (DELETE FROM outbox WHERE turn_id IN (SELECT id FROM kept)) \
             SELECT id, cancelled, true FROM kept \
             UNION ALL SELECT id, cancelled, false FROM held WHERE id NOT IN (SELECT id FROM free)",
        )
        .bind(worker)
        .bind(turns)
        .bind(attempts)
        .bind(interval(self.settings.lease))
        .bind(stored)
        .fetch_all(&self.pool)
        .await?;
        let of = |cancelled, written| match (cancelled, written) {
            (true, _) => Renewal::ToStop,
            (false, true) => Renewal::Kept,
            (false, false) => Renewal::PassedOver,
        };
        Ok(renewed.into_iter().map(|(turn, cancelled, written)| (turn, of(cancelled, written))).collect())
    }

    /// Hands a turn back at a step boundary: free for the next claim, and due for publication.
    pub async fn hand_back(&self, turn: TurnId, attempt: Attempt) -> Result<(), Fenced> {
        let done = sqlx::query(
            "WITH t AS (UPDATE turns SET worker_id = NULL, lease_until = now() \
                 WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING id) \
             INSERT INTO outbox (turn_id, due_at) SELECT id, now() + interval '1 second' FROM t \
             ON CONFLICT (turn_id) DO UPDATE SET due_at = excluded.due_at",
        )
        .bind(turn)
        .bind(attempt)
        .execute(&self.pool)
        .await?;
        fenced_unless(done.rows_affected() == 1)
    }

    /// Gives a broken attempt's turn up: free for the next claim, which counts it as lost.
    pub async fn give_up(&self, turn: TurnId, attempt: Attempt) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE turns SET lease_until = now() - interval '1 second' WHERE id = $1 AND attempt = $2 AND status = 'running'",
        )
        .bind(turn)
        .bind(attempt)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// May the attempt still write?
    pub async fn holds(&self, turn: TurnId, attempt: Attempt) -> Result<bool, StoreError> {
        let holds = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM turns WHERE id = $1 AND attempt = $2 AND (status = 'running' OR finished_at IS NOT NULL))",
        )
        .bind(turn)
        .bind(attempt)
        .fetch_one(&self.pool)
        .await?;
        Ok(holds)
    }

    /// The user of a turn, for those who have only its id.
    pub async fn user_of_turn(&self, turn: TurnId) -> Result<Option<UserId>, StoreError> {
        let user: Option<Option<UserId>> =
            sqlx::query_scalar("SELECT user_id FROM turns WHERE id = $1").bind(turn).fetch_optional(&self.pool).await?;
        Ok(user.flatten())
    }
}

pub(super) fn fenced_unless(held: bool) -> Result<(), Fenced> {
    if held { Ok(()) } else { Err(Fenced::Fenced) }
}
