//! Messages that nobody could handle.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use copilot_shared::store::DeadLetterSummary;
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use uuid::Uuid;

use super::paths::DeadLetterPath;
use super::{Administering, AdministeringOne};
use crate::app::App;
use crate::app::dead_letters::Replayed;
use crate::auth::Admin;
use crate::problem::Refused;
use crate::routes::models::TurnStatus;
use crate::routes::{Nullable, Tag};

pub(in crate::routes) struct DeadLetterRoutes;

/// A message that nobody could handle.
#[derive(Debug, Object)]
pub(super) struct DeadLetter {
    /// Its id.
    id: Uuid,
    /// Its place in the order of arrival: `before` of the next page.
    number: i64,
    /// The turn that it names, as far as it can be read.
    turn_id: Nullable<Uuid>,
    /// `attempts_exhausted`, `unreadable_message`, or the broker's word, such as `delivery_limit`.
    reason: String,
    /// When it was given up.
    at: DateTime<Utc>,
    /// How its body begins; what is no UTF-8 is replaced.
    body: String,
    /// How long its body is.
    body_bytes: i32,
}

/// A page of dead letters, newest first.
#[derive(Debug, Object)]
pub(super) struct ListDeadLettersResponse {
    /// Those that were not replayed.
    dead_letters: Vec<DeadLetter>,
    /// `before` of the next page; null if there may be none.
    next_before: Nullable<i64>,
}

/// A dead letter that is in the queue of turns again.
#[derive(Debug, Object)]
pub(super) struct ReplayedResponse {
    /// Its id.
    id: Uuid,
    /// The turn that it names.
    turn_id: Nullable<Uuid>,
    /// How the turn stands. One that has ended stays so, and the message changes nothing.
    turn_status: Nullable<TurnStatus>,
}

#[OpenApi(prefix_path = "/api/copilot/admin", tag = "Tag::Admin")]
impl DeadLetterRoutes {
    /// List the dead letters
    ///
    /// Messages that nobody could handle and that were not replayed; newest first, `before` pages
    /// backwards.
    #[oai(path = "/dead-letters", method = "get", operation_id = "list_dead_letters")]
    async fn list(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        /// How many
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<i64>,
        /// Only those before this number
        #[oai(validator(minimum(value = "1")))]
        before: Query<Option<i64>>,
    ) -> Result<Json<ListDeadLettersResponse>, Refused<Administering>> {
        let letters = app.list_dead_letters(&admin.0, before.0, limit.0).await?;
        let is_full = i64::try_from(letters.len()).is_ok_and(|found| found == limit.0);
        let next_before = letters.last().filter(|_| is_full).map(|letter| letter.number).into();
        let dead_letters = letters.into_iter().map(DeadLetter::from).collect();
        Ok(Json(ListDeadLettersResponse { dead_letters, next_before }))
    }

    /// Put a dead letter back into the queue
    ///
    /// It is published as it was. If it dies again, there is another letter of it.
    #[oai(path = "/dead-letters/:letter_id/replay", method = "post", operation_id = "replay_dead_letter")]
    async fn replay(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        letter_id: DeadLetterPath,
    ) -> Result<Json<ReplayedResponse>, Refused<AdministeringOne>> {
        let Replayed { id, turn_id, turn_status } = app.replay_dead_letter(&admin.0, letter_id.0).await?;
        let turn_status = turn_status.map(TurnStatus::from).into();
        Ok(Json(ReplayedResponse { id: id.0, turn_id: turn_id.map(|turn| turn.0).into(), turn_status }))
    }
}

impl From<DeadLetterSummary> for DeadLetter {
    fn from(letter: DeadLetterSummary) -> Self {
        Self {
            id: letter.id.0,
            number: letter.number,
            turn_id: letter.turn_id.map(|turn| turn.0).into(),
            reason: letter.reason,
            at: letter.at,
            body: String::from_utf8_lossy(&letter.excerpt).into_owned(),
            body_bytes: letter.body_bytes,
        }
    }
}

fn fifty() -> i64 {
    50
}
