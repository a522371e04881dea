//! Messages that wait behind a running turn.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;

use super::Tag;
use super::models::{NoContent, QueueResponse, StatusResponse};
use super::sessions::{Owned, OwnedWithBody};
use super::submission::MessageText;
use crate::app::App;
use crate::auth::{OwnedSession, TurnPath};
use crate::body::JsonBody;
use crate::problem::Refused;

pub(super) struct QueueRoutes;

/// Another text.
#[derive(Debug, Deserialize, Object)]
pub(super) struct EditQueuedRequest {
    /// What the message is to say; not blank.
    message: MessageText,
}

#[OpenApi(prefix_path = "/api/chat", tag = "Tag::Queue")]
impl QueueRoutes {
    /// See what waits
    ///
    /// In the order in which it will be answered.
    #[oai(path = "/sessions/:id/queue", method = "get", operation_id = "list_queue")]
    async fn list(&self, Data(app): Data<&Arc<App>>, id: OwnedSession) -> Result<Json<QueueResponse>, Refused<Owned>> {
        Ok(Json(app.list_queue(id.session.id).await?.into()))
    }

    /// Change what a waiting message says
    ///
    /// 404 once its turn has come.
    #[oai(path = "/sessions/:id/queue/:turn_id", method = "patch", operation_id = "edit_queued_message")]
    async fn edit(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        turn_id: TurnPath,
        body: JsonBody<EditQueuedRequest>,
    ) -> Result<Json<StatusResponse>, Refused<OwnedWithBody>> {
        app.edit_queued(id.session.id, turn_id.0, &body.0.message.0).await?;
        Ok(Json(StatusResponse::ok()))
    }

    /// Drop a waiting message
    ///
    /// Its turn is cancelled, and the message removed. 404 once its turn has come.
    #[oai(path = "/sessions/:id/queue/:turn_id", method = "delete", operation_id = "drop_queued_message")]
    async fn drop_message(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        turn_id: TurnPath,
    ) -> Result<NoContent, Refused<Owned>> {
        app.drop_queued(&id.session, &id.caller, turn_id.0).await?;
        Ok(NoContent::Done)
    }
}
