//! Records of turns.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;

use super::Tag;
use super::models::{ListTurnsResponse, TurnRecord};
use super::sessions::Owned;
use crate::app::App;
use crate::auth::{OwnedSession, TurnPath};
use crate::problem::{Problem, Refused};

pub(super) struct TurnRoutes;

#[OpenApi(prefix_path = "/api/chat", tag = "Tag::Turns")]
impl TurnRoutes {
    /// List a session's turns
    ///
    /// Newest first.
    #[oai(path = "/sessions/:id/turns", method = "get", operation_id = "list_turns")]
    async fn list(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        /// How many
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<i64>,
    ) -> Result<Json<ListTurnsResponse>, Refused<Owned>> {
        Ok(Json(app.list_turns(id.session.id, limit.0).await?.into()))
    }

    /// Read a turn's record
    ///
    /// How it stands, when it ran, what it used, and why it ended.
    #[oai(path = "/sessions/:id/turns/:turn_id", method = "get", operation_id = "get_turn")]
    async fn read(
        &self,
        Data(app): Data<&Arc<App>>,
        id: OwnedSession,
        turn_id: TurnPath,
    ) -> Result<Json<TurnRecord>, Refused<Owned>> {
        let turn = app.read_turn(id.session.id, turn_id.0).await?;
        Ok(Json(turn.ok_or_else(|| Problem::no_turn(&turn_id.0.to_string()))?.into()))
    }
}

fn fifty() -> i64 {
    50
}
