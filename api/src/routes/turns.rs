//! The records of turns.

use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;

use copilot_shared::id::{SessionId, TurnId};
use copilot_shared::turn::Turn;

use super::Tag;
use super::model::{ListTurnsResponse, TurnRecord};
use crate::app::App;
use crate::auth::AnyCaller;
use crate::problem::{Failure, OfSession, Problem};

/// The group.
#[derive(Debug)]
pub struct Turns;

impl App {
    /// A turn of a session that is known to be the caller's.
    pub async fn turn_of(&self, session: SessionId, id: &str) -> Result<Turn, Problem> {
        let parsed: TurnId = id.parse().map_err(|_| Problem::no_turn(id))?;
        self.store.find_turn(session, parsed).await?.ok_or_else(|| Problem::no_turn(id))
    }
}

#[OpenApi(prefix_path = "/api/chat")]
impl Turns {
    /// List turns
    ///
    /// Newest first.
    #[oai(path = "/sessions/:session_id/turns", method = "get", operation_id = "list_turns", tag = "Tag::Turns")]
    async fn list(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        /// How many at most
        #[oai(validator(minimum(value = "1"), maximum(value = "200")), default = "fifty")]
        limit: Query<i64>,
    ) -> Result<Json<ListTurnsResponse>, Failure<OfSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        let turns = app.store.list_turns(session.id, limit.0).await?;
        Ok(Json(ListTurnsResponse { turns: turns.into_iter().map(TurnRecord::from).collect() }))
    }

    /// Read a turn
    #[oai(path = "/sessions/:session_id/turns/:turn_id", method = "get", operation_id = "get_turn", tag = "Tag::Turns")]
    async fn get(
        &self,
        app: Data<&App>,
        caller: AnyCaller,
        session_id: Path<String>,
        turn_id: Path<String>,
    ) -> Result<Json<TurnRecord>, Failure<OfSession>> {
        let session = app.owned_session(&caller.0, &session_id).await?;
        Ok(Json(app.turn_of(session.id, &turn_id).await?.into()))
    }
}

fn fifty() -> i64 {
    50
}
