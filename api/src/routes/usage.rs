//! Usage limits: how far a user is.

use std::sync::Arc;

use copilot_shared::meter::Reading;
use copilot_shared::usage::window::Window;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::{Moment, Tag};
use crate::app::App;
use crate::app::read_usage::ResetTerms;
use crate::auth::SignedIn;
use crate::problem::{Refused, Statuses};

pub(super) struct UsageRoutes;

/// A window in which usage is counted.
#[derive(Debug, PartialEq, Object)]
pub(super) struct UsageWindow {
    /// Weighted tokens that ended model calls have used.
    used: i64,
    /// Weighted tokens that may be used; 0 for no limit.
    limit: i64,
    /// When the window begins anew.
    resets_at: Moment,
}

/// How far a user is.
#[derive(Debug, PartialEq, Object)]
#[oai(rename = "CoPilotUsageStatus")]
pub(super) struct UsageStatus {
    /// From one midnight UTC to the next.
    daily: UsageWindow,
    /// From one Monday, 00:00 UTC, to the next.
    weekly: UsageWindow,
    /// What it costs to have the day reset, in cents; 0 if that is not to be had.
    reset_cost: i64,
}

impl UsageStatus {
    /// The status that a reading tells of.
    pub(super) fn new(reading: &Reading, terms: ResetTerms) -> Self {
        let window =
            |window: Window, used, limit| UsageWindow { used, limit, resets_at: Moment(window.resets_at(reading.at)) };
        let (used, limits) = (reading.standing.used, reading.limits);
        Self {
            daily: window(Window::Daily, used.daily, limits.daily),
            weekly: window(Window::Weekly, used.weekly, limits.weekly),
            reset_cost: terms.cost,
        }
    }
}

pub(super) struct ReadingUsage;
impl Statuses for ReadingUsage {
    const STATUSES: &'static [u16] = &[401, 500, 503];
}

#[OpenApi(prefix_path = "/api/chat", tag = "Tag::Usage")]
impl UsageRoutes {
    /// See how far you are
    ///
    /// Ended model calls only: what turns in flight may yet use is not in it.
    #[oai(path = "/usage", method = "get", operation_id = "get_usage")]
    async fn usage(
        &self,
        Data(app): Data<&Arc<App>>,
        user: SignedIn,
    ) -> Result<Json<UsageStatus>, Refused<ReadingUsage>> {
        Ok(Json(UsageStatus::new(&app.read_usage(&user.0).await?, app.reset_terms())))
    }
}
