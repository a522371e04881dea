//! A worker's writes to the turn that it has claimed. Each carries the attempt and is refused
//! once a newer attempt exists, or the turn has ended.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::types::Json;

use super::rows::{TurnRow, turn_columns};
use super::{Store, StoreError, Tx, interval};
use crate::id::{MessageId, ToolCallId, TurnId, UserId, WorkerId};
use crate::message::{Part, Role, ToolOutcome};
use crate::tool::ToolCallStatus;
use crate::turn::{Attempt, Turn, TurnEnd, TurnStatus};
use crate::usage::TokenUsage;

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

/// What one model call left behind.
#[derive(Debug, Clone)]
pub struct StepCommit {
    /// Which call of the turn, the first being 1.
    pub step: i32,
    /// What the model said, tool calls included. Nothing is saved if it is empty.
    pub parts: Vec<Part>,
    /// What the call used.
    pub usage: TokenUsage,
    /// When it ended: says which day and which week it counts in.
    pub used_at: DateTime<Utc>,
    /// The last chunk that is in the stream.
    pub chunk_sequence: u64,
}

/// How a turn has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The end that its row tells of.
    pub end: TurnEnd,
    /// The turns that may run now, to be published.
    pub next: Vec<TurnId>,
}

/// A tool call of the last committed step.
#[derive(Debug, Clone)]
pub struct PendingCall {
    /// Its id.
    pub id: ToolCallId,
    /// The tool.
    pub name: String,
    /// The arguments.
    pub input: serde_json::Value,
    /// How far it got.
    pub status: ToolCallStatus,
    /// Its outcome, once there is one.
    pub outcome: Option<ToolOutcome>,
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

#[derive(FromRow)]
struct CallRow {
    id: ToolCallId,
    name: String,
    input: Json<serde_json::Value>,
    status: ToolCallStatus,
    outcome: Option<Json<ToolOutcome>>,
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
    pub async fn renew(
        &self,
        worker: WorkerId,
        held: &[(TurnId, Attempt, u64)],
    ) -> Result<Vec<(TurnId, bool)>, StoreError> {
        let turns: Vec<TurnId> = held.iter().map(|held| held.0).collect();
        let attempts: Vec<Attempt> = held.iter().map(|held| held.1).collect();
        let stored: Vec<i64> = held.iter().map(|held| i64::try_from(held.2).unwrap_or(i64::MAX)).collect();
        let renewed = sqlx::query_as(
            "WITH kept AS (UPDATE turns t SET lease_until = clock_timestamp() + $4, \
                     chunk_sequence = greatest(t.chunk_sequence, held.stored) \
                 FROM unnest($2::uuid[], $3::integer[], $5::bigint[]) AS held (id, attempt, stored) \
                 WHERE t.id = held.id AND t.attempt = held.attempt AND t.worker_id = $1 AND t.status = 'running' \
                 RETURNING t.id, t.cancel_requested_at IS NOT NULL AS cancelled), \
             gone AS (DELETE FROM outbox WHERE turn_id IN (SELECT id FROM kept)) \
             SELECT id, cancelled FROM kept",
        )
        .bind(worker)
        .bind(turns)
        .bind(attempts)
        .bind(interval(self.settings.lease))
        .bind(stored)
        .fetch_all(&self.pool)
        .await?;
        Ok(renewed)
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

    /// Commits a model call: its message, its usage, and the calls that it asks for.
    pub async fn commit_step(&self, turn: TurnId, attempt: Attempt, step: &StepCommit) -> Result<(), Fenced> {
        let mut tx = self.pool.begin().await?;
        write_step(&mut tx, turn, attempt, step, None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The tool calls of a committed step, in the model's order.
    pub async fn calls_of_step(&self, turn: TurnId, step: i32) -> Result<Vec<PendingCall>, StoreError> {
        let rows: Vec<CallRow> = sqlx::query_as(
            "SELECT id, name, input, status, outcome FROM tool_calls WHERE turn_id = $1 AND step = $2 ORDER BY place",
        )
        .bind(turn)
        .bind(step)
        .fetch_all(&self.pool)
        .await?;
        let calls = rows.into_iter().map(|row| PendingCall {
            id: row.id,
            name: row.name,
            input: row.input.0,
            status: row.status,
            outcome: row.outcome.map(|outcome| outcome.0),
        });
        Ok(calls.collect())
    }

    /// Records that tool calls are about to start. What was recorded and has no outcome after a
    /// crash may have happened.
    pub async fn start_calls(&self, turn: TurnId, attempt: Attempt, calls: &[ToolCallId]) -> Result<(), Fenced> {
        // The share lock orders this against a claim: either the claimer sees the start, or this
        // sees the claim.
        let done = sqlx::query(
            "WITH fence AS (SELECT id FROM turns WHERE id = $1 AND attempt = $2 AND status = 'running' FOR SHARE) \
             UPDATE tool_calls c SET status = 'started', attempt = $2, started_at = clock_timestamp() FROM fence \
             WHERE c.turn_id = fence.id AND c.id = ANY ($3) AND c.status <> 'finished'",
        )
        .bind(turn)
        .bind(attempt)
        .bind(calls)
        .execute(&self.pool)
        .await?;
        fenced_unless(done.rows_affected() == u64::try_from(calls.len()).unwrap_or(u64::MAX))
    }

    /// Records a tool call's outcome, once, and the message that tells the model.
    pub async fn finish_call(
        &self,
        turn: TurnId,
        attempt: Attempt,
        call: &PendingCall,
        outcome: &ToolOutcome,
    ) -> Result<(), Fenced> {
        let part = Part::ToolResult { id: call.id.clone(), name: call.name.clone(), outcome: outcome.clone() };
        let done = sqlx::query(
            "WITH fence AS (SELECT id, session_id FROM turns WHERE id = $1 AND attempt = $2 AND status = 'running' FOR SHARE), \
             call AS (UPDATE tool_calls c SET status = 'finished', outcome = $4, attempt = $2, finished_at = clock_timestamp() \
                 FROM fence WHERE c.turn_id = fence.id AND c.id = $3 AND c.status <> 'finished' RETURNING c.step, fence.session_id), \
             place AS (UPDATE sessions s SET next_sequence = next_sequence + 1, updated_at = now() FROM call \
                 WHERE s.id = call.session_id RETURNING s.id, s.next_sequence - 1 AS sequence, call.step) \
             INSERT INTO messages (id, session_id, turn_id, step, sequence, role, parts) \
             SELECT $5, place.id, $1, place.step, place.sequence, 'tool', $6 FROM place",
        )
        .bind(turn)
        .bind(attempt)
        .bind(&call.id)
        .bind(Json(outcome))
        .bind(MessageId::generate())
        .bind(Json([part]))
        .execute(&self.pool)
        .await?;
        fenced_unless(done.rows_affected() == 1)
    }

    /// Did this attempt record the call's outcome?
    pub async fn has_finished_call(
        &self,
        turn: TurnId,
        attempt: Attempt,
        call: &ToolCallId,
    ) -> Result<bool, StoreError> {
        let finished = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM tool_calls WHERE turn_id = $1 AND attempt = $2 AND id = $3 AND status = 'finished')",
        )
        .bind(turn)
        .bind(attempt)
        .bind(call)
        .fetch_one(&self.pool)
        .await?;
        Ok(finished)
    }

    /// Ends a turn with what its last step left, and lets the next ones run. `turn` is as its worker
    /// knows it: how far its stream reaches is kept. A turn that its user wants stopped ends as
    /// cancelled, whatever its worker came to before it heard.
    pub async fn finish(&self, turn: &Turn, end: &TurnEnd, last: Option<&StepCommit>) -> Result<Finished, Fenced> {
        // An anonymous session may have become a user's while its turn ran.
        let user = match &turn.user_id {
            Some(user) => Some(user.clone()),
            None => self.user_of_turn(turn.id).await?,
        };
        let mut tx = self.begin_for(user.as_ref()).await?;
        let end = match last {
            Some(step) => write_step(&mut tx, turn.id, turn.attempt, step, Some(end)).await?.unwrap_or(end.clone()),
            None => end_turn(&mut tx, turn, end).await?,
        };
        close_unanswered(&mut tx, turn.id, &end).await?;
        let next = self.promote(&mut tx, turn.session_id, user.as_ref()).await?;
        tx.commit().await?;
        Ok(Finished { end, next })
    }

    /// The user of a turn, for those who have only its id.
    pub async fn user_of_turn(&self, turn: TurnId) -> Result<Option<UserId>, StoreError> {
        let user: Option<Option<UserId>> =
            sqlx::query_scalar("SELECT user_id FROM turns WHERE id = $1").bind(turn).fetch_optional(&self.pool).await?;
        Ok(user.flatten())
    }
}

fn fenced_unless(held: bool) -> Result<(), Fenced> {
    if held { Ok(()) } else { Err(Fenced::Fenced) }
}

/// Ends a turn under its fence and takes its session's row, so that nobody decides at the same
/// time what runs next. Returns how it has ended: a stop that its user wants goes before all else.
pub(super) async fn end_turn(tx: Tx<'_>, turn: &Turn, end: &TurnEnd) -> Result<TurnEnd, Fenced> {
    let (code, message) = failure_columns(end);
    let status: Option<TurnStatus> = sqlx::query_scalar(
        "WITH t AS (UPDATE turns SET status = CASE WHEN cancel_requested_at IS NULL THEN $3 ELSE 'cancelled' END, \
                 error_code = CASE WHEN cancel_requested_at IS NULL THEN $4 END, \
                 error = CASE WHEN cancel_requested_at IS NULL THEN $5 END, \
                 finished_at = clock_timestamp(), worker_id = NULL, chunk_sequence = greatest(chunk_sequence, $6) \
             WHERE id = $1 AND attempt = $2 AND status IN ('queued', 'running') RETURNING id, session_id, status), \
         gone AS (DELETE FROM outbox WHERE turn_id IN (SELECT id FROM t)) \
         UPDATE sessions s SET updated_at = now() FROM t WHERE s.id = t.session_id RETURNING t.status",
    )
    .bind(turn.id)
    .bind(turn.attempt)
    .bind(end.status())
    .bind(code)
    .bind(message)
    .bind(turn.chunk_sequence)
    .fetch_optional(&mut **tx)
    .await?;
    Ok(end_as(status.ok_or(Fenced::Fenced)?, end))
}

/// The end that a row tells of which was to end like this.
fn end_as(status: TurnStatus, wanted: &TurnEnd) -> TurnEnd {
    if status == TurnStatus::Cancelled { TurnEnd::Cancelled } else { wanted.clone() }
}

fn failure_columns(end: &TurnEnd) -> (Option<&'static str>, Option<&str>) {
    match end {
        TurnEnd::Failed(failure) => (Some(failure.code.as_str()), Some(&failure.message)),
        TurnEnd::Completed(_) | TurnEnd::Cancelled => (None, None),
    }
}

/// Writes a step, and the turn's end with it if there is one, in one statement. Returns how it has
/// ended, as [`end_turn`] does.
async fn write_step(
    tx: Tx<'_>,
    turn: TurnId,
    attempt: Attempt,
    step: &StepCommit,
    end: Option<&TurnEnd>,
) -> Result<Option<TurnEnd>, Fenced> {
    let usage = step.usage;
    let calls = calls_in(&step.parts);
    let (code, message) = end.map(failure_columns).unwrap_or_default();
    let status: Option<TurnStatus> = sqlx::query_scalar(
        "WITH t AS (UPDATE turns SET steps = $3, chunk_sequence = $4, \
                 prompt_tokens = prompt_tokens + $5, completion_tokens = completion_tokens + $6, \
                 cache_read_tokens = cache_read_tokens + $7, cache_creation_tokens = cache_creation_tokens + $8, \
                 usage_estimated = usage_estimated OR $9, status = CASE WHEN $10 IS NULL THEN status \
                     WHEN cancel_requested_at IS NULL THEN $10 ELSE 'cancelled' END, \
                 finished_at = CASE WHEN $10 IS NOT NULL THEN clock_timestamp() END, \
                 worker_id = CASE WHEN $10 IS NULL THEN worker_id END, \
                 error_code = CASE WHEN cancel_requested_at IS NULL THEN $11 END, \
                 error = CASE WHEN cancel_requested_at IS NULL THEN $12 END \
             WHERE id = $1 AND attempt = $2 AND status = 'running' RETURNING id, session_id, user_id, status), \
         gone AS (DELETE FROM outbox WHERE $10 IS NOT NULL AND turn_id IN (SELECT id FROM t)), \
         used AS (INSERT INTO turn_steps (turn_id, step, attempt, prompt_tokens, completion_tokens, cache_read_tokens, \
                 cache_creation_tokens, estimated, created_at) SELECT id, $3, $2, $5, $6, $7, $8, $9, $20 FROM t), \
         unsettled AS (INSERT INTO unsettled_steps (turn_id, step, user_id, weighted_tokens, used_at) \
             SELECT id, $3, user_id, $19, $20 FROM t WHERE user_id IS NOT NULL AND $19 > 0), \
         calls AS (INSERT INTO tool_calls (turn_id, step, attempt, id, place, name, input) \
             SELECT t.id, $3, $2, c.id, c.place, c.name, c.input \
             FROM t, unnest($13::text[], $14::text[], $15::jsonb[]) WITH ORDINALITY AS c (id, name, input, place)), \
         place AS (UPDATE sessions s SET next_sequence = next_sequence + $16::boolean::integer, updated_at = now(), \
                 total_prompt_tokens = total_prompt_tokens + $5, total_completion_tokens = total_completion_tokens + $6 \
             FROM t WHERE s.id = t.session_id RETURNING s.id, s.next_sequence - 1 AS sequence), \
         said AS (INSERT INTO messages (id, session_id, turn_id, step, sequence, role, parts) \
             SELECT $17, place.id, $1, $3, place.sequence, 'assistant', $18 FROM place WHERE $16) \
         SELECT t.status FROM t, place",
    )
    .bind(turn)
    .bind(attempt)
    .bind(step.step)
    .bind(i64::try_from(step.chunk_sequence).unwrap_or(i64::MAX))
    .bind(usage.prompt)
    .bind(usage.completion)
    .bind(usage.cache_read)
    .bind(usage.cache_creation)
    .bind(usage.estimated)
    .bind(end.map(TurnEnd::status))
    .bind(code)
    .bind(message)
    .bind(calls.iter().map(|call| call.0).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.1).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| Json(call.2)).collect::<Vec<_>>())
    .bind(!step.parts.is_empty())
    .bind(MessageId::generate())
    .bind(Json(&step.parts))
    .bind(usage.weighted())
    .bind(step.used_at)
    .fetch_optional(&mut **tx)
    .await?;
    let status = status.ok_or(Fenced::Fenced)?;
    Ok(end.map(|end| end_as(status, end)))
}

fn calls_in(parts: &[Part]) -> Vec<(&str, &str, &serde_json::Value)> {
    parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall { id, name, input } => Some((id.as_str(), name.as_str(), input)),
            Part::Text { .. }
            | Part::Reasoning { .. }
            | Part::ToolResult { .. }
            | Part::Compaction { .. }
            | Part::File { .. }
            | Part::Context { .. } => None,
        })
        .collect()
}

/// Gives every call of an ended turn an outcome: a model refuses a history with open calls.
pub(super) async fn close_unanswered(tx: Tx<'_>, turn: TurnId, end: &TurnEnd) -> Result<(), Fenced> {
    let open: Vec<(ToolCallId, String, i32)> = sqlx::query_as(
        "SELECT id, name, step FROM tool_calls WHERE turn_id = $1 AND status <> 'finished' ORDER BY step, place",
    )
    .bind(turn)
    .fetch_all(&mut **tx)
    .await?;
    let why =
        if end.status() == TurnStatus::Cancelled { "Stopped by the user." } else { "The call was not completed." };
    for (id, name, step) in open {
        let outcome = ToolOutcome::Error(why.to_owned());
        let part = Part::ToolResult { id: id.clone(), name, outcome: outcome.clone() };
        sqlx::query(
            "WITH call AS (UPDATE tool_calls SET status = 'finished', outcome = $3, finished_at = clock_timestamp() \
                 WHERE turn_id = $1 AND id = $2), \
             place AS (UPDATE sessions s SET next_sequence = next_sequence + 1 FROM turns t \
                 WHERE t.id = $1 AND s.id = t.session_id RETURNING s.id, s.next_sequence - 1 AS sequence) \
             INSERT INTO messages (id, session_id, turn_id, step, sequence, role, parts) \
             SELECT $4, place.id, $1, $5, place.sequence, $7, $6 FROM place",
        )
        .bind(turn)
        .bind(id)
        .bind(Json(outcome))
        .bind(MessageId::generate())
        .bind(step)
        .bind(Json([part]))
        .bind(Role::Tool)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}
