//! Credits of all users.

use std::sync::Arc;

use copilot_shared::credit::{Amount, TransactionKey};
use copilot_shared::id::UserId;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use serde::Deserialize;

use super::AdministeringWithBody;
use crate::app::App;
use crate::app::grant_credits::Gift;
use crate::auth::Admin;
use crate::body::JsonBody;
use crate::problem::{FieldError, Problem, Refused};
use crate::routes::Tag;

/// The longest reason, in characters.
const REASON: usize = 500;
/// What an admin's keys begin with in the ledger, so that they are no other purpose's.
const PURPOSE: &str = "admin";

pub(in crate::routes) struct AdminCreditRoutes;

/// What is given, to whom and why.
#[derive(Debug, Deserialize, Object)]
pub(super) struct GrantCreditsRequest {
    /// Who gets it.
    #[oai(validator(min_length = 1, max_length = 255))]
    user_id: String,
    /// In cents.
    #[oai(validator(minimum(value = "1"), maximum(value = "2147483647")))]
    amount: i64,
    /// What makes it happen once: the same key again gives nothing more.
    #[oai(validator(min_length = 1, max_length = 249))]
    key: String,
    /// A sentence that the user can read in their ledger.
    #[oai(validator(min_length = 1, max_length = 500))]
    reason: String,
}

/// What was given.
#[derive(Debug, Object)]
pub(super) struct GrantCreditsResponse {
    /// Who got it.
    user_id: String,
    /// Its key in the ledger.
    key: String,
    /// In cents.
    amount: i64,
    /// The balance right after it, in cents.
    running_balance: i64,
    /// It was given before, under the same key; nothing was given now.
    repeated: bool,
}

#[OpenApi(prefix_path = "/api/copilot/admin", tag = "Tag::Admin")]
impl AdminCreditRoutes {
    /// Give a user credits
    ///
    /// Once a key: the same request again answers what the first one did.
    #[oai(path = "/credits/grant", method = "post", operation_id = "grant_credits")]
    async fn grant(
        &self,
        Data(app): Data<&Arc<App>>,
        admin: Admin,
        body: JsonBody<GrantCreditsRequest>,
    ) -> Result<Json<GrantCreditsResponse>, Refused<AdministeringWithBody>> {
        let gift = gift(&body.0)?;
        let granted = app.grant_credits(&admin.0, &gift).await?;
        Ok(Json(GrantCreditsResponse {
            user_id: gift.user.as_str().to_owned(),
            key: gift.key.as_str().to_owned(),
            amount: granted.amount.0,
            running_balance: granted.balance.0,
            repeated: granted.repeated,
        }))
    }
}

fn gift(body: &GrantCreditsRequest) -> Result<Gift, Problem> {
    let refuse = |field: &'static str, why: String| Problem::invalid(FieldError::in_body(field, "value_error", why));
    let printable = "without control characters";
    let user = UserId::parse(&body.user_id)
        .ok_or_else(|| refuse("user_id", format!("1 to {} bytes {printable}", UserId::MAX_BYTES)))?;
    let amount = Amount::new(body.amount).ok_or_else(|| refuse("amount", format!("1 to {} cents", Amount::MAX)))?;
    let key = TransactionKey::new(PURPOSE, &body.key).ok_or_else(|| {
        let longest = TransactionKey::MAX_BYTES - PURPOSE.len() - 1;
        refuse("key", format!("1 to {longest} bytes {printable}"))
    })?;
    let reason = body.reason.trim();
    let fits = !reason.is_empty() && reason.chars().count() <= REASON && !reason.chars().any(char::is_control);
    if !fits {
        return Err(refuse("reason", format!("1 to {REASON} characters {printable}, not blank")));
    }
    Ok(Gift { user, amount, key, reason: reason.to_owned() })
}
