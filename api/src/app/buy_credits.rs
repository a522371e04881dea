//! Paying for credits, where a provider takes the money.

use copilot_shared::id::UserId;
use copilot_shared::payment::{Checkout, PaymentError, TopUp};

use super::App;

/// There is no page to pay on.
#[derive(Debug, thiserror::Error)]
pub enum BuyError {
    /// Nothing costs anything here.
    #[error("Credits are disabled here.")]
    Disabled,
    /// The provider, or that there is none.
    #[error(transparent)]
    Payment(#[from] PaymentError),
}

impl App {
    /// Opens a page where the user can pay for credits.
    pub async fn buy_credits(&self, user: &UserId, amount: TopUp) -> Result<Checkout, BuyError> {
        if !self.ledger.is_enabled() {
            return Err(BuyError::Disabled);
        }
        Ok(self.payments.checkout(user, amount).await?)
    }
}
