//! Which error of a use case is which problem.

use copilot_shared::blobs::BlobError;
use copilot_shared::cursor::MalformedCursor;
use copilot_shared::id::SessionId;
use copilot_shared::meter::MeterError;
use copilot_shared::payment::PaymentError;
use copilot_shared::queue::QueueError;
use copilot_shared::seal::SealError;
use copilot_shared::store::{ClaimSessionError, GrantError, StoreError, SubmitError};
use copilot_shared::stream::StreamError;
use copilot_shared::workspace::{Noticed, StorageUsage, WorkspaceError};
use poem::http::StatusCode;

use super::{Code, FieldError, Problem, StorageExceeded};
use crate::app::administer_limits::EmptyError;
use crate::app::administer_turns::{CancelAnyError, RequeueError};
use crate::app::buy_credits::BuyError;
use crate::app::check_health::Down;
use crate::app::dead_letters::ReplayError;
use crate::app::edit_queue::QueueEditError;
use crate::app::files::FileError;
use crate::app::reset_usage::ResetError;
use crate::app::resume_turn::ResumeError;
use crate::app::submit_turn::{AttachError, SubmitTurnError};
use crate::app::{SessionError, StopError};

/// After how many seconds a user with too many turns may try again.
const TURNS_PASS: u64 = 5;

/// After how many seconds one of a user's uploads may have ended.
const UPLOADS_PASS: u64 = 10;

/// After how many seconds another reset of the user may have ended.
const RESETS_PASS: u64 = 2;

/// After how many seconds the usage counters may be readable again (usage.md).
const COUNTERS_RETURN: u64 = 30;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_passing() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database is away");
            return Self::unavailable("The database is not available. Please try again.");
        }
        broken(&error)
    }
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        if matches!(error, StreamError::Unavailable(_)) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the stream server is away");
            return Self::unavailable("The stream server is not available. Please try again.");
        }
        broken(&error)
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        tracing::warn!(error = &error as &dyn std::error::Error, "the message broker is away");
        Self::unavailable("The message broker is not available. Please try again.")
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Store(error) => error.into(),
            SealError::Stream(error) => error.into(),
        }
    }
}

impl From<StopError> for Problem {
    fn from(error: StopError) -> Self {
        match error {
            StopError::Store(error) => error.into(),
            StopError::Seal(error) => error.into(),
            StopError::Stream(error) => error.into(),
        }
    }
}

impl From<AttachError> for Problem {
    fn from(error: AttachError) -> Self {
        match error {
            AttachError::Stream(error) => error.into(),
            AttachError::Seal(error) => error.into(),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound(id) => Self::no_session(&id),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<WorkspaceError> for Problem {
    fn from(error: WorkspaceError) -> Self {
        let detail = error.to_string();
        match error {
            WorkspaceError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::FileTooLarge, detail),
            WorkspaceError::QuotaExceeded(usage, noticed) => {
                let (message, used_percent) = match noticed {
                    Noticed::Before => (detail, Some(usage.used_percent())),
                    Noticed::After => (format!("{detail} (concurrent upload)"), None),
                };
                let StorageUsage { used_bytes, limit_bytes, .. } = usage;
                Self::storage_exceeded(StorageExceeded { message, used_bytes, limit_bytes, used_percent })
            }
            WorkspaceError::Exists(_) => Self::new(StatusCode::CONFLICT, Code::FileExists, detail),
            WorkspaceError::Abandoned => Self::unavailable("The upload took too long. Please try again."),
            // No request is made on behalf of a turn.
            WorkspaceError::Fenced => broken(&error),
            WorkspaceError::Blob(error) => error.into(),
            WorkspaceError::Store(error) => error.into(),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        tracing::warn!(error = &error as &dyn std::error::Error, "the file store is away");
        Self::unavailable("The file store is not available. Please try again.")
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        let detail = error.to_string();
        match error {
            FileError::NoWorkspace => Self::new(StatusCode::NOT_FOUND, Code::WorkspaceNotFound, detail),
            FileError::NotFound => Self::no_file(),
            FileError::Session(error) => error.into(),
            FileError::Path(_) => Self::invalid(FieldError::in_body("file", "value_error", detail)),
            FileError::TooManyUploads(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyUploads, detail).retry_after(UPLOADS_PASS)
            }
            FileError::Workspace(error) => error.into(),
            FileError::Blob(error) => error.into(),
            FileError::Store(error) => error.into(),
        }
    }
}

impl From<QueueEditError> for Problem {
    fn from(error: QueueEditError) -> Self {
        match error {
            QueueEditError::NotWaiting(turn) => {
                Self::new(StatusCode::NOT_FOUND, Code::TurnNotFound, format!("Turn {turn} does not wait."))
            }
            QueueEditError::Store(error) => error.into(),
        }
    }
}

impl From<RequeueError> for Problem {
    fn from(error: RequeueError) -> Self {
        let conflict = |code, turn, detail: &str| {
            Self::new(StatusCode::CONFLICT, code, format!("Turn {turn} {detail}.")).with_turn(turn)
        };
        match error {
            RequeueError::NotFound(turn) => Self::no_turn(&turn.to_string()),
            RequeueError::Ended(turn) => conflict(Code::TurnEnded, turn, "has ended"),
            RequeueError::Running(turn) => conflict(Code::TurnRunning, turn, "runs under a live lease"),
            RequeueError::Waiting(turn) => {
                conflict(Code::TurnWaiting, turn, "waits behind another one, or behind its user's cap")
            }
            RequeueError::Store(error) => error.into(),
        }
    }
}

impl From<CancelAnyError> for Problem {
    fn from(error: CancelAnyError) -> Self {
        match error {
            CancelAnyError::NotFound(turn) => Self::no_turn(&turn.to_string()),
            CancelAnyError::Stop(error) => error.into(),
        }
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::NotFound(id) => Self::no_dead_letter(&id.to_string()),
            ReplayError::Replayed(id) => {
                let detail = format!("Dead letter {id} was replayed before.");
                Self::new(StatusCode::CONFLICT, Code::DeadLetterReplayed, detail)
            }
            ReplayError::Queue(error) => error.into(),
            ReplayError::Store(error) => error.into(),
        }
    }
}

impl From<Down> for Problem {
    fn from(Down(parts): Down) -> Self {
        tracing::warn!(?parts, "unhealthy");
        Self::unavailable(format!("Not available: {}.", parts.join(", ")))
    }
}

impl From<MalformedCursor> for Problem {
    fn from(error: MalformedCursor) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidCursor, format!("Invalid cursor: {error}."))
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NotFound => Self::new(StatusCode::NOT_FOUND, Code::SessionNotFound, "Session not found."),
            SubmitError::TooManyTurns(cap) => {
                let detail = format!("You have {cap} turns in flight already. Please wait for one to end.");
                Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyTurns, detail).retry_after(TURNS_PASS)
            }
            SubmitError::Busy(turn) => {
                let detail = "A turn of this session is in progress.";
                Self::new(StatusCode::CONFLICT, Code::TurnInProgress, detail).with_turn(turn)
            }
            SubmitError::KeyConflict => {
                let detail = "The idempotency key was used for another request.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::IdempotencyConflict, detail)
            }
            SubmitError::MessageIdTaken => {
                Self::new(StatusCode::CONFLICT, Code::MessageIdTaken, "The message id is another message's.")
            }
            SubmitError::NoMessage(id) => {
                let detail = format!("Message {} is not in this conversation.", id.as_str());
                Self::new(StatusCode::NOT_FOUND, Code::MessageNotFound, detail)
            }
            SubmitError::NothingToAnswer => {
                let detail = "Nothing was said in this session yet that could be answered.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::NoUserMessage, detail)
            }
            SubmitError::Store(error) => error.into(),
        }
    }
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::UnknownUser => Self::new(StatusCode::NOT_FOUND, Code::UserNotFound, "User not found."),
            GrantError::TooMuch(too_much) => {
                let detail = format!("The user has {} already and cannot have so much more.", too_much.balance);
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::BalanceTooHigh, detail)
            }
            GrantError::Conflict => {
                let detail = "The key was used for another transaction of this user.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::IdempotencyConflict, detail)
            }
            GrantError::Disabled => {
                Self::new(StatusCode::BAD_REQUEST, Code::CreditsDisabled, "Credits are disabled here.")
            }
            GrantError::Store(error) => error.into(),
        }
    }
}

impl From<SubmitTurnError> for Problem {
    fn from(error: SubmitTurnError) -> Self {
        match error {
            SubmitTurnError::Usage(error) => error.into(),
            SubmitTurnError::Refused(error) => error.into(),
            SubmitTurnError::UnsupportedFile => {
                let detail = "Files cannot be sent with a message of an anonymous session.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, Code::UnsupportedPart, detail)
            }
            SubmitTurnError::Blank => {
                Self::invalid(FieldError::in_body("messages", "value_error", "Message must not be blank"))
            }
            SubmitTurnError::Workspace(error) => error.into(),
        }
    }
}

impl From<MeterError> for Problem {
    fn from(error: MeterError) -> Self {
        match error {
            MeterError::Reached(reached) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, Code::UsageLimitReached, reached.to_string())
                    .retry_after(reached.retry_after())
            }
            MeterError::Unreadable(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "usage cannot be read");
                Self::unavailable("Your usage cannot be checked right now. Please try again.")
                    .retry_after(COUNTERS_RETURN)
            }
            MeterError::Store(error) => error.into(),
        }
    }
}

impl From<BuyError> for Problem {
    fn from(error: BuyError) -> Self {
        match error {
            BuyError::Disabled => Self::new(StatusCode::BAD_REQUEST, Code::CreditsDisabled, error.to_string()),
            BuyError::Payment(PaymentError::NotConfigured) => {
                let detail = "Credits cannot be bought here: no payment provider is configured.";
                Self::new(StatusCode::BAD_REQUEST, Code::PaymentsNotConfigured, detail)
            }
            BuyError::Payment(error @ PaymentError::Unavailable(_)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no page to pay on");
                Self::unavailable("You cannot pay right now. Please try again.")
            }
        }
    }
}

impl From<EmptyError> for Problem {
    fn from(error: EmptyError) -> Self {
        match error {
            // The reference's answer (`usage-tools.md` §1.9).
            EmptyError::Windows(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a user's usage could not be reset");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::ResetFailed, "Failed to reset usage")
            }
            EmptyError::Meter(error) => error.into(),
            EmptyError::Store(error) => error.into(),
        }
    }
}

impl From<ResetError> for Problem {
    fn from(error: ResetError) -> Self {
        let (status, code) = match &error {
            ResetError::NotAvailable => (StatusCode::BAD_REQUEST, Code::ResetNotAvailable),
            ResetError::CreditsDisabled => (StatusCode::BAD_REQUEST, Code::CreditsDisabled),
            ResetError::NoDailyLimit => (StatusCode::BAD_REQUEST, Code::NoDailyLimit),
            ResetError::Unverifiable(_) | ResetError::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            ResetError::Exhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, Code::ResetsExhausted),
            ResetError::InProgress => (StatusCode::TOO_MANY_REQUESTS, Code::ResetInProgress),
            ResetError::NotReached => (StatusCode::BAD_REQUEST, Code::DailyLimitNotReached),
            ResetError::WeeklyReached => (StatusCode::BAD_REQUEST, Code::WeeklyLimitReached),
            ResetError::InsufficientCredits => (StatusCode::PAYMENT_REQUIRED, Code::InsufficientCredits),
            ResetError::Failed => (StatusCode::SERVICE_UNAVAILABLE, Code::ResetFailed),
            ResetError::FailedUnrefunded => (StatusCode::SERVICE_UNAVAILABLE, Code::ResetRefundPending),
        };
        let after = match error {
            ResetError::Store(error) => return error.into(),
            ResetError::Exhausted { left, .. } => left,
            ResetError::InProgress => RESETS_PASS,
            _ => COUNTERS_RETURN,
        };
        let problem = Self::new(status, code, error.to_string());
        let is_passing = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if is_passing { problem.retry_after(after) } else { problem }
    }
}

impl From<ResumeError> for Problem {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::Session(error) => error.into(),
            ResumeError::NoTurn(turn) => Self::no_turn(&turn.to_string()),
            ResumeError::Future => {
                Self::new(StatusCode::BAD_REQUEST, Code::InvalidCursor, "The cursor is ahead of the stream.")
            }
            ResumeError::Trimmed(checkpoint) => {
                let detail = "Chunks behind the cursor are not stored any more. Ask again without a cursor.";
                Self::new(StatusCode::CONFLICT, Code::CursorTrimmed, detail).with_checkpoint(checkpoint)
            }
            ResumeError::Expired => Self::new(
                StatusCode::GONE,
                Code::Expired,
                "The stream is not stored any more. Read the session for the whole answer.",
            ),
            ResumeError::Store(error) => error.into(),
            ResumeError::Stream(error) => error.into(),
        }
    }
}

impl Problem {
    /// Why a session was not claimed.
    pub fn of_claim(session: SessionId, error: ClaimSessionError) -> Self {
        match error {
            ClaimSessionError::NotFound => Self::no_session(&session.to_string()),
            ClaimSessionError::WrongToken => Self::new(
                StatusCode::FORBIDDEN,
                Code::ClaimRefused,
                format!("Not authorized to claim session {session}"),
            ),
            ClaimSessionError::Store(error) => error.into(),
        }
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error, "a request failed");
    Problem::internal()
}
