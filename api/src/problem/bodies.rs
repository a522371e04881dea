//! The models of error bodies, for the OpenAPI document and for the code that builds them.

use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, Union};
use serde::Serialize;
use uuid::Uuid;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// A stable word that a client can switch on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
        #[oai(rename_all = "snake_case", rename = "ErrorCode")]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// There is no token, or none that is valid.
    Unauthorized = "unauthorized",
    /// The token was valid once.
    TokenExpired = "token_expired",
    /// The route is for admins.
    AdminRequired = "admin_required",
    /// Only an admin may act as another user.
    ImpersonationForbidden = "impersonation_forbidden",
    /// The claim token is wrong or missing.
    ClaimRefused = "claim_refused",
    /// There is no such route.
    NotFound = "not_found",
    /// There is no such session of the caller.
    SessionNotFound = "session_not_found",
    /// There is no such turn in the session, or it does not wait any more.
    TurnNotFound = "turn_not_found",
    /// There is no such message in the conversation, or it is superseded.
    MessageNotFound = "message_not_found",
    /// There is no such user.
    UserNotFound = "user_not_found",
    /// The route has no such method.
    MethodNotAllowed = "method_not_allowed",
    /// The body is no JSON, or nested too deep.
    InvalidJson = "invalid_json",
    /// A field is missing or not as it must be.
    ValidationError = "validation_error",
    /// The body is no JSON by its content type.
    UnsupportedMediaType = "unsupported_media_type",
    /// The body is too large.
    PayloadTooLarge = "payload_too_large",
    /// The headers are too large.
    HeadersTooLarge = "headers_too_large",
    /// The cursor is malformed, or of the future.
    InvalidCursor = "invalid_cursor",
    /// What follows the cursor is not stored any more.
    CursorTrimmed = "cursor_trimmed",
    /// The cursor's stream is not stored any more.
    Expired = "expired",
    /// A turn of the session is in flight.
    TurnInProgress = "turn_in_progress",
    /// The turn has ended.
    TurnEnded = "turn_ended",
    /// The turn runs under a live lease.
    TurnRunning = "turn_running",
    /// The turn waits behind another one, or behind its user's cap.
    TurnWaiting = "turn_waiting",
    /// There is no such dead letter.
    DeadLetterNotFound = "dead_letter_not_found",
    /// The dead letter was replayed before.
    DeadLetterReplayed = "dead_letter_replayed",
    /// The user has too many turns in flight.
    TooManyTurns = "too_many_turns",
    /// A usage limit is reached.
    UsageLimitReached = "usage_limit_reached",
    /// There are no resets to be had.
    ResetNotAvailable = "reset_not_available",
    /// There are no resets to be had, because nobody has credits.
    CreditsDisabled = "credits_disabled",
    /// Nobody takes money for credits here.
    PaymentsNotConfigured = "payments_not_configured",
    /// There is no daily limit that could be reset.
    NoDailyLimit = "no_daily_limit",
    /// The day has had all of its resets.
    ResetsExhausted = "resets_exhausted",
    /// Another reset of the user is under way.
    ResetInProgress = "reset_in_progress",
    /// The daily limit is not reached: there is nothing to reset.
    DailyLimitNotReached = "daily_limit_not_reached",
    /// The weekly limit is reached as well: a reset of the day would not help.
    WeeklyLimitReached = "weekly_limit_reached",
    /// The user has too few credits.
    InsufficientCredits = "insufficient_credits",
    /// The reset failed, and nothing was charged.
    ResetFailed = "reset_failed",
    /// The reset failed, and what was charged is not back yet.
    ResetRefundPending = "reset_refund_pending",
    /// The idempotency key was used for another request.
    IdempotencyConflict = "idempotency_conflict",
    /// The message id is another message's.
    MessageIdTaken = "message_id_taken",
    /// The last message is not the user's, or there is none that could be answered.
    NoUserMessage = "no_user_message",
    /// A part of the message cannot be taken.
    UnsupportedPart = "unsupported_part",
    /// The trigger cannot be served.
    UnsupportedTrigger = "unsupported_trigger",
    /// The user's balance cannot take so much more.
    BalanceTooHigh = "balance_too_high",
    /// There is no such file of the caller.
    FileNotFound = "file_not_found",
    /// The caller has no files.
    WorkspaceNotFound = "workspace_not_found",
    /// Another file has the path.
    FileExists = "file_exists",
    /// The file has more bytes than a file may.
    FileTooLarge = "file_too_large",
    /// The caller's files would have more bytes than they may.
    StorageLimitExceeded = "storage_limit_exceeded",
    /// The range is no part of the file.
    RangeNotSatisfiable = "range_not_satisfiable",
    /// The body is no form, or broke off.
    InvalidMultipart = "invalid_multipart",
    /// The body did not come any further.
    RequestTimeout = "request_timeout",
    /// The user uploads too many files at once.
    TooManyUploads = "too_many_uploads",
    /// A server that we depend on is away.
    Unavailable = "unavailable",
    /// The route exists for its schema alone.
    NotImplemented = "not_implemented",
    /// A mistake of ours.
    InternalError = "internal_error",
}

/// An error.
#[derive(Debug, Clone, Object)]
#[oai(rename = "Error", example)]
pub struct Fault {
    /// A sentence for people.
    pub detail: String,
    /// A word for programs.
    pub code: Code,
}

/// How far the caller's files are from what they may be.
#[derive(Debug, Clone, Serialize, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct StorageExceeded {
    /// A sentence for people.
    pub message: String,
    /// Bytes of all files.
    pub used_bytes: i64,
    /// Bytes that they may have.
    pub limit_bytes: i64,
    /// The share that is used, in percent; absent if other files were written meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<f64>,
}

/// The caller's files would have more bytes than they may.
#[derive(Debug, Clone, Object)]
#[oai(rename = "StorageError")]
pub struct StorageFault {
    /// How far.
    pub detail: StorageExceeded,
    /// `storage_limit_exceeded`.
    pub code: Code,
}

/// The file cannot be taken.
#[derive(Debug, Clone, Union)]
#[oai(rename = "UploadError")]
pub enum UploadFault {
    /// The caller's files would have more bytes than they may.
    Storage(StorageFault),
    /// Another reason.
    Fault(Fault),
}

/// A step on the way to a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Union)]
#[serde(untagged)]
pub enum Loc {
    /// Into the field of an object.
    Name(String),
    /// To a place in a list.
    Index(u64),
}

/// A field of the request that is not as it must be.
#[derive(Debug, Clone, Serialize, Object)]
pub struct FieldError {
    /// Where it is: `body`, `query`, `path` or `header`, then the names, and the places in lists, on
    /// the way.
    pub loc: Vec<Loc>,
    /// A sentence for people.
    pub msg: String,
    /// What kind of mistake it is.
    #[serde(rename = "type")]
    #[oai(rename = "type")]
    pub kind: String,
}

impl FieldError {
    /// A mistake in a field of the body.
    pub fn in_body(field: &str, kind: &str, msg: impl Into<String>) -> Self {
        let names = field.split('.').filter(|name| !name.is_empty());
        Self::on_the_way(names.map(|name| Loc::Name(name.to_owned())).collect(), kind, msg)
    }

    /// A mistake at a place in the body.
    pub fn on_the_way(way: Vec<Loc>, kind: &str, msg: impl Into<String>) -> Self {
        let loc = std::iter::once(Loc::Name("body".to_owned())).chain(way).collect();
        Self { loc, msg: msg.into(), kind: kind.into() }
    }

    /// A mistake in a named part of the request outside the body.
    pub fn at(place: &str, name: &str, kind: &str, msg: impl Into<String>) -> Self {
        Self { loc: vec![Loc::Name(place.into()), Loc::Name(name.into())], msg: msg.into(), kind: kind.into() }
    }
}

/// The request is well-formed, but a field is not as it must be.
#[derive(Debug, Clone, Object)]
#[oai(rename = "ValidationError", example)]
pub struct Invalid {
    /// The fields.
    pub detail: Vec<FieldError>,
    /// `validation_error`.
    pub code: Code,
}

/// The request cannot be processed as it is.
#[derive(Debug, Clone, Union)]
#[oai(rename = "UnprocessableError")]
pub enum Unprocessable {
    /// A field is not as it must be.
    Invalid(Invalid),
    /// Another reason.
    Fault(Fault),
}

/// The oldest place in a turn's stream that can still be resumed from.
#[derive(Debug, Clone, Object)]
pub struct Checkpoint {
    /// The turn.
    pub turn_id: Uuid,
    /// The sequence number.
    pub sequence: u64,
}

/// The state of the session or the stream stands in the way.
#[derive(Debug, Clone, Object)]
#[oai(rename = "ConflictError", skip_serializing_if_is_none, example)]
pub struct Conflict {
    /// A sentence for people.
    pub detail: String,
    /// A word for programs.
    pub code: Code,
    /// With `turn_in_progress`: the turn.
    pub turn_id: Option<Uuid>,
    /// With `cursor_trimmed`: where to resume.
    pub checkpoint: Option<Checkpoint>,
}

impl Example for Fault {
    fn example() -> Self {
        let detail = "Session 01a20f01-1c3a-7d5e-9f00-5b1c2d3e4f50 not found.".into();
        Self { detail, code: Code::SessionNotFound }
    }
}

impl Example for Invalid {
    fn example() -> Self {
        let field = FieldError::in_body("message", "value_error", "Message must not be blank");
        Self { detail: vec![field], code: Code::ValidationError }
    }
}

impl Example for Conflict {
    fn example() -> Self {
        Self {
            detail: "A turn of this session is in progress.".into(),
            code: Code::TurnInProgress,
            turn_id: Some(uuid::uuid!("01a20f01-2615-751f-80aa-9d3c371f469e")),
            checkpoint: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem_openapi::types::ToJSON;

    #[test]
    fn every_code_is_spelled_as_documented() {
        for code in Code::ALL {
            assert_eq!(code.to_json(), Some(code.as_str().into()));
        }
    }

    #[test]
    fn a_field_of_the_body_is_named_by_its_path() {
        let names = |names: &[&str]| names.iter().map(|name| Loc::Name((*name).to_owned())).collect::<Vec<_>>();
        assert_eq!(FieldError::in_body("context.url", "missing", "m").loc, names(&["body", "context", "url"]));
        assert_eq!(FieldError::in_body("", "missing", "m").loc, names(&["body"]));
    }
}
