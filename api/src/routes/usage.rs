//! Usage limits: how far a user is, and more of it for money.

use std::sync::Arc;

use copilot_shared::meter::Reading;
use copilot_shared::usage::window::Window;
use poem::web::Data;
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::submission::check_key;
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

/// A reset that was carried out.
#[derive(Debug, Object)]
#[oai(rename = "RateLimitResetResponse")]
pub(super) struct ResetResponse {
    /// Always true.
    success: bool,
    /// Cents that were taken.
    credits_charged: i64,
    /// Cents that were left.
    remaining_balance: i64,
    /// The usage right after it.
    usage: UsageStatus,
}

pub(super) struct ReadingUsage;
impl Statuses for ReadingUsage {
    const STATUSES: &'static [u16] = &[401, 500, 503];
}

pub(super) struct Resetting;
impl Statuses for Resetting {
    const STATUSES: &'static [u16] = &[400, 401, 402, 422, 429, 500, 503];
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

    /// Buy a reset of your day
    ///
    /// Empties the daily window and takes as much off the weekly one, for `reset_cost` cents. With an
    /// `Idempotency-Key` a repeated call charges once and is answered the same. A reset that failed
    /// after it was paid is paid back.
    #[oai(path = "/usage/reset", method = "post", operation_id = "reset_usage")]
    async fn reset(
        &self,
        Data(app): Data<&Arc<App>>,
        user: SignedIn,
        /// Makes the call idempotent
        #[oai(name = "Idempotency-Key")]
        key: Header<Option<String>>,
    ) -> Result<Json<ResetResponse>, Refused<Resetting>> {
        let key = check_key(key.0, None)?;
        let done = app.reset_usage(&user.0, key.as_deref()).await?;
        Ok(Json(ResetResponse {
            success: true,
            credits_charged: done.charged,
            remaining_balance: done.balance,
            usage: UsageStatus::new(&done.reading, app.reset_terms()),
        }))
    }
}
