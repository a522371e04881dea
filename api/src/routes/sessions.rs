//! Conversations: made, listed, read, named, claimed, deleted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use copilot_shared::id::SessionId;
use copilot_shared::session::{Caller, Title};
use copilot_shared::store::ClaimSessionError;
use poem::http::StatusCode;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};
use rand::RngCore;

use super::Tag;
use super::model::{
    ActiveStreamInfo, AssignUserRequest, CreateSessionResponse, ListSessionsResponse, SessionDetailResponse,
    SessionSummaryResponse, StatusResponse, UpdateTitleRequest,
};
use crate::app::App;
use crate::auth::{AnyCaller, PerhapsSignedIn, SignedIn, claim_hash};
use crate::body::{JsonBody, no_nul};
use crate::problem::{ChangesSession, ClaimsSession, Failure, OfSession, OfUser, Problem};

/// The group.
#[derive(Debug)]
pub struct Sessions;

/// Deleted.
#[derive(Debug, ApiResponse)]
pub enum Deleted {
    /// It is gone.
    #[oai(status = 204)]
    Gone,
}

#[OpenApi(prefix_path = "/api/chat")]
impl Sessions {
    /// List sessions
    ///
    /// Newest updated first.
    #[oai(path = "/sessions", method = "get", operation_id = "list_sessions", tag = "Tag::Sessions")]
    async fn list(
        &self,
        app: Data<&App>,
        caller: SignedIn,
        /// How many at most
        #[oai(validator(minimum(value = "1"), maximum(value = "100")), default = "fifty")]
        limit: Query<i64>,
        /// How many to skip
        #[oai(validator(minimum(value = "0")), default)]
        offset: Query<i64>,
    ) -> Result<Json<ListSessionsResponse>, Failure<OfUser>> {
        let (sessions, total) = app.store.list_sessions(&caller.0.user_id, limit.0, offset.0).await?;
        Ok(Json(ListSessionsResponse {
            sessions: sessions.into_iter().map(SessionSummaryResponse::from).collect(),
            total,
        }))
    }

    /// Create a session
    ///
    /// Without a token, and only where anonymous sessions are allowed, it has no owner, and the answer holds its
    /// claim token.
    #[oai(path = "/sessions", method = "post", operation_id = "create_session", tag = "Tag::Sessions")]
    async fn create(
        &self,
        app: Data<&App>,
        caller: PerhapsSignedIn,
    ) -> Result<Json<CreateSessionResponse>, Failure<OfUser>> {
        let (owner, claim_token) = match caller.0 {
            Some(identity) => (Caller::User(identity.user_id), None),
            None => {
                let token = random_token();
                (Caller::Claim(claim_hash(&token)), Some(token))
            }
        };
        let session = app.store.create_session(SessionId::random(), &owner).await?;
        Ok(Json(CreateSessionResponse {
            id: session.id.0,
            created_at: session.created_at,
            user_id: session.user_id.map(|user| user.to_string()).into(),
            claim_token,
        }))
    }

    /// Read a session
    ///
    /// With its newest messages, or those before `before_sequence`.
    #[oai(path = "/sessions/:session_id", method = "get", operation_id = "get_session", tag = "Tag::Sessions")]
    async fn get(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        /// How many messages at most
        #[oai(validator(minimum(value = "1"), maximum(value = "200")), default = "fifty")]
        limit: Query<i64>,
        /// Only messages before this sequence number
        #[oai(validator(minimum(value = "0")))]
        before_sequence: Query<Option<i64>>,
    ) -> Result<Json<SessionDetailResponse>, Failure<OfSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let page = app.store.message_page(session.id, before_sequence.0, limit.0).await?;
        let active = app.store.active_turn(session.id).await?.map(|turn| ActiveStreamInfo {
            turn_id: turn.id.0,
            last_message_id: turn.last_message_id.map(|id| id.0).into(),
        });
        Ok(Json(SessionDetailResponse::new(session, page.messages, page.has_more, active)))
    }

    /// Delete a session
    ///
    /// Stops what runs, and deletes messages, turns and streams.
    #[oai(path = "/sessions/:session_id", method = "delete", operation_id = "delete_session", tag = "Tag::Sessions")]
    async fn delete(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
    ) -> Result<Deleted, Failure<OfSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        app.delete_session(&caller.0, &session).await?;
        Ok(Deleted::Gone)
    }

    /// Name a session
    #[oai(
        path = "/sessions/:session_id/title",
        method = "patch",
        operation_id = "update_session_title",
        tag = "Tag::Sessions"
    )]
    async fn rename(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        body: JsonBody<UpdateTitleRequest>,
    ) -> Result<Json<StatusResponse>, Failure<ChangesSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let title = body.parse()?.title;
        no_nul("title", &title)?;
        let title = Title::parse(&title).ok_or_else(|| {
            Problem::field(&["body", "title"], "value_error", format!("must have 1 to {} characters", Title::MAX_CHARS))
        })?;
        if !app.store.rename_session(session.id, &caller.0, &title).await? {
            return Err(Problem::no_session(&session_id).into());
        }
        Ok(Json(StatusResponse::ok()))
    }

    /// Claim an anonymous session
    ///
    /// Makes it the caller's, once. The owner's own call changes nothing.
    #[oai(
        path = "/sessions/:session_id/assign-user",
        method = "patch",
        operation_id = "assign_session_user",
        tag = "Tag::Sessions"
    )]
    async fn assign_user(
        &self,
        app: Data<&App>,
        caller: SignedIn,
        session_id: Path<String>,
        body: JsonBody<AssignUserRequest>,
    ) -> Result<Json<StatusResponse>, Failure<ClaimsSession>> {
        let user = caller.0.user_id;
        let owner = Caller::User(user.clone());
        let id: SessionId = session_id.parse().map_err(|_| Problem::no_session(&session_id))?;
        if app.store.find_session(id, &owner).await?.is_some() {
            return Ok(Json(StatusResponse::ok()));
        }
        let token = body.parse_or_default()?.claim_token;
        let hash = token.as_deref().map(claim_hash);
        app.store.claim_session(id, &user, hash.as_ref().map(<[u8; 32]>::as_slice)).await.map_err(
            |error| match error {
                ClaimSessionError::NotFound => Problem::no_session(&session_id),
                ClaimSessionError::WrongToken => {
                    let sentence = format!("Not authorized to claim session {}", session_id.0);
                    Problem::new(StatusCode::FORBIDDEN, "wrong_claim_token", sentence)
                }
                ClaimSessionError::Store(error) => error.into(),
            },
        )?;
        Ok(Json(StatusResponse::ok()))
    }
}

fn fifty() -> i64 {
    50
}

/// 256 bits that nobody can guess, in characters that any header can carry.
fn random_token() -> String {
    let mut bytes = [0; 32];
    rand::rng().fill_bytes(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}
