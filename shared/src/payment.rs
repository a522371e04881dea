//! Payments: how a user comes to credits of their own money. Taking it is a provider's business, and
//! a deployment without one says so (`usage.md`).

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::credit::Cents;
use crate::id::UserId;

/// What is bought at once: whole dollars, five at least (`usage-tools.md` §2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopUp(Cents);

impl TopUp {
    /// The least, in cents.
    pub const LEAST: i64 = 500;
    /// It is a multiple of this, in cents.
    pub const UNIT: i64 = 100;

    /// Refuses what is too little, and what is no whole number of dollars.
    pub fn new(cents: i64) -> Option<Self> {
        (cents >= Self::LEAST && cents % Self::UNIT == 0).then_some(Self(Cents(cents)))
    }

    /// In cents.
    pub fn cents(self) -> Cents {
        self.0
    }
}

/// A page where the user pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Its address.
    pub url: String,
}

/// There is no page to pay on.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// This deployment takes no money.
    #[error("payments are not configured")]
    NotConfigured,
    /// The provider cannot be asked for the moment.
    #[error("the payment provider is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Who takes the money. What was paid comes back as a grant of the ledger under the payment's own
/// key, so that it is credited once however often the provider tells of it.
pub trait PaymentProvider: Send + Sync + 'static {
    /// Opens a page where the user can pay for credits.
    fn checkout<'a>(&'a self, user: &'a UserId, amount: TopUp) -> BoxFuture<'a, Result<Checkout, PaymentError>>;
}

/// No provider.
#[derive(Debug, Clone, Copy)]
pub struct NoPayments;

impl PaymentProvider for NoPayments {
    fn checkout<'a>(&'a self, _: &'a UserId, _: TopUp) -> BoxFuture<'a, Result<Checkout, PaymentError>> {
        async { Err(PaymentError::NotConfigured) }.boxed()
    }
}

/// The payments of a process.
#[derive(Clone)]
pub struct Payments(Arc<dyn PaymentProvider>);

impl Payments {
    /// Those of a provider.
    pub fn by(provider: impl PaymentProvider) -> Self {
        Self(Arc::new(provider))
    }

    /// Opens a page where the user can pay for credits.
    pub async fn checkout(&self, user: &UserId, amount: TopUp) -> Result<Checkout, PaymentError> {
        self.0.checkout(user, amount).await
    }
}

impl Default for Payments {
    fn default() -> Self {
        Self::by(NoPayments)
    }
}

impl std::fmt::Debug for Payments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Payments")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_dollars_are_bought_and_five_at_least() {
        for (cents, is_sold) in [(500, true), (1_200, true), (499, false), (550, false), (0, false), (-500, false)] {
            assert_eq!(TopUp::new(cents).is_some(), is_sold, "{cents}");
        }
    }
}
