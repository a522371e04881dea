//! An admin gives a user credits. It is written down before it is done.

use copilot_shared::audit::{AuditAction, AuditRecord, AuditTarget};
use copilot_shared::credit::{Amount, Metadata, TransactionKey};
use copilot_shared::id::UserId;
use copilot_shared::store::{GrantError, Recorded};

use super::App;

/// What is given, to whom and why.
#[derive(Debug, Clone)]
pub struct Gift {
    /// Who gets it.
    pub user: UserId,
    /// How much.
    pub amount: Amount,
    /// What makes it happen once.
    pub key: TransactionKey,
    /// A sentence that the user can read.
    pub reason: String,
}

impl App {
    /// Gives a user credits, once a key.
    pub async fn grant_credits(&self, admin: &UserId, gift: &Gift) -> Result<Recorded, GrantError> {
        let record = AuditRecord::new(admin.clone(), AuditAction::GrantCredits, AuditTarget::User(gift.user.clone()))
            .with("amount", gift.amount.cents().0)
            .with("key", gift.key.as_str())
            .with("reason", gift.reason.as_str());
        self.store.record_audit(&record).await?;
        self.ledger.grant(&gift.user, gift.amount, &gift.key, &Metadata::reason(gift.reason.as_str())).await
    }
}
