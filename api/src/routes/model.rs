//! The JSON of requests and answers (`spec/http.md`; `usage-tools.md` §4.5, §4.6). Snake case, nulls present.

use chrono::{DateTime, Utc};
use copilot_shared::message::{Part, ToolOutcome, text_of};
use copilot_shared::session::Session;
use copilot_shared::store::{QueuedMessage, SessionSummary, StoredMessage};
use copilot_shared::turn::{Turn, TurnStatus};
use poem_openapi::{Enum, Object};
use serde::Deserialize;
use uuid::Uuid;

use crate::body::BodyLimit;
use crate::nullable::Nullable;

/// A fresh session.
#[derive(Debug, Object)]
pub struct CreateSessionResponse {
    /// Its id.
    pub id: Uuid,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Its owner; null for an anonymous one.
    pub user_id: Nullable<String>,
    /// Only of an anonymous session, and only here: what its bearer sends as `X-Claim-Token`.
    #[oai(skip_serializing_if_is_none)]
    pub claim_token: Option<String>,
}

/// A page of sessions.
#[derive(Debug, Object)]
pub struct ListSessionsResponse {
    /// The sessions, newest updated first.
    pub sessions: Vec<SessionSummaryResponse>,
    /// How many there are in all.
    pub total: i64,
}

/// A session in a list.
#[derive(Debug, Object)]
pub struct SessionSummaryResponse {
    /// Its id.
    pub id: Uuid,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When something last happened in it.
    pub updated_at: DateTime<Utc>,
    /// Its name.
    pub title: Nullable<String>,
    /// Is a turn of it in flight?
    pub is_processing: bool,
}

impl From<SessionSummary> for SessionSummaryResponse {
    fn from(session: SessionSummary) -> Self {
        Self {
            id: session.id.0,
            created_at: session.created_at,
            updated_at: session.updated_at,
            title: session.title.into(),
            is_processing: session.is_processing,
        }
    }
}

/// A session with a page of its messages.
#[derive(Debug, Object)]
pub struct SessionDetailResponse {
    /// Its id.
    pub id: Uuid,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When something last happened in it.
    pub updated_at: DateTime<Utc>,
    /// Its owner.
    pub user_id: Nullable<String>,
    /// Its name.
    pub title: Nullable<String>,
    /// A page of messages, oldest first.
    pub messages: Vec<ChatMessage>,
    /// Are there older ones?
    pub has_more_messages: bool,
    /// The sequence number of the first message here, for `before_sequence`.
    pub oldest_sequence: Nullable<i64>,
    /// The turn that is in flight.
    pub active_stream: Nullable<ActiveStreamInfo>,
    /// Uncached input tokens of all turns.
    pub total_prompt_tokens: i64,
    /// Output tokens of all turns.
    pub total_completion_tokens: i64,
}

impl SessionDetailResponse {
    /// A session and a page of its messages.
    pub fn new(
        session: Session,
        messages: Vec<StoredMessage>,
        has_more: bool,
        active: Option<ActiveStreamInfo>,
    ) -> Self {
        Self {
            id: session.id.0,
            created_at: session.created_at,
            updated_at: session.updated_at,
            user_id: session.user_id.map(|user| user.to_string()).into(),
            title: session.title.into(),
            has_more_messages: has_more,
            oldest_sequence: messages.first().map(|message| message.sequence).into(),
            messages: messages.into_iter().map(ChatMessage::from).collect(),
            active_stream: active.into(),
            total_prompt_tokens: session.total_prompt_tokens,
            total_completion_tokens: session.total_completion_tokens,
        }
    }
}

/// The turn that is in flight.
#[derive(Debug, Object)]
pub struct ActiveStreamInfo {
    /// The turn.
    pub turn_id: Uuid,
    /// The newest message that is already in the history.
    pub last_message_id: Nullable<Uuid>,
}

/// A message.
#[derive(Debug, Object)]
pub struct ChatMessage {
    /// Its id.
    pub id: Uuid,
    /// The turn that it belongs to.
    pub turn_id: Uuid,
    /// Its place in the conversation.
    pub sequence: i64,
    /// `user`, `assistant`, `tool` or `system`.
    pub role: String,
    /// What is said; for a tool, what it answered.
    pub content: Nullable<String>,
    /// For a tool, its name.
    pub name: Nullable<String>,
    /// For a tool, the call that it answers.
    pub tool_call_id: Nullable<String>,
    /// Always null.
    pub refusal: Nullable<String>,
    /// What the assistant asks of tools.
    pub tool_calls: Nullable<Vec<ToolCallItem>>,
    /// Always null.
    pub function_call: Nullable<FunctionCall>,
    /// The assistant's thoughts.
    pub reasoning: Nullable<String>,
    /// When it was saved.
    pub created_at: DateTime<Utc>,
    /// On the last message of a turn that has ended: how long it took.
    pub duration_ms: Nullable<i64>,
    /// On the last message of a turn that has ended: how.
    pub turn_status: Nullable<TurnStatusWord>,
}

/// What the assistant asks of a tool.
#[derive(Debug, Object)]
pub struct ToolCallItem {
    /// The call.
    pub id: String,
    /// Always `function`.
    #[oai(rename = "type")]
    pub kind: String,
    /// What is asked.
    pub function: FunctionCall,
}

/// A tool and its arguments.
#[derive(Debug, Object)]
pub struct FunctionCall {
    /// The tool.
    pub name: String,
    /// The arguments, as JSON text.
    pub arguments: String,
}

impl From<StoredMessage> for ChatMessage {
    fn from(message: StoredMessage) -> Self {
        let calls: Vec<ToolCallItem> = message.parts.iter().filter_map(call_item).collect();
        let result = message.parts.iter().find_map(|part| match part {
            Part::ToolResult { id, name, outcome } => Some((id.to_string(), name.clone(), outcome_text(outcome))),
            Part::Text { .. } | Part::Reasoning { .. } | Part::ToolCall { .. } | Part::Context { .. } => None,
        });
        let reasoning: String = message.parts.iter().filter_map(thought).collect();
        let text = text_of(&message.parts);
        let (tool_call_id, name, content) = match result {
            Some((id, name, content)) => (Some(id), Some(name), Some(content)),
            None => (None, None, (!text.is_empty()).then_some(text)),
        };
        Self {
            id: message.id.0,
            turn_id: message.turn_id.0,
            sequence: message.sequence,
            role: message.role.as_str().to_owned(),
            content: content.into(),
            name: name.into(),
            tool_call_id: tool_call_id.into(),
            refusal: None.into(),
            tool_calls: (!calls.is_empty()).then_some(calls).into(),
            function_call: None.into(),
            reasoning: (!reasoning.is_empty()).then_some(reasoning).into(),
            created_at: message.created_at,
            duration_ms: message.turn_end.and_then(|(_, duration)| duration).into(),
            turn_status: message.turn_end.map(|(status, _)| status.into()).into(),
        }
    }
}

fn call_item(part: &Part) -> Option<ToolCallItem> {
    match part {
        Part::ToolCall { id, name, input } => Some(ToolCallItem {
            id: id.to_string(),
            kind: "function".into(),
            function: FunctionCall { name: name.clone(), arguments: json_text(input) },
        }),
        Part::Text { .. } | Part::Reasoning { .. } | Part::ToolResult { .. } | Part::Context { .. } => None,
    }
}

fn thought(part: &Part) -> Option<&str> {
    match part {
        Part::Reasoning { text, .. } => Some(text),
        Part::Text { .. } | Part::ToolCall { .. } | Part::ToolResult { .. } | Part::Context { .. } => None,
    }
}

fn outcome_text(outcome: &ToolOutcome) -> String {
    match outcome {
        ToolOutcome::Output(value) => json_text(value),
        ToolOutcome::Error(text) => text.clone(),
    }
}

/// A string as it is, anything else as JSON.
fn json_text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where a turn stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum TurnStatusWord {
    /// Accepted; no worker has it.
    Queued,
    /// A worker has it.
    Running,
    /// Answered.
    Completed,
    /// Ended by an error.
    Failed,
    /// Stopped.
    Cancelled,
}

impl From<TurnStatus> for TurnStatusWord {
    fn from(status: TurnStatus) -> Self {
        match status {
            TurnStatus::Queued => Self::Queued,
            TurnStatus::Running => Self::Running,
            TurnStatus::Completed => Self::Completed,
            TurnStatus::Failed => Self::Failed,
            TurnStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// The record of a turn.
#[derive(Debug, Object)]
pub struct TurnRecord {
    /// Its id, which is also the id of the answer's message in the stream.
    pub id: Uuid,
    /// Where it stands.
    pub status: TurnStatusWord,
    /// How often it was claimed by a worker.
    pub attempt: i32,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: Nullable<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Nullable<DateTime<Utc>>,
    /// Why it failed: a stable word.
    pub error_code: Nullable<String>,
    /// Why it failed: a sentence.
    pub error: Nullable<String>,
    /// Who stopped it.
    pub cancelled_by: Nullable<String>,
    /// What it used.
    pub usage: TurnUsage,
}

/// What a turn used, in tokens.
#[derive(Debug, Object)]
pub struct TurnUsage {
    /// Uncached input.
    pub prompt_tokens: i64,
    /// Output.
    pub completion_tokens: i64,
    /// Both.
    pub total_tokens: i64,
    /// Input from the provider's cache.
    pub cache_read_tokens: i64,
    /// Input written to the provider's cache.
    pub cache_creation_tokens: i64,
    /// The provider reported nothing for some of it, and we estimated.
    pub estimated: bool,
}

impl From<Turn> for TurnRecord {
    fn from(turn: Turn) -> Self {
        Self {
            id: turn.id.0,
            status: turn.status.into(),
            attempt: turn.attempt.0,
            created_at: turn.created_at,
            started_at: turn.started_at.into(),
            finished_at: turn.finished_at.into(),
            error_code: turn.error_code.into(),
            error: turn.error.into(),
            cancelled_by: turn.cancelled_by.into(),
            usage: TurnUsage {
                prompt_tokens: turn.usage.prompt,
                completion_tokens: turn.usage.completion,
                total_tokens: turn.usage.total(),
                cache_read_tokens: turn.usage.cache_read,
                cache_creation_tokens: turn.usage.cache_creation,
                estimated: turn.usage.estimated,
            },
        }
    }
}

/// A session's turns.
#[derive(Debug, Object)]
pub struct ListTurnsResponse {
    /// Newest first.
    pub turns: Vec<TurnRecord>,
}

/// A session's queue.
#[derive(Debug, Object)]
pub struct QueueResponse {
    /// What waits, in order.
    pub queue: Vec<QueueItem>,
}

/// A message that waits.
#[derive(Debug, Object)]
pub struct QueueItem {
    /// Its turn.
    pub turn_id: Uuid,
    /// Its place; 1 is next.
    pub position: i64,
    /// What it says.
    pub message: String,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
}

impl From<QueuedMessage> for QueueItem {
    fn from(queued: QueuedMessage) -> Self {
        Self {
            turn_id: queued.turn_id.0,
            position: queued.position,
            message: queued.message,
            created_at: queued.created_at,
        }
    }
}

/// What a cancel came to.
#[derive(Debug, Object)]
pub struct CancelSessionResponse {
    /// Always true: nothing runs any more.
    pub cancelled: bool,
    /// Null if a running turn was stopped; `dequeued` if nothing ran and what waited was dropped;
    /// `no_active_session` if nothing was in flight.
    pub reason: Nullable<String>,
}

/// A submit that was accepted.
#[derive(Debug, Object)]
pub struct SubmitResponse {
    /// The turn.
    pub turn_id: Uuid,
    /// Where it stands.
    pub status: TurnStatusWord,
    /// Where it waits behind other turns of its session; 0 if it does not.
    pub position: i64,
}

/// Done.
#[derive(Debug, Object)]
pub struct StatusResponse {
    /// Always `ok`.
    pub status: String,
}

impl StatusResponse {
    /// Done.
    pub fn ok() -> Self {
        Self { status: "ok".into() }
    }
}

/// How long an ended turn stays replayable.
#[derive(Debug, Object)]
pub struct TtlResponse {
    /// In seconds.
    pub stream_ttl_seconds: u64,
    /// In milliseconds.
    pub stream_ttl_ms: u64,
}

/// Every part does its work.
#[derive(Debug, Object)]
pub struct HealthResponse {
    /// Always `healthy`.
    pub status: String,
    /// Always `chat`.
    pub service: String,
    /// The program's version.
    pub version: String,
}

/// A session's new name.
#[derive(Debug, Deserialize, Object)]
pub struct UpdateTitleRequest {
    /// 1 to 256 characters once trimmed.
    pub title: String,
}

impl BodyLimit for UpdateTitleRequest {}

/// A waiting message's new text.
#[derive(Debug, Deserialize, Object)]
pub struct EditQueuedRequest {
    /// 1 to 64,000 characters.
    pub message: String,
}

impl BodyLimit for EditQueuedRequest {}

/// What proves that an anonymous session is the caller's.
#[derive(Debug, Default, Deserialize, Object)]
pub struct AssignUserRequest {
    /// The token that `POST /sessions` gave.
    #[serde(default)]
    pub claim_token: Option<String>,
}

impl BodyLimit for AssignUserRequest {}
