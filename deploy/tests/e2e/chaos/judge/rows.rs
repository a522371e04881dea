//! What PostgreSQL must and must not hold in the end.

use std::collections::BTreeSet;

use copilot_shared::id::{MessageId, TurnId};
use copilot_shared::turn::TurnStatus;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// How much has not come to rest.
pub const UNSETTLED: &str = "SELECT (SELECT count(*) FROM turns WHERE status IN ('queued', 'running') OR NOT sealed) \
     + (SELECT count(*) FROM outbox) + (SELECT count(*) FROM unsettled_steps)";

/// Queries that must find nothing, and what it means if they do.
pub const NEVER: &[(&str, &str)] = &[
    (
        "a turn never ended",
        "SELECT concat_ws(' ', id, status, 'attempt', attempt, 'ready', ready_at, 'lease', lease_until, 'cancel', cancel_requested_at) \
         FROM turns WHERE status IN ('queued', 'running')",
    ),
    ("an outbox entry was left", "SELECT concat_ws(' ', turn_id, 'due', due_at, 'publishes', publishes) FROM outbox"),
    (
        "usage was never counted",
        "SELECT concat_ws(' ', user_id, turn_id, 'step', step, 'due', due_at) FROM unsettled_steps",
    ),
    (
        "a stream lacks its last chunk",
        "SELECT concat_ws(' ', id, status, 'attempt', attempt) FROM turns WHERE finished_at IS NOT NULL AND NOT sealed",
    ),
    (
        "the usage of a turn is not the sum of its steps",
        "SELECT t.id::text FROM turns t LEFT JOIN (SELECT turn_id, sum(prompt_tokens) AS p, sum(completion_tokens) AS c, \
             sum(cache_read_tokens) AS r, sum(cache_creation_tokens) AS w, count(*) AS n FROM turn_steps GROUP BY turn_id) s \
             ON s.turn_id = t.id \
         WHERE (t.prompt_tokens, t.completion_tokens, t.cache_read_tokens, t.cache_creation_tokens, t.steps) IS DISTINCT FROM \
             (coalesce(s.p, 0), coalesce(s.c, 0), coalesce(s.r, 0), coalesce(s.w, 0), coalesce(s.n, 0))",
    ),
    (
        "the usage of a session is not the sum of its turns",
        "SELECT s.id::text FROM sessions s JOIN (SELECT session_id, sum(prompt_tokens) AS p, sum(completion_tokens) AS c \
             FROM turns GROUP BY session_id) t ON t.session_id = s.id \
         WHERE (s.total_prompt_tokens, s.total_completion_tokens) IS DISTINCT FROM (t.p, t.c)",
    ),
    (
        "a step was answered twice",
        "SELECT concat_ws(' ', turn_id, 'step', step) FROM messages WHERE role = 'assistant' \
         GROUP BY turn_id, step HAVING count(*) > 1",
    ),
    ("a tool call has no outcome", "SELECT concat_ws(' ', turn_id, id) FROM tool_calls WHERE status <> 'finished'"),
    (
        "a turn has not one result in the history for each tool call",
        "SELECT t.id::text FROM turns t WHERE (SELECT count(*) FROM tool_calls c WHERE c.turn_id = t.id) \
             <> (SELECT count(*) FROM messages m WHERE m.turn_id = t.id AND m.role = 'tool')",
    ),
    (
        "a turn that began has not the message that made it",
        "SELECT t.id::text FROM turns t WHERE t.started_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM messages m \
             WHERE m.id = t.message_id AND m.turn_id = t.id AND m.role = 'user' AND m.sequence IS NOT NULL)",
    ),
    (
        "a finished tool call was started again",
        "SELECT concat_ws(' ', turn_id, call_id, name, 'attempt', attempt) FROM chaos_starts WHERE before = 'finished'",
    ),
    (
        "a tool call was started twice in one attempt",
        "SELECT concat_ws(' ', turn_id, call_id, name) FROM chaos_starts GROUP BY turn_id, call_id, name, attempt HAVING count(*) > 1",
    ),
    (
        "a tool call that must never be repeated was started again",
        "SELECT concat_ws(' ', turn_id, call_id, name) FROM chaos_starts WHERE name <> ALL (ARRAY['calculator', 'get_current_time']) \
         GROUP BY turn_id, call_id, name HAVING count(*) > 1",
    ),
    ("a file was written twice", "SELECT name FROM workspace_files GROUP BY name HAVING count(*) > 1"),
    (
        "a file that was written is not there, or not whole",
        "SELECT concat_ws(' ', turn_id, id) FROM tool_calls c WHERE name = 'write_workspace_file' \
             AND outcome::text LIKE '%workspace_file_written%' AND NOT EXISTS (SELECT 1 FROM workspace_files f \
                 WHERE f.name = c.input->>'filename' AND f.size_bytes = octet_length(c.input->>'content') \
                     AND f.checksum = sha256(convert_to(c.input->>'content', 'UTF8')))",
    ),
    (
        "the size of a workspace is not the sum of its files",
        "SELECT w.user_id FROM workspaces w WHERE w.used_bytes <> (SELECT coalesce(sum(size_bytes), 0) \
             FROM workspace_files WHERE workspace_id = w.id AND deleted_at IS NULL)",
    ),
    (
        "two turns of a session are mixed in its history",
        "WITH span AS (SELECT session_id, turn_id, min(sequence) AS lo, max(sequence) AS hi FROM messages \
             WHERE sequence IS NOT NULL GROUP BY session_id, turn_id) \
         SELECT concat_ws(' ', a.turn_id, b.turn_id) FROM span a JOIN span b \
             ON a.session_id = b.session_id AND a.lo < b.lo AND a.hi > b.lo",
    ),
    (
        "a turn overtook one that was accepted before it",
        "WITH place AS (SELECT t.id, t.session_id, t.number, t.priority, m.sequence FROM turns t \
             JOIN messages m ON m.id = t.message_id WHERE m.sequence IS NOT NULL) \
         SELECT concat_ws(' ', b.id, 'before', a.id) FROM place a JOIN place b \
             ON a.session_id = b.session_id AND a.priority = b.priority AND a.number < b.number AND a.sequence > b.sequence",
    ),
    (
        "a message lies behind the end of its session's numbers",
        "SELECT m.id::text FROM messages m JOIN sessions s ON s.id = m.session_id WHERE m.sequence >= s.next_sequence",
    ),
];

/// A turn as it ended.
#[derive(Debug, FromRow)]
pub struct TurnRow {
    pub id: TurnId,
    pub message_id: Option<MessageId>,
    pub status: TurnStatus,
    pub attempt: i32,
    pub losses: i32,
    pub error_code: Option<String>,
    pub cancelled_by: Option<String>,
    pub begun: bool,
}

/// What a model call was charged.
#[derive(Debug, FromRow)]
pub struct StepRow {
    pub step: i32,
    pub completion_tokens: i64,
    pub estimated: bool,
}

/// The messages of users in a turn, in order.
pub async fn user_messages(connection: &mut PgConnection, turn: TurnId) -> Vec<Uuid> {
    sqlx::query_scalar(
        "SELECT id FROM messages WHERE turn_id = $1 AND role = 'user' AND sequence IS NOT NULL ORDER BY sequence",
    )
    .bind(turn)
    .fetch_all(connection)
    .await
    .expect("the messages can be read")
}

/// All messages of users.
pub async fn messages(connection: &mut PgConnection) -> BTreeSet<Uuid> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM messages WHERE role = 'user'")
        .fetch_all(connection)
        .await
        .expect("the messages can be read");
    ids.into_iter().collect()
}

pub async fn turns(connection: &mut PgConnection) -> Vec<TurnRow> {
    sqlx::query_as(
        "SELECT id, message_id, status, attempt, losses, error_code, cancelled_by, started_at IS NOT NULL AS begun \
         FROM turns ORDER BY number",
    )
    .fetch_all(connection)
    .await
    .expect("the turns can be read")
}

pub async fn steps(connection: &mut PgConnection, turn: TurnId) -> Vec<StepRow> {
    sqlx::query_as("SELECT step, completion_tokens, estimated FROM turn_steps WHERE turn_id = $1 ORDER BY step")
        .bind(turn)
        .fetch_all(connection)
        .await
        .expect("the steps can be read")
}
