//! What an attempt commits: its model calls, one by one, and the turn's end. Each write carries the
//! attempt and is refused once a newer one exists, or the turn has ended.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::attempts::Fenced;
use super::tool_calls::close_unanswered;
use super::{Store, Tx};
use crate::id::{MessageId, TurnId};
use crate::message::Part;
use crate::turn::{Attempt, Turn, TurnEnd, TurnStatus};
use crate::usage::TokenUsage;

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

impl Store {
    /// Commits a model call: its message, its usage, and the calls that it asks for.
    pub async fn commit_step(&self, turn: TurnId, attempt: Attempt, step: &StepCommit) -> Result<(), Fenced> {
        let mut tx = self.pool.begin().await?;
        write_step(&mut tx, turn, attempt, step, None).await?;
        tx.commit().await?;
        Ok(())
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
