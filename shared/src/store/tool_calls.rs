//! The ledger of tool calls: asked for, started, finished. It says after a crash what may have
//! happened. Each write carries the attempt, as those of `steps.rs` do.

use sqlx::FromRow;
use sqlx::types::Json;

use super::attempts::{Fenced, fenced_unless};
use super::{Store, StoreError, Tx};
use crate::id::{MessageId, ToolCallId, TurnId};
use crate::message::{Part, Role, ToolOutcome};
use crate::tool::ToolCallStatus;
use crate::turn::{Attempt, TurnEnd, TurnStatus};

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
struct CallRow {
    id: ToolCallId,
    name: String,
    input: Json<serde_json::Value>,
    status: ToolCallStatus,
    outcome: Option<Json<ToolOutcome>>,
}

impl Store {
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
    /// crash may have happened. To be asked again after a lost answer: an attempt notes a start once.
    pub async fn start_calls(&self, turn: TurnId, attempt: Attempt, calls: &[ToolCallId]) -> Result<(), Fenced> {
        // The share lock orders this against a claim: either the claimer sees the start, or this
        // sees the claim.
        let started: i64 = sqlx::query_scalar(
            "WITH fence AS (SELECT id FROM turns WHERE id = $1 AND attempt = $2 AND status = 'running' FOR SHARE), \
             noted AS (UPDATE tool_calls c SET status = 'started', attempt = $2, started_at = clock_timestamp() FROM fence \
                 WHERE c.turn_id = fence.id AND c.id = ANY ($3) \
                   AND (c.status = 'requested' OR c.status = 'started' AND c.attempt <> $2)) \
             SELECT count(*) FROM fence JOIN tool_calls c ON c.turn_id = fence.id \
             WHERE c.id = ANY ($3) AND c.status <> 'finished'",
        )
        .bind(turn)
        .bind(attempt)
        .bind(calls)
        .fetch_one(&self.pool)
        .await?;
        fenced_unless(usize::try_from(started) == Ok(calls.len()))
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
