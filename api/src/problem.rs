//! Errors as clients see them: one shape for all (`spec/http.md`, Errors).

use copilot_shared::cursor::Cursor;
use copilot_shared::id::TurnId;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use serde_json::json;

mod bodies;
mod catch;
mod causes;
mod refused;

pub use bodies::{
    Checkpoint, Code, Conflict, Fault, FieldError, Invalid, Loc, StorageExceeded, StorageFault, Unprocessable,
    UploadFault,
};
pub use catch::problem_of;
pub use refused::{Refused, Statuses};

/// After how many seconds a client may try again when a server is away.
const RETRY_AFTER: u64 = 2;

/// An error response.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    code: Code,
    detail: Detail,
    retry_after: Option<u64>,
    more: Option<More>,
}

#[derive(Debug, Clone)]
enum Detail {
    Sentence(String),
    Fields(Vec<FieldError>),
    Storage(StorageExceeded),
}

/// What a client needs to go on.
#[derive(Debug, Clone, Copy)]
enum More {
    Turn(TurnId),
    Checkpoint(Cursor),
    Size(u64),
}

impl Problem {
    /// An error with its sentence.
    pub fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { status, code, detail: Detail::Sentence(detail.into()), retry_after: None, more: None }
    }

    /// A field of the request is not as it must be.
    pub fn invalid(field: FieldError) -> Self {
        Self {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: Code::ValidationError,
            detail: Detail::Fields(vec![field]),
            retry_after: None,
            more: None,
        }
    }

    /// The session is unknown, or somebody else's: the two look the same.
    pub fn no_session(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::SessionNotFound, format!("Session {id} not found."))
    }

    /// The caller's files would have more bytes than they may.
    pub fn storage_exceeded(exceeded: StorageExceeded) -> Self {
        let detail = Detail::Storage(exceeded);
        Self { detail, ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::StorageLimitExceeded, "") }
    }

    /// The file is unknown, or somebody else's: the two look the same.
    pub fn no_file() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::FileNotFound, "File not found")
    }

    /// The range is no part of a file of so many bytes.
    pub fn no_such_range(size: u64) -> Self {
        let problem = Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            Code::RangeNotSatisfiable,
            format!("The range is no part of the file, which has {size} bytes."),
        );
        Self { more: Some(More::Size(size)), ..problem }
    }

    /// The turn is unknown, or of another session.
    pub fn no_turn(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::TurnNotFound, format!("Turn {id} not found."))
    }

    /// There is no such dead letter.
    pub fn no_dead_letter(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::DeadLetterNotFound, format!("Dead letter {id} not found."))
    }

    /// A server that we depend on is away for the moment.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, detail).retry_after(RETRY_AFTER)
    }

    /// A mistake of ours. What it was is in the log.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Code::InternalError, "Something went wrong on our side.")
    }

    /// After how many seconds the same request may succeed.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// The turn that stands in the way.
    #[must_use]
    pub fn with_turn(self, turn: TurnId) -> Self {
        Self { more: Some(More::Turn(turn)), ..self }
    }

    /// The oldest cursor that can still be resumed from.
    #[must_use]
    pub fn with_checkpoint(self, checkpoint: Cursor) -> Self {
        Self { more: Some(More::Checkpoint(checkpoint)), ..self }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable word.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let detail = match self.detail {
            Detail::Sentence(sentence) => json!(sentence),
            Detail::Fields(fields) => json!(fields),
            Detail::Storage(exceeded) => json!(exceeded),
        };
        let mut body = json!({ "detail": detail, "code": self.code.as_str() });
        if let Some(object) = body.as_object_mut() {
            match self.more {
                None | Some(More::Size(_)) => {}
                Some(More::Turn(turn)) => {
                    object.insert("turn_id".into(), json!(turn));
                }
                Some(More::Checkpoint(at)) => {
                    object.insert("checkpoint".into(), json!({ "turn_id": at.turn_id, "sequence": at.sequence }));
                }
            }
        }
        let mut response =
            Response::builder().status(self.status).content_type("application/json").body(body.to_string());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(More::Size(size)) = self.more
            && let Ok(range) = HeaderValue::try_from(format!("bytes */{size}"))
        {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        response
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        Self::from_response(problem.into_response())
    }
}
