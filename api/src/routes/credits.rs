//! What the caller has and spent. One credit is one US cent.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use copilot_shared::credit::{CreditKind, Transaction};
use copilot_shared::payment::TopUp;
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};
use serde_json::Value;

use super::sessions::Signed;
use super::{Nullable, Tag};
use crate::app::App;
use crate::app::read_credits::TransactionPage;
use crate::auth::SignedIn;
use crate::problem::{FieldError, Problem, Refused, Statuses};

pub(super) struct CreditRoutes;

/// What the caller has.
#[derive(Debug, Object)]
pub(super) struct CreditsResponse {
    /// In cents. Where credits are disabled, a constant that nothing is taken from.
    credits: i64,
}

/// Why a balance changed.
#[derive(Debug, Clone, Copy, Enum)]
#[oai(rename_all = "SCREAMING_SNAKE_CASE", rename = "CreditKind")]
pub(super) enum Kind {
    /// The user paid for it.
    TopUp,
    /// The user spent it.
    Usage,
    /// It was given: each month's refill, a gift, a spend that was taken back.
    Grant,
    /// A payment was taken back.
    Refund,
    /// A card was tried; nothing changed.
    CardCheck,
}

/// A change of the balance.
#[derive(Debug, Object)]
pub(super) struct CreditTransaction {
    /// Its place among the user's, 1 being the first.
    sequence: i64,
    /// Unique among the user's.
    key: String,
    kind: Kind,
    /// What it added, in cents; negative if it took.
    amount: i64,
    /// The balance right after it, in cents.
    running_balance: i64,
    /// What else is known, such as `reason`, a sentence for people.
    metadata: BTreeMap<String, Value>,
    created_at: DateTime<Utc>,
}

/// How many credits are to be bought.
#[derive(Debug, Object)]
#[oai(rename = "TopUpRequest")]
pub(super) struct TopUpBody {
    /// In cents: whole dollars, five at least.
    #[oai(validator(minimum(value = "500"), maximum(value = "99999900"), multiple_of = "100"))]
    credit_amount: i64,
}

/// Where the caller can pay.
#[derive(Debug, Object)]
pub(super) struct TopUpResponse {
    /// The provider's page.
    checkout_url: String,
}

pub(super) struct Buying;
impl Statuses for Buying {
    const STATUSES: &'static [u16] = &[400, 401, 413, 415, 422, 500, 503];
}

/// A page of changes, newest first.
#[derive(Debug, Object)]
pub(super) struct ListTransactionsResponse {
    /// The page.
    transactions: Vec<CreditTransaction>,
    /// `before` of the next page; null if there is none.
    next_before: Nullable<i64>,
}

#[OpenApi(prefix_path = "/api/credits", tag = "Tag::Credits")]
impl CreditRoutes {
    /// What the caller has
    ///
    /// In cents. The month's refill is in it.
    #[oai(path = "/", method = "get", operation_id = "get_credits")]
    async fn balance(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
    ) -> Result<Json<CreditsResponse>, Refused<Signed>> {
        Ok(Json(CreditsResponse { credits: app.credit_balance(&who.0).await?.0 }))
    }

    /// Buy credits
    ///
    /// Answers the page of the payment provider. A deployment without one refuses with the code
    /// `payments_not_configured`.
    #[oai(path = "/", method = "post", operation_id = "buy_credits")]
    async fn buy(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        Json(body): Json<TopUpBody>,
    ) -> Result<Json<TopUpResponse>, Refused<Buying>> {
        let amount = TopUp::new(body.credit_amount).ok_or_else(no_top_up)?;
        Ok(Json(TopUpResponse { checkout_url: app.buy_credits(&who.0, amount).await?.url }))
    }

    /// List the changes of the caller's balance
    ///
    /// Newest first; `before` pages backwards. Nothing in the list ever changes, and the sum of all
    /// amounts is the balance.
    #[oai(path = "/transactions", method = "get", operation_id = "list_credit_transactions")]
    async fn list(
        &self,
        Data(app): Data<&Arc<App>>,
        who: SignedIn,
        /// How many
        #[oai(default = "hundred", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<i64>,
        /// Only those before this sequence number
        #[oai(validator(minimum(value = "1")))]
        before: Query<Option<i64>>,
    ) -> Result<Json<ListTransactionsResponse>, Refused<Signed>> {
        Ok(Json(app.list_transactions(&who.0, before.0, limit.0).await?.into()))
    }
}

impl From<CreditKind> for Kind {
    fn from(kind: CreditKind) -> Self {
        match kind {
            CreditKind::TopUp => Self::TopUp,
            CreditKind::Usage => Self::Usage,
            CreditKind::Grant => Self::Grant,
            CreditKind::Refund => Self::Refund,
            CreditKind::CardCheck => Self::CardCheck,
        }
    }
}

impl From<Transaction> for CreditTransaction {
    fn from(transaction: Transaction) -> Self {
        Self {
            sequence: transaction.sequence,
            key: transaction.key.as_str().to_owned(),
            kind: transaction.kind.into(),
            amount: transaction.amount.0,
            running_balance: transaction.running_balance.0,
            metadata: transaction.metadata.into_map().into_iter().collect(),
            created_at: transaction.created_at,
        }
    }
}

impl From<TransactionPage> for ListTransactionsResponse {
    fn from(page: TransactionPage) -> Self {
        let next_before = page.transactions.last().filter(|_| page.has_more).map(|oldest| oldest.sequence).into();
        Self { transactions: page.transactions.into_iter().map(CreditTransaction::from).collect(), next_before }
    }
}

fn no_top_up() -> Problem {
    let why = "Amount must be at least 500 and a multiple of 100";
    Problem::invalid(FieldError::in_body("credit_amount", "value_error", why))
}

fn hundred() -> i64 {
    100
}
