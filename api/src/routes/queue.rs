//! Messages that wait behind a running turn.

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;

use copilot_shared::id::TurnId;

use super::Tag;
use super::model::{EditQueuedRequest, QueueItem, QueueResponse, StatusResponse};
use super::sessions::Deleted;
use crate::app::App;
use crate::app::submit_turn::message_text;
use crate::auth::AnyCaller;
use crate::body::JsonBody;
use crate::problem::{ChangesSession, Failure, OfSession, Problem};

/// The group.
#[derive(Debug)]
pub struct Queue;

#[OpenApi(prefix_path = "/api/chat")]
impl Queue {
    /// List waiting messages
    #[oai(path = "/sessions/:session_id/queue", method = "get", operation_id = "list_queue", tag = "Tag::Queue")]
    async fn list(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
    ) -> Result<Json<QueueResponse>, Failure<OfSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let queue = app.store.list_queue(session.id).await?;
        Ok(Json(QueueResponse { queue: queue.into_iter().map(QueueItem::from).collect() }))
    }

    /// Edit a waiting message
    ///
    /// 404 once it no longer waits.
    #[oai(
        path = "/sessions/:session_id/queue/:turn_id",
        method = "patch",
        operation_id = "edit_queued_message",
        tag = "Tag::Queue"
    )]
    async fn edit(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        turn_id: Path<String>,
        body: JsonBody<EditQueuedRequest>,
    ) -> Result<Json<StatusResponse>, Failure<ChangesSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let turn: TurnId = turn_id.parse().map_err(|_| Problem::no_turn(&turn_id))?;
        let text = message_text(&body.parse()?.message)?;
        if !app.store.edit_queued(session.id, turn, &text).await? {
            return Err(Problem::no_turn(&turn_id).into());
        }
        Ok(Json(StatusResponse::ok()))
    }

    /// Drop a waiting message
    ///
    /// 404 once it no longer waits.
    #[oai(
        path = "/sessions/:session_id/queue/:turn_id",
        method = "delete",
        operation_id = "drop_queued_message",
        tag = "Tag::Queue"
    )]
    async fn drop_queued(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        turn_id: Path<String>,
    ) -> Result<Deleted, Failure<OfSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let turn: TurnId = turn_id.parse().map_err(|_| Problem::no_turn(&turn_id))?;
        if !app.drop_queued(&caller.0, session.id, turn).await? {
            return Err(Problem::no_turn(&turn_id).into());
        }
        Ok(Deleted::Gone)
    }
}
