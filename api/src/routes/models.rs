//! What answers look like (`usage-tools.md` §4.5, with what this API adds).

use chrono::{DateTime, Utc};
use copilot_shared::session::Session;
use copilot_shared::store::{ActiveTurn, QueuedMessage, SessionSummary};
use copilot_shared::turn::Turn;
use poem_openapi::{ApiResponse, Enum, Object};
use uuid::Uuid;

use super::Nullable;
use super::messages::{Message, MessageFile, file};
use crate::app::cancel_turn::Cancelled;
use crate::app::create_session::Created;
use crate::app::read_session::SessionDetail;
use crate::auth::Ticket;

mod examples;

/// Done; there is nothing to say.
#[derive(ApiResponse)]
pub(super) enum NoContent {
    /// Done
    #[oai(status = 204)]
    Done,
}

/// A fresh session.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct CreateSessionResponse {
    /// Its id.
    id: Uuid,
    created_at: DateTime<Utc>,
    /// Its owner.
    user_id: Nullable<String>,
    /// In a session without an owner: what its bearer sends as `X-Claim-Token`. It is told once.
    claim_token: Nullable<String>,
}

/// A session in a list.
#[derive(Debug, Object)]
pub(super) struct SessionSummaryResponse {
    /// Its id.
    id: Uuid,
    created_at: DateTime<Utc>,
    /// When something last happened in it.
    updated_at: DateTime<Utc>,
    /// Its name.
    title: Nullable<String>,
    /// A turn of it is in flight.
    is_processing: bool,
}

/// A page of sessions.
#[derive(Debug, Object)]
pub(super) struct ListSessionsResponse {
    /// The page, newest updated first.
    sessions: Vec<SessionSummaryResponse>,
    /// How many there are on all pages.
    total: i64,
}

/// The turn that a client would follow.
#[derive(Debug, Object)]
#[oai(rename = "ActiveStreamInfo")]
pub(super) struct ActiveStream {
    /// The turn.
    turn_id: Uuid,
    /// The newest message that is in the history.
    last_message_id: Nullable<Uuid>,
}

/// A session with a page of its messages.
#[derive(Debug, Object)]
pub(super) struct SessionDetailResponse {
    /// Its id.
    id: Uuid,
    created_at: DateTime<Utc>,
    /// When something last happened in it.
    updated_at: DateTime<Utc>,
    /// Its owner.
    user_id: Nullable<String>,
    /// Its name.
    title: Nullable<String>,
    /// The page, oldest first.
    messages: Vec<Message>,
    /// There are older ones.
    has_more_messages: bool,
    /// Where the next page ends: `before_sequence`.
    oldest_sequence: Nullable<i64>,
    /// What is in flight.
    active_stream: Nullable<ActiveStream>,
    /// Uncached input tokens of all turns.
    total_prompt_tokens: i64,
    /// Output tokens of all turns.
    total_completion_tokens: i64,
}

/// What a cancel did.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct CancelSessionResponse {
    /// Nothing is running any more of what was.
    cancelled: bool,
    /// `no_active_session` if nothing was in flight, `dequeued` if nothing ran and what waited was
    /// dropped.
    reason: Nullable<String>,
}

/// A ticket for the streams of a session.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct StreamTicketResponse {
    /// What stands in `?ticket=`.
    ticket: String,
    /// From when on it opens nothing.
    expires_at: DateTime<Utc>,
}

/// Done.
#[derive(Debug, Object)]
pub(super) struct StatusResponse {
    /// `ok`.
    status: String,
}

/// What a submit without a stream came to.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct SubmitResponse {
    /// The turn.
    pub(super) turn_id: Uuid,
    /// Where it stands.
    pub(super) status: TurnStatus,
    /// Where it waits behind other turns of the session, 1 being next; 0 if it does not.
    pub(super) position: i64,
}

/// Where a turn stands.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum TurnStatus {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// What a turn used, in tokens.
#[derive(Debug, Object)]
pub(super) struct Usage {
    /// Uncached input.
    prompt_tokens: i64,
    /// Output.
    completion_tokens: i64,
    /// Uncached input and output.
    total_tokens: i64,
    /// Input from the provider's cache.
    cache_read_tokens: i64,
    /// Input into the provider's cache.
    cache_creation_tokens: i64,
    /// The provider gave no figures for some of it.
    estimated: bool,
}

/// The record of a turn.
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct TurnRecord {
    /// Its id.
    id: Uuid,
    /// Where it stands.
    status: TurnStatus,
    /// How often a worker took it.
    attempt: i32,
    created_at: DateTime<Utc>,
    started_at: Nullable<DateTime<Utc>>,
    finished_at: Nullable<DateTime<Utc>>,
    /// Why it failed.
    error_code: Nullable<String>,
    /// The sentence to the code.
    error: Nullable<String>,
    /// Who cancelled it.
    cancelled_by: Nullable<String>,
    /// What it used so far.
    usage: Usage,
}

/// Turns, newest first.
#[derive(Debug, Object)]
pub(super) struct ListTurnsResponse {
    /// The turns.
    turns: Vec<TurnRecord>,
}

/// A message that waits behind the running turn.
#[derive(Debug, Object)]
#[oai(rename = "QueuedMessage")]
pub(super) struct Waiting {
    /// The turn that will answer it.
    turn_id: Uuid,
    /// 1 is next.
    position: i64,
    /// What it says; empty if it is nothing but files.
    message: String,
    /// Its files.
    files: Vec<MessageFile>,
    created_at: DateTime<Utc>,
}

/// What waits behind the running turn.
#[derive(Debug, Object)]
pub(super) struct QueueResponse {
    /// In order.
    queue: Vec<Waiting>,
}

impl From<Cancelled> for CancelSessionResponse {
    fn from(cancelled: Cancelled) -> Self {
        let reason = match cancelled {
            Cancelled::Stopped => None,
            Cancelled::Dequeued => Some("dequeued".to_owned()),
            Cancelled::Idle => Some("no_active_session".to_owned()),
        };
        Self { cancelled: true, reason: reason.into() }
    }
}

impl StatusResponse {
    pub(super) fn ok() -> Self {
        Self { status: "ok".into() }
    }
}

impl From<Ticket> for StreamTicketResponse {
    fn from(Ticket { text, expires_at }: Ticket) -> Self {
        Self { ticket: text, expires_at }
    }
}

impl From<Created> for CreateSessionResponse {
    fn from(Created { session, claim_token }: Created) -> Self {
        Self {
            id: session.id.0,
            created_at: session.created_at,
            user_id: owner(&session),
            claim_token: claim_token.into(),
        }
    }
}

impl ListSessionsResponse {
    pub(super) fn new(sessions: Vec<SessionSummary>, total: i64) -> Self {
        let summary = |session: SessionSummary| SessionSummaryResponse {
            id: session.id.0,
            created_at: session.created_at,
            updated_at: session.updated_at,
            title: session.title.into(),
            is_processing: session.is_processing,
        };
        Self { sessions: sessions.into_iter().map(summary).collect(), total }
    }
}

impl From<SessionDetail> for SessionDetailResponse {
    fn from(SessionDetail { session, page, active }: SessionDetail) -> Self {
        let active = active.map(|ActiveTurn { id, last_message_id, .. }| ActiveStream {
            turn_id: id.0,
            last_message_id: last_message_id.map(|id| id.0).into(),
        });
        Self {
            id: session.id.0,
            created_at: session.created_at,
            updated_at: session.updated_at,
            user_id: owner(&session),
            title: session.title.into(),
            has_more_messages: page.has_more,
            oldest_sequence: page.messages.first().map(|message| message.sequence).into(),
            messages: page.messages.into_iter().map(Message::from).collect(),
            active_stream: active.into(),
            total_prompt_tokens: session.total_prompt_tokens,
            total_completion_tokens: session.total_completion_tokens,
        }
    }
}

impl From<copilot_shared::turn::TurnStatus> for TurnStatus {
    fn from(status: copilot_shared::turn::TurnStatus) -> Self {
        use copilot_shared::turn::TurnStatus as Stored;
        match status {
            Stored::Queued => Self::Queued,
            Stored::Running => Self::Running,
            Stored::Completed => Self::Completed,
            Stored::Failed => Self::Failed,
            Stored::Cancelled => Self::Cancelled,
        }
    }
}

impl From<TurnStatus> for copilot_shared::turn::TurnStatus {
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
            usage: Usage {
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

impl From<Vec<Turn>> for ListTurnsResponse {
    fn from(turns: Vec<Turn>) -> Self {
        Self { turns: turns.into_iter().map(TurnRecord::from).collect() }
    }
}

impl From<Vec<QueuedMessage>> for QueueResponse {
    fn from(queue: Vec<QueuedMessage>) -> Self {
        let waiting = |queued: QueuedMessage| Waiting {
            turn_id: queued.turn_id.0,
            position: queued.position,
            message: queued.message,
            files: queued.files.iter().filter_map(file).collect(),
            created_at: queued.created_at,
        };
        Self { queue: queue.into_iter().map(waiting).collect() }
    }
}

fn owner(session: &Session) -> Nullable<String> {
    session.user_id.as_ref().map(|user| user.as_str().to_owned()).into()
}
