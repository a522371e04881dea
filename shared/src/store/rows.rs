//! Rows as they come from PostgreSQL, and the domain values that they become.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::FromRow;
use sqlx::types::Json;

use crate::id::{MessageId, SessionId, TurnId, UserId};
use crate::message::{Part, Role};
use crate::session::Session;
use crate::turn::{Attempt, Turn, TurnStatus};
use crate::usage::TokenUsage;

/// The columns of [`TurnRow`], to be read from a relation called `t`.
macro_rules! turn_columns {
    () => {
        "t.id, t.session_id, t.user_id, t.message_id, t.status, t.attempt, t.created_at, t.started_at, t.finished_at, \
         t.error_code, t.error, t.cancelled_by, t.chunk_sequence, t.prompt_tokens, t.completion_tokens, \
         t.cache_read_tokens, t.cache_creation_tokens, t.usage_estimated"
    };
}
pub(super) use turn_columns;

#[derive(FromRow)]
pub(super) struct TurnRow {
    id: TurnId,
    session_id: SessionId,
    user_id: Option<UserId>,
    message_id: Option<MessageId>,
    status: TurnStatus,
    attempt: Attempt,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error: Option<String>,
    cancelled_by: Option<String>,
    chunk_sequence: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    cache_read_tokens: i64,
    cache_creation_tokens: i64,
    usage_estimated: bool,
}

impl From<TurnRow> for Turn {
    fn from(row: TurnRow) -> Self {
        Self {
            id: row.id,
            session_id: row.session_id,
            user_id: row.user_id,
            message_id: row.message_id,
            status: row.status,
            attempt: row.attempt,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            error_code: row.error_code,
            error: row.error,
            cancelled_by: row.cancelled_by,
            usage: TokenUsage {
                prompt: row.prompt_tokens,
                completion: row.completion_tokens,
                cache_read: row.cache_read_tokens,
                cache_creation: row.cache_creation_tokens,
                estimated: row.usage_estimated,
            },
            chunk_sequence: row.chunk_sequence,
        }
    }
}

#[derive(FromRow)]
pub(super) struct SessionRow {
    id: SessionId,
    user_id: Option<UserId>,
    title: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    total_prompt_tokens: i64,
    total_completion_tokens: i64,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            title: row.title,
            created_at: row.created_at,
            updated_at: row.updated_at,
            total_prompt_tokens: row.total_prompt_tokens,
            total_completion_tokens: row.total_completion_tokens,
        }
    }
}

#[derive(FromRow)]
pub(super) struct HistoryRow {
    pub(super) role: Role,
    pub(super) parts: Json<StoredParts>,
}

/// The parts of a stored message, without those of kinds that only a newer version knows: two
/// versions run side by side during a deploy, and one strange part must not hide a conversation.
#[derive(Debug, Deserialize)]
#[serde(from = "Vec<Box<RawValue>>")]
pub(super) struct StoredParts(pub(super) Vec<Part>);

impl From<Vec<Box<RawValue>>> for StoredParts {
    fn from(stored: Vec<Box<RawValue>>) -> Self {
        let known = |part: Box<RawValue>| {
            serde_json::from_str(part.get())
                .inspect_err(|error| tracing::warn!(%error, "a part of a message is of an unknown kind"))
                .ok()
        };
        Self(stored.into_iter().filter_map(known).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_newer_version_does_not_hide_the_others() {
        let stored =
            r#"[{"type":"text","text":"a","later":1},{"type":"hologram","depth":3},{"type":"text","text":"b"}]"#;
        let StoredParts(parts) = serde_json::from_str(stored).unwrap();
        assert_eq!(parts, ["a", "b"].map(|text| Part::Text { id: None, text: text.into() }));
    }
}
