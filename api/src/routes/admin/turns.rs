//! Turns of all users.

use std::sync::Arc;

use copilot_shared::id::UserId;
use copilot_shared::store::{AdminTurn, TurnFilter};
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use uuid::Uuid;

use super::paths::AnyTurnPath;
use super::{Administering, AdministeringOne};
use crate::app::App;
use crate::auth::Admin;
use crate::problem::{FieldError, Problem, Refused};
use crate::routes::models::{CancelSessionResponse, TurnRecord, TurnStatus};
use crate::routes::{Nullable, Tag};

pub(in crate::routes) struct AdminTurnRoutes;

/// A turn with its session and user.
#[derive(Debug, Object)]
pub(super) struct AdminTurnRecord {
    /// Its place in the order of acceptance over all users: `before` of the next page.
    number: i64,
    session_id: Uuid,
    /// Whose it is; null in an anonymous session.
    user_id: Nullable<String>,
    /// Its record.
    #[oai(flatten)]
    turn: TurnRecord,
}

/// A page of all turns, newest first.
#[derive(Debug, Object)]
pub(super) struct ListAllTurnsResponse {
    /// The page.
    turns: Vec<AdminTurnRecord>,
    /// `before` of the next page; null if there may be none.
    next_before: Nullable<i64>,
}

impl From<AdminTurn> for AdminTurnRecord {
    fn from(AdminTurn { turn, number }: AdminTurn) -> Self {
        Self {
            number,
            session_id: turn.session_id.0,
            user_id: turn.user_id.as_ref().map(|user| user.as_str().to_owned()).into(),
            turn: turn.into(),
        }
    }
}

#[OpenApi(prefix_path = "/api/copilot/admin", tag = "Tag::Admin")]
impl AdminTurnRoutes {
    /// List all turns
    ///
    /// Newest first; `before` pages backwards.
    #[oai(path = "/turns", method = "get", operation_id = "list_all_turns")]
    async fn list(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        /// Only those that stand so
        status: Query<Option<TurnStatus>>,
        /// Only those of this user
        user_id: Query<Option<String>>,
        /// How many
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<i64>,
        /// Only those before this number
        #[oai(validator(minimum(value = "1")))]
        before: Query<Option<i64>>,
    ) -> Result<Json<ListAllTurnsResponse>, Refused<Administering>> {
        let user = user_id.0.as_deref().map(user_in_query).transpose()?;
        let filter = TurnFilter { status: status.0.map(Into::into), user, before: before.0 };
        let turns = app.list_all_turns(&admin.0, &filter, limit.0).await?;
        let is_full = i64::try_from(turns.len()).is_ok_and(|found| found == limit.0);
        let next_before = turns.last().filter(|_| is_full).map(|turn| turn.number).into();
        Ok(Json(ListAllTurnsResponse { turns: turns.into_iter().map(AdminTurnRecord::from).collect(), next_before }))
    }

    /// Publish a stuck turn again
    ///
    /// One that no worker has taken, or whose lease has lapsed. One that has ended, runs or waits
    /// is refused.
    #[oai(path = "/turns/:turn_id/requeue", method = "post", operation_id = "requeue_turn")]
    async fn requeue(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        turn_id: AnyTurnPath,
    ) -> Result<Json<TurnRecord>, Refused<AdministeringOne>> {
        Ok(Json(app.requeue_turn(&admin.0, turn_id.0).await?.into()))
    }

    /// Stop a turn
    ///
    /// As its owner's cancel, but of this turn alone: answers when it has stopped. The turn's record
    /// names the admin.
    #[oai(path = "/turns/:turn_id/cancel", method = "post", operation_id = "cancel_any_turn")]
    async fn cancel(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        turn_id: AnyTurnPath,
    ) -> Result<Json<CancelSessionResponse>, Refused<AdministeringOne>> {
        Ok(Json(Box::pin(app.cancel_any_turn(&admin.0, turn_id.0)).await?.into()))
    }
}

fn user_in_query(text: &str) -> Result<UserId, Problem> {
    let refuse = || FieldError::at("query", "user_id", "value_error", "1 to 255 bytes without control characters");
    UserId::parse(text).ok_or_else(|| Problem::invalid(refuse()))
}

fn fifty() -> i64 {
    50
}
