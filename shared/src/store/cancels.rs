//! The intent to stop, and stopping without a worker.

use sqlx::FromRow;

use super::rows::{TurnRow, turn_columns};
use super::steps::end_turn;
use super::tool_calls::close_unanswered;
use super::{DISPATCH_GRACE, Fenced, Store, StoreError, Tx, interval};
use crate::id::{MessageId, SessionId, TurnId, UserId};
use crate::message::Part;
use crate::turn::{Turn, TurnEnd};
use sqlx::types::Json;

/// What a cancel found.
#[derive(Debug)]
pub enum CancelRequest {
    /// Nothing was in flight.
    Idle,
    /// The running turn now carries the intent.
    Requested(TurnId),
    /// Nothing ran: what waited was dropped.
    Dropped(Dropped),
}

/// Turns that ended without having run.
#[derive(Debug, Default)]
pub struct Dropped {
    /// The turns, to be sealed.
    pub turns: Vec<Turn>,
    /// Turns of the user's other sessions that may run now, to be published.
    pub next: Vec<TurnId>,
}

/// Which turns that no worker has are dropped.
#[derive(Debug, Clone, Copy)]
enum Drop {
    /// All of the session.
    All,
    /// This one, if it still waits behind another.
    IfWaiting(TurnId),
    /// This one, whatever it waits for.
    One(TurnId),
}

/// A turn that was taken from its worker.
#[derive(Debug)]
pub struct Seized {
    /// The turn, with the attempt in whose name it is to be ended.
    pub turn: Turn,
    /// Its committed model calls: no other will be committed.
    pub steps: i32,
}

#[derive(FromRow)]
struct DroppedRow {
    #[sqlx(flatten)]
    turn: TurnRow,
}

#[derive(FromRow)]
struct SeizedRow {
    #[sqlx(flatten)]
    turn: TurnRow,
    steps: i32,
}

impl Store {
    /// Writes the intent to stop a session's running turn; with none running, drops what waits.
    pub async fn request_cancel(
        &self,
        session: SessionId,
        user: Option<&UserId>,
        by: &str,
    ) -> Result<CancelRequest, StoreError> {
        if let Some(turn) = self.cancel_running(session, by).await? {
            return Ok(CancelRequest::Requested(turn));
        }
        let dropped = self.drop_waiting(session, user, None, by).await?;
        if !dropped.turns.is_empty() {
            return Ok(CancelRequest::Dropped(dropped));
        }
        // It may have been claimed between the two looks.
        Ok(self.cancel_running(session, by).await?.map_or(CancelRequest::Idle, CancelRequest::Requested))
    }

    /// Writes the intent to stop one turn if it runs; if no worker has it yet, drops it and no other.
    pub async fn request_cancel_of(&self, turn: &Turn, by: &str) -> Result<CancelRequest, StoreError> {
        if let Some(turn) = self.cancel_if_running(turn.id, by).await? {
            return Ok(CancelRequest::Requested(turn));
        }
        let dropped = self.drop_queued(turn.session_id, turn.user_id.as_ref(), Drop::One(turn.id), by).await?;
        if !dropped.turns.is_empty() {
            return Ok(CancelRequest::Dropped(dropped));
        }
        // It may have been claimed between the two looks.
        Ok(self.cancel_if_running(turn.id, by).await?.map_or(CancelRequest::Idle, CancelRequest::Requested))
    }

    async fn cancel_if_running(&self, turn: TurnId, by: &str) -> Result<Option<TurnId>, StoreError> {
        let turn = sqlx::query_scalar(
            "UPDATE turns SET cancel_requested_at = coalesce(cancel_requested_at, now()), cancelled_by = coalesce(cancelled_by, $2) \
             WHERE id = $1 AND status = 'running' RETURNING id",
        )
        .bind(turn)
        .bind(by)
        .fetch_optional(&self.pool)
        .await?;
        Ok(turn)
    }

    async fn cancel_running(&self, session: SessionId, by: &str) -> Result<Option<TurnId>, StoreError> {
        let turn = sqlx::query_scalar(
            "UPDATE turns SET cancel_requested_at = coalesce(cancel_requested_at, now()), cancelled_by = coalesce(cancelled_by, $2) \
             WHERE session_id = $1 AND status = 'running' RETURNING id",
        )
        .bind(session)
        .bind(by)
        .fetch_optional(&self.pool)
        .await?;
        Ok(turn)
    }

    /// Writes the intent to stop whatever of a session runs, or is about to, before `turn`. Nothing
    /// is before it any more once its time has come: what runs then is the turn itself, or one
    /// behind it.
    pub async fn request_cancel_before(
        &self,
        session: SessionId,
        turn: TurnId,
        by: &str,
    ) -> Result<Option<TurnId>, StoreError> {
        let stopped = sqlx::query_scalar(
            "UPDATE turns SET cancel_requested_at = coalesce(cancel_requested_at, now()), cancelled_by = coalesce(cancelled_by, $3) \
             WHERE session_id = $1 AND status IN ('queued', 'running') AND ready_at IS NOT NULL \
               AND EXISTS (SELECT 1 FROM turns w WHERE w.id = $2 AND w.status = 'queued' AND w.ready_at IS NULL) RETURNING id",
        )
        .bind(session)
        .bind(turn)
        .bind(by)
        .fetch_optional(&self.pool)
        .await?;
        Ok(stopped)
    }

    /// Ends turns that have not run, with their messages: one of them if it still waits behind
    /// another, or all of a session.
    pub async fn drop_waiting(
        &self,
        session: SessionId,
        user: Option<&UserId>,
        only: Option<TurnId>,
        by: &str,
    ) -> Result<Dropped, StoreError> {
        self.drop_queued(session, user, only.map_or(Drop::All, Drop::IfWaiting), by).await
    }

    async fn drop_queued(
        &self,
        session: SessionId,
        user: Option<&UserId>,
        which: Drop,
        by: &str,
    ) -> Result<Dropped, StoreError> {
        let (only, also_ready) = match which {
            Drop::All => (None, true),
            Drop::IfWaiting(turn) => (Some(turn), false),
            Drop::One(turn) => (Some(turn), true),
        };
        let mut tx = self.begin_for(user).await?;
        if also_ready {
            // A turn that is about to run comes before its session, as a running one does.
            sqlx::query(
                "SELECT 1 FROM turns WHERE session_id = $1 AND status = 'queued' AND ready_at IS NOT NULL \
                   AND ($2::uuid IS NULL OR id = $2) FOR UPDATE",
            )
            .bind(session)
            .bind(only)
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE").bind(session).execute(&mut *tx).await?;
        let waiting: Vec<TurnId> = sqlx::query_scalar(
            "SELECT id FROM turns WHERE session_id = $1 AND status = 'queued' \
               AND ($2::uuid IS NULL OR id = $2) AND ($3 OR ready_at IS NULL) FOR UPDATE",
        )
        .bind(session)
        .bind(only)
        .bind(also_ready)
        .fetch_all(&mut *tx)
        .await?;
        let turns = drop_turns(&mut tx, &waiting, by).await?;
        let next = self.promote(&mut tx, session, user).await?;
        tx.commit().await?;
        Ok(Dropped { turns, next })
    }

    /// Takes a turn from whoever has it, to end it: from now on nothing is written in the name of
    /// `turn`'s attempt. Refused if that is no longer the newest. Should the caller die before the
    /// end, the turn is free, and published again.
    pub async fn seize(&self, turn: &Turn) -> Result<Seized, Fenced> {
        let row: Option<SeizedRow> = sqlx::query_as(concat!(
            "WITH t AS (UPDATE turns SET attempt = attempt + 1, worker_id = NULL, \
                 lease_until = CASE WHEN status = 'running' THEN now() END \
                 WHERE id = $1 AND attempt = $2 AND status IN ('queued', 'running') RETURNING *), \
             boxed AS (INSERT INTO outbox (turn_id, due_at) SELECT id, now() + $3 FROM t WHERE ready_at IS NOT NULL \
                 ON CONFLICT (turn_id) DO UPDATE SET due_at = excluded.due_at) \
             SELECT ",
            turn_columns!(),
            ", t.steps FROM t"
        ))
        .bind(turn.id)
        .bind(turn.attempt)
        .bind(interval(DISPATCH_GRACE))
        .fetch_optional(&self.pool)
        .await?;
        let row = row.ok_or(Fenced::Fenced)?;
        Ok(Seized { turn: row.turn.into(), steps: row.steps })
    }

    /// Ends a seized turn with what its unfinished step said. Refused if it was claimed since.
    /// Returns the ended turn and what may run now.
    pub async fn end_without_worker(
        &self,
        turn: &Turn,
        end: &TurnEnd,
        unfinished: &[Part],
    ) -> Result<(Turn, Vec<TurnId>), Fenced> {
        let mut tx = self.begin_for(turn.user_id.as_ref()).await?;
        let end = end_turn(&mut tx, turn, end).await?;
        if !unfinished.is_empty() {
            save_unfinished(&mut tx, turn.id, unfinished).await?;
        }
        close_unanswered(&mut tx, turn.id, &end).await?;
        let next = self.promote(&mut tx, turn.session_id, turn.user_id.as_ref()).await?;
        tx.commit().await?;
        let ended = self.turn_of_any_session(turn.id).await?.ok_or(Fenced::Fenced)?;
        Ok((ended, next))
    }
}

/// Ends turns that have not run, with their messages, in order of acceptance. A message that was
/// answered before stays: it is an older turn's.
pub(super) async fn drop_turns(tx: Tx<'_>, turns: &[TurnId], by: &str) -> Result<Vec<Turn>, StoreError> {
    let rows: Vec<DroppedRow> = sqlx::query_as(concat!(
        "WITH t AS (UPDATE turns SET status = 'cancelled', finished_at = now(), attempt = attempt + 1, cancelled_by = $2, \
             message_id = CASE WHEN regenerates IS NOT NULL THEN message_id END \
             WHERE id = ANY ($1) AND status = 'queued' RETURNING *), \
         gone AS (DELETE FROM outbox WHERE turn_id IN (SELECT id FROM t)), \
         unsaid AS (DELETE FROM messages WHERE turn_id IN (SELECT id FROM t WHERE regenerates IS NULL) \
             AND role IN ('user', 'system')) \
         SELECT ",
        turn_columns!(),
        " FROM t ORDER BY t.number"
    ))
    .bind(turns)
    .bind(by)
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.turn.into()).collect())
}

/// Saves what an unfinished step said, with an estimate of what it cost.
async fn save_unfinished(tx: Tx<'_>, turn: TurnId, parts: &[Part]) -> Result<(), StoreError> {
    let said: usize = parts.iter().map(spoken_chars).sum();
    let completion = crate::usage::TokenUsage::estimate(0, said).completion;
    // Calls of an unfinished step never ran, and no outcome will come: they are left out.
    let parts: Vec<&Part> = parts.iter().filter(|part| !matches!(part, Part::ToolCall { .. })).collect();
    sqlx::query(
        "WITH t AS (UPDATE turns SET steps = steps + 1, completion_tokens = completion_tokens + $4, usage_estimated = true \
             WHERE id = $1 RETURNING id, session_id, user_id, steps, attempt), \
         used AS (INSERT INTO turn_steps (turn_id, step, attempt, prompt_tokens, completion_tokens, cache_read_tokens, \
                 cache_creation_tokens, estimated) SELECT id, steps, attempt, 0, $4, 0, 0, true FROM t), \
         unsettled AS (INSERT INTO unsettled_steps (turn_id, step, user_id, weighted_tokens, used_at) \
             SELECT id, steps, user_id, $4, now() FROM t WHERE user_id IS NOT NULL AND $4 > 0), \
         place AS (UPDATE sessions s SET next_sequence = next_sequence + 1, \
                 total_completion_tokens = total_completion_tokens + $4 FROM t \
             WHERE s.id = t.session_id RETURNING s.id, s.next_sequence - 1 AS sequence, t.steps) \
         INSERT INTO messages (id, session_id, turn_id, step, sequence, role, parts) \
         SELECT $2, place.id, $1, place.steps, place.sequence, 'assistant', $3 FROM place",
    )
    .bind(turn)
    .bind(MessageId::generate())
    .bind(Json(parts))
    .bind(completion)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn spoken_chars(part: &Part) -> usize {
    match part {
        Part::Text { text, .. } | Part::Reasoning { text, .. } => text.chars().count(),
        Part::ToolCall { input, .. } => input.to_string().len(),
        Part::ToolResult { .. } | Part::Compaction { .. } | Part::Context { .. } | Part::File { .. } => 0,
    }
}
