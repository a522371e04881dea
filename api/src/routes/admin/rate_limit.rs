//! Limits and usage of all users.

use std::sync::Arc;

use copilot_shared::id::UserId;
use copilot_shared::meter::Reading;
use copilot_shared::store::LimitOverride;
use copilot_shared::usage::weight::HEAVIEST;
use copilot_shared::usage::window::Window;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;

use super::Administering;
use crate::app::App;
use crate::auth::Admin;
use crate::body::JsonBody;
use crate::problem::{FieldError, Problem, Refused, Statuses};
use crate::routes::Tag;

pub(in crate::routes) struct RateLimitRoutes;

/// A user's limits and usage, in weighted tokens.
#[derive(Debug, Object)]
pub(super) struct UserRateLimitResponse {
    user_id: String,
    /// What they may use in a day; 0 for no limit.
    daily_token_limit: i64,
    /// What they may use in a week; 0 for no limit.
    weekly_token_limit: i64,
    /// What they have used today.
    daily_tokens_used: i64,
    /// What they have used this week.
    weekly_tokens_used: i64,
}

/// Whose usage is to be reset.
#[derive(Debug, Deserialize, Object)]
pub(super) struct ResetRateLimitRequest {
    /// Whose.
    #[oai(validator(min_length = 1, max_length = 255))]
    user_id: String,
    /// The week as well.
    #[serde(default)]
    #[oai(default)]
    reset_weekly: bool,
}

/// Limits of one user, in weighted tokens. A field that is left out or null leaves the user with
/// what applies to everybody.
#[derive(Debug, Deserialize, Object)]
pub(super) struct SetRateLimitRequest {
    /// In a day; 0 for no limit.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000000")))]
    daily_token_limit: Option<i64>,
    /// In a week; 0 for no limit.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000000000000")))]
    weekly_token_limit: Option<i64>,
}

/// The errors of an admin's route that takes a user in its body.
pub(super) struct AdministeringUser;
impl Statuses for AdministeringUser {
    const STATUSES: &'static [u16] = &[400, 401, 403, 413, 415, 422, 500, 503];
}

#[OpenApi(prefix_path = "/api/copilot/admin", tag = "Tag::Admin")]
impl RateLimitRoutes {
    /// See a user's limits and usage
    ///
    /// The limits are those that hold for the user, their own or everybody's.
    #[oai(path = "/rate_limit", method = "get", operation_id = "get_user_rate_limit")]
    async fn read(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        /// Whose
        user_id: Query<String>,
    ) -> Result<Json<UserRateLimitResponse>, Refused<Administering>> {
        let user = user_at("query", &user_id.0)?;
        Ok(Json(response(&user, &app.read_usage_of(&admin.0, &user).await?)))
    }

    /// Reset a user's usage
    ///
    /// Empties the daily window, and the weekly one if that is asked for. Nothing is charged.
    #[oai(path = "/rate_limit/reset", method = "post", operation_id = "reset_user_usage")]
    async fn reset(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        body: JsonBody<ResetRateLimitRequest>,
    ) -> Result<Json<UserRateLimitResponse>, Refused<AdministeringUser>> {
        let user = user_at("body", &body.0.user_id)?;
        let windows: &[Window] = if body.0.reset_weekly { &[Window::Daily, Window::Weekly] } else { &[Window::Daily] };
        Ok(Json(response(&user, &app.empty_usage_of(&admin.0, &user, windows).await?)))
    }

    /// Give a user limits of their own
    ///
    /// They go before feature flags and the configuration. Other processes follow within seconds.
    #[oai(path = "/rate_limit/:user_id", method = "put", operation_id = "set_user_rate_limit")]
    async fn set(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        /// Whose
        user_id: Path<String>,
        body: JsonBody<SetRateLimitRequest>,
    ) -> Result<Json<UserRateLimitResponse>, Refused<AdministeringUser>> {
        let user = user_at("path", &user_id.0)?;
        let own = LimitOverride {
            daily: limit("daily_token_limit", body.0.daily_token_limit)?,
            weekly: limit("weekly_token_limit", body.0.weekly_token_limit)?,
        };
        Ok(Json(response(&user, &app.set_limits_of(&admin.0, &user, own).await?)))
    }
}

fn response(user: &UserId, reading: &Reading) -> UserRateLimitResponse {
    UserRateLimitResponse {
        user_id: user.as_str().to_owned(),
        daily_token_limit: reading.limits.daily,
        weekly_token_limit: reading.limits.weekly,
        daily_tokens_used: reading.standing.used.daily,
        weekly_tokens_used: reading.standing.used.weekly,
    }
}

fn user_at(place: &str, text: &str) -> Result<UserId, Problem> {
    let refuse = || FieldError::at(place, "user_id", "value_error", "1 to 255 bytes without control characters");
    UserId::parse(text).ok_or_else(|| Problem::invalid(refuse()))
}

fn limit(field: &str, tokens: Option<i64>) -> Result<Option<i64>, Problem> {
    if tokens.is_none_or(|tokens| (0..=HEAVIEST).contains(&tokens)) {
        return Ok(tokens);
    }
    Err(Problem::invalid(FieldError::in_body(field, "value_error", format!("0 to {HEAVIEST} tokens, or null"))))
}
