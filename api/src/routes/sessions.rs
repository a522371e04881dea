//! Conversations: made, listed, read, named, claimed, deleted.

use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, Union};
use serde::Deserialize;
use std::sync::Arc;

use copilot_shared::session::Title;

use super::Tag;
use super::models::{CreateSessionResponse, ListSessionsResponse, NoContent, SessionDetailResponse, StatusResponse};
use super::submission::title;
use super::ui_messages::{UiMessage, ui_messages};
use crate::app::App;
use crate::auth::{Anyone, NamedSession, OwnedSession, SignedIn};
use crate::body::{JsonBody, OptionalJsonBody};
use crate::problem::{Problem, Refused, Statuses};

pub(super) struct SessionRoutes;

/// A new name.
#[derive(Debug, Deserialize, Object)]
pub(super) struct UpdateSessionTitleRequest {
    /// Trimmed; not blank.
    #[serde(deserialize_with = "title")]
    #[oai(validator(min_length = 1, max_length = 256))]
    title: String,
}

/// Proof that the caller holds the session.
#[derive(Debug, Default, Deserialize, Object)]
pub(super) struct ClaimSessionRequest {
    /// The claim token that the session was made with.
    claim_token: Option<String>,
}

/// In which shape messages are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "SessionFormat", rename_all = "lowercase")]
pub(super) enum Format {
    /// The session with its messages.
    Detail,
    /// A list of the AI SDK's messages, ready to be a chat's initial ones. The answer of a turn in
    /// flight is not in it.
    Ui,
}

/// A session, in the shape that was asked for.
#[derive(Debug, Union)]
#[oai(rename = "SessionView")]
pub(super) enum SessionView {
    /// With `format=detail`.
    Detail(SessionDetailResponse),
    /// With `format=ui`.
    Ui(Vec<UiMessage>),
}

/// A session.
#[derive(ApiResponse)]
pub(super) enum SessionResponse {
    /// With `format=detail` an object, with `format=ui` a list of messages.
    #[oai(status = 200)]
    Found(
        Json<SessionView>,
        /// With `format=ui`: there are older ones.
        #[oai(header = "X-Has-More-Messages")]
        Option<bool>,
        /// With `format=ui`: where the next page ends, `before_sequence`.
        #[oai(header = "X-Oldest-Sequence")]
        Option<i64>,
    ),
}

pub(super) struct Signed;
impl Statuses for Signed {
    const STATUSES: &'static [u16] = &[401, 422, 500, 503];
}

pub(super) struct Owned;
impl Statuses for Owned {
    const STATUSES: &'static [u16] = &[401, 404, 422, 500, 503];
}

pub(super) struct OwnedWithBody;
impl Statuses for OwnedWithBody {
    const STATUSES: &'static [u16] = &[400, 401, 404, 413, 415, 422, 500, 503];
}

pub(super) struct Claiming;
impl Statuses for Claiming {
    const STATUSES: &'static [u16] = &[400, 401, 403, 404, 413, 415, 422, 500, 503];
}

#[OpenApi(prefix_path = "/api/chat", tag = "Tag::Sessions")]
impl SessionRoutes {
    /// List the caller's sessions
    ///
    /// Newest updated first.
    #[oai(path = "/sessions", method = "get", operation_id = "list_sessions")]
    async fn list(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        /// How many
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<i64>,
        /// How many are left out
        #[oai(default, validator(minimum(value = "0")))]
        offset: Query<i64>,
    ) -> Result<Json<ListSessionsResponse>, Refused<Signed>> {
        let (sessions, total) = app.list_sessions(&who.0, limit.0, offset.0).await?;
        Ok(Json(ListSessionsResponse::new(sessions, total)))
    }

    /// Make a session
    ///
    /// Without a token, where that is allowed, the session has no owner, and the answer has a
    /// claim token for its bearer.
    #[oai(path = "/sessions", method = "post", operation_id = "create_session")]
    async fn create(
        &self,
        Data(app): Data<&Arc<App>>,
        who: Anyone,
    ) -> Result<Json<CreateSessionResponse>, Refused<Signed>> {
        Ok(Json(app.create_session(who.0).await?.into()))
    }

    /// Read a session with its newest messages
    ///
    /// `before_sequence` pages backwards. With `format=ui` the oldest turn of a page is always whole.
    #[oai(path = "/sessions/:id", method = "get", operation_id = "get_session")]
    async fn read(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        /// How many messages
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<i64>,
        /// Only messages before this sequence number
        #[oai(validator(minimum(value = "1")))]
        before_sequence: Query<Option<i64>>,
        /// In which shape; `detail` if absent
        format: Query<Option<Format>>,
    ) -> Result<SessionResponse, Refused<Owned>> {
        if format.0 == Some(Format::Ui) {
            let page = app.read_transcript(id.session.id, before_sequence.0, limit.0).await?;
            let view = SessionView::Ui(ui_messages(page.turns));
            return Ok(SessionResponse::Found(Json(view), Some(page.has_more), page.oldest_sequence));
        }
        let detail = app.read_session(id.session, before_sequence.0, limit.0).await?;
        Ok(SessionResponse::Found(Json(SessionView::Detail(detail.into())), None, None))
    }

    /// Delete a session
    ///
    /// What is in flight is stopped; messages and streams are deleted.
    #[oai(path = "/sessions/:id", method = "delete", operation_id = "delete_session")]
    async fn delete(&self, Data(app): Data<&Arc<App>>, id: OwnedSession) -> Result<NoContent, Refused<Owned>> {
        if app.delete_session(&id.session, &id.caller).await? {
            Ok(NoContent::Done)
        } else {
            Err(Problem::no_session(&id.session.id.to_string()).into())
        }
    }

    /// Name a session
    ///
    /// A name that the user gave is never replaced by one of ours.
    #[oai(path = "/sessions/:id/title", method = "patch", operation_id = "update_session_title")]
    async fn rename(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        body: JsonBody<UpdateSessionTitleRequest>,
    ) -> Result<Json<StatusResponse>, Refused<OwnedWithBody>> {
        let missing = || Problem::no_session(&id.session.id.to_string());
        let title = Title::parse(&body.0.title).ok_or_else(Problem::internal)?;
        if app.rename_session(&id.session, &id.caller, &title).await? {
            Ok(Json(StatusResponse::ok()))
        } else {
            Err(missing().into())
        }
    }

    /// Make an anonymous session the caller's
    ///
    /// It takes the session's claim token, and works once; the owner's own call changes nothing.
    #[oai(path = "/sessions/:id/assign-user", method = "patch", operation_id = "assign_session_user")]
    async fn claim(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        id: NamedSession,
        body: OptionalJsonBody<ClaimSessionRequest>,
    ) -> Result<Json<StatusResponse>, Refused<Claiming>> {
        let session = id.0;
        app.claim_session(session, &who.0, body.0.claim_token.as_deref())
            .await
            .map_err(|error| Problem::of_claim(session, error))?;
        Ok(Json(StatusResponse::ok()))
    }
}

fn fifty() -> i64 {
    50
}
