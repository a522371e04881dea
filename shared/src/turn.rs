//! One run that answers one message, and the states it may be in.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{MessageId, SessionId, TurnId, UserId};
use crate::usage::TokenUsage;

/// `queued → running → completed | failed | cancelled`, never back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "turn_status", rename_all = "lowercase")]
pub enum TurnStatus {
    /// Accepted; no worker has it.
    Queued,
    /// A worker has it, or had it and will be replaced.
    Running,
    /// Answered.
    Completed,
    /// Ended by an error.
    Failed,
    /// Ended by its user, an admin, or the deletion of its session.
    Cancelled,
}

impl TurnStatus {
    /// No further change is possible.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The number of a claim. Every write of a worker carries its own, and a newer one fences it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Attempt(pub i32);

/// Why a turn failed: a stable word for the client and the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The model's provider refused or broke off.
    ProviderError,
    /// The conversation does not fit into the model's window.
    ContextTooLong,
    /// The turn asked for more model calls than one turn may.
    StepLimit,
    /// The model called tools without arguments again and again.
    EmptyToolCalls,
    /// No worker took the turn in time.
    QueueTimeout,
    /// Every worker that took the turn died of it.
    AttemptsExhausted,
    /// A usage limit was reached in the middle of the turn.
    LimitReached,
    /// The usage counters could not be read before a model call.
    UsageUnavailable,
    /// The live stream was lost with its server.
    StreamLost,
    /// The queue held a message that nobody can read.
    UnreadableMessage,
    /// A mistake of ours.
    Internal,
}

impl ErrorCode {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProviderError => "provider_error",
            Self::ContextTooLong => "context_too_long",
            Self::StepLimit => "step_limit",
            Self::EmptyToolCalls => "circuit_breaker_empty_tool_calls",
            Self::QueueTimeout => "queue_timeout",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::LimitReached => "limit_reached",
            Self::UsageUnavailable => "usage_unavailable",
            Self::StreamLost => "stream_lost",
            Self::UnreadableMessage => "unreadable_message",
            Self::Internal => "internal_error",
        }
    }
}

/// A failure as the user reads it: a code and a sentence with nothing secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable word.
    pub code: ErrorCode,
    /// The sentence.
    pub message: String,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Why the model stopped; the words of the AI SDK's `finishReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// It had said everything.
    Stop,
    /// It ran into its output limit.
    Length,
    /// The provider's filter cut it.
    ContentFilter,
    /// It waits for tools.
    ToolCalls,
    /// It broke.
    Error,
    /// Something else.
    Other,
}

/// How a turn ends; becomes its terminal row and its terminal chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEnd {
    /// Answered.
    Completed(FinishReason),
    /// Broken, with the reason.
    Failed(Failure),
    /// Stopped.
    Cancelled,
}

impl TurnEnd {
    /// The terminal state.
    pub fn status(&self) -> TurnStatus {
        match self {
            Self::Completed(_) => TurnStatus::Completed,
            Self::Failed(_) => TurnStatus::Failed,
            Self::Cancelled => TurnStatus::Cancelled,
        }
    }

    /// The end that a terminal row tells of; `None` while the turn is in flight.
    pub fn of(turn: &Turn) -> Option<Self> {
        match turn.status {
            TurnStatus::Queued | TurnStatus::Running => None,
            TurnStatus::Completed => Some(Self::Completed(FinishReason::Stop)),
            TurnStatus::Cancelled => Some(Self::Cancelled),
            TurnStatus::Failed => Some(Self::Failed(Failure {
                code: turn.error_code.as_deref().and_then(ErrorCode::parse).unwrap_or(ErrorCode::Internal),
                message: turn.error.clone().unwrap_or_else(|| "The turn failed.".into()),
            })),
        }
    }
}

impl ErrorCode {
    const ALL: [Self; 11] = [
        Self::ProviderError,
        Self::ContextTooLong,
        Self::StepLimit,
        Self::EmptyToolCalls,
        Self::QueueTimeout,
        Self::AttemptsExhausted,
        Self::LimitReached,
        Self::UsageUnavailable,
        Self::StreamLost,
        Self::UnreadableMessage,
        Self::Internal,
    ];

    /// The code behind a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }
}

/// The record of a turn.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// The conversation that it belongs to.
    pub session_id: SessionId,
    /// Whose limits it counts against; absent in an anonymous session.
    pub user_id: Option<UserId>,
    /// The user's message; absent once it was dropped.
    pub message_id: Option<MessageId>,
    /// Where it stands.
    pub status: TurnStatus,
    /// How often it was claimed.
    pub attempt: Attempt,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it reached its terminal state.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// The sentence to the code.
    pub error: Option<String>,
    /// Who cancelled it.
    pub cancelled_by: Option<String>,
    /// What its committed steps used.
    pub usage: TokenUsage,
    /// Sequence number of the last chunk that was in the stream at the last commit or renewal.
    pub chunk_sequence: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
    }
}
