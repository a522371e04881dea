//! What a user has, and how it came about.

use copilot_shared::credit::{Cents, Transaction};
use copilot_shared::id::UserId;
use copilot_shared::store::StoreError;

use super::App;

/// Transactions, newest first.
pub struct TransactionPage {
    /// The page.
    pub transactions: Vec<Transaction>,
    /// Are there older ones?
    pub has_more: bool,
}

impl App {
    /// What a user has.
    pub async fn credit_balance(&self, user: &UserId) -> Result<Cents, StoreError> {
        self.ledger.balance(user).await
    }

    /// The newest transactions before a sequence number, or the newest of all.
    pub async fn list_transactions(
        &self,
        user: &UserId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<TransactionPage, StoreError> {
        let mut transactions = self.ledger.transactions(user, before, limit.saturating_add(1)).await?;
        let wanted = usize::try_from(limit).unwrap_or(0);
        let has_more = transactions.len() > wanted;
        transactions.truncate(wanted);
        Ok(TransactionPage { transactions, has_more })
    }
}
