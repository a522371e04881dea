//! Errors as clients see them: a sentence, a stable code, and nothing about our inside
//! (`spec/http.md`, Errors).

use std::marker::PhantomData;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use uuid::Uuid;

use copilot_shared::cursor::Cursor;
use copilot_shared::id::TurnId;
use copilot_shared::seal::SealError;
use copilot_shared::store::StoreError;
use copilot_shared::stream::StreamError;

/// An error on its way to the client.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Detail,
    extra: Extra,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Detail {
    Sentence(String),
    Fields(Vec<FieldError>),
}

#[derive(Debug, Default, Serialize)]
struct Extra {
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    #[serde(skip)]
    retry_after: Option<u32>,
    #[serde(skip)]
    allow: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    detail: &'a Detail,
    code: &'static str,
    #[serde(flatten)]
    extra: &'a Extra,
}

/// Where a client whose cursor is too old can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Object)]
pub struct Checkpoint {
    /// The turn.
    pub turn_id: Uuid,
    /// The oldest sequence number that a cursor may still have.
    pub sequence: u64,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Object)]
pub struct FieldError {
    /// Where it is, from `body`, `query` or `header` inwards.
    pub loc: Vec<String>,
    /// What is wrong.
    pub msg: String,
    /// The kind of mistake.
    #[serde(rename = "type")]
    #[oai(rename = "type")]
    pub kind: String,
}

/// The body of an error.
#[derive(Debug, Object)]
pub struct ErrorBody {
    /// A sentence.
    pub detail: String,
    /// A stable word that a client can switch on.
    pub code: String,
    /// With `turn_in_progress`: the turn.
    #[oai(skip_serializing_if_is_none)]
    pub turn_id: Option<Uuid>,
    /// With `cursor_trimmed`: where to go on.
    #[oai(skip_serializing_if_is_none)]
    pub checkpoint: Option<Checkpoint>,
}

/// The body of an error in what was sent.
#[derive(Debug, Object)]
pub struct ValidationErrorBody {
    /// What is wrong, field by field.
    pub detail: Vec<FieldError>,
    /// A stable word that a client can switch on.
    pub code: String,
}

impl Problem {
    /// An error with its status, code and sentence.
    pub fn new(status: StatusCode, code: &'static str, sentence: impl Into<String>) -> Self {
        Self { status, code, detail: Detail::Sentence(sentence.into()), extra: Extra::default() }
    }

    /// 401.
    pub fn unauthorized(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", sentence)
    }

    /// 404 for a session that is not the caller's, whether it exists or not.
    pub fn no_session(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "session_not_found", format!("Session {id} not found."))
    }

    /// 404 for a turn that is not this session's.
    pub fn no_turn(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "turn_not_found", format!("Turn {id} not found."))
    }

    /// 422 for one field.
    pub fn field(loc: &[&str], kind: &'static str, msg: impl Into<String>) -> Self {
        Self::invalid("validation_error", loc, kind, msg)
    }

    /// 422 for one field, with a code of its own.
    pub fn invalid(code: &'static str, loc: &[&str], kind: &'static str, msg: impl Into<String>) -> Self {
        let loc = loc.iter().map(|&part| part.to_owned()).collect();
        let fields = vec![FieldError { loc, msg: msg.into(), kind: kind.to_owned() }];
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, code, detail: Detail::Fields(fields), extra: Extra::default() }
    }

    /// 503: a server of ours is away.
    pub fn unavailable(what: &str) -> Self {
        let sentence = format!("{what} is not available at the moment. Please try again.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence).retry_after(5)
    }

    /// 500. The reason goes to the log, not to the client.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request broke");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong on our side.")
    }

    /// Has it this status?
    pub fn is(&self, status: StatusCode) -> bool {
        self.status == status
    }

    /// Tells when to come again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.extra.retry_after = Some(seconds);
        self
    }

    /// Names the turn that is in the way.
    #[must_use]
    pub fn turn(mut self, turn: TurnId) -> Self {
        self.extra.turn_id = Some(turn);
        self
    }

    /// Names where to go on.
    #[must_use]
    pub fn checkpoint(mut self, cursor: Cursor) -> Self {
        self.extra.checkpoint = Some(Checkpoint { turn_id: cursor.turn_id.0, sequence: cursor.sequence });
        self
    }

    /// Names the methods that would work.
    #[must_use]
    pub fn allow(mut self, methods: String) -> Self {
        self.extra.allow = Some(methods);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body { detail: &self.detail, code: self.code, extra: &self.extra };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::builder().status(self.status).content_type("application/json").body(json);
        let headers = response.headers_mut();
        if let Some(seconds) = self.extra.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.extra.allow.and_then(|methods| HeaderValue::from_str(&methods).ok()) {
            headers.insert(header::ALLOW, methods);
        }
        response
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        Self::from_response(problem.into_response())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_passing() {
            tracing::warn!(error = &error as &dyn std::error::Error, "PostgreSQL is away");
            return Self::unavailable("The database");
        }
        Self::internal(&error)
    }
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Unavailable(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "Redis is away");
                Self::unavailable("The stream server")
            }
            StreamError::Broken(_) | StreamError::Batch(_) => Self::internal(&error),
        }
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

/// Which errors an operation may answer with; for the OpenAPI document.
pub trait Statuses: Send + Sync + 'static {
    /// The statuses, each with its meaning.
    const LIST: &'static [(u16, &'static str)];
}

/// An operation's error: a [`Problem`] with the statuses that the document names.
#[derive(Debug)]
pub struct Failure<S> {
    error: poem::Error,
    statuses: PhantomData<S>,
}

impl<S, E: Into<Problem>> From<E> for Failure<S> {
    fn from(error: E) -> Self {
        Self { error: error.into().into(), statuses: PhantomData }
    }
}

impl<S> From<Failure<S>> for poem::Error {
    fn from(failure: Failure<S>) -> Self {
        failure.error
    }
}

impl<S: Statuses> ApiResponse for Failure<S> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: S::LIST.iter().map(|&(status, meaning)| error_response(status, meaning)).collect() }
    }

    fn register(registry: &mut Registry) {
        ErrorBody::register(registry);
        ValidationErrorBody::register(registry);
    }
}

fn error_response(status: u16, description: &'static str) -> MetaResponse {
    let schema = if status == 422 { ValidationErrorBody::schema_ref() } else { ErrorBody::schema_ref() };
    let headers = if matches!(status, 429 | 503) { vec![retry_after_header()] } else { Vec::new() };
    MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: "application/json", schema }],
        headers,
    }
}

fn retry_after_header() -> MetaHeader {
    MetaHeader {
        name: "Retry-After".into(),
        description: Some("Seconds after which to try again".into()),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(u32::schema_ref().unwrap_inline().clone())),
    }
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = [$(($status:literal, $meaning:literal)),* $(,)?];)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub struct $name;
            impl Statuses for $name {
                const LIST: &'static [(u16, &'static str)] = &[$(($status, $meaning)),*];
            }
        )*
    };
}

statuses! {
    /// A signed-in user's own things.
    OfUser = [
        (401, "No valid token"),
        (422, "A parameter or field is wrong"),
        (503, "A server is away"),
    ];
    /// A thing of a session.
    OfSession = [
        (401, "No valid token"),
        (404, "No such session, turn or message for this caller"),
        (422, "A parameter or field is wrong"),
        (503, "A server is away"),
    ];
    /// A thing of a session that takes a body.
    ChangesSession = [
        (400, "The body is no JSON"),
        (401, "No valid token"),
        (404, "No such session, turn or message for this caller"),
        (413, "The body is too large"),
        (415, "The body is not JSON"),
        (422, "A field is wrong"),
        (503, "A server is away"),
    ];
    /// Making an anonymous session a user's.
    ClaimsSession = [
        (400, "The body is no JSON"),
        (401, "No valid token"),
        (403, "The claim token does not fit"),
        (404, "No such session for this caller"),
        (413, "The body is too large"),
        (415, "The body is not JSON"),
        (422, "A field is wrong"),
        (503, "A server is away"),
    ];
    /// A submit.
    Submits = [
        (400, "The body is no JSON, or the cursor of a resumed request is none"),
        (401, "No valid token"),
        (404, "No such session for this caller"),
        (409, "A turn is in progress (`turn_in_progress`), or the cursor is too old (`cursor_trimmed`)"),
        (410, "The turn of the cursor is no longer there (`expired`)"),
        (413, "The body is too large"),
        (415, "The body is not JSON"),
        (422, "A field is wrong"),
        (429, "Too many turns are in flight (`too_many_turns`)"),
        (503, "A server is away"),
    ];
    /// A resume.
    Resumes = [
        (400, "The cursor is none, or lies in the future (`invalid_cursor`)"),
        (401, "No valid token"),
        (404, "No such session or turn for this caller"),
        (409, "The cursor is too old (`cursor_trimmed`)"),
        (410, "The turn of the cursor is no longer there (`expired`)"),
        (422, "A parameter is wrong"),
    ];
    /// Health.
    Unhealthy = [(503, "A part is down")];
    /// Operations that exist for their schema.
    SchemaOnly = [(501, "Exists for code generation")];
}
